// The loops that are compiled once for each instruction set. Everything here is plain data: no containers cross this
// seam, so that no template compiled for a newer machine can leak into code that runs on an older one.
#pragma once

#include <cstddef>
#include <cstdint>

#include "enhance/rows_seam.hpp"
#include "grid.hpp"
#include "network/stage_seam.hpp"

namespace sciflow {

// ---- prediction ------------------------------------------------------------------------------------------------

// One source of a class: the same class with `axis` even, one grid of rows with halo.
template <class T>
struct Source {
    const T* data = nullptr;
    size_t count = 0;  // positions along `axis`
    Layout layout;
    int axis = 0;
    T weight = 0;  // a multiple of 1/64
    bool cubic = true;
};

inline constexpr int MAX_STENCIL_TAPS = 32;
inline constexpr int STENCIL_BITS = 13;  // of a weight of one

// A cell that a learned class is predicted from: `shift` from its own place, in a class with `count` positions an axis.
template <class T>
struct StencilSource {
    const T* data = nullptr;
    Layout layout;
    size_t count[3] = {1, 1, 1};
    int8_t shift[AXES] = {0, 0, 0, 0};
    int16_t weight = 0;
};

template <class T>
struct ClassJob {
    Dims dims;
    Layout layout;
    T* data = nullptr;  // encode: originals in, reconstructions out; decode: reconstructions out
    Source<T> source[AXES];
    int sources = 0;
    const StencilSource<T>* stencil = nullptr;  // in place of `source`
    int stencil_taps = 0;
    bool halo = false;         // this class will be read along x
    bool lattice = false;      // values are integers, predictions are rounded
    int32_t* codes = nullptr;  // dense, in row order
    T* scratch = nullptr;      // a row
    T step = 0, inverse = 0;
    T limit = 0;  // largest T <= bound; errors below it need no second look
    double bound = 0;
    const T* avoid = nullptr;  // values that no reconstruction may take
    size_t avoided = 0;
    uint32_t* failed = nullptr;  // positions within the class whose error exceeds the bound
    size_t failures = 0;
};

template <class T>
struct Predict {
    void (*split)(const T* full, const Layout& from, const Dims& full_dims, unsigned active, T* const* classes);
    void (*merge)(T* full, const Layout& to, const Dims& full_dims, unsigned active, const T* const* classes,
                  bool halo);
    void (*encode_class)(ClassJob<T>& job);
    void (*decode_class)(ClassJob<T>& job);
};

template <class Q>
struct Lorenzo {
    void (*forward)(Q* values, const Dims& dims, unsigned mask);
    void (*inverse)(Q* values, const Dims& dims, unsigned mask);
};

// What weights, multiples of 2^-shift, say of integers from those `distance`, 2 * `distance`, ... before them.
struct WeightedJob {
    const int32_t* weight = nullptr;
    size_t order = 0, distance = 1;
    int shift = 0;
    bool add = false;  // to what is there, or taken from it
};

// x' = origin + (base + code) * step.
struct LatticeJob {
    double origin = 0, step = 1, inverse = 1, base = 0, bound = 0;
    bool fixed_point = false;  // coding x' again must give the same code
};

template <class T>
struct Quantize {
    size_t (*to_lattice)(const T* in, size_t n, const LatticeJob& job, int32_t* codes, uint8_t* exact);
    void (*from_lattice)(const int32_t* codes, size_t n, const LatticeJob& job, T* out);
};

template <class T>
struct Scan {
    size_t (*mark_exact)(const T* in, size_t n, T low, T high, uint8_t* exact);
    size_t (*mark_pattern)(const T* in, size_t n, uint64_t pattern, uint8_t* exact);
    bool (*clearly_within)(const T* in, const T* out, size_t n, T limit);
    bool (*pattern_kept)(const T* in, const T* out, size_t n, uint64_t pattern);
};

// ---- raster-scan prediction --------------------------------------------------------------------------------------

inline constexpr size_t RASTER_STRIP = 64;  // values that are predicted with the same weights at a time
inline constexpr int MAX_WIDTH = 48;
inline constexpr int BIAS_TAPS = 5;
inline constexpr int BIAS_CONTEXTS = 243;
inline constexpr double BIAS_MEMORY = 64, BIAS_PRIOR = 4;
inline constexpr double RIDGE_NOISE = 0x1p-12;  // squared steps a value
inline constexpr double RIDGE_GROWTH = 1 + 0x1p-30;

// Columns of a block's statistics: its taps, the target and a one, in whole vectors of eight.
constexpr int statistics_width(int taps) { return (taps + 9) & ~7; }

// The mean error of the values that stood alike among their neighbours, in steps.
template <class V>
struct Bias {
    V sum = 0, count = 0, correction = 0;
};

// A strip of values that are predicted alike, and what they teach.
template <class T>
struct StripJob {
    const T* const* tap =
        nullptr;               // tap[k][x] is value x's neighbour; in rows before, RASTER_STRIP of them can be read
    int taps = 0, serial = 0;  // the last ones lie in the row that is being decoded
    int bias_tap[BIAS_TAPS] = {};
    size_t count = 0;
    double centre = 0, step = 0, inverse = 0, low = 0, high = 0;
    T rounded_step = 0;
    T* out = nullptr;
    int32_t* codes = nullptr;
    uint8_t* exact = nullptr;  // decode: only read
    double* lessons =
        nullptr;         // out: [RASTER_STRIP][statistics_width], the neighbours, the target and a one of a value
    size_t learned = 0;  // out: how many
    const T* weights = nullptr;  // from here on: thinned
    Bias<T>* bias = nullptr;
    size_t first = 0, every = 1;            // values that teach
    const double* exact_weights = nullptr;  // from here on: dense
    double* features = nullptr;             // [taps + 1][RASTER_STRIP], the last the targets
    Bias<double>* exact_bias = nullptr;
    const T* in = nullptr;  // from here on: encode alone
    double bound = 0;
    const T* avoid = nullptr;
    size_t avoided = 0;
    size_t failures = 0;
};

template <class T>
struct Raster {
    void (*encode_strip)(StripJob<T>& job);
    void (*decode_strip)(StripJob<T>& job);
    void (*decode_dense_strip)(StripJob<T>& job);
};

struct LeastSquares {
    void (*add_products)(const double* lessons, size_t n, int taps, double* sums);
    void (*blend_sums)(double* to, double keep, const double* from, double factor, int taps);
    bool (*solve_sums)(double* sums, int taps, double* weights);
};

template <class T>
struct Steps {
    bool (*to_steps)(const T* in, size_t n, const LatticeJob& job, T limit, uint32_t* codes, uint32_t* doubt);
    bool (*steps_kept)(const int32_t* codes, const T* in, size_t n, const LatticeJob& job, T limit);
};

struct Lags {
    void (*differences)(const uint32_t* values, size_t n, const size_t* lags, int count, uint32_t* words);
    void (*sums)(uint32_t* values, size_t n, const size_t* lags, int count);
    void (*differences_along_x)(const uint32_t* codes, size_t n, int order, uint32_t* values);
    void (*sums_along_x)(const uint32_t* values, size_t n, int order, uint32_t* carry, uint32_t* codes);
};

// ---- entropy coding --------------------------------------------------------------------------------------------

inline constexpr int LANES = 32;  // interleaved rANS states
inline constexpr int PROB_BITS = 12;
inline constexpr uint32_t RANS_LOW = 1u << 15;
inline constexpr int FINE_CONTEXTS = 30;
inline constexpr int MAX_TABLES = 16;
inline constexpr int SYMBOLS = 235;
inline constexpr int EXACT = 31;  // codes up to this magnitude are symbols of their own

struct BitWriter {
    uint8_t* out = nullptr;  // capacity is the caller's: 8 bytes a value suffice
    uint64_t hold = 0;
    int held = 0;
};

struct BitReader {
    const uint8_t* in = nullptr;
    const uint8_t* end = nullptr;
    uint64_t hold = 0;
    int held = 0;
    bool over = false;  // read past the end
};

// x / freq == (x * reciprocal) >> shift for every x below 2^31; `range` packs start, freq and shift.
struct EncodeTables {
    const uint32_t* reciprocal = nullptr;  // [tables][256]
    const uint32_t* range = nullptr;       // start | freq << 12 | shift << 25
};

struct RansDecoder {
    uint32_t state[LANES];
    uint32_t lanes = LANES;
    const uint8_t* words = nullptr;  // little-endian 16-bit words
    const uint8_t* end = nullptr;
    const uint32_t* table = nullptr;  // [tables][4096]: symbol | (freq - 1) << 8 | bias << 20
    bool over = false;
};

inline constexpr int GROUP = 64;  // words of the same width

// Groups of words. Writing may touch 16 bytes behind what is written, reading 64 bytes behind what is read.
struct PackJob {
    const uint32_t* words = nullptr;
    size_t groups = 0;
    uint8_t *width = nullptr, *count = nullptr, *high = nullptr;
    uint8_t* payload = nullptr;
    BitWriter patches;
};

struct UnpackJob {
    const uint8_t *width = nullptr, *count = nullptr, *high = nullptr;
    size_t groups = 0;
    const uint8_t* payload = nullptr;
    const uint8_t* patches = nullptr;
    uint64_t patch_bit = 0;
    uint32_t* words = nullptr;
};

struct Groups {
    void (*pack)(PackJob& job);
    void (*unpack)(UnpackJob& job);
    uint64_t (*price)(const uint32_t* words, size_t groups);  // about their bits
};

// One grid of codes. `reference`: magnitudes of the grid coded before it (padded rows), or null.
template <class Q>
struct GridJob {
    Q* codes = nullptr;  // dense
    Dims dims;
    bool folded = false;             // rows are steps of 64 parallel segments of one series
    uint16_t* magnitudes = nullptr;  // out, padded by one cell on each side of a row
    const uint16_t* reference = nullptr;
    Dims reference_dims;
    const uint16_t* zeros = nullptr;          // a row of zeros as long as any row here
    uint8_t* contexts = nullptr;              // encode: fine contexts out; decode: a row of scratch
    uint8_t* symbols = nullptr;               // encode: out; decode: a row of scratch
    uint32_t (*histogram)[2][256] = nullptr;  // by context, then by parity of x: two counters stall less than one
};

template <class Q>
struct Entropy {
    void (*model_grid)(GridJob<Q>& job, BitWriter& bits);
    void (*decode_grid)(GridJob<Q>& job, RansDecoder& rans, const uint8_t* table_of, BitReader& bits);
    void (*take_low)(Q* codes, size_t n, unsigned low, uint8_t* planes);
    void (*give_low)(Q* codes, size_t n, unsigned low, const uint8_t* planes);
};

struct Kernels {
    const char* name;
    Predict<float> predict_f32;
    Predict<double> predict_f64;
    Quantize<float> quantize_f32;
    Quantize<double> quantize_f64;
    Scan<float> scan_f32;
    Scan<double> scan_f64;
    Steps<float> steps_f32;
    Steps<double> steps_f64;
    Lags lags;
    Groups groups;
    Lorenzo<int32_t> lorenzo_i32;
    Lorenzo<int64_t> lorenzo_i64;
    // Rows as long as the distance at most, or, where nothing is added, longer ones of which all before is there.
    void (*weighted_row)(int32_t* row, size_t n, const WeightedJob& job);
    Raster<float> raster_f32;
    Raster<double> raster_f64;
    LeastSquares least_squares;
    Entropy<int32_t> entropy_i32;
    Entropy<int64_t> entropy_i64;
    // Encodes one row backwards; returns the new write position (words grow downwards).
    uint8_t* (*rans_encode_row)(const uint8_t* symbols, const uint8_t* contexts, const uint8_t* table_of, size_t n,
                                const EncodeTables& tables, uint32_t* state, uint32_t lanes, uint8_t* words);
    void (*rans_decode_row)(RansDecoder& rans, const uint8_t* tables, uint8_t* symbols, size_t n);
    // Whether a row decodes to these symbols; `scratch` holds two rows, each padded by 64.
    bool (*rans_row_is)(RansDecoder& rans, const uint8_t* symbols, const uint8_t* contexts, const uint8_t* table_of,
                        size_t n, uint8_t* scratch);
    enhance::FixedPoint<float> fixed_f32;
    enhance::FixedPoint<double> fixed_f64;
    enhance::EnhanceRows enhance;
    network::Stages network;
};

const Kernels& kernels();                   // the best for this machine
const Kernels* kernels_named(const char*);  // a particular one, or null where the machine lacks it

template <class T>
const Predict<T>& predict(const Kernels& k) {
    if constexpr (sizeof(T) == 4) return k.predict_f32;
    else return k.predict_f64;
}
template <class T>
const Quantize<T>& quantize(const Kernels& k) {
    if constexpr (sizeof(T) == 4) return k.quantize_f32;
    else return k.quantize_f64;
}
template <class T>
const Scan<T>& scan(const Kernels& k) {
    if constexpr (sizeof(T) == 4) return k.scan_f32;
    else return k.scan_f64;
}
template <class T>
const Raster<T>& raster(const Kernels& k) {
    if constexpr (sizeof(T) == 4) return k.raster_f32;
    else return k.raster_f64;
}
template <class T>
const Steps<T>& steps(const Kernels& k) {
    if constexpr (sizeof(T) == 4) return k.steps_f32;
    else return k.steps_f64;
}
template <class T>
const enhance::FixedPoint<T>& fixed_point(const Kernels& k) {
    if constexpr (sizeof(T) == 4) return k.fixed_f32;
    else return k.fixed_f64;
}
template <class Q>
const Entropy<Q>& entropy(const Kernels& k) {
    if constexpr (sizeof(Q) == 4) return k.entropy_i32;
    else return k.entropy_i64;
}
template <class Q>
const Lorenzo<Q>& lorenzo(const Kernels& k) {
    if constexpr (sizeof(Q) == 4) return k.lorenzo_i32;
    else return k.lorenzo_i64;
}

}  // namespace sciflow
