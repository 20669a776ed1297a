// Values that must come back bit for bit: where they are (runs, or an image) and what they are (a palette, or literally).
// docs/format.md section 5.
#pragma once

#include "entropy/mixing.hpp"
#include "grid.hpp"

namespace sciflow {

// Calls visit(i) for every marked position, in order; passes over eight unmarked ones at a time.
template <class Visit>
void each_marked(const uint8_t* mask, size_t n, Visit&& visit) {
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        uint64_t eight;
        std::memcpy(&eight, mask + i, 8);
        if (eight == 0) continue;
        for (size_t k = i; k < i + 8; ++k)
            if (mask[k]) visit(k);
    }
    for (; i < n; ++i)
        if (mask[i]) visit(i);
}

// Flags, one byte (0 or 1) a value, `count` of them set, as runs; a mask that repeats along an axis costs its
// differences alone.
void write_mask(const uint8_t* mask, size_t count, const Dims& dims, EntropyScratch& scratch, Bytes& out);
// Without `mixing` an image is corrupt.
Status read_mask(Cursor& in, const Dims& dims, EntropyScratch& scratch, MixingScratch* mixing, uint8_t* mask);

// Bit patterns in order. `Bits` is uint32_t or uint64_t.
template <class Bits>
void write_exact(const std::vector<Bits>& values, EntropyScratch& scratch, Bytes& out);
template <class Bits>
Status read_exact(Cursor& in, size_t count, EntropyScratch& scratch, std::vector<Bits>& values);

// The same set as write_mask and write_exact write, its marks and what they stand for as one image, coded by mixing.
template <class Bits>
void write_exact_image(const uint8_t* mask, const std::vector<Bits>& values, const Dims& dims, MixingScratch& mixing,
                       Bytes& out);

// Either form: `mask` is not 0 where a position is marked.
template <class Bits>
Status read_exact_set(Cursor& in, const Dims& dims, EntropyScratch& scratch, MixingScratch& mixing, uint8_t* mask,
                      std::vector<Bits>& values);

}  // namespace sciflow
