#include "enhance/gram.hpp"

#include <cmath>

namespace sciflow::enhance {

namespace {

constexpr double SHRINK = 1e-6;  // of each feature's own moment: what is not in the data is not learned
constexpr double NOISE = 8.0;    // cells' worth of it, in units squared: few cells teach little

double& cell(std::array<double, MAX_FEATURES * MAX_FEATURES>& m, int i, int j) {
    return m[static_cast<size_t>(i * MAX_FEATURES + j)];
}
double cell(const std::array<double, MAX_FEATURES * MAX_FEATURES>& m, int i, int j) {
    return m[static_cast<size_t>(i * MAX_FEATURES + j)];
}

// In place, the lower half; false where the matrix is not positive definite.
bool cholesky(std::array<double, MAX_FEATURES * MAX_FEATURES>& m, int n) {
    for (int i = 0; i < n; ++i) {
        for (int j = 0; j <= i; ++j) {
            double sum = cell(m, i, j);
            for (int k = 0; k < j; ++k) sum -= cell(m, i, k) * cell(m, j, k);
            if (j < i) cell(m, i, j) = sum / cell(m, j, j);
            else if (sum > 0) cell(m, i, i) = std::sqrt(sum);
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
    std::vector<Gram> grams(classes);
    const int n = samples.features;
    for (size_t s = 0; s < samples.size(); ++s) {
        Gram& g = grams[class_of[s]];
        const int16_t* const f = samples.feature.data() + s * static_cast<size_t>(n);
        const double r = samples.residual[s];
        double v[MAX_FEATURES];
        for (int i = 0; i < n; ++i) v[i] = f[i];
        g.cells += 1;
        g.energy += r * r;
        for (int i = 0; i < n; ++i) {
            double* const row = g.moment.data() + i * MAX_FEATURES;
            g.cross[static_cast<size_t>(i)] += v[i] * r;
            for (int j = 0; j <= i; ++j) row[j] += v[i] * v[j];
        }
    }
    return grams;
}

bool solve(const Gram& gram, int features, Weights& weights) {
    weights = {};
    if (gram.cells == 0) return false;
    auto m = gram.moment;
    for (int i = 0; i < features; ++i) cell(m, i, i) += SHRINK * cell(m, i, i) + NOISE * BIAS;
    if (!cholesky(m, features)) return false;
    double y[MAX_FEATURES];
    for (int i = 0; i < features; ++i) {
        y[i] = gram.cross[static_cast<size_t>(i)];
        for (int k = 0; k < i; ++k) y[i] -= cell(m, i, k) * y[k];
        y[i] /= cell(m, i, i);
    }
    for (int i = features; i-- > 0;) {
        double sum = y[i];
        for (int k = i + 1; k < features; ++k) sum -= cell(m, k, i) * weights[static_cast<size_t>(k)];
        weights[static_cast<size_t>(i)] = sum / cell(m, i, i);
    }
    return true;
}

double error_with(const Gram& gram, int features, const Weights& weights) {
    double error = gram.energy;
    for (int i = 0; i < features; ++i) {
        const double w = weights[static_cast<size_t>(i)];
        double row = 0;
        for (int j = 0; j < i; ++j) row += cell(gram.moment, i, j) * weights[static_cast<size_t>(j)];
        error += w * (2 * row + cell(gram.moment, i, i) * w - 2 * gram.cross[static_cast<size_t>(i)]);
    }
    return error;
}

double least_error(const Gram& gram, int features) {
    Weights w;
    return solve(gram, features, w) ? error_with(gram, features, w) : gram.energy;
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
