// Integers of a series predicted from those before them along one axis, by weights fitted to the block: signals that
// were sampled finer than their band needs. docs/format.md section 10.
#pragma once

#include <vector>

#include "bytes.hpp"
#include "lattice.hpp"

namespace sciflow {

inline constexpr int MAX_ORDER = 32;
inline constexpr int MAX_SHIFT = 24;
inline constexpr int64_t MAX_WEIGHT = (int64_t{1} << 26) - 1;  // so that sums over 32-bit integers fit 64 bits

struct Autoregression {
    int axis = X;
    int shift = 0;                // weights are multiples of 2^-shift
    std::vector<int32_t> weight;  // of the integer before, of the one before that, ...
    double mean = 0;              // whole: the integers are predicted from what they are above it
    double rate = 0;              // bits a value, estimated
};

// The axis and the weights that leave least to code of the values as integers, holes being NaN; no weights where that is
// not likely to come below `rate` bits a value. Unless `thorough`, few values have to promise it first.
template <class T>
Autoregression likely_autoregression(const T* values, const Dims& dims, const LinearMap& map, double rate,
                                     bool thorough);

// Integers to what prediction leaves of them, and back, all modulo the word.
template <class Q>
void autoregress_forward(Q* values, const Dims& dims, const Autoregression& a);
template <class Q>
void autoregress_inverse(Q* values, const Dims& dims, const Autoregression& a);

void write_autoregression(const Autoregression& a, Bytes& out);
Status read_autoregression(Cursor& in, Autoregression& a);

}  // namespace sciflow
