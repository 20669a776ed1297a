// Some values of a block, and what they tell about the rest.
#pragma once

#include <algorithm>
#include <cmath>
#include <vector>

#include "values.hpp"

namespace sciflow {

inline constexpr size_t SAMPLE = 1024;
inline constexpr double CODE_SPAN = 0x1p28;  // values further from the block's middle than this many steps are exact

template <class T>
bool is_constant(const T* in, size_t n) {
    const auto first = std::bit_cast<BitsOf<T>>(in[0]);
    for (size_t i = 1; i < n; ++i)
        if (std::bit_cast<BitsOf<T>>(in[i]) != first) return false;
    return true;
}

// Some of the values that can be predicted from, evenly spread.
template <class T>
std::vector<T> draw_sample(const T* in, size_t n, std::span<const uint64_t> preserve) {
    const auto usual = [&](T v) { return std::fabs(v) <= huge<T>() && !listed(v, preserve); };
    std::vector<T> s;
    const size_t every = std::max<size_t>(1, n / SAMPLE);
    for (size_t i = every / 2; i < n; i += every)
        if (usual(in[i])) s.push_back(in[i]);
    for (size_t i = 0; i < n && s.empty(); ++i)
        if (usual(in[i])) s.push_back(in[i]);
    return s;
}

struct Interval {
    double low, high;
};

// Where codes can reach: values further from the middle, an undeclared fill value say, are stored exactly.
template <class T>
Interval reach(std::vector<T> sample, double step) {
    const double most = static_cast<double>(huge<T>());
    if (sample.empty()) return {-most, most};
    std::sort(sample.begin(), sample.end());  // each value once: a fill value may be most of the block
    sample.erase(std::unique(sample.begin(), sample.end()), sample.end());
    const auto half = sample.begin() + static_cast<ptrdiff_t>(sample.size() / 2);
    const double middle = static_cast<double>(*half);
    return {std::max(-most, middle - step * CODE_SPAN), std::min(most, middle + step * CODE_SPAN)};
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
