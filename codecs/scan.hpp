// Passes over values: what cannot be predicted and must come back bit for bit; whether what came back is what went in.
// Compiled once for each instruction set: included by kernels.cpp alone, inside its namespace.

template <class T>
using BitsOf = std::conditional_t<sizeof(T) == 4, uint32_t, uint64_t>;

template <class T>
static inline BitsOf<T> bits_of(T v) {
    return __builtin_bit_cast(BitsOf<T>, v);
}

template <class T>
static constexpr BitsOf<T> NEGATIVE_ZERO = BitsOf<T>(1) << (8 * sizeof(T) - 1);

// Marks everything outside [low, high] (NaN and Inf too) and every negative zero.
template <class T>
static size_t mark_exact(const T* __restrict in, size_t n, T low, T high, uint8_t* __restrict exact) {
    size_t count = 0;
    for (size_t i = 0; i < n; ++i) {
        const bool usual = (in[i] >= low) & (in[i] <= high) & (bits_of(in[i]) != NEGATIVE_ZERO<T>);
        exact[i] = usual ? 0 : 1;
        count += usual ? 0 : 1;
    }
    return count;
}

template <class T>
static size_t mark_pattern(const T* __restrict in, size_t n, uint64_t pattern, uint8_t* __restrict exact) {
    const BitsOf<T> listed = static_cast<BitsOf<T>>(pattern);
    size_t count = 0;
    for (size_t i = 0; i < n; ++i) {
        const uint8_t hit = bits_of(in[i]) == listed && exact[i] == 0 ? 1 : 0;
        exact[i] = exact[i] | hit;
        count += hit;
    }
    return count;
}

// True where every value is bit-equal or clearly within the limit; false asks for a slower, exact look.
template <class T>
static bool clearly_within(const T* __restrict in, const T* __restrict out, size_t n, T limit) {
    size_t doubtful = 0;
    for (size_t i = 0; i < n; ++i) {
        const bool same = bits_of(in[i]) == bits_of(out[i]);
        const bool near = (magnitude(in[i] - out[i]) < limit) & (bits_of(in[i]) != NEGATIVE_ZERO<T>);
        doubtful += same | near ? 0 : 1;
    }
    return doubtful == 0;
}

template <class T>
static bool pattern_kept(const T* __restrict in, const T* __restrict out, size_t n, uint64_t pattern) {
    const BitsOf<T> listed = static_cast<BitsOf<T>>(pattern);
    size_t lost = 0;
    for (size_t i = 0; i < n; ++i) lost += (bits_of(in[i]) == listed) != (bits_of(out[i]) == listed) ? 1 : 0;
    return lost == 0;
}
