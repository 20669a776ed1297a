// Least squares of raster-scan prediction: the sums of products that a fit needs, and the fit.
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

// Sums are square matrices, of which the upper triangle counts, in blocks of eight columns.
static inline int first_block(int row) { return row & ~7; }

// Adds each value's products to the sums, values in ascending order.
static void add_products(const double* lessons, size_t n, int taps, double* sums) {
    const int width = statistics_width(taps);
    for (int i = 0; i < width; i += 4)
        for (int j = first_block(i); j < width; j += 8) {
            Lanes sum[4][8 / DOUBLES];
            for (int r = 0; r < 4; ++r)
                for (int c = 0; c < 8 / DOUBLES; ++c) sum[r][c] = *lanes(sums + (i + r) * width + j + c * DOUBLES);
            const double* f = lessons;
            for (size_t x = 0; x < n; ++x, f += width)
                for (int c = 0; c < 8 / DOUBLES; ++c) {
                    const Lanes v = *lanes(f + j + c * DOUBLES);
                    for (int r = 0; r < 4; ++r) sum[r][c] = sum[r][c] + f[i + r] * v;
                }
            for (int r = 0; r < 4; ++r)
                for (int c = 0; c < 8 / DOUBLES; ++c) *lanes(sums + (i + r) * width + j + c * DOUBLES) = sum[r][c];
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
