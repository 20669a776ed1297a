// The network's loops that are compiled once for each instruction set, as plain data (see kernels.hpp).
#pragma once

#include <cstddef>
#include <cstdint>

namespace sciflow::network {

inline constexpr size_t TILE = 16;        // outputs that are summed side by side
inline constexpr size_t FEW_OUTPUTS = 4;  // up to here one sum at a time is faster than a tile
inline constexpr int32_t MOST_SCALED = 65535;
inline constexpr int SCALE_BITS = 14;
inline constexpr int SLOPE_BITS = 8;
inline constexpr size_t TABLE = 257;
inline constexpr int ROOT_BITS = 16, INVERSE_BITS = 38;
inline constexpr int32_t MOST = 32767;

enum class Activation : uint8_t { none = 0, relu = 1, leaky = 2, table = 3 };
enum class Norm : uint8_t { none, divide, multiply };

// A sum of products for each position and output, brought to 16 bits. Channels of a cell lie side by side, padded to
// an even number with zeros.
struct StageJob {
    const int16_t* in = nullptr;
    const int32_t* from = nullptr;  // [count], each position's first cell
    const int32_t* taps = nullptr;  // from there to the cells that are read
    size_t tap_count = 0, pairs = 0;
    size_t count = 0;

    const int16_t* weights = nullptr;  // [tile][tap][pair][TILE][2], or [output][tap][pair][2] where they are few
    size_t outputs = 0;
    const int32_t* bias = nullptr;  // this and the next two: [outputs, padded to whole tiles]
    const int32_t* pre = nullptr;
    const int32_t* multiplier = nullptr;
    int32_t most = 0;
    Activation activation = Activation::none;
    int32_t slope = 0;
    const int16_t* table = nullptr;

    Norm norm = Norm::none;
    const int16_t* scaled = nullptr;  // what a norm divides or multiplies: a cell for each position, at `from`
    int shift = 0;

    int16_t* out = nullptr;
    const int32_t* to = nullptr;     // [count]
    const int32_t* place = nullptr;  // [outputs], where in the cells of a position; null: side by side
    int16_t* gathered = nullptr;     // [tap_count * pairs * 2], scratch
};

struct Stages {
    void (*run)(const StageJob& job);
    void (*square)(const int16_t* in, size_t n, int shift, int16_t* out);
};

}  // namespace sciflow::network
