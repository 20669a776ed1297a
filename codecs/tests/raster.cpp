// Raster-scan prediction of every awkward shape: what is not marked exact is within the bound, the decoder follows the
// encoder bit for bit on every instruction set, and numbers that no encoder writes stay inside their memory.
#include <cmath>
#include <cstring>

#include "check.hpp"

using namespace sciflow;
using namespace sciflow::tests;

namespace {

template <class T>
struct Coded {
    RasterPlan<T> plan;
    std::vector<uint8_t> exact;
    std::vector<int32_t> codes;
};

// Scratch as an earlier block may have left it.
template <class T>
RasterScratch<T> poisoned() {
    RasterScratch<T> s;
    s.rows.assign(5000, std::numeric_limits<T>::quiet_NaN());
    s.statistics.assign(5000, std::numeric_limits<double>::quiet_NaN());
    s.strip.assign(9000, std::numeric_limits<double>::quiet_NaN());
    return s;
}

template <class T>
Coded<T> coded(const std::vector<T>& values, const Dims& d, double bound, const std::vector<T>& avoid = {},
               uint8_t every = 0) {
    Coded<T> c;
    c.codes.resize(values.size());
    for (T v : values) c.exact.push_back(!(std::fabs(v) <= std::numeric_limits<T>::max() / 16));
    c.plan = plan_raster(values.data(), c.exact.data(), d, 2 * bound);
    if (every > 0) c.plan.every = every;
    RasterScratch<T> scratch = poisoned<T>();
    const size_t before = static_cast<size_t>(std::count(c.exact.begin(), c.exact.end(), 1));
    const size_t added =
        raster_encode<T>(values.data(), d, {bound, avoid}, c.plan, c.exact.data(), c.codes.data(), scratch);
    CHECK(static_cast<size_t>(std::count(c.exact.begin(), c.exact.end(), 1)) == before + added);
    return c;
}

template <class T>
std::vector<T> decoded(const Coded<T>& c, const Dims& d) {
    std::vector<T> out(c.codes.size());
    RasterScratch<T> scratch;
    raster_decode(c.codes.data(), c.exact.data(), d, c.plan, out.data(), scratch);
    return out;
}

template <class T>
void within_the_bound(const std::vector<T>& values, const Dims& d, double bound, uint8_t every = 0) {
    const Coded<T> c = coded(values, d, bound, {}, every);
    const std::vector<T> out = decoded(c, d);
    for (size_t i = 0; i < out.size(); ++i) {
        if (c.exact[i]) CHECK(c.codes[i] == 0);
        else CHECK(std::fabs(static_cast<long double>(values[i]) - static_cast<long double>(out[i])) <= bound);
    }
    if (std::find(c.exact.begin(), c.exact.end(), 1) != c.exact.end()) return;
    std::vector<T> again(out.size());
    RasterScratch<T> scratch = poisoned<T>();
    raster_decode<T>(c.codes.data(), nullptr, d, c.plan, again.data(), scratch);
    CHECK(std::memcmp(again.data(), out.data(), out.size() * sizeof(T)) == 0);
}

template <class T>
void shape(const Dims& d, Random& random) {
    std::vector<T> v = smooth<T>({d.n[0], d.n[1], d.n[2], d.n[X]}, random, random.once_in(3) ? 3.0 : 1e-3);
    const size_t holes = random.once_in(2) ? 0 : 1 + random.below(20);
    for (T& x : v)
        if (holes && random.once_in(holes)) x = std::numeric_limits<T>::quiet_NaN();
    within_the_bound(v, d, 1e-2);
    within_the_bound(v, d, 1e-2, static_cast<uint8_t>(2 + random.below(RASTER_STRIP - 1)));
    for (T& x : v)
        if (random.once_in(5))
            x = static_cast<T>(std::ldexp(random.between(-1, 1), static_cast<int>(random.below(120))));
    within_the_bound(v, d, std::ldexp(1.0, static_cast<int>(random.below(100)) - 20));
}

template <class T>
void awkward_shapes(Random& random) {
    for (size_t n = 1; n <= 35; ++n) shape<T>(dims_of(1, 1, 1, n), random);
    for (size_t n2 : {2, 3, 5, 15, 16, 40})
        for (size_t n3 : {2, 3, 5, 64, 65, 130}) shape<T>(dims_of(1, 1, n2, n3), random);
    for (size_t a : {1, 2, 3})
        for (size_t b : {2, 3, 5})
            for (size_t c : {2, 3, 9})
                for (size_t x : {2, 5, 33, 70}) shape<T>(dims_of(a, b, c, x), random);
    shape<T>(dims_of(1, 1, 1, 3000), random);
    shape<T>(dims_of(1, 1, 16, 4200), random);  // tiles of more than one strip
    shape<T>(dims_of(1, 2, 1100, 3), random);   // groups of more than four rows
}

// What is within reach of the largest numbers neither overflows nor escapes.
template <class T>
void near_the_largest(Random& random) {
    const T most = std::numeric_limits<T>::max() / 32;
    std::vector<T> v(900);
    for (T& x : v) x = static_cast<T>(random.between(-1, 1)) * most;
    within_the_bound(v, dims_of(1, 1, 30, 30), static_cast<double>(most) / 1e4);
    const Coded<T> c = coded(v, dims_of(1, 1, 30, 30), static_cast<double>(most) / 1e4);
    CHECK(std::count(c.exact.begin(), c.exact.end(), 1) < 5);  // a step is twice the bound: rounding may cost a few
}

// Streams of mode 5 are still decoded: whatever their numbers are, to values that stay where they have to.
template <class T>
void dense_streams_decode(const Dims& d, Random& random) {
    RasterPlan<T> plan{.every = 0, .step = 0.5, .centre = 1, .low = -20, .high = 20};
    std::vector<int32_t> codes(d.size());
    for (int32_t& c : codes) c = static_cast<int32_t>(random.below(5)) - 2;
    std::vector<uint8_t> exact(d.size());
    for (uint8_t& e : exact) e = random.once_in(7);
    std::vector<T> out(d.size()), again(d.size());
    RasterScratch<T> scratch = poisoned<T>();
    raster_decode(codes.data(), exact.data(), d, plan, out.data(), scratch);
    raster_decode(codes.data(), exact.data(), d, plan, again.data(), scratch);
    for (T v : out) CHECK(v >= -21 && v <= 21);
    CHECK(out == again);
}

// The fit is worth its time: of a wave of thousands of steps next to nothing is left once it has been learned.
template <class T>
void waves_are_learned(uint8_t every) {
    const Dims d = dims_of(1, 1, 96, 96);
    std::vector<T> v;
    double a = 1, b = 0;
    for (size_t i = 0; i < d.size(); ++i) {
        v.push_back(static_cast<T>(100 * a));
        const double c = a * 0.8 - b * 0.6;
        b = a * 0.6 + b * 0.8;
        a = c;
    }
    const Coded<T> c = coded(v, d, 0.01, {}, every);
    size_t late = 0;
    for (size_t i = d.size() / 2; i < d.size(); ++i) late += static_cast<size_t>(std::abs(c.codes[i]));
    CHECK(late < 2 * d.size());
}

template <class T>
void sentinels_are_avoided(Random& random) {
    const Dims d = dims_of(1, 1, 20, 50);
    std::vector<T> v = smooth<T>({20, 50}, random);
    const std::vector<T> plain = decoded(coded(v, d, 0.5), d);
    const Coded<T> c = coded(v, d, 0.5, {plain[77]});
    const std::vector<T> out = decoded(c, d);
    CHECK(c.exact[77] == 1);
    for (size_t i = 0; i < out.size(); ++i) CHECK(c.exact[i] || out[i] != plain[77]);
}

template <class T>
void plans_are_checked() {
    const double inf = std::numeric_limits<double>::infinity();
    const T bad = std::numeric_limits<T>::infinity();
    const auto read = [](const RasterPlan<T>& plan) {
        Bytes bytes;
        write_raster_plan(plan, bytes);
        RasterPlan<T> found;
        for (size_t n = 0; n < bytes.size(); ++n) {
            Cursor prefix(View(bytes).first(n));
            CHECK(read_raster_plan(prefix, n == 0 || plan.every > RASTER_STRIP, found) != Status::ok);
        }
        Cursor dense(View(bytes).subspan(1)), c(bytes);
        CHECK(read_raster_plan(dense, true, found) == read_raster_plan(c, false, found) || plan.every != 1);
        Cursor again(bytes);
        return read_raster_plan(again, false, found);
    };
    CHECK(read({1, 0.5, T(1), T(-1), T(2)}) == Status::ok);
    CHECK(read({RASTER_STRIP, 0.5, T(1), T(-1), T(2)}) == Status::ok);
    for (size_t every : {size_t{0}, RASTER_STRIP + 1, size_t{255}})
        CHECK(read({static_cast<uint8_t>(every), 0.5, T(1), T(-1), T(2)}) == Status::corrupt);
    for (double step : {0.0, -1.0, inf, -inf, std::nan(""), 1e-310})
        CHECK(read({1, step, T(1), T(-1), T(2)}) == Status::corrupt);
    if (sizeof(T) == 4) CHECK(read({1, 1e300, T(1), T(-1), T(2)}) == Status::corrupt);
    for (T v : {bad, -bad, std::numeric_limits<T>::quiet_NaN()}) {
        CHECK(read({1, 0.5, v, T(-1), T(2)}) == Status::corrupt);
        CHECK(read({1, 0.5, T(1), v, T(2)}) == Status::corrupt);
        CHECK(read({1, 0.5, T(1), T(-1), v}) == Status::corrupt);
    }
}

// Sums, fits and predictions are the same bits whatever vectors they run in, whatever the numbers.
void kernels_agree(Random& random) {
    for (int taps : {14, 22, 38, 46}) {
        const size_t width = static_cast<size_t>(statistics_width(taps));
        for (bool wild : {false, true}) {
            std::vector<double> lessons(width * RASTER_STRIP), expected;
            for (double& f : lessons)
                f = wild && random.once_in(9) ? std::bit_cast<double>(random.bits()) : random.between(-3, 3);
            for (const Kernels* k : all_kernels()) {
                std::vector<double> sums(width * width, 1.0), blended(width * width, 0.5),
                    weights(static_cast<size_t>(taps));
                k->least_squares.add_products(lessons.data(), RASTER_STRIP - 3, taps, sums.data());
                k->least_squares.blend_sums(blended.data(), 0.3, sums.data(), 0.7, taps);
                const bool solved = k->least_squares.solve_sums(blended.data(), taps, weights.data());
                if (!solved) std::fill(weights.begin(), weights.end(), -1.0);
                for (double& w : weights)
                    if (w != w) w = 12345;  // which NaN it is differs and does not matter
                if (expected.empty()) expected = weights;
                CHECK(weights == expected);
            }
        }
    }
}

// A strip of 22 taps, of which 4 lie in its own row.
template <class T>
struct Strip {
    static constexpr int TAPS = 22, SERIAL = 4;
    std::vector<T> here = std::vector<T>(80), in = std::vector<T>(RASTER_STRIP, T(3)), weights;
    std::vector<double> exact_weights, features = std::vector<double>((TAPS + 1) * RASTER_STRIP),
                                       lessons = std::vector<double>(MAX_WIDTH * RASTER_STRIP);
    std::vector<Bias<T>> bias = std::vector<Bias<T>>(BIAS_CONTEXTS);
    std::vector<Bias<double>> exact_bias = std::vector<Bias<double>>(BIAS_CONTEXTS);
    std::vector<int32_t> codes = std::vector<int32_t>(RASTER_STRIP);
    std::vector<uint8_t> exact = std::vector<uint8_t>(RASTER_STRIP);
    const T* tap[TAPS];
    StripJob<T> job{.tap = tap, .taps = TAPS, .serial = SERIAL, .bias_tap = {0, 3, 4, TAPS - 2, TAPS - 1}};

