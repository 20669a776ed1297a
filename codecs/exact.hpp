// Values that must come back bit for bit: where they are (runs) and what they are (a palette, or literally).
// docs/format.md section 5.
#pragma once

#include "entropy/coder.hpp"
#include "grid.hpp"

namespace sciflow {

// Flags, one byte a value, as runs; a mask that repeats along an axis costs its differences alone.
void write_mask(const uint8_t* mask, const Dims& dims, EntropyScratch& scratch, Bytes& out);
Status read_mask(Cursor& in, const Dims& dims, EntropyScratch& scratch, uint8_t* mask);

// The bit patterns under the mask, in order. `Bits` is uint32_t or uint64_t.
template <class Bits>
void write_exact(const Bits* values, const uint8_t* mask, size_t n, EntropyScratch& scratch, Bytes& out);
template <class Bits>
Status read_exact(Cursor& in, const uint8_t* mask, size_t n, EntropyScratch& scratch, Bits* values);

}  // namespace sciflow
