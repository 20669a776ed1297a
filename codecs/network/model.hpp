// A network as docs/network-format.md lays it out, and what its bytes must keep so that no sum can overflow.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "bytes.hpp"
#include "network/stage_seam.hpp"

namespace sciflow::network {

inline constexpr uint64_t MAX_CHANNELS = 1024, MAX_DENSE = 65536, MAX_LENGTH = 64;
inline constexpr size_t MAX_STAGES = 64;
inline constexpr uint64_t MAX_WEIGHTS = uint64_t{1} << 24;  // of a network, groups written out

enum class Kind : uint8_t { conv = 0, transposed = 1, upsample = 2, dense = 3, gdn = 4, inverse_gdn = 5 };

struct Stage {
    Kind kind = Kind::conv;
    uint64_t in = 0;       // channels; of a dense stage values
    uint64_t outputs = 0;  // channels; of a dense stage values
    int kernel = 1, stride = 1;
    bool padded = false;
    uint64_t groups = 1;
    std::array<uint64_t, 3> lengths{1, 1, 1};  // of what a dense stage makes
    uint64_t channels = 0;                     // of what comes out
    int32_t most = MOST, reach = MOST;         // what sums are held to; what comes out at most
    Activation activation = Activation::none;
    int slope = 0, square = 0, shift = 0;
    std::vector<int16_t> table;
    std::vector<int32_t> bias;
    std::vector<uint8_t> pre;
    std::vector<uint16_t> multiplier;
    std::vector<int8_t> weights;  // [outputs][in / groups][taps]
};

struct Network {
    int axes = 1;
    uint64_t channels = 0;
    int32_t most = MOST;
    std::vector<Stage> stages;
};

// Cells that a stage of the network reads for one that it makes.
size_t taps_of(const Stage& stage, int axes);

Status read_network(View bytes, Network& network);

}  // namespace sciflow::network
