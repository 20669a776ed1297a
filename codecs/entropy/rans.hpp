// Interleaved rANS over 16-bit words: symbol i of a row belongs to state i mod lanes; words are read in lane order.
// The vector paths decode exactly what the scalar one does; they run only while a whole group's words remain.
// Compiled once for each instruction set: included by kernels.cpp alone, inside its namespace.

// The tables of sixteen fine contexts: two shuffles over the 32 entries of `table_of`.
#if defined(__SSSE3__)
static inline __m128i tables_of_16(__m128i contexts, const uint8_t* table_of) {
    const __m128i low = _mm_loadu_si128(reinterpret_cast<const __m128i*>(table_of));
    const __m128i high = _mm_loadu_si128(reinterpret_cast<const __m128i*>(table_of + 16));
    return _mm_or_si128(_mm_shuffle_epi8(low, _mm_add_epi8(contexts, _mm_set1_epi8(0x70))),
                        _mm_shuffle_epi8(high, _mm_sub_epi8(contexts, _mm_set1_epi8(16))));
}
#endif

// In place; a row may be read and written up to fifteen bytes past its end.
static inline void to_tables(uint8_t* contexts, size_t n, const uint8_t* table_of) {
#if defined(__SSSE3__)
    for (size_t x = 0; x < n; x += 16) {
        __m128i* at = reinterpret_cast<__m128i*>(contexts + x);
        _mm_storeu_si128(at, tables_of_16(_mm_loadu_si128(at), table_of));
    }
#else
    for (size_t x = 0; x < n; ++x) contexts[x] = table_of[contexts[x]];
#endif
}

// Without a branch: two bytes below `words` are written, whether they count or not.
static inline uint8_t* encode_one(uint32_t& state, uint32_t reciprocal, uint32_t range, uint8_t* words) {
    const uint32_t freq = (range >> 12) & 0x1fff, start = range & 0xfff;
    const uint32_t full = state >= freq << (31 - PROB_BITS) ? 1 : 0;
    words[-2] = static_cast<uint8_t>(state);
    words[-1] = static_cast<uint8_t>(state >> 8);
    const uint32_t v = state >> (16 * full);
    const uint32_t q = static_cast<uint32_t>((static_cast<uint64_t>(v) * reciprocal) >> (31 + (range >> 25)));
    state = v + start + q * ((1u << PROB_BITS) - freq);
    return words - 2 * full;
}

static uint8_t* encode_scalar(const uint8_t* symbols, const uint8_t* contexts, const uint8_t* table_of, size_t from,
                              size_t to, const EncodeTables& tables, uint32_t* state, uint32_t lanes, uint8_t* words) {
    const auto encode = [&](size_t i, uint32_t& lane) {
        const size_t k = size_t{table_of[contexts[i]]} * 256 + symbols[i];
        words = encode_one(lane, tables.reciprocal[k], tables.range[k], words);
    };
    size_t i = to;
    if (lanes == 4) {
        for (; i > from && i % 4; --i) encode(i - 1, state[(i - 1) % 4]);
        uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
        for (; i >= from + 4; i -= 4) {
            encode(i - 1, d);
            encode(i - 2, c);
            encode(i - 3, b);
            encode(i - 4, a);
        }
        state[0] = a, state[1] = b, state[2] = c, state[3] = d;
    }
    while (i-- > from) encode(i, state[i & (lanes - 1)]);
    return words;
}

static inline uint8_t decode_one(RansDecoder& r, uint32_t lane, uint32_t table) {
    uint32_t x = r.state[lane];
    const uint32_t e = r.table[(table << PROB_BITS) | (x & ((1u << PROB_BITS) - 1))];
    x = (((e >> 8) & 0xfff) + 1) * (x >> PROB_BITS) + (e >> 20);
    if (x < RANS_LOW) {
        if (r.end - r.words < 2) {
            r.over = true;
        } else {
            x = (x << 16) | static_cast<uint32_t>(r.words[0] | (r.words[1] << 8));
            r.words += 2;
        }
    }
    r.state[lane] = x;
    return static_cast<uint8_t>(e);
}

// Without a branch: two bytes at `words` are read, whether they count or not.
static inline uint8_t decode_ahead(uint32_t& state, const uint32_t* table, uint32_t at, const uint8_t*& words) {
    const uint32_t e = table[(at << PROB_BITS) | (state & ((1u << PROB_BITS) - 1))];
    const uint32_t x = (((e >> 8) & 0xfff) + 1) * (state >> PROB_BITS) + (e >> 20);
    const uint32_t more = x < RANS_LOW ? 1 : 0, next = static_cast<uint32_t>(words[0] | (words[1] << 8));
    state = (x << (16 * more)) | (next & (0u - more));
    words += 2 * more;
    return static_cast<uint8_t>(e);
}

