// Groups of 64 words at a fixed width each; words that are wider are patched. docs/format.md section 12.
// Compiled once for each instruction set: included by kernels.cpp alone, inside its namespace.

static constexpr unsigned MOST_PATCHES = 20;  // of an encoder's group; beyond it a wider group is cheaper
static constexpr unsigned PLACE_BITS = 6;

static inline uint64_t load_bits(const uint8_t* from) {
    uint64_t v;
    __builtin_memcpy(&v, from, sizeof v);
    return v;
}

static inline void store_bits(uint8_t* to, uint64_t v) { __builtin_memcpy(to, &v, sizeof v); }

static inline unsigned bit_length(uint32_t v) { return v == 0 ? 0 : 32 - static_cast<unsigned>(__builtin_clz(v)); }

// ---- one group -----------------------------------------------------------------------------------------------------

#if defined(__AVX512BW__) && defined(__AVX512VL__)

struct Group {
    __m512i part[4];

    explicit Group(const uint32_t* v) {
        for (int k = 0; k < 4; ++k) part[k] = _mm512_loadu_si512(v + 16 * k);
    }

    uint32_t bits() const {
        const __m512i v = _mm512_or_si512(_mm512_or_si512(part[0], part[1]), _mm512_or_si512(part[2], part[3]));
        return static_cast<uint32_t>(_mm512_reduce_or_epi32(v));
    }
    // A bit for each word of more than `width` bits.
    uint64_t above(unsigned width) const {
        const __m512i top = _mm512_set1_epi32(static_cast<int>((uint64_t{1} << width) - 1));
        uint64_t mask = 0;
        for (int k = 0; k < 4; ++k) mask |= uint64_t{_mm512_cmpgt_epu32_mask(part[k], top)} << (16 * k);
        return mask;
    }
};

#elif defined(__AVX2__)

struct Group {
    __m256i part[8];

    explicit Group(const uint32_t* v) {
        for (int k = 0; k < 8; ++k) part[k] = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(v + 8 * k));
    }

    uint32_t bits() const {
        __m256i v = part[0];
        for (int k = 1; k < 8; ++k) v = _mm256_or_si256(v, part[k]);
        const __m128i w = _mm_or_si128(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
        const uint64_t x = static_cast<uint64_t>(_mm_cvtsi128_si64(w)) | static_cast<uint64_t>(_mm_extract_epi64(w, 1));
        return static_cast<uint32_t>(x | (x >> 32));
    }
    uint64_t above(unsigned width) const {
        const __m128i count = _mm_cvtsi32_si128(static_cast<int>(width));
        uint64_t within = 0;
        for (int k = 0; k < 8; ++k) {
            const __m256i rest = _mm256_srl_epi32(part[k], count);
            const __m256i none = _mm256_cmpeq_epi32(rest, _mm256_setzero_si256());
            within |= uint64_t{static_cast<uint32_t>(_mm256_movemask_ps(_mm256_castsi256_ps(none)))} << (8 * k);
        }
        return ~within;
    }
};

#else

struct Group {
    const uint32_t* v;

    explicit Group(const uint32_t* values) : v(values) {}

    uint32_t bits() const {
        uint32_t all = 0;
        for (int i = 0; i < GROUP; ++i) all |= v[i];
        return all;
    }
    uint64_t above(unsigned width) const {
        uint64_t mask = 0;
        for (int i = 0; i < GROUP; ++i) mask |= uint64_t{(v[i] >> width) != 0} << i;
        return mask;
    }
};

#endif

struct Width {
    unsigned bits = 0;
    uint64_t patched = 0;  // a bit for each word that does not fit
    unsigned cost = 0;     // of all words, in bits
};

static inline unsigned high_bits(unsigned most, unsigned width) { return most - width == 1 ? 0 : most - width; }

static inline Width best_width(const Group& g, unsigned most) {
    Width best{most, 0, GROUP * most};
    for (unsigned w = most; w-- > 0;) {
        const uint64_t patched = g.above(w);
        const unsigned count = static_cast<unsigned>(__builtin_popcountll(patched));
        if (count > MOST_PATCHES) break;
        const unsigned cost = GROUP * w + count * (PLACE_BITS + high_bits(most, w)) + 2;
        if (cost < best.cost) best = {w, patched, cost};
    }
    return best;
}

