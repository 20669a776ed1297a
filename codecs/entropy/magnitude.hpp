// Magnitudes by octaves: 0, 1, 2, 3-4, 5-8, ... docs/format-max.md, "A code".
#pragma once

#include "entropy/mixer.hpp"

namespace sciflow {

inline constexpr int LAST_CLASS = 65;

inline int class_of(uint64_t m) { return m <= 2 ? static_cast<int>(m) : 65 - __builtin_clzll(m - 1); }

inline uint64_t magnitude_of(int64_t v) {
    return v < 0 ? uint64_t{0} - static_cast<uint64_t>(v) : static_cast<uint64_t>(v);
}

// Which member of class `c` the magnitude `m` is: the low c - 2 bits of m - 1. Two have counters, the others nothing.
template <class Coder>
uint64_t code_member(Mixer& mixer, Coder& coder, uint64_t m, int c) {
    if (c < 3) return static_cast<uint64_t>(c);
    const uint64_t bits = m - 1;
    const int leaf = 3 * std::min(c, 20);
    int left = c - 2;
    uint64_t back = 0;
    for (int k = 0, prefix = 0; k < 2 && left > 0; ++k) {
        const int bit = mixer.code_leaf(coder, static_cast<int>((bits >> --left) & 1), leaf + prefix);
        prefix = 1 + bit;
        back = back << 1 | static_cast<uint64_t>(bit);
    }
    while (left > 0) {
        const int some = std::min(left, 16);
        left -= some;
        back = back << some | coder.code_bits((bits >> left) & ((uint64_t{1} << some) - 1), some);
    }
    return (uint64_t{1} << (c - 2)) + 1 + back;
}

}  // namespace sciflow
