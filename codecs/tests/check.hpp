// What the engine's tests share: a check that names its place, random numbers that are the same everywhere, headers.
#pragma once

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <initializer_list>
#include <limits>
#include <random>
#include <vector>

#include "codec.hpp"

#define CHECK(condition)                                                              \
    do {                                                                              \
        if (condition) break;                                                         \
        std::fprintf(stderr, "%s:%d: expected %s\n", __FILE__, __LINE__, #condition); \
        std::exit(1);                                                                 \
    } while (false)

namespace sciflow::tests {

// The standard fixes mt19937_64 bit for bit, but none of its distributions: these are ours.
class Random {
  public:
    explicit Random(uint64_t seed) : engine_(seed) {}

    uint64_t bits() { return engine_(); }
    size_t below(size_t n) { return static_cast<size_t>(engine_() % n); }
    bool once_in(size_t n) { return below(n) == 0; }
    double unit() { return static_cast<double>(engine_() >> 11) * 0x1p-53; }
    double between(double low, double high) { return low + (high - low) * unit(); }

  private:
    std::mt19937_64 engine_;
};

template <class T>
constexpr Dtype dtype_of() {
    return sizeof(T) == 4 ? Dtype::float32 : Dtype::float64;
}

template <class T>
Header header_of(const std::vector<uint64_t>& shape, double bound, BoundKind request = BoundKind::abs) {
    Header h;
    h.dtype = dtype_of<T>();
    h.request = request;
    h.bound = h.request_value = bound;
    h.ndim = static_cast<int>(shape.size());
    for (size_t i = 0; i < shape.size(); ++i) h.shape[i] = shape[i];
    return h;
}

inline Dims dims_of(size_t n0, size_t n1, size_t n2, size_t n3) {
    Dims d;
    d.n[0] = n0, d.n[1] = n1, d.n[2] = n2, d.n[3] = n3;
    return d;
}

// Where the machine lacks an instruction set, its kernels are not tested.
inline std::vector<const Kernels*> all_kernels() {
    std::vector<const Kernels*> found;
    for (const char* name : {"base", "v2", "v3", "v4"})
        if (const Kernels* k = kernels_named(name)) found.push_back(k);
    return found;
}

// A smooth field with a little noise, from as many waves as there are axes.
template <class T>
std::vector<T> smooth(const std::vector<uint64_t>& shape, Random& random, double noise = 1e-3) {
    size_t n = 1;
    for (uint64_t s : shape) n *= static_cast<size_t>(s);
    std::vector<T> v(n);
    const double frequency = random.between(0.02, 0.3);
    for (size_t i = 0; i < n; ++i) {
        double sum = 0;
        size_t rest = i;
        for (size_t a = shape.size(); a-- > 0; rest /= static_cast<size_t>(shape[a])) {
            const double at = frequency * static_cast<double>(rest % static_cast<size_t>(shape[a]));
            sum += at * (1 - at / 6 * at);  // a polynomial: libm's sine is not the same everywhere
        }
        v[i] = static_cast<T>(sum + noise * (random.unit() - 0.5));
    }
    return v;
}

}  // namespace sciflow::tests