// ---- words to bits and back ----------------------------------------------------------------------------------------

#if defined(__AVX512BW__) && defined(__AVX512VL__)

static constexpr auto RECIPROCALS = [] {  // in 65536ths, rounded up: exact quotients below 1024 by 16 to 32
    struct {
        int of[33];
    } r{};
    for (int width = 16; width <= 32; ++width) r.of[width] = 65535 / width + 1;
    return r;
}();

// Words of 16 to 32 bits, 32 of them, one behind the other: sixteen outgoing words of 32 bits, from the k-th on, each from
// the two or three that it overlaps. What lies behind the last word's bits is garbage.
static inline __m512i sixteen_packed(__m512i a, __m512i b, unsigned width, int k) {
    const __m512i lane = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    const __m512i bit = _mm512_slli_epi32(_mm512_add_epi32(lane, _mm512_set1_epi32(k)), 5);
    const __m512i one = _mm512_set1_epi32(1), bits = _mm512_set1_epi32(static_cast<int>(width));
    const __m512i word = _mm512_srli_epi32(_mm512_mullo_epi32(bit, _mm512_set1_epi32(RECIPROCALS.of[width])), 16);
    const __m512i right = _mm512_sub_epi32(bit, _mm512_mullo_epi32(word, bits));
    const __m512i left = _mm512_sub_epi32(bits, right);
    const __m512i second = _mm512_add_epi32(word, one), third = _mm512_add_epi32(second, one);
    const __m512i first = _mm512_srlv_epi32(_mm512_permutex2var_epi32(a, word, b), right);
    const __m512i more = _mm512_sllv_epi32(_mm512_permutex2var_epi32(a, second, b), left);
    const __m512i most = _mm512_sllv_epi32(_mm512_permutex2var_epi32(a, third, b), _mm512_add_epi32(left, bits));
    return _mm512_or_si512(first, _mm512_or_si512(more, most));
}

static inline void store_packed(__m512i a, __m512i b, unsigned width, uint8_t* out) {
    _mm512_storeu_si512(out, sixteen_packed(a, b, width, 0));
    if (width > 16) _mm512_storeu_si512(out + 64, sixteen_packed(a, b, width, 16));
}

// Every two words of at most 16 bits as one of twice the width.
static inline __m512i paired(__m512i a, __m512i b, unsigned width) {
    const __m512i even = _mm512_set_epi32(30, 28, 26, 24, 22, 20, 18, 16, 14, 12, 10, 8, 6, 4, 2, 0);
    const __m128i count = _mm_cvtsi32_si128(static_cast<int>(32 - width));
    return _mm512_permutex2var_epi32(_mm512_or_si512(a, _mm512_srl_epi64(a, count)), even,
                                     _mm512_or_si512(b, _mm512_srl_epi64(b, count)));
}

static inline uint8_t* pack_group(const uint32_t* v, unsigned width, uint8_t* out) {
    if (width == 0) return out;
    const __m512i low = _mm512_set1_epi32(static_cast<int>((uint64_t{1} << width) - 1));
    __m512i part[4];
    for (int k = 0; k < 4; ++k) part[k] = _mm512_and_si512(_mm512_loadu_si512(v + 16 * k), low);
    uint8_t* const end = out + GROUP / 8 * width;
    if (width >= 16) {
        store_packed(part[0], part[1], width, out);
        store_packed(part[2], part[3], width, out + 4 * width);
        return end;
    }
    __m512i a = paired(part[0], part[1], width), b = paired(part[2], part[3], width);
    for (width *= 2; width < 16; width *= 2) {
        a = paired(a, b, width);
        b = _mm512_setzero_si512();
    }
    store_packed(a, b, width, out);
    return end;
}

#elif defined(__AVX2__)

