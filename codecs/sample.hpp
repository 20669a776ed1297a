// A few values that stand for a block.
#pragma once

#include <algorithm>
#include <cstring>
#include <vector>

#include "values.hpp"

namespace sciflow {

inline constexpr size_t LEAST_SAMPLE = 256, SAMPLE = 1024;

template <class T>
bool is_constant(const T* in, size_t n) {
    return std::all_of(in, in + n, [&](T x) { return std::memcmp(&x, in, sizeof(T)) == 0; });
}

// Some of the values that can be predicted from, evenly spread.
template <class T>
std::vector<T> draw_sample(const T* in, size_t n, std::span<const uint64_t> preserve) {
    const auto usual = [&](T v) { return std::fabs(v) <= huge<T>() && !listed(v, preserve); };
    std::vector<T> s;
    const size_t every = std::max<size_t>(1, n / std::clamp(n / 64, LEAST_SAMPLE, SAMPLE));
    for (size_t i = every / 2; i < n; i += every)
        if (usual(in[i])) s.push_back(in[i]);
    for (size_t i = 0; i < n && s.empty(); ++i)
        if (usual(in[i])) s.push_back(in[i]);
    return s;
}

struct Interval {
    double low, high;
};

// Of some of the sample the one that the others lie closest to, in octaves: what is coded counts from there.
template <class V>
V middle_of(std::vector<V> sample, double unit) {
    if (sample.empty()) return V(0);
    std::sort(sample.begin(), sample.end());
    V best = sample[0];
    double least = INFINITY;
    for (size_t k = 1; k < 16; ++k) {
        const V from = sample[sample.size() * k / 16];
        double octaves = 0;
        for (V v : sample) octaves += std::log2(unit + std::fabs(static_cast<double>(v) - static_cast<double>(from)));
        if (octaves >= least) continue;
        least = octaves;
        best = from;
    }
    return best;
}

// Values further from the block's middle than this many steps are exact.
inline constexpr double CODE_SPAN = 0x1p28;

// Where codes can reach: values further from the middle, an undeclared fill value say, are stored exactly.
template <class T>
Interval reach(std::vector<T> sample, double step) {
    const double most = static_cast<double>(huge<T>());
    if (sample.empty()) return {-most, most};
    const auto [least, largest] = std::minmax_element(sample.begin(), sample.end());
    const double low = static_cast<double>(*least), high = static_cast<double>(*largest);
    if (high - low < step * CODE_SPAN) {  // all of it is within reach of any of it
        const double middle = low + (high - low) / 2;
        return {std::max(-most, middle - step * CODE_SPAN), std::min(most, middle + step * CODE_SPAN)};
    }
    std::sort(sample.begin(), sample.end());  // each value once: a fill value may be most of the block
    sample.erase(std::unique(sample.begin(), sample.end()), sample.end());
    const auto half = sample.begin() + static_cast<ptrdiff_t>(sample.size() / 2);
    const double middle = static_cast<double>(*half);
    return {std::max(-most, middle - step * CODE_SPAN), std::min(most, middle + step * CODE_SPAN)};
}

// A bound far below the spacing of the values asks for all of their bits.
template <class T>
bool below_spacing(const std::vector<T>& sample, double bound) {
    if (bound == 0) return true;
    if (sample.empty()) return false;
    std::vector<double> sizes;
    for (T v : sample) sizes.push_back(std::fabs(static_cast<double>(v)));
    const auto half = sizes.begin() + static_cast<ptrdiff_t>(sizes.size() / 2);
    std::nth_element(sizes.begin(), half, sizes.end());
    return bound < *half * (sizeof(T) == 4 ? 0x1p-31 : 0x1p-60) || !std::isnormal(static_cast<T>(bound));
}

// Codes of 31 bits do not reach from one end of the values to the other, outliers aside.
template <class T>
bool spans_too_much(const std::vector<T>& sample, double bound) {
    const Interval r = reach(sample, 2 * bound);
    size_t outside = 0;
    for (T v : sample) outside += static_cast<double>(v) < r.low || static_cast<double>(v) > r.high;
    return outside * 8 > sample.size();
}

// What lies within the interval, each value once and in order; nothing where much of the sample does not.
template <class T>
std::vector<T> within_reach(std::vector<T> sample, const Interval& r) {
    std::sort(sample.begin(), sample.end());
    sample.erase(std::unique(sample.begin(), sample.end()), sample.end());
    const size_t distinct = sample.size();
    std::erase_if(sample, [&](T v) { return static_cast<double>(v) < r.low || static_cast<double>(v) > r.high; });
    if ((distinct - sample.size()) * 8 > distinct) sample.clear();
    return sample;
}

}  // namespace sciflow
