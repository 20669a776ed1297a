// Grids of integer codes to bytes and back, bit by bit: smaller and slower than coder.hpp. docs/format.md section 8.
#pragma once

#include "entropy/coder.hpp"
#include "entropy/mixer.hpp"

namespace sciflow {

// Memory that a thread keeps between blocks.
struct MixingScratch {
    Mixer mixer;
    std::vector<int16_t> values;  // of every grid, rows with a margin of zeros
    std::vector<int16_t> zeros;
    std::vector<uint32_t> quiet;    // by column, as what follows: how many columns have zeros around them
    std::vector<uint32_t> rest;     // weighed magnitudes in other rows
    std::vector<uint16_t> part[3];  // of contexts
    std::vector<int16_t> coarse;    // the parent's values
};

inline constexpr size_t MIXING_FROM = 256;  // fewer codes are never mixed: the model costs more to set up than to use

template <class Q>
void mix_grids(const std::vector<GridSpec>& grids, const Q* codes, MixingScratch& scratch, Bytes& out);

template <class Q>
Status unmix_grids(Cursor& in, const std::vector<GridSpec>& grids, Q* codes, MixingScratch& scratch);

}  // namespace sciflow
