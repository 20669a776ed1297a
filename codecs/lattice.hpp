// Values as integers: multiples of a step from an origin, or magnitudes as steps through the float's own bit pattern.
// docs/format.md section 4.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <type_traits>
#include <vector>

#include "bytes.hpp"
#include "grid.hpp"

namespace sciflow {

template <class T>
using BitsOf = std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>;

// x' = origin + q * step, in double, rounded once to T.
struct LinearMap {
    double origin = 0;
    double step = 1;

    bool valid() const { return std::isfinite(origin) && std::isfinite(step) && step > 0; }

    template <class T>
    bool forward(T x, int64_t& q) const {
        const double t = std::rint((static_cast<double>(x) - origin) * (1 / step));
        if (!(std::fabs(t) < 0x1p51)) return false;
        q = static_cast<int64_t>(t);
        return true;
    }
    template <class T>
    T inverse(int64_t q) const {
        return static_cast<T>(origin + static_cast<double>(q) * step);
    }
};

// The magnitude's bit pattern divided by an odd `stride`, rounded; stride 1 keeps every bit. A float's pattern grows
// with its logarithm, piecewise linearly, so half a stride of 2k+1 is a relative error of at most k 2^-mantissa.
struct MagnitudeMap {
    uint64_t stride = 1;

    template <class T>
    static MagnitudeMap for_relative(double r) {
        const double k = std::floor(r * (sizeof(T) == 4 ? 0x1p23 : 0x1p52));
        return {2 * static_cast<uint64_t>(k) + 1};
    }
    template <class T>
    int64_t forward(T x) const {
        constexpr BitsOf<T> no_sign = static_cast<BitsOf<T>>(-1) >> 1;
        return static_cast<int64_t>(((std::bit_cast<BitsOf<T>>(x) & no_sign) + stride / 2) / stride);
    }
    template <class T>
    T inverse(int64_t q, bool negative) const {
        const BitsOf<T> b = static_cast<BitsOf<T>>(static_cast<uint64_t>(q) * stride);
        return std::bit_cast<T>(
            static_cast<BitsOf<T>>(b | (negative ? BitsOf<T>(1) << (8 * sizeof(T) - 1) : BitsOf<T>(0))));
    }
};

// A spacing that all sampled values share (they were packed or quantised at their source), or step 0.
template <class T>
LinearMap find_lattice(const std::vector<T>& sample, double bound);

}  // namespace sciflow
