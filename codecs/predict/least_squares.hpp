// Raster-scan prediction, strip by strip: predicting, the sums of products that a fit needs, and the fit.
// Compiled once for each instruction set: included by kernels.cpp alone, inside its namespace.
// The order of every sum is part of the format: vectors run across sums, never along one.

#if defined(__AVX512F__)
constexpr int DOUBLES = 8;
#elif defined(__AVX__)
constexpr int DOUBLES = 4;
#else
constexpr int DOUBLES = 2;
#endif
typedef double Lanes __attribute__((vector_size(8 * DOUBLES), aligned(8), may_alias));

static inline Lanes* lanes(double* p) { return reinterpret_cast<Lanes*>(p); }
static inline const Lanes* lanes(const double* p) { return reinterpret_cast<const Lanes*>(p); }

// ---- prediction ------------------------------------------------------------------------------------------------------

// Everything that rows before this one contribute: features, and their share of the predictions.
template <class T>
static inline void predict_from_rows(const StripJob<T>& job, double* __restrict share) {
    double base[RASTER_STRIP];
    const int known = job.taps - job.serial;
    for (size_t x = 0; x < job.count; ++x) share[x] = 0;
    if (known == 0) return;
    for (size_t x = 0; x < job.count; ++x) base[x] = static_cast<double>(job.tap[0][x]);
    for (int k = 0; k < known; ++k) {
        const T* __restrict tap = job.tap[k];
        double* __restrict feature = job.features + static_cast<size_t>(k) * RASTER_STRIP;
        const double w = job.weights[k];
        for (size_t x = 0; x < job.count; ++x) {
            const double f = (static_cast<double>(tap[x]) - (k == 0 ? job.centre : base[x])) * job.inverse;
            feature[x] = f;
            share[x] = share[x] + w * f;
        }
    }
}

template <class T>
struct Guess {
    double base, sum;  // what the prediction counts from, and by how many steps it differs
    T value;
    unsigned context;
};

template <class T>
static inline Guess<T> guess(const StripJob<T>& job, size_t x, double share) {
    Guess<T> g;
    g.base = static_cast<double>(job.tap[0][x]);
    g.sum = share;
    for (int k = job.taps - job.serial; k < job.taps; ++k) {
        const double f = (static_cast<double>(job.tap[k][x]) - (k == 0 ? job.centre : g.base)) * job.inverse;
        job.features[static_cast<size_t>(k) * RASTER_STRIP + x] = f;
        g.sum = g.sum + job.weights[k] * f;
    }
    g.context = 0;
    for (int c = 0; c < BIAS_TAPS; ++c) {
        const int k = job.bias_tap[c];
        const double d = (k == 0 ? 0.0 : job.features[static_cast<size_t>(k) * RASTER_STRIP + x]) - g.sum;
        g.context = 3 * g.context + (d > 0.5 ? 1u : 0u) + (d < -0.5 ? 2u : 0u);
    }
    double p = g.base + (g.sum + job.bias[g.context].correction) * job.step;
    p = p > job.low ? p : job.low;
    p = p < job.high ? p : job.high;
    g.value = static_cast<T>(p);
    return g;
}

// What a reconstruction teaches: a target for the fit, an error for its context.
template <class T>
static inline void learn(const StripJob<T>& job, size_t x, const Guess<T>& g, T value) {
    const double target = (static_cast<double>(value) - g.base) * job.inverse;
    job.features[static_cast<size_t>(job.taps) * RASTER_STRIP + x] = target;
    Bias& b = job.bias[g.context];
    b.sum = b.sum + (target - g.sum);
    b.count = b.count + 1;
    if (b.count == BIAS_MEMORY) {
        b.sum = b.sum * 0.5;
        b.count = b.count * 0.5;
    }
    b.correction = b.sum / (b.count + BIAS_PRIOR);
}

template <class T>
static void encode_strip(StripJob<T>& job) {
    double share[RASTER_STRIP];
    predict_from_rows(job, share);
    for (size_t x = 0; x < job.count; ++x) {
        const Guess<T> g = guess(job, x, share[x]);
        int32_t code = 0;
        T value = g.value;
        if (!job.exact[x]) {
            const double t =
                __builtin_rint((static_cast<double>(job.in[x]) - static_cast<double>(g.value)) * job.inverse);
            const bool fits = t < 0x1p30 && t > -0x1p30;
            code = fits ? static_cast<int32_t>(t) : 0;
            value = g.value + static_cast<T>(code) * job.rounded_step;
            const double error = static_cast<double>(job.in[x]) - static_cast<double>(value);
            bool kept = fits && error < job.bound && error > -job.bound;
            for (size_t a = 0; a < job.avoided; ++a) kept = kept && job.avoid[a] != value;
            if (!kept) {
                job.exact[x] = 1;
                ++job.failures;
                code = 0;
                value = g.value;
            }
        }
        job.codes[x] = code;
        job.out[x] = value;
        if (!job.exact[x]) learn(job, x, g, value);
    }
}

