// The enhancer's rows: fixed point, activity, classes, filter. Integers but for the first and the last step.
// Compiled once for each instruction set: included by kernels.cpp alone, inside its namespace.

template <class T>
static bool enhance_to_fixed(const T* in, size_t n, double origin, double inverse, int32_t* out, uint8_t* hole) {
    using enhance::FIXED_LIMIT;
    uint32_t holes = 0;
    for (size_t i = 0; i < n; ++i) {
        const double v = __builtin_rint((static_cast<double>(in[i]) - origin) * inverse);
        const bool inside = v > -FIXED_LIMIT && v < FIXED_LIMIT;  // false for NaN
        const bool zero = in[i] == T(0), negative = __builtin_signbit(in[i]) != 0;
        out[i] = inside ? static_cast<int32_t>(v) : 0;
        holes |= static_cast<uint32_t>(!inside) | static_cast<uint32_t>(zero & negative);
    }
    if (holes == 0) return true;
    for (size_t i = 0; i < n; ++i) {
        const double v = __builtin_rint((static_cast<double>(in[i]) - origin) * inverse);
        if (!(v > -FIXED_LIMIT && v < FIXED_LIMIT) || (in[i] == T(0) && __builtin_signbit(in[i]))) hole[i] = 1;
    }
    return false;
}

template <class T>
static void enhance_correct(const T* in, const int16_t* h, size_t n, int32_t limit, double unit, T* out) {
    for (size_t i = 0; i < n; ++i) {
        int32_t c = h[i];
        c = c > limit ? limit : c;
        c = c < -limit ? -limit : c;
        out[i] = static_cast<T>(static_cast<double>(in[i]) + static_cast<double>(c) * unit);
    }
}

static void enhance_activity(const int32_t* t, const ptrdiff_t* forward, int axes, size_t n, int32_t* out) {
    for (size_t i = 0; i < n; ++i) out[i] = 0;
    for (int a = 0; a < axes; ++a) {
        const int32_t* next = t + forward[a];
        for (size_t i = 0; i < n; ++i) {
            int32_t d = next[i] - t[i];
            d = d < 0 ? -d : d;
            out[i] += d < enhance::MOST_SLOPE ? d : enhance::MOST_SLOPE;
        }
    }
}

static void enhance_sum_of_five(const int32_t* const* rows, size_t n, int32_t* out) {
    const int32_t *a = rows[0], *b = rows[1], *c = rows[2], *d = rows[3], *e = rows[4];
    for (size_t i = 0; i < n; ++i) out[i] = a[i] + b[i] + c[i] + d[i] + e[i];
}

static void enhance_count_edges(const int32_t* v, size_t n, const int32_t* edges, size_t count, int32_t times,
                                int32_t* classes) {
    for (size_t k = 0; k < count; ++k) {
        const int32_t edge = edges[k];
        for (size_t i = 0; i < n; ++i) classes[i] += v[i] >= edge ? times : 0;
    }
}

static inline int32_t enhance_cut(int32_t v, int32_t most) {
    v = v > most ? most : v;
    return v < -most ? -most : v;
}

static inline int32_t enhance_filter_cell(const enhance::FilterRow& job, size_t i) {
    using namespace enhance;
    const int32_t c = job.classes[i];
    int32_t sum = job.bias[c];
    const int32_t* weights = job.weights + c;
    for (int s = 0; s < job.sources; ++s) {
        const int32_t* const t = job.t[s] + i;
        for (int p = 0; p < job.pairs; ++p, weights += MAX_CLASSES) {
            const int32_t u = t[job.step[p]] - t[0], v = t[-job.step[p]] - t[0], w = *weights;
            sum += (enhance_cut(u, LINEAR_CUT) + enhance_cut(v, LINEAR_CUT)) * static_cast<int16_t>(w & 0xffff) +
                   (enhance_cut(u, CLIPPED_CUT) + enhance_cut(v, CLIPPED_CUT)) * (w >> 16);
        }
    }
    return enhance_cut(sum >> job.shift, 32767);
}

