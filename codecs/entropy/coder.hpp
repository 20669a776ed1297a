// Grids of integer codes to bytes and back. docs/format.md section 6.
#pragma once

#include "entropy/tables.hpp"
#include "scratch.hpp"

namespace sciflow {

struct GridSpec {
    Dims dims;
    int reference = -1;  // an earlier grid of much the same shape, whose magnitudes are a context
};

// Memory that a thread keeps between blocks, so that the kernel does not clear fresh pages for each.
struct EntropyScratch {
    Scratch<uint8_t> contexts, symbols, words, bits;
    std::vector<uint16_t> magnitudes[2];
    std::vector<uint16_t> zeros;
    std::vector<uint32_t> tables;
    Scratch<uint8_t> folded;
};

template <class Q>
void encode_grids(const std::vector<GridSpec>& grids, Q* codes, EntropyScratch& scratch, Bytes& out);

// Whether bytes of encode_grids decode to the symbols and the bits that it left in scratch, which it was the last to use.
// The contexts are those that the symbols were coded with.
bool grids_as_meant(View bytes, const std::vector<GridSpec>& grids, EntropyScratch& scratch);

// About the bits that encode_grids would spend on the codes, tables left out.
template <class Q>
double price_grids(const std::vector<GridSpec>& grids, Q* codes, EntropyScratch& scratch);

template <class Q>
Status decode_grids(Cursor& in, const std::vector<GridSpec>& grids, Q* codes, EntropyScratch& scratch);

// A list of small numbers (each below 2^31): plain where it is short, through the coder where that is worth it.
void write_numbers(const std::vector<uint32_t>& numbers, EntropyScratch& scratch, Bytes& out);
Status read_numbers(Cursor& in, size_t most, EntropyScratch& scratch, std::vector<uint32_t>& numbers);

}  // namespace sciflow