static void decode_scalar(RansDecoder& r, const uint8_t* tables, uint8_t* symbols, size_t from, size_t n) {
    size_t i = from;
    if (r.lanes == 4 && i % 4 == 0) {
        uint32_t a = r.state[0], b = r.state[1], c = r.state[2], d = r.state[3];
        for (; i + 4 <= n && r.end - r.words >= 8; i += 4) {
            symbols[i] = decode_ahead(a, r.table, tables[i], r.words);
            symbols[i + 1] = decode_ahead(b, r.table, tables[i + 1], r.words);
            symbols[i + 2] = decode_ahead(c, r.table, tables[i + 2], r.words);
            symbols[i + 3] = decode_ahead(d, r.table, tables[i + 3], r.words);
        }
        r.state[0] = a, r.state[1] = b, r.state[2] = c, r.state[3] = d;
    }
    for (; i < n; ++i) symbols[i] = decode_one(r, static_cast<uint32_t>(i) & (r.lanes - 1), tables[i]);
}

#if defined(__AVX512BW__) && defined(__AVX512VL__)

static inline __m512i decode_group(__m512i x, const uint8_t* tables, const uint32_t* lut, __mmask16 live,
                                   const uint8_t*& words, uint8_t* symbols) {
    const __m512i ctx = _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(live, tables));
    const __m512i low = _mm512_set1_epi32((1 << PROB_BITS) - 1);
    const __m512i slot = _mm512_or_si512(_mm512_slli_epi32(ctx, PROB_BITS), _mm512_and_si512(x, low));
    const __m512i e = _mm512_i32gather_epi32(slot, lut, 4);
    const __m512i freq = _mm512_add_epi32(_mm512_and_si512(_mm512_srli_epi32(e, 8), low), _mm512_set1_epi32(1));
    __m512i next =
        _mm512_add_epi32(_mm512_mullo_epi32(freq, _mm512_srli_epi32(x, PROB_BITS)), _mm512_srli_epi32(e, 20));
    const __mmask16 more = _mm512_mask_cmplt_epu32_mask(live, next, _mm512_set1_epi32(RANS_LOW));
    const __m512i w = _mm512_cvtepu16_epi32(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(words)));
    next = _mm512_mask_or_epi32(next, more, _mm512_slli_epi32(next, 16), _mm512_maskz_expand_epi32(more, w));
    words += 2 * static_cast<size_t>(__builtin_popcount(more));
    _mm_mask_storeu_epi8(symbols, live, _mm512_cvtepi32_epi8(e));
    return _mm512_mask_mov_epi32(x, live, next);
}

static void rans_decode_row(RansDecoder& r, const uint8_t* tables, uint8_t* symbols, size_t n) {
    size_t i = 0;
    if (r.lanes == LANES) {
        __m512i a = _mm512_loadu_si512(r.state), b = _mm512_loadu_si512(r.state + 16);
        const uint8_t* words = r.words;
        for (; i < n && r.end - words >= 4 * LANES; i += LANES) {
            const size_t left = n - i;
            const uint32_t live = left >= LANES ? 0xffffffffu : (1u << left) - 1;
            a = decode_group(a, tables + i, r.table, static_cast<__mmask16>(live), words, symbols + i);
            b = decode_group(b, tables + i + 16, r.table, static_cast<__mmask16>(live >> 16), words, symbols + i + 16);
        }
        _mm512_storeu_si512(r.state, a);
        _mm512_storeu_si512(r.state + 16, b);
        r.words = words;
    } else if (r.lanes == 16) {
        __m512i a = _mm512_loadu_si512(r.state);
        const uint8_t* words = r.words;
        for (; i < n && r.end - words >= 32; i += 16) {
            const uint32_t live = n - i >= 16 ? 0xffffu : (1u << (n - i)) - 1;
            a = decode_group(a, tables + i, r.table, static_cast<__mmask16>(live), words, symbols + i);
        }
        _mm512_storeu_si512(r.state, a);
        r.words = words;
    }
    decode_scalar(r, tables, symbols, i, n);
}

