// Arrays of every kind for the tests of whole streams, and the promise that each of their values must keep.
#pragma once

#include <bit>
#include <cmath>
#include <cstring>

#include "check.hpp"
#include "lattice.hpp"

namespace sciflow::tests {

template <class T>
struct Sample {
    Header header;
    StreamOptions options;
    std::vector<uint64_t> preserve;
    std::vector<T> values;

    Status encode(Bytes& out) const {
        StreamOptions o = options;
        o.block.preserve = preserve;
        return encode_stream(values.data(), header, o, out);
    }
};

inline std::vector<uint64_t> random_shape(Random& random) {
    if (random.once_in(25)) return {1 + random.below(3), 50 + random.below(50), 700 + random.below(100)};  // 32 lanes
    std::vector<uint64_t> shape(random.below(6));
    const size_t most = shape.size() > 3 ? 7 : shape.size() > 1 ? 40 : 4000;
    for (uint64_t& n : shape) n = random.once_in(30) ? 0 : 1 + random.below(random.once_in(3) ? 3 : most);
    return shape;
}

template <class T>
std::vector<T> random_values(const std::vector<uint64_t>& shape, Random& random) {
    std::vector<T> v = smooth<T>(shape, random, random.once_in(3) ? 1 : 1e-3);
    const auto random_bits = [&] { return std::bit_cast<T>(static_cast<BitsOf<T>>(random.bits())); };
    switch (random.below(7)) {
        case 0:  // anything at all
            for (T& x : v) x = random_bits();
            break;
        case 1: {  // decimals, as an instrument writes them
            const double step = std::pow(10.0, -static_cast<double>(random.below(4)));
            for (T& x : v) x = static_cast<T>(std::rint(static_cast<double>(x) / step) * step);
            break;
        }
        case 2: {  // large offset
            const T offset = static_cast<T>(std::ldexp(1.0, static_cast<int>(random.below(40))));
            for (T& x : v) x += offset;
            break;
        }
        case 3: {  // of any size
            const T scale = static_cast<T>(std::ldexp(1.0, static_cast<int>(random.below(240)) - 120));
            for (T& x : v) x *= scale;
            break;
        }
        case 4:  // hardly anything
            for (T& x : v)
                if (!random.once_in(20)) x = 0;
            break;
        default: break;
    }
    return v;
}

template <class T>
void strew_specials(std::vector<T>& v, Random& random) {
    using L = std::numeric_limits<T>;
    const T specials[] = {L::quiet_NaN(),  -L::quiet_NaN(), L::infinity(), -L::infinity(), T(-0.0),
                          L::denorm_min(), L::max(),        L::lowest(),   T(1e20),        T(-999)};
    const size_t every = 1 + random.below(50);
    for (T& x : v)
        if (random.once_in(every)) x = specials[random.below(std::size(specials))];
}

template <class T>
Sample<T> random_sample(Random& random) {
    const std::vector<uint64_t> shape = random_shape(random);
    Sample<T> s;
    s.values = random_values<T>(shape, random);
    if (random.once_in(3)) strew_specials(s.values, random);
    const bool pointwise = random.once_in(4);
    const double bound = random.once_in(9) && !pointwise
                             ? 0
                             : std::ldexp(random.between(0.5, 1),
                                          -static_cast<int>(random.below(pointwise ? 30 : 60)) + (pointwise ? 0 : 20));
    s.header = header_of<T>(shape, bound, pointwise ? BoundKind::pointwise_rel : BoundKind::abs);
    s.header.lattice = !pointwise && random.once_in(4);
    s.options.block.bound = bound;
    s.options.block.lattice_only = s.header.lattice;
    s.options.block.mse =
        !pointwise && random.once_in(6) ? bound * bound / static_cast<double>(1 + random.below(20)) : 0;
    s.options.block.level = static_cast<int>(random.below(4));
    s.options.block.verify = random.once_in(2);
    s.options.block_values = random.once_in(2) ? 0 : 64 + random.below(3000);
    if (random.once_in(3))
        for (T sentinel : {T(-999), T(0)}) s.preserve.push_back(std::bit_cast<BitsOf<T>>(sentinel));
    return s;
}

template <class T>
bool kept(T x, T y, const Sample<T>& s) {
    if (std::bit_cast<BitsOf<T>>(x) == std::bit_cast<BitsOf<T>>(y)) return true;
    if (!std::isfinite(x) || (x == 0 && std::signbit(x))) return false;
    for (uint64_t p : s.preserve)
        if (std::bit_cast<BitsOf<T>>(x) == p || std::bit_cast<BitsOf<T>>(y) == p) return false;
    const long double limit =
        s.header.pointwise() ? static_cast<long double>(s.header.bound) * std::fabs(x) : s.header.bound;
    return std::fabs(static_cast<long double>(x) - static_cast<long double>(y)) <= limit;
}

// The mean squared error of what may differ: finite, and not one of the sentinels.
template <class T>
long double mean_squared_error(const Sample<T>& s, const std::vector<T>& out) {
    long double squares = 0;
    size_t counted = 0;
    for (size_t i = 0; i < out.size(); ++i) {
        const T x = s.values[i];
        if (!std::isfinite(x) ||
            std::find(s.preserve.begin(), s.preserve.end(), std::bit_cast<BitsOf<T>>(x)) != s.preserve.end())
            continue;
        const long double d = static_cast<long double>(x) - static_cast<long double>(out[i]);
        squares += d * d;
        ++counted;
    }
    return counted == 0 ? 0 : squares / static_cast<long double>(counted);
}

template <class T>
std::vector<T> decoded(View stream, size_t n, int threads) {
    std::vector<T> out(n, T(12345));
    size_t offset = 0;
    CHECK(decode_stream(stream, out.data(), n * sizeof(T), threads, offset) == Status::ok);
    return out;
}

template <class T>
bool same_bits(const std::vector<T>& a, const std::vector<T>& b) {
    return a.size() == b.size() && (a.empty() || std::memcmp(a.data(), b.data(), a.size() * sizeof(T)) == 0);
}

}  // namespace sciflow::tests
