// Weights along an axis: what they take from integers they give back, as the page defines it, for every word; and a
// series that was sampled too finely is coded by them.
#include "predict/autoregress.hpp"

#include "block.hpp"
#include "streams.hpp"

using namespace sciflow;
using namespace sciflow::tests;

namespace {

Autoregression random_weights(Random& random, int axis) {
    Autoregression a;
    a.axis = axis;
    a.shift = static_cast<int>(random.below(MAX_SHIFT + 1));
    a.weight.resize(1 + random.below(MAX_ORDER));
    for (int32_t& w : a.weight)
        w = static_cast<int32_t>(static_cast<int64_t>(random.bits() >> 38) - MAX_WEIGHT / 2) >> random.below(26);
    return a;
}

// The definition, one integer at a time, in arithmetic wide enough.
template <class Q>
std::vector<Q> defined(const std::vector<Q>& rests, const Dims& d, const Autoregression& a) {
    size_t distance = 1;
    for (int i = a.axis + 1; i < AXES; ++i) distance *= d.n[i];
    std::vector<Q> v = rests;
    __int128 first = 0;
    for (size_t line = 0; line < d.size() / d.n[a.axis]; ++line) {
        Q* at = v.data() + line / distance * distance * d.n[a.axis] + line % distance;
        for (size_t i = 0; i < d.n[a.axis]; ++i) {
            __int128 about = i == 0 ? first : __int128{at[(i - 1) * distance]};
            if (i >= a.weight.size()) {
                about = (__int128{1} << a.shift) / 2;
                for (size_t k = 0; k < a.weight.size(); ++k)
                    about += __int128{a.weight[k]} * at[(i - 1 - k) * distance];
                about >>= a.shift;
            }
            at[i * distance] = static_cast<Q>(static_cast<uint64_t>(about) + static_cast<uint64_t>(at[i * distance]));
        }
        first = at[0];
    }
    return v;
}

template <class Q>
void what_is_taken_is_given_back(const Dims& d, Random& random) {
    for (int axis = 0; axis < AXES; ++axis) {
        const Autoregression a = random_weights(random, axis);
        std::vector<Q> values(d.size());
        const size_t shift = random.below(60);
        for (Q& q : values) q = static_cast<Q>(static_cast<int64_t>(random.bits()) >> shift);
        values[0] = std::numeric_limits<Q>::min();
        values.back() = std::numeric_limits<Q>::max();
        std::vector<Q> v = values;
        autoregress_forward(v.data(), d, a);
        CHECK(defined(v, d, a) == values);
        autoregress_inverse(v.data(), d, a);
        CHECK(v == values);
    }
}

void what_is_sent_is_read(Random& random) {
    for (int i = 0; i < 100; ++i) {
        const Autoregression a = random_weights(random, static_cast<int>(random.below(AXES)));
        Bytes out;
        write_autoregression(a, out);
        Autoregression b;
        Cursor whole{View(out)};
        CHECK(read_autoregression(whole, b) == Status::ok && whole.left() == 0);
        CHECK(a.axis == b.axis && a.shift == b.shift && a.weight == b.weight);
        Cursor part{View(out).first(random.below(out.size()))};
        CHECK(read_autoregression(part, b) == Status::truncated);
    }
}

void ranges_are_checked() {
    Autoregression a;
    for (const Bytes& bad : {Bytes{4, 1, 0, 2}, Bytes{3, 0, 0, 2}, Bytes{3, 33, 0, 2}, Bytes{3, 1, 25, 2},
                             Bytes{3, 1, 0, 0x80, 0x80, 0x80, 0x40}}) {
        Cursor in{View(bad)};
        CHECK(read_autoregression(in, a) == Status::corrupt);
    }
}

// Two tones and a little noise: eight values before say the next one far better than one does.
template <class T>
void tones_are_predicted(double bound, size_t most) {
    constexpr size_t n = 20000;
    Random random(3);
    Sample<T> s;
    for (size_t i = 0; i < n; ++i) {
        const double t = static_cast<double>(i);
        s.values.push_back(static_cast<T>(3 * std::sin(t / 7) + std::cos(t / 3) + 1e-5 * random.unit()));
    }
    s.header = header_of<T>({n}, bound);
    s.options.block.bound = bound;
    Bytes stream;
    CHECK(s.encode(stream) == Status::ok);
    CHECK(stream.size() < most);
    const std::vector<T> out = decoded<T>(stream, n, 1);
    for (size_t i = 0; i < n; ++i) CHECK(kept(s.values[i], out[i], s));
}

// Rows as every instruction set predicts them, down to a single integer.
void rows_are_alike_everywhere(Random& random) {
    const Autoregression a = random_weights(random, 0);
    for (const size_t n : {1, 7, 8, 15, 16, 33, 64}) {
        std::vector<int32_t> history((a.weight.size() + 1) * 64), expected;
        for (int32_t& q : history) q = static_cast<int32_t>(random.bits());
        for (const bool add : {false, true}) {
            expected.clear();
            for (const Kernels* k : all_kernels()) {
                std::vector<int32_t> v = history;
                k->weighted_row(v.data() + a.weight.size() * 64, n,
                                {a.weight.data(), a.weight.size(), 64, a.shift, add});
                if (expected.empty()) expected = v;
                CHECK(v == expected);
            }
        }
    }
}

}  // namespace

int main() {
    Random random(1);
    for (const Dims& d : {dims_of(1, 1, 1, 1), dims_of(1, 1, 1, 300), dims_of(1, 1, 7, 50), dims_of(1, 40, 3, 5),
                          dims_of(35, 2, 3, 2), dims_of(3, 4, 5, 6), dims_of(2, 40, 3, 37), dims_of(1, 36, 2, 70),
                          dims_of(1, 1, 90, 45), dims_of(40, 1, 1, 65)})
        for (int i = 0; i < 20; ++i) {
            what_is_taken_is_given_back<int32_t>(d, random);
            what_is_taken_is_given_back<int64_t>(d, random);
        }
    for (int i = 0; i < 20; ++i) rows_are_alike_everywhere(random);
    what_is_sent_is_read(random);
    ranges_are_checked();
    tones_are_predicted<float>(1e-5, 12000);
    tones_are_predicted<double>(1e-5, 4000);
    tones_are_predicted<double>(1e-9, 36000);  // 32-bit words do not hold these integers
}