// Sixteen lanes backwards. Their words leave in lane order just below `words`.
// Rows may be read up to a group past their end: the arrays are longer, and what lies there is a valid context.
static inline __m512i encode_group(__m512i x, const uint8_t* symbols, const uint8_t* contexts, const uint8_t* table_of,
                                   const EncodeTables& tables, __mmask16 live, uint8_t*& words) {
    const __m128i table = tables_of_16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(contexts)), table_of);
    const __m512i symbol = _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(symbols)));
    const __m512i at = _mm512_or_si512(_mm512_slli_epi32(_mm512_cvtepu8_epi32(table), 8), symbol);
    const __m512i range = _mm512_i32gather_epi32(at, tables.range, 4);
    const __m512i rcp = _mm512_i32gather_epi32(at, tables.reciprocal, 4);
    const __m512i freq = _mm512_and_si512(_mm512_srli_epi32(range, 12), _mm512_set1_epi32(0x1fff));
    const __m512i start = _mm512_and_si512(range, _mm512_set1_epi32(0xfff));
    const __m512i shift = _mm512_add_epi32(_mm512_srli_epi32(range, 25), _mm512_set1_epi32(31));
    const __mmask16 full = _mm512_mask_cmpge_epu32_mask(live, x, _mm512_slli_epi32(freq, 31 - PROB_BITS));
    const unsigned count = static_cast<unsigned>(__builtin_popcount(full));
    const __m256i w = _mm512_cvtepi32_epi16(_mm512_maskz_compress_epi32(full, x));
    words -= 2 * count;
    _mm256_mask_storeu_epi16(words, static_cast<__mmask16>((1u << count) - 1), w);
    const __m512i v = _mm512_mask_srli_epi32(x, full, x, 16);
    const __m512i even = _mm512_srlv_epi64(_mm512_mul_epu32(v, rcp), _mm512_and_si512(shift, _mm512_set1_epi64(0xff)));
    const __m512i odd = _mm512_srlv_epi64(_mm512_mul_epu32(_mm512_srli_epi64(v, 32), _mm512_srli_epi64(rcp, 32)),
                                          _mm512_srli_epi64(shift, 32));
    const __m512i q = _mm512_mask_blend_epi32(0xaaaa, even, _mm512_slli_epi64(odd, 32));
    const __m512i rest = _mm512_sub_epi32(_mm512_set1_epi32(1 << PROB_BITS), freq);
    return _mm512_mask_add_epi32(x, live, _mm512_add_epi32(v, start), _mm512_mullo_epi32(q, rest));
}

static uint8_t* rans_encode_row(const uint8_t* symbols, const uint8_t* contexts, const uint8_t* table_of, size_t n,
                                const EncodeTables& tables, uint32_t* state, uint32_t lanes, uint8_t* words) {
    if (lanes == 4) return encode_scalar(symbols, contexts, table_of, 0, n, tables, state, lanes, words);
    __m512i a = _mm512_loadu_si512(state);
    if (lanes == 16) {
        for (size_t i = (n + 15) / 16 * 16; i > 0; i -= 16) {
            const uint32_t live = 0xffffu >> (i > n ? i - n : 0);
            a = encode_group(a, symbols + i - 16, contexts + i - 16, table_of, tables, static_cast<__mmask16>(live),
                             words);
        }
        _mm512_storeu_si512(state, a);
        return words;
    }
    __m512i b = _mm512_loadu_si512(state + 16);
    for (size_t i = (n + LANES - 1) / LANES * LANES; i > 0; i -= LANES) {
        const size_t past = i > n ? i - n : 0;
        const uint32_t live = 0xffffffffu >> past;
        if (live >> 16)
            b = encode_group(b, symbols + i - 16, contexts + i - 16, table_of, tables,
                             static_cast<__mmask16>(live >> 16), words);
        a = encode_group(a, symbols + i - 32, contexts + i - 32, table_of, tables, static_cast<__mmask16>(live), words);
    }
    _mm512_storeu_si512(state, a);
    _mm512_storeu_si512(state + 16, b);
    return words;
}

#elif defined(__AVX2__)

// For each mask of eight lanes: which word each lane takes.
struct Spread {
    alignas(32) int32_t of[256][8];
    constexpr Spread() : of() {
        for (int m = 0; m < 256; ++m)
            for (int lane = 0, next = 0; lane < 8; ++lane) of[m][lane] = ((m >> lane) & 1) ? next++ : 0;
    }
};
static constexpr Spread spread;

