#include "enhance/aux.hpp"

#include <cmath>

namespace sciflow::enhance {

namespace {

constexpr size_t LOOKED_AT = size_t{1} << 18;  // cells

struct Look {
    double slopes = 0, sum = 0;
    size_t steps = 0, cells = 0;

    double slope() const { return steps > 0 ? slopes / static_cast<double>(steps) : 0; }
    double mean() const { return cells > 0 ? sum / static_cast<double>(cells) : 0; }
};

template <class T>
Look look(const Volume& v, const T* data) {
    const size_t rows = v.size() / v.nx, every = v.size() / LOOKED_AT | 1;
    Look found;
    for (size_t row = 0; row < rows; row += every) {
        const T* const at = data + row * v.nx;
        for (size_t x = 0; x < v.nx; ++x) {
            const double here = static_cast<double>(at[x]);
            if (!std::isfinite(here)) continue;
            found.sum += here, ++found.cells;
            const double step = x + 1 < v.nx ? std::fabs(static_cast<double>(at[x + 1]) - here) : HUGE_VAL;
            if (std::isfinite(step)) found.slopes += step, ++found.steps;
        }
    }
    return found;
}

}  // namespace

template <class T>
std::vector<AuxScale> scales_beside(const Volume& volume, const T* decoded, double unit,
                                    std::span<const AuxArray> aux) {
    std::vector<AuxScale> scales;
    if (volume.size() == 0) return {};
    const double own = look(volume, decoded).slope();
    for (const AuxArray& a : aux) {
        const Look other =
            a.wide ? look(volume, static_cast<const double*>(a.data)) : look(volume, static_cast<const float*>(a.data));
        const AuxScale scale{static_cast<float>(unit * (other.slope() / own)), static_cast<float>(other.mean())};
        if (!std::isnormal(scale.unit) || !(scale.unit > 0) || !std::isfinite(scale.origin)) return {};
        scales.push_back(scale);
    }
    return scales;
}

template std::vector<AuxScale> scales_beside<float>(const Volume&, const float*, double, std::span<const AuxArray>);
template std::vector<AuxScale> scales_beside<double>(const Volume&, const double*, double, std::span<const AuxArray>);

}  // namespace sciflow::enhance
