// How a network runs on blocks of given lengths: where each stage's values lie, which cells each sum reads, and its
// weights in the order in which they are read. A few blocks lie side by side, so that small ones fill the machine.
#pragma once

#include <vector>

#include "network/model.hpp"

namespace sciflow::network {

using Lengths = std::array<uint64_t, 3>;

inline constexpr uint64_t MAX_VALUES = uint64_t{1} << 26;    // of all stages of a block, with the cells around it
inline constexpr uint64_t MAX_PRODUCTS = uint64_t{1} << 18;  // for each value that comes out

// The values between two stages, `blocks` of them behind each other: one cell of zeros on each side along the axes of
// the network, channels side by side.
struct Cells {
    Lengths lengths{};
    uint64_t channels = 0, width = 0;  // as they are, and padded to an even number
    std::array<uint64_t, 3> halo{};

    uint64_t cells() const { return lengths[0] * lengths[1] * lengths[2]; }
    uint64_t values() const { return cells() * channels; }
    uint64_t row() const { return lengths[2] + 2 * halo[2]; }
    uint64_t plane() const { return row() * (lengths[1] + 2 * halo[1]); }
    uint64_t block() const { return width * plane() * (lengths[0] + 2 * halo[0]); }
    int32_t at(uint64_t b, uint64_t z, uint64_t y, uint64_t x) const {
        return static_cast<int32_t>(b * block() +
                                    ((z + halo[0]) * plane() + (y + halo[1]) * row() + x + halo[2]) * width);
    }
};

// One call of the kernel: a stage, or one of the 2^axes phases of a transposed one.
struct Pass {
    StageJob job;
    std::vector<int32_t> from, to, taps, place, bias, pre, multiplier;
    std::vector<int16_t> weights;
};

struct Step {
    const Stage* stage = nullptr;
    Cells in, out;
    std::vector<Pass> passes;
};

struct Plan {
    uint64_t blocks = 1;  // at a time
    std::vector<Step> steps;
};

// The lengths and channels that come out, or `corrupt` where the network does not take such blocks or is too much work.
Status trace(const Network& network, const Lengths& lengths, std::vector<Cells>& cells);

// The plan refers to the network; `cells` are those of `trace`.
Plan make_plan(const Network& network, const std::vector<Cells>& cells, uint64_t count);

}  // namespace sciflow::network