static inline __m256i decode_group(__m256i x, const uint8_t* tables, const uint32_t* lut, const uint8_t*& words,
                                   uint8_t* symbols) {
    const __m256i ctx = _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(tables)));
    const __m256i low = _mm256_set1_epi32((1 << PROB_BITS) - 1);
    const __m256i slot = _mm256_or_si256(_mm256_slli_epi32(ctx, PROB_BITS), _mm256_and_si256(x, low));
    const __m256i e = _mm256_i32gather_epi32(reinterpret_cast<const int*>(lut), slot, 4);
    const __m256i freq = _mm256_add_epi32(_mm256_and_si256(_mm256_srli_epi32(e, 8), low), _mm256_set1_epi32(1));
    __m256i next =
        _mm256_add_epi32(_mm256_mullo_epi32(freq, _mm256_srli_epi32(x, PROB_BITS)), _mm256_srli_epi32(e, 20));
    const __m256i more = _mm256_cmpgt_epi32(_mm256_set1_epi32(RANS_LOW), next);  // states stay below 2^31
    const int mask = _mm256_movemask_ps(_mm256_castsi256_ps(more));
    const __m256i w = _mm256_cvtepu16_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(words)));
    const __m256i taken =
        _mm256_permutevar8x32_epi32(w, _mm256_load_si256(reinterpret_cast<const __m256i*>(spread.of[mask])));
    next = _mm256_blendv_epi8(next, _mm256_or_si256(_mm256_slli_epi32(next, 16), taken), more);
    words += 2 * static_cast<size_t>(__builtin_popcount(static_cast<unsigned>(mask)));
    const __m256i bytes =
        _mm256_shuffle_epi8(e, _mm256_setr_epi8(0, 4, 8, 12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, 0, 4, 8,
                                                12, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1));
    const uint32_t first = static_cast<uint32_t>(_mm256_extract_epi32(bytes, 0));
    const uint32_t second = static_cast<uint32_t>(_mm256_extract_epi32(bytes, 4));
    __builtin_memcpy(symbols, &first, 4);
    __builtin_memcpy(symbols + 4, &second, 4);
    return next;
}

// As many codes as there are whole rounds of 8 * GROUPS lanes for, and words.
template <int GROUPS>
static inline size_t decode_rounds(RansDecoder& r, const uint8_t* tables, uint8_t* symbols, size_t n) {
    constexpr size_t WIDTH = 8 * GROUPS;
    if (n < WIDTH) return 0;
    __m256i s[GROUPS];
    for (int k = 0; k < GROUPS; ++k) s[k] = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(r.state + 8 * k));
    const uint8_t* words = r.words;
    size_t i = 0;
    for (; i + WIDTH <= n && static_cast<size_t>(r.end - words) >= 4 * WIDTH; i += WIDTH)
        for (int k = 0; k < GROUPS; ++k)
            s[k] = decode_group(s[k], tables + i + 8 * k, r.table, words, symbols + i + 8 * k);
    for (int k = 0; k < GROUPS; ++k) _mm256_storeu_si256(reinterpret_cast<__m256i*>(r.state + 8 * k), s[k]);
    r.words = words;
    return i;
}

static void rans_decode_row(RansDecoder& r, const uint8_t* tables, uint8_t* symbols, size_t n) {
    size_t i = 0;
    if (r.lanes == LANES) i = decode_rounds<4>(r, tables, symbols, n);
    else if (r.lanes == 16) i = decode_rounds<2>(r, tables, symbols, n);
    decode_scalar(r, tables, symbols, i, n);
}

// For each mask of eight lanes: those it names, in order, at the end.
struct Gathered {
    alignas(32) int32_t of[256][8];
    constexpr Gathered() : of() {
        for (int m = 0; m < 256; ++m)
            for (int lane = 7, next = 7; lane >= 0; --lane)
                if ((m >> lane) & 1) of[m][next--] = lane;
    }
};
static constexpr Gathered gathered;

// x * reciprocal >> shift in eight lanes of 32 bits.
static inline __m256i quotient(__m256i x, __m256i reciprocal, __m256i shift) {
    const __m256i even =
        _mm256_srlv_epi64(_mm256_mul_epu32(x, reciprocal), _mm256_and_si256(shift, _mm256_set1_epi64x(0xff)));
    const __m256i odd = _mm256_srlv_epi64(_mm256_mul_epu32(_mm256_srli_epi64(x, 32), _mm256_srli_epi64(reciprocal, 32)),
                                          _mm256_srli_epi64(shift, 32));
    return _mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xaa);
}

