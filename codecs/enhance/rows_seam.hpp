// The enhancer's loops that are compiled once for each instruction set, as plain data (see kernels.hpp).
#pragma once

#include <cstddef>
#include <cstdint>

namespace sciflow::enhance {

inline constexpr int MAX_PAIRS = 12;
inline constexpr int PAIRS[4] = {0, 2, 6, 12};  // neighbours within two steps, one of each opposite pair, by axes
inline constexpr int MAX_AUX = 3;               // other arrays that a filter reads
inline constexpr int MAX_SOURCES = 1 + MAX_AUX;
inline constexpr int MAX_FEATURES = 2 * MAX_PAIRS * MAX_SOURCES + 1;
inline constexpr int MAX_CLASSES = 64;
inline constexpr int32_t LINEAR_CUT = 16383;         // linear differences are cut here ...
inline constexpr int32_t CLIPPED_CUT = 24;           // ... and the other copy here, one and a half base bounds
inline constexpr int32_t MOST_SLOPE = 4095;          // what one difference adds to activity at most
inline constexpr double FIXED_LIMIT = 1073741824.0;  // 2^30: integers stay below

struct FilterRow {
    const int32_t* t[MAX_SOURCES] = {};  // integers of each source, readable two cells (and rows, planes) around
    int sources = 1;
    const int32_t* classes = nullptr;  // of each cell
    ptrdiff_t step[MAX_PAIRS] = {};    // to one neighbour of each pair; the other is opposite
    int pairs = 0;
    const int32_t* weights =
        nullptr;                    // [source * pairs + pair][class]: linear in the low half, clipped in the high half
    const int32_t* bias = nullptr;  // [class], rounding included
    int shift = 0;
    int16_t* out = nullptr;
    size_t n = 0;
};

template <class T>
struct FixedPoint {
    // Integers of a row; false where a cell has none (it is marked in `hole`, which is otherwise left alone).
    bool (*to_fixed)(const T* in, size_t n, double origin, double inverse, int32_t* out, uint8_t* hole);
    // in + clamp(h) * unit, in binary64, rounded once.
    void (*correct)(const T* in, const int16_t* h, size_t n, int32_t limit, double unit, T* out);
};

struct EnhanceRows {
    void (*activity)(const int32_t* t, const ptrdiff_t* forward, int axes, size_t n, int32_t* out);
    void (*sum_of_five)(const int32_t* const* rows, size_t n, int32_t* out);
    void (*count_edges)(const int32_t* v, size_t n, const int32_t* edges, size_t count, int32_t times,
                        int32_t* classes);
    void (*filter)(const FilterRow& job);
};

}  // namespace sciflow::enhance
