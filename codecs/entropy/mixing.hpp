// Grids of integer codes to bytes and back, bit by bit: smaller and slower than coder.hpp. docs/format.md section 8.
#pragma once

#include "entropy/binary_coder.hpp"
#include "entropy/coder.hpp"
#include "entropy/mixer.hpp"
#include "entropy/symbol_model.hpp"

namespace sciflow {

// What the rows around one say of each of its columns.
struct RowScratch {
    std::vector<uint32_t> quiet;    // how many columns have zeros around them
    std::vector<uint32_t> rest;     // weighed magnitudes in other rows
    std::vector<uint16_t> part[3];  // of contexts
    std::vector<int16_t> coarse;    // the parent's values

    void assign(size_t longest);
};

// Memory that a thread keeps between blocks.
struct MixingScratch {
    Mixer mixer;
    SymbolModel symbols;
    std::vector<int16_t> values;  // of every grid, rows with a margin of zeros
    std::vector<int16_t> zeros;
    RowScratch rows[2];  // of each lane
};

inline constexpr size_t MIXING_FROM = 256;  // fewer codes are never mixed: the model costs more to set up than to use

template <class Q>
void mix_grids(const std::vector<GridSpec>& grids, const Q* codes, MixingScratch& scratch, Bytes& out);

template <class Q>
Status unmix_grids(Cursor& in, const std::vector<GridSpec>& grids, Q* codes, MixingScratch& scratch);

// The same in symbols rather than decisions, in two lanes: faster, a little larger. unmix_grids reads both, and tells
// them apart by their number of bytes.
inline constexpr size_t PAIR_FROM = 32768;  // codes of a grid: smaller ones are one lane
inline constexpr uint64_t PAIRED = uint64_t{1} << 32;

template <class Q>
void pair_grids(const std::vector<GridSpec>& grids, const Q* codes, MixingScratch& scratch, Bytes& out);

template <class Q>
Status unpair_grids(BinaryDecoder& coder, const std::vector<GridSpec>& grids, Q* codes, MixingScratch& scratch);

}  // namespace sciflow
