// Rows in strips of sixteen: written with vector types, because loops of a fixed length are unrolled before they are
// vectorised. Compiled once for each instruction set: included by kernels.cpp alone, inside its namespace.

static inline float round_even(float v) { return __builtin_rintf(v); }
static inline double round_even(double v) { return __builtin_rint(v); }
static inline float magnitude(float v) { return __builtin_fabsf(v); }
static inline double magnitude(double v) { return __builtin_fabs(v); }

template <class T>
struct VectorOf {
    typedef T type __attribute__((vector_size(16 * sizeof(T))));
};

template <class T>
using V16 = typename VectorOf<T>::type;

template <class T>
static inline V16<T> load16(const T* from) {
    V16<T> v;
    __builtin_memcpy(&v, from, sizeof v);
    return v;
}

template <class T>
static inline void store16(T* to, V16<T> v) {
    __builtin_memcpy(to, &v, sizeof v);
}

template <class To, class From>
static inline V16<To> convert16(From v) {
    return __builtin_convertvector(v, V16<To>);
}

template <class T>
using Mask = std::conditional_t<sizeof(T) == 4, int32_t, int64_t>;  // what a comparison gives: all ones or zero

template <class T>
static inline V16<T> where(V16<Mask<T>> mask, V16<T> v) {
    return reinterpret_cast<V16<T>>(reinterpret_cast<V16<Mask<T>>>(v) & mask);
}

template <class T>
static inline V16<T> magnitude16(V16<T> v) {
    constexpr Mask<T> keep = static_cast<Mask<T>>(~std::make_unsigned_t<Mask<T>>{0} >> 1);
    return reinterpret_cast<V16<T>>(reinterpret_cast<V16<Mask<T>>>(v) & keep);
}

// To the nearest integer, ties to even.
template <class T>
static inline V16<T> round16(V16<T> v) {
#if defined(__AVX512F__)
    constexpr int nearest = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
    if constexpr (sizeof(T) == 4) {
        return reinterpret_cast<V16<T>>(_mm512_roundscale_ps(reinterpret_cast<__m512>(v), nearest));
    } else {
        __m512d half[2];
        __builtin_memcpy(half, &v, sizeof v);
        for (__m512d& h : half) h = _mm512_roundscale_pd(h, nearest);
        __builtin_memcpy(&v, half, sizeof v);
        return v;
    }
#elif defined(__AVX2__)
    constexpr int nearest = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
    using Part = std::conditional_t<sizeof(T) == 4, __m256, __m256d>;
    Part part[sizeof v / sizeof(Part)];
    __builtin_memcpy(part, &v, sizeof v);
    for (Part& h : part) {
        if constexpr (sizeof(T) == 4) h = _mm256_round_ps(h, nearest);
        else h = _mm256_round_pd(h, nearest);
    }
    __builtin_memcpy(&v, part, sizeof v);
    return v;
#else
    T each[16];
    __builtin_memcpy(each, &v, sizeof v);
    for (T& e : each) e = round_even(e);
    __builtin_memcpy(&v, each, sizeof v);
    return v;
#endif
}

// ---- every second of thirty-two, and back

template <class T>
static inline V16<T> evens(V16<T> a, V16<T> b) {
    return __builtin_shufflevector(a, b, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
}

template <class T>
static inline V16<T> odds(V16<T> a, V16<T> b) {
    return __builtin_shufflevector(a, b, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
}

template <class T>
static inline V16<T> interleaved_low(V16<T> a, V16<T> b) {
    return __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
}

template <class T>
static inline V16<T> interleaved_high(V16<T> a, V16<T> b) {
    return __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
}

// The bitwise or of all sixteen.
template <class T>
static inline uint64_t any16(V16<T> v) {
    uint64_t word[sizeof v / 8], any = 0;
    __builtin_memcpy(word, &v, sizeof v);
    for (uint64_t w : word) any |= w;
    for (size_t bits = 32; bits >= 8 * sizeof(T); bits /= 2) any |= any >> bits;
    return any & (~uint64_t{0} >> (64 - 8 * sizeof(T)));
}

// Calls strip(from) along a row of n; the last strip ends where the row does and may repeat a part of the one before, so
// a strip must not read what a strip has written. Rows below sixteen go to cell(x).
template <class Strip, class Cell>
static inline void in_strips(size_t n, Strip&& strip, Cell&& cell) {
    if (n < 16) {
        for (size_t x = 0; x < n; ++x) cell(x);
        return;
    }
    size_t from = 0;
    for (; from + 16 <= n; from += 16) strip(from);
    if (from < n) strip(n - 16);
}
