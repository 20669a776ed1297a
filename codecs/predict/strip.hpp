// Raster-scan prediction, strip by strip: predictions, corrections of them, and what values teach.
// Compiled once for each instruction set: included by kernels.cpp alone, inside its namespace.
// The order of every sum is part of the format: vectors run across sums, never along one.

// What rows before this one contribute to predictions.
template <class T>
static inline void predict_from_rows(const StripJob<T>& job, T* share) {
    typedef T Part __attribute__((vector_size(64), aligned(alignof(T)), may_alias));
    constexpr size_t lanes_of_part = 64 / sizeof(T);
    const int known = job.taps - job.serial;
    for (size_t x = 0; x < job.count; x += lanes_of_part) {
        const auto part = [&](int k) { return *reinterpret_cast<const Part*>(job.tap[k] + x); };
        Part sum = {};
        if (known > 0) {
            const Part base = part(0);
            sum = sum + job.weights[0] * (base - static_cast<T>(job.centre));
            for (int k = 1; k < known; ++k) sum = sum + job.weights[k] * (part(k) - base);
        }
        *reinterpret_cast<Part*>(share + x) = sum;
    }
}

template <class T>
struct Guess {
    T value, correction;  // in steps
    Bias<T>* bias;
};

template <class T>
static inline Guess<T> guess(const StripJob<T>& job, size_t x, T sum) {
    const T base = job.tap[0][x], half = job.rounded_step / 2;
    const auto feature = [&](int k) { return job.tap[k][x] - (k == 0 ? static_cast<T>(job.centre) : base); };
    for (int k = job.taps - job.serial; k < job.taps; ++k) sum = sum + job.weights[k] * feature(k);
    unsigned context = 0;
    for (int k : job.bias_tap) {
        const T d = (job.tap[k][x] - base) - sum;
        context = 3 * context + (d > half ? 1u : 0u) + (d < -half ? 2u : 0u);
    }
    Guess<T> g;
    g.bias = job.bias + context;
    g.correction = g.bias->correction;
    T p = base + (sum + g.correction * job.rounded_step);
    const T low = static_cast<T>(job.low), high = static_cast<T>(job.high);
    p = p > low ? p : low;
    g.value = p < high ? p : high;
    return g;
}

// Without its correction a prediction would have missed by as much more.
template <class T>
static inline void learn(const Guess<T>& g, int32_t code) {
    Bias<T>& b = *g.bias;
    b.sum = b.sum + (static_cast<T>(code) + g.correction);
    b.count = b.count + 1;
    if (b.count == static_cast<T>(BIAS_MEMORY)) {
        b.sum = b.sum * T(0.5);
        b.count = b.count * T(0.5);
    }
    b.correction = b.sum / (b.count + static_cast<T>(BIAS_PRIOR));
}

// Some of the values, as what a fit is to find.
template <class T>
static inline void collect_lessons(StripJob<T>& job) {
    const int width = statistics_width(job.taps);
    double* to = job.lessons;
    for (size_t x = job.first; x < job.count; x += job.every) {
        if (job.exact[x]) continue;
        const double base = static_cast<double>(job.tap[0][x]);
        to[0] = (base - job.centre) * job.inverse;
        for (int k = 1; k < job.taps; ++k) to[k] = (static_cast<double>(job.tap[k][x]) - base) * job.inverse;
        to[job.taps] = (static_cast<double>(job.out[x]) - base) * job.inverse;
        to[job.taps + 1] = 1;
        for (int k = job.taps + 2; k < width; ++k) to[k] = 0;
        to += width;
    }
    job.learned = static_cast<size_t>(to - job.lessons) / static_cast<size_t>(width);
}

template <class T>
static void encode_strip(StripJob<T>& job) {
    T share[RASTER_STRIP];
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
        if (!job.exact[x]) learn(g, code);
    }
    collect_lessons(job);
}

template <class T>
static void decode_strip(StripJob<T>& job) {
    T share[RASTER_STRIP];
    predict_from_rows(job, share);
    for (size_t x = 0; x < job.count; ++x) {
        const Guess<T> g = guess(job, x, share[x]);
        job.out[x] = g.value + static_cast<T>(job.codes[x]) * job.rounded_step;
        if (!job.exact[x]) learn(g, job.codes[x]);
    }
    collect_lessons(job);
}
