// What every stage of the engine reports, and the few limits that all of them share.
#pragma once

#include <cstddef>
#include <cstdint>

namespace sciflow {

enum class Status : int {
    ok = 0,
    truncated = 1,       // the stream ends before what its header promises
    corrupt = 2,         // a field holds a value that no encoder writes
    unsupported = 3,     // a newer major version
    bad_argument = 4,    // the caller's mistake
    bound_violated = 5,  // the encoder caught itself breaking its promise: a bug
    no_memory = 6,
    other_model = 7,  // the stream names a model that is not the one at hand
};

inline constexpr uint8_t STREAM_MAJOR = 0;
inline constexpr uint8_t STREAM_MINOR = 2;

inline constexpr int MAX_NDIM = 8;
inline constexpr int MAX_REGIONS = 255;  // with bounds of their own
inline constexpr size_t MAX_BLOCK_VALUES = size_t{1} << 21;
inline constexpr size_t MAX_BLOCK_ROWS = size_t{1} << 18;  // each carries a halo: short rows must not be too many

enum class Dtype : uint8_t { float32 = 0, float64 = 1 };

inline constexpr size_t itemsize(Dtype d) { return d == Dtype::float32 ? 4 : 8; }

}  // namespace sciflow
