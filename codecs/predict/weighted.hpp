// Rows of integers predicted by weights from those at fixed distances before them: 64-bit sums of 32-bit products.
// Compiled once for each instruction set: included by kernels.cpp alone, inside its namespace.

static inline int32_t weighted_one(const int32_t* at, const WeightedJob& job) {
    int64_t sum = (int64_t{1} << job.shift) >> 1;
    for (size_t k = 0; k < job.order; ++k) sum += int64_t{job.weight[k]} * *(at - (k + 1) * job.distance);
    const uint32_t p = static_cast<uint32_t>(sum >> job.shift), v = static_cast<uint32_t>(*at);
    return static_cast<int32_t>(job.add ? v + p : v - p);
}

#if defined(__AVX512F__)

static constexpr size_t PRODUCTS = 16;

// Sixteen integers: the even ones' sums in one register, the odd ones' in another. Shifted sums matter modulo 2^32.
static inline void weighted_strip(int32_t* at, const WeightedJob& job) {
    __m512i even = _mm512_set1_epi64((int64_t{1} << job.shift) >> 1), odd = even;
    for (size_t k = 0; k < job.order; ++k) {
        const __m512i v = _mm512_loadu_si512(at - (k + 1) * job.distance), w = _mm512_set1_epi64(job.weight[k]);
        even = _mm512_add_epi64(even, _mm512_mul_epi32(v, w));
        odd = _mm512_add_epi64(odd, _mm512_mul_epi32(_mm512_srli_epi64(v, 32), w));
    }
    const __m128i shift = _mm_cvtsi32_si128(job.shift);
    const __m512i p = _mm512_mask_blend_epi32(0xaaaa, _mm512_srl_epi64(even, shift),
                                              _mm512_slli_epi64(_mm512_srl_epi64(odd, shift), 32));
    const __m512i v = _mm512_loadu_si512(at);
    _mm512_storeu_si512(at, job.add ? _mm512_add_epi32(v, p) : _mm512_sub_epi32(v, p));
}

#elif defined(__AVX2__)

static constexpr size_t PRODUCTS = 8;

static inline void weighted_strip(int32_t* at, const WeightedJob& job) {
    __m256i even = _mm256_set1_epi64x((int64_t{1} << job.shift) >> 1), odd = even;
    for (size_t k = 0; k < job.order; ++k) {
        const __m256i v = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at - (k + 1) * job.distance));
        const __m256i w = _mm256_set1_epi64x(job.weight[k]);
        even = _mm256_add_epi64(even, _mm256_mul_epi32(v, w));
        odd = _mm256_add_epi64(odd, _mm256_mul_epi32(_mm256_srli_epi64(v, 32), w));
    }
    const __m128i shift = _mm_cvtsi32_si128(job.shift);
    const __m256i p =
        _mm256_blend_epi32(_mm256_srl_epi64(even, shift), _mm256_slli_epi64(_mm256_srl_epi64(odd, shift), 32), 0xaa);
    const __m256i v = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(at));
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(at), job.add ? _mm256_add_epi32(v, p) : _mm256_sub_epi32(v, p));
}

#else

static constexpr size_t PRODUCTS = 1;

static inline void weighted_strip(int32_t* at, const WeightedJob& job) { *at = weighted_one(at, job); }

#endif

// The last first: a row may be predicted from itself, where nothing of it is added to.
static void weighted_row(int32_t* row, size_t n, const WeightedJob& job) {
    size_t j = n;
    while (j % PRODUCTS) --j, row[j] = weighted_one(row + j, job);
    for (; j > 0; j -= PRODUCTS) weighted_strip(row + j - PRODUCTS, job);
}