// Eight words of at most 16 bits, as 128 bits: word i begins at bit i * width.
static inline uint8_t* pack_eight(__m256i v, unsigned width, uint8_t* out) {
    const __m128i one = _mm_cvtsi32_si128(static_cast<int>(width));
    const __m128i two = _mm_cvtsi32_si128(static_cast<int>(2 * width));
    const __m256i pairs = _mm256_or_si256(_mm256_blend_epi32(v, _mm256_setzero_si256(), 0xaa),
                                          _mm256_sll_epi64(_mm256_srli_epi64(v, 32), one));
    const __m256i fours = _mm256_or_si256(pairs, _mm256_sll_epi64(_mm256_unpackhi_epi64(pairs, pairs), two));
    const uint64_t a = static_cast<uint64_t>(_mm256_extract_epi64(fours, 0));
    const uint64_t b = static_cast<uint64_t>(_mm256_extract_epi64(fours, 2));
    store_bits(out, a | (b << (4 * width & 63)));
    store_bits(out + 8, b >> (64 - 4 * width));
    return out + width;
}

static inline uint8_t* pack_group(const uint32_t* v, unsigned width, uint8_t* out) {
    if (width == 0) return out;
    const __m256i low = _mm256_set1_epi32(static_cast<int>((uint64_t{1} << width) - 1));
    if (width < 16) {
        for (int k = 0; k < GROUP; k += 8) {
            const __m256i eight = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(v + k));
            out = pack_eight(_mm256_and_si256(eight, low), width, out);
        }
        return out;
    }
    const __m128i one = _mm_cvtsi32_si128(static_cast<int>(width));
    for (int k = 0; k < GROUP; k += 8) {
        const __m256i eight = _mm256_and_si256(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(v + k)), low);
        const __m256i pairs = _mm256_or_si256(_mm256_blend_epi32(eight, _mm256_setzero_si256(), 0xaa),
                                              _mm256_sll_epi64(_mm256_srli_epi64(eight, 32), one));
        uint64_t pair[4];
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(pair), pairs);
        uint64_t hold = pair[0];
        unsigned held = 2 * width;  // 32 to 64
        for (int i = 1; i < 4; ++i) {
            if (held < 64) hold |= pair[i] << held;
            if (held + 2 * width < 64) {
                held += 2 * width;
                continue;
            }
            store_bits(out, hold);
            out += 8;
            hold = held == 0 ? pair[i] : held < 64 ? pair[i] >> (64 - held) : pair[i];
            held = held + 2 * width - 64;
        }
        store_bits(out, hold);
        out += held / 8;
    }
    return out;
}

#else

static inline uint8_t* pack_group(const uint32_t* v, unsigned width, uint8_t* out) {
    const uint64_t low = (uint64_t{1} << width) - 1;
    uint64_t hold = 0;
    unsigned held = 0;
    for (int i = 0; i < GROUP && width > 0; ++i) {
        hold |= (v[i] & low) << held;
        held += width;
        if (held < 32) continue;
        store_bits(out, hold);
        out += 4;
        hold >>= 32;
        held -= 32;
    }
    return out;
}

#endif

#if defined(__AVX512BW__) && defined(__AVX512VL__)

static inline void unpack_group(const uint8_t* in, unsigned width, uint32_t* v) {
    const __m512i lane = _mm512_set_epi32(15, 14, 13, 12, 11, 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0);
    const __m512i bit = _mm512_mullo_epi32(lane, _mm512_set1_epi32(static_cast<int>(width)));
    const __m512i word = _mm512_srli_epi32(bit, 5), next = _mm512_add_epi32(word, _mm512_set1_epi32(1));
    const __m512i right = _mm512_and_si512(bit, _mm512_set1_epi32(31));
    const __m512i left = _mm512_sub_epi32(_mm512_set1_epi32(32), right);
    const __m512i low = _mm512_set1_epi32(static_cast<int>((uint64_t{1} << width) - 1));
    for (int k = 0; k < GROUP / 16; ++k) {
        const __m512i x = _mm512_loadu_si512(in + 2 * width * static_cast<unsigned>(k));
        const __m512i from = _mm512_srlv_epi32(_mm512_permutexvar_epi32(word, x), right);
        const __m512i more = _mm512_sllv_epi32(_mm512_permutexvar_epi32(next, x), left);
        _mm512_storeu_si512(v + 16 * k, _mm512_and_si512(_mm512_or_si512(from, more), low));
    }
}

#elif defined(__AVX2__)