    Strip(const std::vector<T>& rows, const std::vector<double>& w) : weights(w.begin(), w.end()), exact_weights(w) {
        for (int t = 0; t < TAPS - SERIAL; ++t) tap[t] = rows.data() + t / 7 * 80 + t % 7;
        for (int t = TAPS - SERIAL; t < TAPS; ++t) tap[t] = here.data() + 8 - (TAPS - t);
        exact[9] = exact[17] = 1;
        job.count = RASTER_STRIP - 1;
        job.weights = weights.data(), job.exact_weights = exact_weights.data();
        job.features = features.data(), job.lessons = lessons.data();
        job.bias = bias.data(), job.exact_bias = exact_bias.data();
        job.first = 1, job.every = 4;
        job.step = 0.25, job.inverse = 4, job.rounded_step = T(0.25), job.low = -9, job.high = 9, job.bound = 0.125;
        job.codes = codes.data(), job.exact = exact.data(), job.in = in.data(), job.out = here.data() + 8;
    }
};

template <class T>
void strips_agree(Random& random) {
    std::vector<T> rows(3 * 80 + RASTER_STRIP), first_values, first_dense;
    for (T& v : rows) v = static_cast<T>(random.between(-9, 9));
    std::vector<double> weights(Strip<T>::TAPS), first_lessons;
    for (double& w : weights) w = random.between(-0.4, 0.5);
    std::vector<int32_t> first_codes;
    for (const Kernels* k : all_kernels()) {
        Strip<T> forth(rows, weights), back(rows, weights), dense(rows, weights);
        raster<T>(*k).encode_strip(forth.job);
        back.codes = dense.codes = forth.codes;
        raster<T>(*k).decode_strip(back.job);
        raster<T>(*k).decode_dense_strip(dense.job);
        CHECK(forth.here == back.here && forth.lessons == back.lessons);
        CHECK(back.job.learned == 14 && dense.job.learned == RASTER_STRIP - 3);
        if (first_codes.empty())
            first_codes = forth.codes, first_values = forth.here, first_lessons = forth.lessons,
            first_dense = dense.here;
        CHECK(forth.codes == first_codes && forth.here == first_values && forth.lessons == first_lessons);
        CHECK(dense.here == first_dense);
    }
}

}  // namespace

int main() {
    Random random(1);
    awkward_shapes<float>(random);
    awkward_shapes<double>(random);
    near_the_largest<float>(random);
    near_the_largest<double>(random);
    for (uint8_t every : {uint8_t{1}, uint8_t{2}, uint8_t{6}}) {
        waves_are_learned<float>(every);
        waves_are_learned<double>(every);
    }
    for (const Dims& d : {dims_of(1, 1, 1, 300), dims_of(1, 1, 20, 70), dims_of(1, 3, 9, 40), dims_of(2, 3, 9, 70)}) {
        dense_streams_decode<float>(d, random);
        dense_streams_decode<double>(d, random);
    }
    sentinels_are_avoided<float>(random);
    sentinels_are_avoided<double>(random);
    plans_are_checked<float>();
    plans_are_checked<double>();
    kernels_agree(random);
    strips_agree<float>(random);
    strips_agree<double>(random);
}
