// Weights of a class's sources: the best linear unbiased combination of their interpolations, fitted on a sample of
// originals, kept only where it beats plain averaging by the bits it is estimated to save.
#include <algorithm>
#include <bit>
#include <cmath>

#include "predict/multilevel.hpp"

namespace sciflow {

namespace {

constexpr size_t MOST_SAMPLES = 1536, LEAST_SAMPLES = 256;
constexpr size_t SEGMENT = 48;
constexpr int UNIT = 64;
constexpr double NOISE_GAIN = 0.64;  // of the cubic taps, on the quantisation noise of what they read

struct Sample {
    int sources = 0;
    std::vector<float> error[2 * AXES];  // cubic and linear, source by source
    size_t size() const { return error[0].size(); }
};

// One interpolation error at a point, or false near an end.
template <class T>
bool errors_at(const ClassJob<T>& job, const size_t (&i)[3], size_t x, float (&e)[2 * AXES]) {
    const double v = job.data[job.layout.row(i[0], i[1], i[2]) + HALO + x];
    bool finite = std::isfinite(v);
    for (int s = 0; s < job.sources; ++s) {
        const Source<T>& src = job.source[s];
        const size_t k = src.axis == X ? x : i[src.axis];
        const size_t stride = src.axis == X ? 1 : src.layout.stride[src.axis];
        const T* at = src.data + src.layout.row(i[0], i[1], i[2]) + HALO + x;
        if (k + 1 >= src.count) return false;
        const double b = at[0], c = at[stride];
        const double linear = 0.5 * (b + c);
        double cubic = linear;
        if (k > 0 && k + 2 < src.count)
            cubic =
                0.5625 * (b + c) - 0.0625 * (static_cast<double>(*(at - stride)) + static_cast<double>(at[2 * stride]));
        e[2 * s] = static_cast<float>(v - cubic);
        e[2 * s + 1] = static_cast<float>(v - linear);
        finite = finite && std::isfinite(cubic);
    }
    return finite;
}

template <class T>
Sample draw(const ClassJob<T>& job) {
    Sample sample;
    sample.sources = job.sources;
    const Dims& d = job.dims;
    const size_t rows = d.rows(), segment = std::min(SEGMENT, d.n[X]);
    const size_t samples = std::clamp(d.size() / 8, LEAST_SAMPLES, MOST_SAMPLES);
    const size_t wanted = std::max<size_t>(1, samples / segment);
    const size_t every = std::max<size_t>(1, rows / wanted);
    for (size_t r = every / 2, n = 0; r < rows; r += every, ++n) {
        const size_t i[3] = {r / (d.n[1] * d.n[2]), r / d.n[2] % d.n[1], r % d.n[2]};
        const size_t from = (d.n[X] - segment) * (n % 8) / 7;
        const size_t per_row = rows < wanted ? std::min(d.n[X], samples / rows) : segment;
        const size_t first = rows < wanted ? 0 : from;
        const size_t stride = rows < wanted ? std::max<size_t>(1, d.n[X] / per_row) : 1;
        for (size_t x = first; x < d.n[X] && x < first + per_row * stride; x += stride) {
            float e[2 * AXES];
            if (!errors_at(job, i, x, e)) continue;
            for (int s = 0; s < 2 * job.sources; ++s) sample.error[s].push_back(e[s]);
        }
    }
    return sample;
}

// Mean of log2(1 + e^2 / bound^2) / 2: about the bits that such errors cost.
template <class Error>
double price(size_t n, double bound, Error&& error) {
    const float scale = static_cast<float>(1 / (bound * bound));
    int64_t octaves = 0;  // a float's bits are its logarithm, nearly
    for (size_t k = 0; k < n; ++k) {
        const float e = error(k);
        octaves += std::bit_cast<int32_t>(std::min(1.0f + e * e * scale, 1e30f)) - 0x3f800000;
    }
    return static_cast<double>(octaves) * (0.5 / (1 << 23)) / static_cast<double>(n);
}

// Weights w of least w'Gw with sum one: G^-1 1, scaled. False where G is singular or the weights are wild.
bool solve(double (&g)[AXES][AXES], int n, double (&w)[AXES]) {
    double a[AXES][AXES + 1];
    for (int i = 0; i < n; ++i) {
        for (int j = 0; j < n; ++j) a[i][j] = g[i][j];
        a[i][n] = 1;
    }
    for (int i = 0; i < n; ++i) {
        if (!(std::fabs(a[i][i]) > 1e-300)) return false;
        for (int r = 0; r < n; ++r) {
            if (r == i) continue;
            const double f = a[r][i] / a[i][i];
            for (int c = i; c <= n; ++c) a[r][c] -= f * a[i][c];
        }
    }
    double sum = 0;
    for (int i = 0; i < n; ++i) sum += w[i] = a[i][n] / a[i][i];
    if (!(std::fabs(sum) > 1e-300)) return false;
    for (int i = 0; i < n; ++i) {
        w[i] /= sum;
        if (!(std::fabs(w[i]) <= 0.98)) return false;
    }
    return true;
}

// To 64ths that still sum to one.
void round_weights(const double (&w)[AXES], int n, ClassWeights& out) {
    int left = UNIT, largest = 0;
    for (int i = 0; i < n; ++i) {
        out.weight[i] = static_cast<int8_t>(std::lround(w[i] * UNIT));
        left -= out.weight[i];
        if (w[i] > w[largest]) largest = i;
    }
    out.weight[largest] = static_cast<int8_t>(out.weight[largest] + left);
}

double price_of(const Sample& s, const ClassWeights& c, double bound) {
    const float* e[AXES];
    float w[AXES];
    for (int i = 0; i < s.sources; ++i) {
        e[i] = s.error[2 * i + (c.cubic[i] ? 0 : 1)].data();
        w[i] = static_cast<float>(c.weight[i]) / UNIT;
    }
    return price(s.size(), bound, [&](size_t k) {
        float sum = 0;
        for (int i = 0; i < s.sources; ++i) sum += w[i] * e[i][k];
        return sum;
    });
}

bool blend(const Sample& s, const ClassWeights& kinds, double bound, bool robust, ClassWeights& out) {
    double g[AXES][AXES] = {}, w[AXES] = {};
    const double noise = bound * bound / 3 * NOISE_GAIN;
    for (size_t k = 0; k < s.size(); ++k) {
        double e[AXES], power = 0;
        for (int i = 0; i < s.sources; ++i) {
            e[i] = s.error[2 * i + (kinds.cubic[i] ? 0 : 1)][k];
            power += e[i] * e[i];
        }
        const double f = robust ? 1 / (power / s.sources + bound * bound) : 1;
        for (int i = 0; i < s.sources; ++i)
            for (int j = 0; j < s.sources; ++j) g[i][j] += f * e[i] * e[j];
        if (robust)
            for (int i = 0; i < s.sources; ++i) g[i][i] += f * noise;
    }
    if (!robust)
        for (int i = 0; i < s.sources; ++i) g[i][i] += static_cast<double>(s.size()) * noise;
    if (!solve(g, s.sources, w)) return false;
    out = kinds;
    round_weights(w, s.sources, out);
    return true;
}

}  // namespace

ClassWeights default_weights(unsigned odd) {
    ClassWeights c;
    const int n = __builtin_popcount(odd);
    for (int i = 0; i < n; ++i) c.weight[i] = static_cast<int8_t>(UNIT / n);
    c.weight[0] = static_cast<int8_t>(UNIT - (n - 1) * (UNIT / n));
    return c;
}

template <class T>
ClassWeights fit_class(const ClassJob<T>& job, double bound) {
    unsigned odd = 0;
    for (int i = 0; i < job.sources; ++i) odd |= 1u << job.source[i].axis;
    ClassWeights best = default_weights(odd);
    const Sample s = draw(job);
    if (s.size() < 64) return best;
    for (int i = 0; i < s.sources; ++i) {
        const float* cubic = s.error[2 * i].data();
        const float* linear = s.error[2 * i + 1].data();
        best.cubic[i] = price(s.size(), bound, [&](size_t k) { return cubic[k]; }) <=
                        price(s.size(), bound, [&](size_t k) { return linear[k]; });
    }
    double least = price_of(s, best, bound);
    auto consider = [&](const ClassWeights& c) {
        const double p = price_of(s, c, bound);
        if (p >= least) return;
        least = p;
        best = c;
    };
    if (s.sources == 1) return best;
    const ClassWeights kinds = best;
    for (int i = 0; i < s.sources; ++i) {
        ClassWeights single = kinds;
        std::fill(single.weight, single.weight + AXES, int8_t{0});
        single.weight[i] = UNIT;
        consider(single);
    }
    ClassWeights blended;
    for (bool robust : {false, true})
        if (blend(s, kinds, bound, robust, blended)) consider(blended);
    return best;
}

template ClassWeights fit_class<float>(const ClassJob<float>&, double);
template ClassWeights fit_class<double>(const ClassJob<double>&, double);

}  // namespace sciflow