static inline void unpack_group(const uint8_t* in, unsigned width, uint32_t* v) {
    const __m256i lane = _mm256_set_epi32(7, 6, 5, 4, 3, 2, 1, 0);
    const __m256i bit = _mm256_mullo_epi32(lane, _mm256_set1_epi32(static_cast<int>(width)));
    const __m256i word = _mm256_srli_epi32(bit, 5), next = _mm256_add_epi32(word, _mm256_set1_epi32(1));
    const __m256i right = _mm256_and_si256(bit, _mm256_set1_epi32(31));
    const __m256i left = _mm256_sub_epi32(_mm256_set1_epi32(32), right);
    const __m256i low = _mm256_set1_epi32(static_cast<int>((uint64_t{1} << width) - 1));
    for (int k = 0; k < GROUP / 8; ++k) {
        const __m256i x = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(in + width * static_cast<unsigned>(k)));
        const __m256i from = _mm256_srlv_epi32(_mm256_permutevar8x32_epi32(x, word), right);
        const __m256i more = _mm256_sllv_epi32(_mm256_permutevar8x32_epi32(x, next), left);
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(v + 8 * k), _mm256_and_si256(_mm256_or_si256(from, more), low));
    }
}

#else

static inline void unpack_group(const uint8_t* in, unsigned width, uint32_t* v) {
    const uint64_t low = (uint64_t{1} << width) - 1;
    for (unsigned i = 0; i < GROUP; ++i)
        v[i] = static_cast<uint32_t>((load_bits(in + i * width / 8) >> (i * width % 8)) & low);
}

#endif

// ---- many ----------------------------------------------------------------------------------------------------------

static void put_patch(BitWriter& bits, uint64_t v, unsigned count) {
    bits.hold |= v << bits.held;
    store_bits(bits.out, bits.hold);
    const unsigned held = static_cast<unsigned>(bits.held) + count;
    bits.out += held / 8;
    bits.hold >>= held & ~7u;
    bits.held = static_cast<int>(held % 8);
}

static void pack_groups(PackJob& job) {
    BitWriter bits = job.patches;
    for (size_t g = 0; g < job.groups; ++g) {
        const uint32_t* v = job.words + GROUP * g;
        const Group group(v);
        const unsigned most = bit_length(group.bits());
        const Width w = best_width(group, most);
        const unsigned high = w.patched ? high_bits(most, w.bits) : 0;
        job.width[g] = static_cast<uint8_t>(w.bits);
        job.count[g] = static_cast<uint8_t>(__builtin_popcountll(w.patched));
        job.high[g] = static_cast<uint8_t>(high);
        job.payload = pack_group(v, w.bits, job.payload);
        for (uint64_t left = w.patched; left != 0; left &= left - 1) {
            const unsigned place = static_cast<unsigned>(__builtin_ctzll(left));
            const uint64_t rest = (v[place] >> w.bits) - 1;
            put_patch(bits, place | (rest << PLACE_BITS), PLACE_BITS + high);
        }
    }
    job.patches = bits;
}

static void unpack_groups(UnpackJob& job) {
    uint64_t at = job.patch_bit;
    for (size_t g = 0; g < job.groups; ++g) {
        uint32_t* v = job.words + GROUP * g;
        const unsigned width = job.width[g], high = job.high[g];
        if (width == 0) __builtin_memset(v, 0, GROUP * sizeof *v);
        else unpack_group(job.payload, width, v);
        job.payload += GROUP / 8 * width;
        for (unsigned k = 0; k < job.count[g]; ++k) {
            const uint64_t patch = load_bits(job.patches + at / 8) >> (at % 8);
            const uint64_t rest = (patch >> PLACE_BITS) & ((uint64_t{1} << high) - 1);
            v[patch % GROUP] += static_cast<uint32_t>((rest + 1) << width);
            at += PLACE_BITS + high;
        }
    }
    job.patch_bit = at;
}

// About the bits that the groups take, their widths left out.
static uint64_t price_groups(const uint32_t* words, size_t groups) {
    uint64_t bits = 0;
    for (size_t g = 0; g < groups; ++g) {
        const Group group(words + GROUP * g);
        bits += best_width(group, bit_length(group.bits())).cost;
    }
    return bits;
}
