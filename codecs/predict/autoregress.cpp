#include "predict/autoregress.hpp"

#include <algorithm>
#include <array>
#include <cmath>

#include "kernels.hpp"

namespace sciflow {

namespace {

constexpr size_t LINES = 16, LINE = 1024;
constexpr int SHIFT = 20;
constexpr std::array<int, 4> ORDERS = {4, 8, 16, 32};
constexpr double WORTH = 0.99;  // what a longer order has to come down to of a shorter one's bits
constexpr size_t SEGMENT = 64;  // residuals of about one size
constexpr size_t LEAST_LENGTH = 48;
constexpr size_t PART = 64;  // lines
constexpr double LARGEST = 0x1p62;
constexpr double LEAST_RATE = 0.7;     // bits a value below which there is little to gain
constexpr double NEAR = 1.1;           // times the rate: few values may be off by as much
constexpr double FIRST_NEAR = 2;       // the same of the shortest order, which is looked at first
constexpr size_t FIRST_VALUES = 4096;  // what has to promise it before more is looked at
constexpr double HOPELESS = 1.3;       // times the rate to come below: so far off, longer orders are not tried

struct Geometry {
    size_t outer = 1, along = 1, inner = 1;

    Geometry(const Dims& d, int axis) : along(d.n[axis]) {
        for (int i = 0; i < axis; ++i) outer *= d.n[i];
        for (int i = axis + 1; i < AXES; ++i) inner *= d.n[i];
    }
    // Where line l begins.
    size_t first_of(size_t l) const { return l / inner * along * inner + l % inner; }
};

// Lines of a block, each long along an axis.
using Lines = std::vector<std::vector<double>>;

// Some lines, evenly spread, of the values as integers; a hole repeats the value before it.
template <class T>
Lines draw_lines(const T* values, const Dims& dims, int axis, const LinearMap& map, size_t most) {
    const Geometry g(dims, axis);
    const size_t length = std::min({g.along, LINE, most / 8}), places = g.along / length,
                 all = g.outer * g.inner * places;
    const size_t count = std::clamp(std::min(most, dims.size() / 16) / length, size_t{1}, all);
    Lines lines;
    for (size_t k = 0; k < count; ++k) {
        const size_t at = k * all / count, line = at / places, place = at % places;
        const T* v = values + ((line / g.inner) * g.along + place * length) * g.inner + line % g.inner;
        std::vector<double>& q = lines.emplace_back();
        for (size_t i = 0; i < length; ++i) {
            const double t = std::rint((static_cast<double>(v[i * g.inner]) - map.origin) / map.step);
            if (std::fabs(t) < LARGEST) q.push_back(t);
            else if (!q.empty()) q.push_back(q.back());
        }
    }
    return lines;
}

// Their mean, as a whole number, which they lose.
double subtract_mean(Lines& lines) {
    double sum = 0, count = 0;
    for (const auto& v : lines)
        for (double x : v) {
            sum += x;
            count += 1;
        }
    const double mean = count > 0 ? std::rint(sum / count) : 0;
    for (auto& v : lines)
        for (double& x : v) x -= mean;
    return mean;
}

using Matrix = std::array<std::array<double, MAX_ORDER + 1>, MAX_ORDER + 1>;

// covariance[i][j]: sums of products of values i and j steps back, over all positions with a full history.
Matrix covariance_of(const Lines& lines, int order) {
    Matrix m{};
    for (const auto& v : lines) {
        const size_t p = static_cast<size_t>(order), n = v.size();
        if (n < 2 * p) continue;
        for (size_t j = 0; j <= p; ++j) {
            double sum = 0;
            for (size_t t = p; t < n; ++t) sum += v[t] * v[t - j];
            m[0][j] += sum;
            // One step further back along both: a product more at the front, one less at the end.
            for (size_t i = 1; i + j <= p; ++i) {
                sum += v[p - i] * v[p - i - j] - v[n - i] * v[n - i - j];
                m[i][i + j] += sum;
            }
        }
    }
    for (int i = 0; i <= order; ++i)
        for (int j = 0; j < i; ++j) m[i][j] = m[j][i];
    return m;
}

// Least squares by Cholesky; empty where the matrix is not positive.
std::vector<double> solve(Matrix m, int order, double ridge) {
    const auto rows = [&](int i) -> std::array<double, MAX_ORDER + 1>& { return m[static_cast<size_t>(i)]; };
    std::vector<double> w(static_cast<size_t>(order));
    for (int i = 1; i <= order; ++i) rows(i)[static_cast<size_t>(i)] += ridge;
    for (int j = 1; j <= order; ++j) {
        for (int i = j; i <= order; ++i) {
            double s = rows(i)[static_cast<size_t>(j)];
            for (size_t k = 1; k < static_cast<size_t>(j); ++k) s -= rows(i)[k] * rows(j)[k];
            if (i == j && !(s > 0)) return {};
            rows(i)[static_cast<size_t>(j)] = i == j ? std::sqrt(s) : s / rows(j)[static_cast<size_t>(j)];
        }
    }
    for (int i = 1; i <= order; ++i) {
        double s = m[0][static_cast<size_t>(i)];
        for (size_t k = 1; k < static_cast<size_t>(i); ++k) s -= rows(i)[k] * w[k - 1];
        w[static_cast<size_t>(i - 1)] = s / rows(i)[static_cast<size_t>(i)];
    }
    for (int i = order; i >= 1; --i) {
        double s = w[static_cast<size_t>(i - 1)];
        for (int k = i + 1; k <= order; ++k) s -= rows(k)[static_cast<size_t>(i)] * w[static_cast<size_t>(k - 1)];
        w[static_cast<size_t>(i - 1)] = s / rows(i)[static_cast<size_t>(i)];
    }
    return w;
}

// Bits of integers with two-sided geometric frequencies of this mean size.
double bits_of(double mean) { return std::log2(1 + 5.44 * mean); }

// Bits a value that the weights leave, from the sizes of the residuals of short segments.
double rate_of(const Lines& lines, const Autoregression& a) {
    const size_t p = a.weight.size();
    const double unit = std::ldexp(1.0, -a.shift);
    double bits = 0, counted = 0;
    for (const auto& v : lines) {
        double sum = 0;
        size_t held = 0;
        for (size_t t = 0; t < v.size(); ++t) {
            double about = t == 0 ? 0 : t < p ? v[t - 1] : 0;
            for (size_t k = 0; k < p && t >= p; ++k) about += a.weight[k] * unit * v[t - 1 - k];
            sum += std::fabs(std::rint(v[t] - about));
            if (++held < SEGMENT && t + 1 != p && t + 1 < v.size()) continue;
            const double n = static_cast<double>(held);
            bits += n * bits_of(sum / n);
            counted += n;
            sum = 0;
            held = 0;
        }
    }
    return bits / counted;
}

Autoregression rounded(const std::vector<double>& w, int axis) {
    Autoregression a;
    a.axis = axis;
    a.shift = SHIFT;
    for (double x : w) {
        const double r = std::rint(std::ldexp(x, SHIFT));
        if (!(std::fabs(r) <= MAX_WEIGHT)) return {};
        a.weight.push_back(static_cast<int32_t>(r));
    }
    return a;
}

// The weights, of few orders tried, that leave least to code.
Autoregression fit(const Lines& lines, int axis, double rate) {
    Autoregression best;
    double values = 0;
    for (const auto& v : lines) values += static_cast<double>(v.size());
    for (int order : ORDERS) {
        if (lines[0].size() < 4 * static_cast<size_t>(order)) break;
        Autoregression a = rounded(solve(covariance_of(lines, order), order, 0.02 * values), axis);
        if (a.weight.empty()) break;
        a.rate = rate_of(lines, a);
        if (a.rate > HOPELESS * rate) break;
        if (best.weight.empty() || a.rate < WORTH * best.rate) best = a;
    }
    return best;
}

// Whether few lines leave hope of coming below this rate.
bool promising(Lines lines, int axis, double rate) {
    double values = 0;
    for (const auto& v : lines) values += static_cast<double>(v.size());
    subtract_mean(lines);
    const int most = lines[0].size() >= 512 ? 32 : lines[0].size() >= 128 ? 16 : 8;
    for (const auto& [order, near] : {std::pair(ORDERS[0], FIRST_NEAR), std::pair(most, NEAR)}) {
        const Autoregression a = rounded(solve(covariance_of(lines, order), order, 0.02 * values), axis);
        if (a.weight.empty() || !(rate_of(lines, a) < near * rate)) return false;
    }
    return true;
}

// Sums of products of weights and integers, never overflowing.
template <class Q>
using SumOf = std::conditional_t<sizeof(Q) == 4, int64_t, __int128>;

// What the weights say of the next value; `before` is the last one, `distance` apart from the one before it.
template <class Q>
inline int64_t predicted(const Q* before, size_t distance, const int32_t* weight, size_t order, int shift) {
    SumOf<Q> sum = (SumOf<Q>{1} << shift) >> 1;
    for (size_t k = 0; k < order; ++k) sum += SumOf<Q>{weight[k]} * *(before - k * distance);
    return static_cast<int64_t>(sum >> shift);
}

template <class Q>
using WordOf = std::conditional_t<sizeof(Q) == 4, uint32_t, uint64_t>;

template <class Q>
Q plus(Q a, int64_t b) {
    return static_cast<Q>(static_cast<WordOf<Q>>(a) + static_cast<WordOf<Q>>(b));
}

template <class Q>
Q minus(Q a, int64_t b) {
    return static_cast<Q>(static_cast<WordOf<Q>>(a) - static_cast<WordOf<Q>>(b));
}

WeightedJob job_of(const Autoregression& a, size_t distance, bool add) {
    return {a.weight.data(), a.weight.size(), distance, a.shift, add};
}

// From n integers that stand alike in their lines, `distance` apart from those before them, what these say of them.
template <class Q>
void take_rows(Q* row, size_t n, size_t distance, const Autoregression& a) {
    if constexpr (sizeof(Q) == 4) return kernels().weighted_row(row, n, job_of(a, distance, false));
    for (size_t j = n; j-- > 0;)
        row[j] = minus(row[j], predicted(row + j - distance, distance, a.weight.data(), a.weight.size(), a.shift));
}

// Integers i > 0 of n lines: predicted as the ones before them until there is enough history.
template <class Q>
void take_row(Q* row, size_t i, size_t n, size_t distance, const Autoregression& a) {
    if (i >= a.weight.size()) return take_rows(row, n, distance, a);
    for (size_t j = 0; j < n; ++j) row[j] = minus(row[j], (row - distance)[j]);
}

template <class Q>
void give_row(Q* row, size_t i, size_t n, size_t distance, const Autoregression& a) {
    if (i < a.weight.size()) {
        for (size_t j = 0; j < n; ++j) row[j] = plus(row[j], (row - distance)[j]);
        return;
    }
    if constexpr (sizeof(Q) == 4) return kernels().weighted_row(row, n, job_of(a, distance, true));
    for (size_t j = 0; j < n; ++j)
        row[j] = plus(row[j], predicted(row + j - distance, distance, a.weight.data(), a.weight.size(), a.shift));
}

template <class Q>
void copy_run(const Q* from, size_t n, Q* to) {
    if (n == 1) *to = *from;
    else std::copy_n(from, n, to);
}

// Calls visit(values, how many, distance) for lines side by side: `apart` and where there are many, close together in
// memory, a few at a time.
template <class Q, class Visit>
void each_part(Q* values, const Geometry& g, bool apart, Visit&& visit) {
    const size_t lines = g.outer * g.inner;
    if (!apart || lines < PART) {
        for (size_t o = 0; o < g.outer; ++o) visit(values + o * g.along * g.inner, g.inner, g.inner);
        return;
    }
    std::vector<Q> part(g.along * PART);
    for (size_t from = 0; from < lines; from += PART) {
        const size_t n = std::min(PART, lines - from);
        const auto each_run = [&](auto&& move) {
            for (size_t l = from, run = 0; l < from + n; l += run) {
                run = std::min(g.inner - l % g.inner, from + n - l);
                Q* line = values + g.first_of(l);
                for (size_t i = 0; i < g.along; ++i) move(line + i * g.inner, part.data() + i * PART + (l - from), run);
            }
        };
        each_run([](const Q* line, Q* held, size_t run) { copy_run(line, run, held); });
        visit(part.data(), n, PART);
        each_run([](Q* line, const Q* held, size_t run) { copy_run(held, run, line); });
    }
}

template <class Q>
void take_lines(Q* values, size_t along, size_t n, size_t distance, const Autoregression& a) {
    size_t left = along;
    if (n == 1 && distance == 1 && along > a.weight.size()) {
        left = a.weight.size();
        take_rows(values + left, along - left, 1, a);
    }
    while (left-- > 1) take_row(values + left * distance, left, n, distance, a);
}

}  // namespace

template <class T>
Autoregression likely_autoregression(const T* values, const Dims& dims, const LinearMap& map, double rate,
                                     bool thorough) {
    Autoregression best;
    best.rate = rate;
    for (int axis = 0; axis < AXES && rate > LEAST_RATE; ++axis) {
        if (dims.n[axis] < LEAST_LENGTH) continue;
        if (!thorough && !promising(draw_lines(values, dims, axis, map, FIRST_VALUES), axis, best.rate)) continue;
        Lines lines = draw_lines(values, dims, axis, map, LINES * LINE);
        const double mean = subtract_mean(lines);
        Autoregression a = fit(lines, axis, best.rate);
        if (a.weight.empty() || a.rate >= best.rate) continue;
        best = a;
        best.mean = mean;
    }
    return best;
}

template <class Q>
void autoregress_forward(Q* values, const Dims& dims, const Autoregression& a) {
    const Geometry g(dims, a.axis);
    each_part(values, g, g.inner > 1,
              [&](Q* lines, size_t n, size_t distance) { take_lines(lines, g.along, n, distance, a); });
    for (size_t l = g.outer * g.inner; l-- > 1;) {
        Q& first = values[g.first_of(l)];
        first = minus(first, values[g.first_of(l - 1)]);
    }
}

template <class Q>
void autoregress_inverse(Q* values, const Dims& dims, const Autoregression& a) {
    const Geometry g(dims, a.axis);
    for (size_t l = 1; l < g.outer * g.inner; ++l) {
        Q& first = values[g.first_of(l)];
        first = plus(first, values[g.first_of(l - 1)]);
    }
    each_part(values, g, true, [&](Q* lines, size_t n, size_t distance) {
        for (size_t i = 1; i < g.along; ++i) give_row(lines + i * distance, i, n, distance, a);
    });
}

template Autoregression likely_autoregression<float>(const float*, const Dims&, const LinearMap&, double, bool);
template Autoregression likely_autoregression<double>(const double*, const Dims&, const LinearMap&, double, bool);
template Autoregression likely_autoregression<int64_t>(const int64_t*, const Dims&, const LinearMap&, double, bool);

void write_autoregression(const Autoregression& a, Bytes& out) {
    Writer w(out);
    w.u8(static_cast<uint8_t>(a.axis));
    w.u8(static_cast<uint8_t>(a.weight.size()));
    w.u8(static_cast<uint8_t>(a.shift));
    for (int32_t x : a.weight) w.zigzag(x);
}

Status read_autoregression(Cursor& in, Autoregression& a) {
    uint8_t axis = 0, order = 0, shift = 0;
    if (!in.u8(axis) || !in.u8(order) || !in.u8(shift)) return Status::truncated;
    if (axis > X || order == 0 || order > MAX_ORDER || shift > MAX_SHIFT) return Status::corrupt;
    a.axis = axis;
    a.shift = shift;
    a.weight.resize(order);
    for (int32_t& x : a.weight) {
        int64_t v = 0;
        if (!in.zigzag(v)) return Status::truncated;
        if (v < -MAX_WEIGHT || v > MAX_WEIGHT) return Status::corrupt;
        x = static_cast<int32_t>(v);
    }
    return Status::ok;
}

template void autoregress_forward<int32_t>(int32_t*, const Dims&, const Autoregression&);
template void autoregress_forward<int64_t>(int64_t*, const Dims&, const Autoregression&);
template void autoregress_inverse<int32_t>(int32_t*, const Dims&, const Autoregression&);
template void autoregress_inverse<int64_t>(int64_t*, const Dims&, const Autoregression&);

}  // namespace sciflow
