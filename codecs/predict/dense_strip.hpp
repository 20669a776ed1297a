// Raster-scan prediction, strip by strip, where every value teaches: only decoded. docs/format-max.md, "Dense fits".
// Compiled once for each instruction set: included by kernels.cpp alone, inside its namespace.
// The order of every sum is part of the format: vectors run across sums, never along one.

// Everything that rows before this one contribute: features, and their share of the predictions.
template <class T>
static inline void predict_from_rows_dense(const StripJob<T>& job, double* __restrict share) {
    double base[RASTER_STRIP];
    const int known = job.taps - job.serial;
    for (size_t x = 0; x < job.count; ++x) share[x] = 0;
    if (known == 0) return;
    for (size_t x = 0; x < job.count; ++x) base[x] = static_cast<double>(job.tap[0][x]);
    for (int k = 0; k < known; ++k) {
        const T* __restrict tap = job.tap[k];
        double* __restrict feature = job.features + static_cast<size_t>(k) * RASTER_STRIP;
        const double w = job.exact_weights[k];
        for (size_t x = 0; x < job.count; ++x) {
            const double f = (static_cast<double>(tap[x]) - (k == 0 ? job.centre : base[x])) * job.inverse;
            feature[x] = f;
            share[x] = share[x] + w * f;
        }
    }
}

template <class T>
struct DenseGuess {
    double base, sum;  // what the prediction counts from, and by how many steps it differs
    T value;
    unsigned context;
};

template <class T>
static inline DenseGuess<T> dense_guess(const StripJob<T>& job, size_t x, double share) {
    DenseGuess<T> g;
    g.base = static_cast<double>(job.tap[0][x]);
    g.sum = share;
    for (int k = job.taps - job.serial; k < job.taps; ++k) {
        const double f = (static_cast<double>(job.tap[k][x]) - (k == 0 ? job.centre : g.base)) * job.inverse;
        job.features[static_cast<size_t>(k) * RASTER_STRIP + x] = f;
        g.sum = g.sum + job.exact_weights[k] * f;
    }
    g.context = 0;
    for (int c = 0; c < BIAS_TAPS; ++c) {
        const int k = job.bias_tap[c];
        const double d = (k == 0 ? 0.0 : job.features[static_cast<size_t>(k) * RASTER_STRIP + x]) - g.sum;
        g.context = 3 * g.context + (d > 0.5 ? 1u : 0u) + (d < -0.5 ? 2u : 0u);
    }
    double p = g.base + (g.sum + job.exact_bias[g.context].correction) * job.step;
    p = p > job.low ? p : job.low;
    p = p < job.high ? p : job.high;
    g.value = static_cast<T>(p);
    return g;
}

// What a reconstruction teaches: a target for the fit, an error for its context.
template <class T>
static inline void learn_dense(const StripJob<T>& job, size_t x, const DenseGuess<T>& g, T value) {
    const double target = (static_cast<double>(value) - g.base) * job.inverse;
    job.features[static_cast<size_t>(job.taps) * RASTER_STRIP + x] = target;
    Bias<double>& b = job.exact_bias[g.context];
    b.sum = b.sum + (target - g.sum);
    b.count = b.count + 1;
    if (b.count == BIAS_MEMORY) {
        b.sum = b.sum * 0.5;
        b.count = b.count * 0.5;
    }
    b.correction = b.sum / (b.count + BIAS_PRIOR);
}

// Rows of features become rows of values; values that teach nothing are left out.
template <class T>
static inline void turn_features(StripJob<T>& job) {
    const size_t width = static_cast<size_t>(statistics_width(job.taps));
    size_t at[RASTER_STRIP], n = 0;
    for (size_t x = 0; x < job.count; ++x)
        if (!job.exact[x]) at[n++] = x;
    for (size_t k = 0; k < width; ++k) {
        const double* __restrict from = job.features + k * RASTER_STRIP;
        double* __restrict to = job.lessons + k;
        const size_t taps = static_cast<size_t>(job.taps);
        if (k <= taps)
            for (size_t i = 0; i < n; ++i) to[i * width] = from[at[i]];
        else
            for (size_t i = 0; i < n; ++i) to[i * width] = k == taps + 1 ? 1 : 0;
    }
    job.learned = n;
}

template <class T>
static void decode_dense_strip(StripJob<T>& job) {
    double share[RASTER_STRIP];
    predict_from_rows_dense(job, share);
    for (size_t x = 0; x < job.count; ++x) {
        const DenseGuess<T> g = dense_guess(job, x, share[x]);
        const T value = g.value + static_cast<T>(job.codes[x]) * job.rounded_step;
        job.out[x] = value;
        if (!job.exact[x]) learn_dense(job, x, g, value);
    }
    turn_features(job);
}
