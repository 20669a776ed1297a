// Mode 6: multiples of a step, their differences over a few distances, groups of 64 at a fixed width each.
// docs/format.md section 12.
#pragma once

#include <vector>

#include "kernels.hpp"

namespace sciflow {

inline constexpr size_t STRIP = 2048;  // what is worked on at a time: it stays in the first-level cache
inline constexpr size_t STRIPS_HELD = 2 * STRIP + 2;
inline constexpr int MOST_LAGS = 3;

// How often values are differenced along each axis, 0 to 2 times.
struct Orders {
    int of[AXES] = {0, 0, 0, 0};

    int lags() const { return of[0] + of[1] + of[2]; }  // along the axes before x
    uint8_t byte() const { return static_cast<uint8_t>(of[0] | of[1] << 2 | of[2] << 4 | of[X] << 6); }
    static bool read(uint8_t byte, Orders& orders) {
        bool good = true;
        for (int a = 0; a < AXES; ++a) good &= (orders.of[a] = byte >> (2 * a) & 3) < 3;
        return good && orders.lags() <= MOST_LAGS;
    }
};

// Memory that a thread keeps between blocks.
struct PackScratch {
    std::vector<uint32_t> history, strip, numbers, missed, sample;
    std::vector<uint8_t> width, count, high;  // of each group
    std::vector<uint8_t> payload, patches;
    size_t payload_bytes = 0, patch_bytes = 0;
};

// A packed body's parts behind its numbers, and the numbers themselves. All may be read 64 bytes behind their end.
struct PackedParts {
    const uint8_t *width = nullptr, *count = nullptr, *high = nullptr;  // of each group
    const uint8_t* payload = nullptr;
    const uint8_t* patches = nullptr;
};

}  // namespace sciflow
