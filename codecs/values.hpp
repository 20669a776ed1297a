// What encoder, decoder and check share about single values and about the flags of a block.
#pragma once

#include <bit>
#include <cmath>
#include <span>

#include "lattice.hpp"

namespace sciflow {

enum Flag : uint8_t {
    HAS_EXACT = 1,
    HAS_SIGNS = 2,
    DOUBLE_INTEGERS = 2,  // of mode described: they are coded as binary64
    WIDE = 4,             // 64-bit integers
    MAGNITUDES = 8,       // the integers are magnitudes, not multiples of a step
    PLAIN_STEP = 16,      // origin 0, step twice the bound
    MIXED = 32,           // codes by context mixing, not by static tables
    REFINED = 64,         // regions of tighter bounds follow
    LOW_BITS = 128,       // the lowest bits of the codes lie apart
};

// Of the axes byte of mode lorenzo: weights along an axis follow, for what is left of the differences named beside it.
inline constexpr uint8_t AUTOREGRESSIVE = 16;

// No base of multiples of a step lies further out: sums with a code stay exact in double.
inline constexpr int64_t MAX_BASE = int64_t{1} << 52;

// Larger magnitudes are not predicted from: sums of them could overflow.
template <class T>
constexpr T huge() {
    return sizeof(T) == 4 ? T(0x1p120) : T(0x1p1000);
}

template <class T>
bool listed(T x, std::span<const uint64_t> preserve) {
    for (uint64_t p : preserve)
        if (std::bit_cast<BitsOf<T>>(x) == static_cast<BitsOf<T>>(p)) return true;
    return false;
}

// |x - y| <= bound, decided exactly (Knuth's two-difference tells what the subtraction rounded away).
inline bool within(double x, double y, double bound) {
    const double d = x - y, b = d - x, rest = (x - (d - b)) - (y + b);
    const double size = std::fabs(d);
    return size < bound || (size == bound && (d < 0 ? rest >= 0 : rest <= 0));
}

}  // namespace sciflow
