// Values to multiples of a step, told whether each is plainly kept.
// Compiled once for each instruction set: included by kernels.cpp alone, inside its namespace.

static constexpr size_t AHEAD = 4096;               // bytes: the processor's own prefetching ends with a page
static constexpr int32_t OUT_OF_REACH = INT32_MIN;  // what the conversion instructions give for it, too

static inline int32_t code_of(double t) {
    const double r = round_even(t);
    return static_cast<int32_t>(r >= -0x1p31 && r < 0x1p31 ? r : static_cast<double>(OUT_OF_REACH));
}

template <class T>
static inline uint32_t doubtful(T x, T back, T limit) {
    return (magnitude(x - back) < limit) & (bits_of(x) != NEGATIVE_ZERO<T>) ? 0u : 1u;
}

#if defined(__AVX512BW__) && defined(__AVX512VL__)

struct EightSteps {
    __m512d origin, step, inverse, base;

    explicit EightSteps(const LatticeJob& j)
        : origin(_mm512_set1_pd(j.origin)),
          step(_mm512_set1_pd(j.step)),
          inverse(_mm512_set1_pd(j.inverse)),
          base(_mm512_set1_pd(j.base)) {}

    __m256 coded(__m256 x, uint32_t* codes) const {
        const __m512d t = _mm512_mul_pd(_mm512_sub_pd(_mm512_cvtps_pd(x), origin), inverse);
        const __m256i code = _mm512_cvtpd_epi32(_mm512_sub_pd(t, base));
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(codes), code);
        return back(code);
    }
    __m256 back(__m256i code) const {
        const __m512d q = _mm512_add_pd(_mm512_cvtepi32_pd(code), base);
        return _mm512_cvtpd_ps(_mm512_add_pd(origin, _mm512_mul_pd(q, step)));
    }
};

#elif defined(__AVX2__)

struct EightSteps {
    __m256d origin, step, inverse, base;

    explicit EightSteps(const LatticeJob& j)
        : origin(_mm256_set1_pd(j.origin)),
          step(_mm256_set1_pd(j.step)),
          inverse(_mm256_set1_pd(j.inverse)),
          base(_mm256_set1_pd(j.base)) {}

    __m128 coded(__m128 x, uint32_t* codes) const {
        const __m256d t = _mm256_mul_pd(_mm256_sub_pd(_mm256_cvtps_pd(x), origin), inverse);
        const __m128i code = _mm256_cvtpd_epi32(_mm256_sub_pd(t, base));
        _mm_storeu_si128(reinterpret_cast<__m128i*>(codes), code);
        return back(code);
    }
    __m128 back(__m128i code) const {
        const __m256d q = _mm256_add_pd(_mm256_cvtepi32_pd(code), base);
        return _mm256_cvtpd_ps(_mm256_add_pd(origin, _mm256_mul_pd(q, step)));
    }
    __m256 coded(__m256 x, uint32_t* codes) const {
        const __m128 low = coded(_mm256_castps256_ps128(x), codes);
        return _mm256_set_m128(coded(_mm256_extractf128_ps(x, 1), codes + 4), low);
    }
    __m256 back(__m256i code) const {
        return _mm256_set_m128(back(_mm256_extracti128_si256(code, 1)), back(_mm256_castsi256_si128(code)));
    }
};

#endif

#if defined(__AVX2__)

// Where eight values are not plainly within a limit of others, or negative zeros.
struct EightDoubts {
    const __m256 size = _mm256_castsi256_ps(_mm256_set1_epi32(INT32_MAX)), most;
    const __m256i negative_zero = _mm256_set1_epi32(INT32_MIN);

    explicit EightDoubts(float limit) : most(_mm256_set1_ps(limit)) {}

    __m256i of(__m256 x, __m256 back) const {
        const __m256 error = _mm256_and_ps(_mm256_sub_ps(x, back), size);
        const __m256i missed = _mm256_castps_si256(_mm256_cmp_ps(error, most, _CMP_NLT_UQ));
        return _mm256_or_si256(missed, _mm256_cmpeq_epi32(_mm256_castps_si256(x), negative_zero));
    }
};