#if defined(__AVX2__)
// Eight cells. A pair's two features lie side by side in 32 bits, as do its two weights: one multiply-add for both.
static inline __m256i enhance_filter_eight(const enhance::FilterRow& job, size_t i) {
    using namespace enhance;
    const auto load = [](const int32_t* p) { return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)); };
    const auto cut = [](__m256i v, int32_t most) {
        return _mm256_max_epi32(_mm256_min_epi32(v, _mm256_set1_epi32(most)), _mm256_set1_epi32(-most));
    };
    const __m256i c = load(job.classes + i), low = _mm256_set1_epi32(0xffff);
    __m256i sum = _mm256_i32gather_epi32(job.bias, c, 4);
    const int32_t* weights = job.weights;
    for (int s = 0; s < job.sources; ++s) {
        const int32_t* const t = job.t[s] + i;
        const __m256i here = load(t);
        for (int p = 0; p < job.pairs; ++p, weights += MAX_CLASSES) {
            const __m256i u = _mm256_sub_epi32(load(t + job.step[p]), here);
            const __m256i v = _mm256_sub_epi32(load(t - job.step[p]), here);
            const __m256i linear = _mm256_add_epi32(cut(u, LINEAR_CUT), cut(v, LINEAR_CUT));
            const __m256i clipped = _mm256_add_epi32(cut(u, CLIPPED_CUT), cut(v, CLIPPED_CUT));
            const __m256i both = _mm256_or_si256(_mm256_and_si256(linear, low), _mm256_slli_epi32(clipped, 16));
            sum = _mm256_add_epi32(sum, _mm256_madd_epi16(both, _mm256_i32gather_epi32(weights, c, 4)));
        }
    }
    return cut(_mm256_srav_epi32(sum, _mm256_set1_epi32(job.shift)), 32767);
}
#endif

#if defined(__AVX512BW__) && defined(__AVX512F__)
// The same for sixteen cells.
static inline __m256i enhance_filter_sixteen(const enhance::FilterRow& job, size_t i) {
    using namespace enhance;
    const auto load = [](const int32_t* p) { return _mm512_loadu_si512(p); };
    const auto cut = [](__m512i v, int32_t most) {
        return _mm512_max_epi32(_mm512_min_epi32(v, _mm512_set1_epi32(most)), _mm512_set1_epi32(-most));
    };
    const __m512i c = load(job.classes + i);
    __m512i sum = _mm512_i32gather_epi32(c, job.bias, 4);
    const int32_t* weights = job.weights;
    for (int s = 0; s < job.sources; ++s) {
        const int32_t* const t = job.t[s] + i;
        const __m512i here = load(t);
        for (int p = 0; p < job.pairs; ++p, weights += MAX_CLASSES) {
            const __m512i u = _mm512_sub_epi32(load(t + job.step[p]), here);
            const __m512i v = _mm512_sub_epi32(load(t - job.step[p]), here);
            const __m512i linear = _mm512_add_epi32(cut(u, LINEAR_CUT), cut(v, LINEAR_CUT));
            const __m512i clipped = _mm512_add_epi32(cut(u, CLIPPED_CUT), cut(v, CLIPPED_CUT));
            const __m512i both = _mm512_mask_blend_epi16(0xaaaaaaaa, linear, _mm512_slli_epi32(clipped, 16));
            sum = _mm512_add_epi32(sum, _mm512_madd_epi16(both, _mm512_i32gather_epi32(c, weights, 4)));
        }
    }
    return _mm512_cvtepi32_epi16(cut(_mm512_srav_epi32(sum, _mm512_set1_epi32(job.shift)), 32767));
}
#endif

static void enhance_filter(const enhance::FilterRow& job) {
    size_t i = 0;
#if defined(__AVX512BW__) && defined(__AVX512F__)
    for (; i + 16 <= job.n; i += 16)
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(job.out + i), enhance_filter_sixteen(job, i));
#elif defined(__AVX2__)
    for (; i + 16 <= job.n; i += 16) {
        const __m256i a = enhance_filter_eight(job, i), b = enhance_filter_eight(job, i + 8);
        const __m256i packed = _mm256_permute4x64_epi64(_mm256_packs_epi32(a, b), 0xd8);
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(job.out + i), packed);
    }
#endif
    for (; i < job.n; ++i) job.out[i] = static_cast<int16_t>(enhance_filter_cell(job, i));
}
