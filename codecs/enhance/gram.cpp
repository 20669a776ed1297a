#include "enhance/gram.hpp"

#include <cmath>

namespace sciflow::enhance {

namespace {

constexpr double SHRINK = 1e-6;  // of each feature's own moment: what is not in the data is not learned
constexpr double NOISE = 8.0;    // cells' worth of it, in units squared: few cells teach little

// In place, the lower half; false where the matrix is not positive definite.
bool cholesky(double* m, int n) {
    for (int i = 0; i < n; ++i) {
        double* const row = m + i * n;
        for (int j = 0; j <= i; ++j) {
            const double* const other = m + j * n;
            double sum = row[j];
            for (int k = 0; k < j; ++k) sum -= row[k] * other[k];
            if (j < i) row[j] = sum / other[j];
            else if (sum > 0) row[i] = std::sqrt(sum);
            else return false;
        }
    }
    return true;
}

}  // namespace

void Gram::add(const Gram& other) {
    cells += other.cells;
    energy += other.energy;
    for (size_t i = 0; i < cross.size(); ++i) cross[i] += other.cross[i];
    for (size_t i = 0; i < moment.size(); ++i) moment[i] += other.moment[i];
}

std::vector<Gram> moments(const Samples& samples, const std::vector<uint8_t>& class_of, size_t classes) {
    const int n = samples.features;
    std::vector<Gram> grams(classes, Gram(n));
    for (size_t s = 0; s < samples.size(); ++s) {
        Gram& g = grams[class_of[s]];
        const int16_t* const f = samples.feature.data() + s * static_cast<size_t>(n);
        const double r = samples.residual[s];
        double v[MAX_FEATURES];
        for (int i = 0; i < n; ++i) v[i] = f[i];
        g.cells += 1;
        g.energy += r * r;
        for (int i = 0; i < n; ++i) {
            double* const row = g.moment.data() + i * n;
            g.cross[static_cast<size_t>(i)] += v[i] * r;
            for (int j = 0; j <= i; ++j) row[j] += v[i] * v[j];
        }
    }
    return grams;
}

bool solve(const Gram& gram, Weights& weights) {
    weights = {};
    if (gram.cells == 0) return false;
    const int n = gram.features();
    std::vector<double> lower = gram.moment;
    double* const m = lower.data();
    for (int i = 0; i < n; ++i) m[i * n + i] += SHRINK * m[i * n + i] + NOISE * BIAS;
    if (!cholesky(m, n)) return false;
    double y[MAX_FEATURES];
    for (int i = 0; i < n; ++i) {
        y[i] = gram.cross[static_cast<size_t>(i)];
        for (int k = 0; k < i; ++k) y[i] -= m[i * n + k] * y[k];
        y[i] /= m[i * n + i];
    }
    for (int i = n; i-- > 0;) {
        double sum = y[i];
        for (int k = i + 1; k < n; ++k) sum -= m[k * n + i] * weights[static_cast<size_t>(k)];
        weights[static_cast<size_t>(i)] = sum / m[i * n + i];
    }
    return true;
}

double error_with(const Gram& gram, const Weights& weights) {
    const int n = gram.features();
    double error = gram.energy;
    for (int i = 0; i < n; ++i) {
        const double* const moment = gram.moment.data() + i * n;
        const double w = weights[static_cast<size_t>(i)];
        double row = 0;
        for (int j = 0; j < i; ++j) row += moment[j] * weights[static_cast<size_t>(j)];
        error += w * (2 * row + moment[i] * w - 2 * gram.cross[static_cast<size_t>(i)]);
    }
    return error;
}

double least_error(const Gram& gram) {
    Weights w;
    return solve(gram, w) ? error_with(gram, w) : gram.energy;
}

double steady_log(double x) {
    constexpr double LN2 = 0.6931471805599453, ROOT = 0.7071067811865476;
    int exponent = 0;
    double m = std::frexp(x, &exponent);
    if (m < ROOT) m *= 2, --exponent;
    const double s = (m - 1) / (m + 1), q = s * s;  // |s| < 0.172
    double sum = 0;
    for (int k = 9; k >= 1; k -= 2) sum = sum * q + 1.0 / k;
    return exponent * LN2 + 2 * s * sum;
}

}  // namespace sciflow::enhance