// As many as go by eights; the rest is the scalar loop's.
static size_t steps_by_eights(const float* in, size_t n, const LatticeJob& job, float limit, uint32_t* codes,
                              uint32_t* doubt, uint32_t& some) {
    const EightSteps steps(job);
    const EightDoubts doubts_of(limit);
    __m256i any = _mm256_setzero_si256();
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        if (i % 16 == 0) _mm_prefetch(reinterpret_cast<const char*>(in + i) + AHEAD, _MM_HINT_T0);
        const __m256 x = _mm256_loadu_ps(in + i);
        const __m256i doubts = doubts_of.of(x, steps.coded(x, codes + i));
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(doubt + i), doubts);
        any = _mm256_or_si256(any, doubts);
    }
    some |= static_cast<uint32_t>(_mm256_movemask_ps(_mm256_castsi256_ps(any)));
    return i;
}

static size_t kept_by_eights(const int32_t* codes, const float* in, size_t n, const LatticeJob& job, float limit,
                             uint32_t& some) {
    const EightSteps steps(job);
    const EightDoubts doubts_of(limit);
    __m256i any = _mm256_setzero_si256();
    size_t i = 0;
    for (; i + 8 <= n; i += 8) {
        const __m256i code = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(codes + i));
        any = _mm256_or_si256(any, doubts_of.of(_mm256_loadu_ps(in + i), steps.back(code)));
    }
    some |= static_cast<uint32_t>(_mm256_movemask_ps(_mm256_castsi256_ps(any)));
    return i;
}

#endif

// Codes relative to `base`; where a value is not plainly within `limit` of what its code stands for, or a negative
// zero, `doubt` is not 0. Returns whether there are any.
template <class T>
static bool to_steps(const T* in, size_t n, const LatticeJob& job, T limit, uint32_t* codes, uint32_t* doubt) {
    const double origin = job.origin, step = job.step, inverse = job.inverse, base = job.base;
    constexpr size_t PART = 256;
    T back[PART];
    uint32_t some = 0;
    size_t from = 0;
#if defined(__AVX2__)
    if constexpr (sizeof(T) == 4) from = steps_by_eights(in, n, job, limit, codes, doubt, some);
#endif
    for (; from < n; from += PART) {  // loops of one kind each: they vectorise
        const size_t m = n - from < PART ? n - from : PART;
        const T* __restrict v = in + from;
        uint32_t* __restrict code = codes + from, * __restrict mark = doubt + from;
        for (size_t i = 0; i < m; ++i)
            code[i] = static_cast<uint32_t>(code_of((static_cast<double>(v[i]) - origin) * inverse - base));
        for (size_t i = 0; i < m; ++i)
            back[i] = static_cast<T>(origin + (static_cast<double>(static_cast<int32_t>(code[i])) + base) * step);
        for (size_t i = 0; i < m; ++i) some |= mark[i] = doubtful(v[i], back[i], limit);
    }
    return some != 0;
}

// Whether every value is plainly within `limit` of what its code comes back as, and none a negative zero.
template <class T>
static bool steps_kept(const int32_t* codes, const T* in, size_t n, const LatticeJob& job, T limit) {
    const double origin = job.origin, step = job.step, base = job.base;
    constexpr size_t PART = 256;
    T back[PART];
    uint32_t some = 0;
    size_t from = 0;
#if defined(__AVX2__)
    if constexpr (sizeof(T) == 4) from = kept_by_eights(codes, in, n, job, limit, some);
#endif
    for (; from < n; from += PART) {
        const size_t m = n - from < PART ? n - from : PART;
        const T* __restrict v = in + from;
        const int32_t* __restrict code = codes + from;
        for (size_t i = 0; i < m; ++i) back[i] = static_cast<T>(origin + (static_cast<double>(code[i]) + base) * step);
        for (size_t i = 0; i < m; ++i) some |= doubtful(v[i], back[i], limit);
    }
    return some == 0;
}
