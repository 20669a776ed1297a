// Integers against those some distances before them, and back.
// Compiled once for each instruction set: included by kernels.cpp alone, inside its namespace.

static inline uint32_t zigzag(uint32_t d) { return (d << 1) ^ static_cast<uint32_t>(static_cast<int32_t>(d) >> 31); }
static inline uint32_t unzigzag(uint32_t z) { return (z >> 1) ^ (0u - (z & 1)); }

// What is predicted from the values before v: 1 - (1 - S^a)(1 - S^b)(1 - S^c), S^a being a shift by a.
template <int LAGS>
static inline uint32_t predicted_by(const uint32_t* v, const size_t* lag) {
    if constexpr (LAGS == 0) return 0;
    const size_t a = lag[0], b = lag[1], c = lag[2];
    if constexpr (LAGS == 1) return *(v - a);
    if constexpr (LAGS == 2) return *(v - a) + *(v - b) - *(v - a - b);
    return *(v - a) + *(v - b) + *(v - c) - *(v - a - b) - *(v - a - c) - *(v - b - c) + *(v - a - b - c);
}

template <int LAGS>
static void differences_of(const uint32_t* values, size_t n, const size_t* lags, uint32_t* __restrict words) {
    const size_t lag[3] = {lags[0], lags[1], lags[2]};
    for (size_t i = 0; i < n; ++i) words[i] = zigzag(values[i] - predicted_by<LAGS>(values + i, lag));
}

static void lag_differences(const uint32_t* values, size_t n, const size_t* lags, int count, uint32_t* words) {
    switch (count) {
        case 0: return differences_of<0>(values, n, lags, words);
        case 1: return differences_of<1>(values, n, lags, words);
        case 2: return differences_of<2>(values, n, lags, words);
        default: return differences_of<3>(values, n, lags, words);
    }
}

// In place: words to values. What a value needs lies at least a lag before it, so a lag's length can be done at once.
template <int LAGS>
static void sums_of(uint32_t* values, size_t n, const size_t* lags) {
    const size_t lag[3] = {lags[0], lags[1], lags[2]};
    size_t least = lag[0];
    for (int k = 1; k < LAGS; ++k) least = lag[k] < least ? lag[k] : least;
    if (least < 16) {
        for (size_t i = 0; i < n; ++i) values[i] = unzigzag(values[i]) + predicted_by<LAGS>(values + i, lag);
        return;
    }
    for (size_t from = 0; from < n; from += least) {
        const size_t to = n - from < least ? n : from + least;
#pragma GCC ivdep
        for (size_t i = from; i < to; ++i) values[i] = unzigzag(values[i]) + predicted_by<LAGS>(values + i, lag);
    }
}

static void lag_sums(uint32_t* values, size_t n, const size_t* lags, int count) {
    switch (count) {
        case 0:
            for (size_t i = 0; i < n; ++i) values[i] = unzigzag(values[i]);
            return;
        case 1: return sums_of<1>(values, n, lags);
        case 2: return sums_of<2>(values, n, lags);
        default: return sums_of<3>(values, n, lags);
    }
}

// Differences of `order` 1 or 2 along x; two codes lie before the first.
static void differences_along_x(const uint32_t* __restrict codes, size_t n, int order, uint32_t* __restrict values) {
    if (order == 1)
        for (size_t i = 0; i < n; ++i) values[i] = codes[i] - *(codes + i - 1);
    else
        for (size_t i = 0; i < n; ++i) values[i] = codes[i] - 2 * *(codes + i - 1) + *(codes + i - 2);
}

// Running sums from `carry` on; returns the last.
static uint32_t running_sums(const uint32_t* values, size_t n, uint32_t carry, uint32_t* sums) {
    size_t i = 0;
#if defined(__AVX2__)
    const __m256i last = _mm256_set1_epi32(7);
    __m256i before = _mm256_set1_epi32(static_cast<int>(carry));
    for (; i + 8 <= n; i += 8) {
        __m256i v = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(values + i));
        v = _mm256_add_epi32(v, _mm256_slli_si256(v, 4));
        v = _mm256_add_epi32(v, _mm256_slli_si256(v, 8));
        const __m256i low = _mm256_permute2x128_si256(v, v, 0x08);  // the lower half above zeros
        v = _mm256_add_epi32(v, _mm256_shuffle_epi32(low, 0xff));
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(sums + i), _mm256_add_epi32(v, before));
        before = _mm256_add_epi32(before, _mm256_permutevar8x32_epi32(v, last));
    }
    carry = static_cast<uint32_t>(_mm256_cvtsi256_si32(before));
#endif
    for (; i < n; ++i) sums[i] = carry += values[i];
    return carry;
}

// Undoes differences_along_x: `carry` holds the last difference and the last code.
static void sums_along_x(const uint32_t* values, size_t n, int order, uint32_t* carry, uint32_t* codes) {
    if (order == 2) {
        carry[0] = running_sums(values, n, carry[0], codes);
        values = codes;
    }
    carry[1] = running_sums(values, n, carry[1], codes);
}
