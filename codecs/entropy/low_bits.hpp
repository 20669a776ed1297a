// Codes much larger than one: their lowest bits are noise, and stored as they are. docs/format.md section 8.
#pragma once

#include "bytes.hpp"
#include "kernels.hpp"

namespace sciflow {

// How many low bits of these codes hold nothing that a model could find; 0: none. Zeros beyond those that the mean explains
// cost their low bits: `most_zeros` is the share of them that is worth the speed.
template <class Q>
unsigned count_low_bits(const Q* codes, size_t n, double most_zeros);

// The count and the bits to `out`; `codes` lose them.
template <class Q>
void write_low_bits(Q* codes, size_t n, unsigned low, Bytes& out);

// What has been read but not yet been joined with the codes above it.
struct LowBits {
    unsigned count = 0;
    View planes;
};

template <class Q>
Status read_low_bits(Cursor& in, size_t n, LowBits& low);

template <class Q>
void join_low_bits(const LowBits& low, size_t n, Q* codes);

}  // namespace sciflow