// Eight lanes backwards. Sixteen bytes below `words` are written, of which those that count are the last.
static inline __m256i encode_group(__m256i x, const uint8_t* symbols, __m128i table, const EncodeTables& tables,
                                   uint8_t*& words) {
    const __m256i symbol = _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(symbols)));
    const __m256i at = _mm256_or_si256(_mm256_slli_epi32(_mm256_cvtepu8_epi32(table), 8), symbol);
    const __m256i range = _mm256_i32gather_epi32(reinterpret_cast<const int*>(tables.range), at, 4);
    const __m256i rcp = _mm256_i32gather_epi32(reinterpret_cast<const int*>(tables.reciprocal), at, 4);
    const __m256i freq = _mm256_and_si256(_mm256_srli_epi32(range, 12), _mm256_set1_epi32(0x1fff));
    const __m256i start = _mm256_and_si256(range, _mm256_set1_epi32(0xfff));
    const __m256i shift = _mm256_add_epi32(_mm256_srli_epi32(range, 25), _mm256_set1_epi32(31));
    const __m256i most = _mm256_sub_epi32(_mm256_slli_epi32(freq, 31 - PROB_BITS), _mm256_set1_epi32(1));
    const __m256i full = _mm256_cmpgt_epi32(x, most);
    const int mask = _mm256_movemask_ps(_mm256_castsi256_ps(full));
    const __m256i taken =
        _mm256_permutevar8x32_epi32(x, _mm256_load_si256(reinterpret_cast<const __m256i*>(gathered.of[mask])));
    const __m256i low = _mm256_and_si256(taken, _mm256_set1_epi32(0xffff));
    const __m128i w = _mm_packus_epi32(_mm256_castsi256_si128(low), _mm256_extracti128_si256(low, 1));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(words - 16), w);
    words -= 2 * static_cast<size_t>(__builtin_popcount(static_cast<unsigned>(mask)));
    const __m256i v = _mm256_blendv_epi8(x, _mm256_srli_epi32(x, 16), full);
    const __m256i rest = _mm256_sub_epi32(_mm256_set1_epi32(1 << PROB_BITS), freq);
    return _mm256_add_epi32(_mm256_add_epi32(v, start), _mm256_mullo_epi32(quotient(v, rcp, shift), rest));
}

template <int GROUPS>
static inline uint8_t* encode_rounds(const uint8_t* symbols, const uint8_t* contexts, const uint8_t* table_of, size_t n,
                                     const EncodeTables& tables, uint32_t* state, uint8_t* words) {
    constexpr size_t WIDTH = 8 * GROUPS;
    __m256i s[GROUPS];
    for (int k = 0; k < GROUPS; ++k) s[k] = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(state + 8 * k));
    for (size_t i = n; i > 0; i -= WIDTH)
        for (int k = GROUPS - 1; k >= 0; k -= 2) {
            const uint8_t* c = contexts + i - WIDTH + 8 * (k - 1);
            const uint8_t* y = symbols + i - WIDTH + 8 * (k - 1);
            const __m128i table = tables_of_16(_mm_loadu_si128(reinterpret_cast<const __m128i*>(c)), table_of);
            s[k] = encode_group(s[k], y + 8, _mm_srli_si128(table, 8), tables, words);
            s[k - 1] = encode_group(s[k - 1], y, table, tables, words);
        }
    for (int k = 0; k < GROUPS; ++k) _mm256_storeu_si256(reinterpret_cast<__m256i*>(state + 8 * k), s[k]);
    return words;
}

static uint8_t* rans_encode_row(const uint8_t* symbols, const uint8_t* contexts, const uint8_t* table_of, size_t n,
                                const EncodeTables& tables, uint32_t* state, uint32_t lanes, uint8_t* words) {
    const size_t rounds = lanes == 4 ? 0 : n / lanes * lanes;
    words = encode_scalar(symbols, contexts, table_of, rounds, n, tables, state, lanes, words);
    if (rounds == 0) return words;
    return lanes == LANES ? encode_rounds<4>(symbols, contexts, table_of, rounds, tables, state, words)
                          : encode_rounds<2>(symbols, contexts, table_of, rounds, tables, state, words);
}

#else

static void rans_decode_row(RansDecoder& r, const uint8_t* tables, uint8_t* symbols, size_t n) {
    decode_scalar(r, tables, symbols, 0, n);
}

#endif

#if !defined(__AVX2__)

static uint8_t* rans_encode_row(const uint8_t* symbols, const uint8_t* contexts, const uint8_t* table_of, size_t n,
                                const EncodeTables& tables, uint32_t* state, uint32_t lanes, uint8_t* words) {
    return encode_scalar(symbols, contexts, table_of, 0, n, tables, state, lanes, words);
}

#endif

static bool rans_row_is(RansDecoder& r, const uint8_t* symbols, const uint8_t* contexts, const uint8_t* table_of,
                        size_t n, uint8_t* scratch) {
    uint8_t* tables = scratch;
    uint8_t* decoded = scratch + n + 64;
    __builtin_memcpy(tables, contexts, n);
    to_tables(tables, n, table_of);
    rans_decode_row(r, tables, decoded, n);
    return __builtin_memcmp(decoded, symbols, n) == 0;
}