template <class T>
static void decode_strip(StripJob<T>& job) {
    double share[RASTER_STRIP];
    predict_from_rows(job, share);
    for (size_t x = 0; x < job.count; ++x) {
        const Guess<T> g = guess(job, x, share[x]);
        const T value = g.value + static_cast<T>(job.codes[x]) * job.rounded_step;
        job.out[x] = value;
        if (!job.exact[x]) learn(job, x, g, value);
    }
}

// ---- statistics: sums of products of features, the upper triangle in blocks of eight columns -------------------------

static inline int first_block(int row) { return row & ~7; }

// Rows of features become rows of values; values that teach nothing are left out. Returns how many are left.
static inline size_t turn(const ProductsJob& job) {
    const size_t width = static_cast<size_t>(statistics_width(job.taps));
    size_t at[RASTER_STRIP], n = 0;
    for (size_t x = 0; x < job.count; ++x)
        if (!job.exact[x]) at[n++] = x;
    for (size_t k = 0; k < width; ++k) {
        const double* __restrict from = job.features + k * RASTER_STRIP;
        double* __restrict to = job.turned + k;
        const size_t taps = static_cast<size_t>(job.taps);
        if (k <= taps)
            for (size_t i = 0; i < n; ++i) to[i * width] = from[at[i]];
        else
            for (size_t i = 0; i < n; ++i) to[i * width] = k == taps + 1 ? 1 : 0;
    }
    return n;
}

// Adds each value's products to the sums, values in ascending order.
static void add_products(const ProductsJob& job) {
    const int width = statistics_width(job.taps);
    const size_t n = turn(job);
    for (int i = 0; i < width; i += 4)
        for (int j = first_block(i); j < width; j += 8) {
            Lanes sum[4][8 / DOUBLES];
            for (int r = 0; r < 4; ++r)
                for (int c = 0; c < 8 / DOUBLES; ++c) sum[r][c] = *lanes(job.sums + (i + r) * width + j + c * DOUBLES);
            const double* f = job.turned;
            for (size_t x = 0; x < n; ++x, f += width)
                for (int c = 0; c < 8 / DOUBLES; ++c) {
                    const Lanes v = *lanes(f + j + c * DOUBLES);
                    for (int r = 0; r < 4; ++r) sum[r][c] = sum[r][c] + f[i + r] * v;
                }
            for (int r = 0; r < 4; ++r)
                for (int c = 0; c < 8 / DOUBLES; ++c) *lanes(job.sums + (i + r) * width + j + c * DOUBLES) = sum[r][c];
        }
}

// to = keep * to + factor * from.
static void blend_sums(double* __restrict to, double keep, const double* __restrict from, double factor, int taps) {
    const int width = statistics_width(taps);
    for (int i = 0; i < width; ++i)
        for (int j = first_block(i); j < width; ++j)
            to[i * width + j] = keep * to[i * width + j] + factor * from[i * width + j];
}

// Weights of least squares from `sums`, which are used up; false, and zeros, where they are singular.
static bool solve_sums(double* sums, int taps, double* weights) {
    const int width = statistics_width(taps);
    const double ridge = sums[(taps + 1) * width + taps + 1] * RIDGE_NOISE;
    double ratio[MAX_WIDTH];
    for (int k = 0; k < taps; ++k) weights[k] = 0;
    for (int k = 0; k < taps; ++k) sums[k * width + k] = sums[k * width + k] * RIDGE_GROWTH + ridge;
    for (int k = 0; k < taps; ++k) {
        const double* __restrict pivot = sums + k * width;
        const double p = pivot[k];
        if (!(p > 0)) return false;
        for (int i = first_block(k + 1); i < width; ++i) ratio[i] = pivot[i] / p;
        for (int i = k + 1; i < taps; ++i) {
            double* __restrict row = sums + i * width;
            const double r = ratio[i];
            for (int j = first_block(i); j < width; j += DOUBLES)
                *lanes(row + j) = *lanes(row + j) - r * *lanes(pivot + j);
        }
    }
    for (int k = taps; k-- > 0;) {
        const double w = sums[k * width + taps] / sums[k * width + k];
        weights[k] = w;
        for (int i = 0; i < k; ++i) sums[i * width + taps] = sums[i * width + taps] - sums[i * width + k] * w;
    }
    return true;
}
