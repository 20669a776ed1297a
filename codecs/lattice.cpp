#include "lattice.hpp"

#include <algorithm>

namespace sciflow {

namespace {

constexpr size_t FIRST_LOOK = 48;  // values
constexpr double LEAST_GAP = 2.5;  // bounds between values of a lattice

void sort_distinct(std::vector<double>& v) {
    std::sort(v.begin(), v.end());
    v.erase(std::unique(v.begin(), v.end()), v.end());
}

double least_gap(const std::vector<double>& v) {
    double gap = v.back() - v.front();
    for (size_t i = 1; i < v.size(); ++i) gap = std::min(gap, v[i] - v[i - 1]);
    return gap;
}

// Few values lie too close together more often than not: then the others need no look.
template <class T>
bool too_close(const std::vector<T>& sample, double bound) {
    std::vector<double> few(sample.begin(),
                            sample.begin() + static_cast<ptrdiff_t>(std::min(FIRST_LOOK, sample.size())));
    sort_distinct(few);
    return few.size() > 1 && !(least_gap(few) > LEAST_GAP * bound);
}

}  // namespace

template <class T>
LinearMap find_lattice(const std::vector<T>& sample, double bound) {
    LinearMap none{0, 0};
    if (too_close(sample, bound)) return none;
    std::vector<double> v(sample.begin(), sample.end());
    sort_distinct(v);
    if (v.size() < 3) return none;
    const double gap = least_gap(v);
    // Float noise on a value of this size; a gap that is not well above it says nothing.
    const double noise = std::max(std::fabs(v.front()), std::fabs(v.back())) * (sizeof(T) == 4 ? 0x1p-23 : 0x1p-52);
    if (!(gap > LEAST_GAP * bound) || !(gap > 8 * noise)) return none;
    const double range = v.back() - v.front();
    for (int divisor = 1; divisor <= 2; ++divisor) {
        const double steps = std::rint(range / gap * divisor);
        if (steps > 0x1p30) return none;
        const LinearMap map{v.front(), range / steps};
        if (!(map.step > 2.2 * bound)) return none;
        const bool fits = std::all_of(v.begin(), v.end(), [&](double x) {
            const double q = std::rint((x - map.origin) / map.step);
            return std::fabs(x - (map.origin + q * map.step)) <= std::min(bound, 2 * noise);
        });
        if (fits) return map;
    }
    return none;
}

template LinearMap find_lattice<float>(const std::vector<float>&, double);
template LinearMap find_lattice<double>(const std::vector<double>&, double);

}  // namespace sciflow
