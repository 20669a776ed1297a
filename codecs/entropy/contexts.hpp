// From codes to symbols, each with the context that its already coded neighbours give it; and back.
// Compiled once for each instruction set: included by kernels.cpp alone, inside its namespace.

// ---- bits too irregular to model, least significant first ------------------------------------------------------------

static inline void put_bits(BitWriter& w, uint64_t v, int n) {
    if (n > 56) {
        put_bits(w, v & 0xffffffff, 32);
        v >>= 32;
        n -= 32;
    }
    w.hold |= (v & ((uint64_t{1} << n) - 1)) << w.held;
    w.held += n;
    __builtin_memcpy(w.out, &w.hold, 8);  // eight bytes, of which the whole ones count
    w.out += w.held >> 3;
    w.hold >>= w.held & ~7;
    w.held &= 7;
}

static inline void refill(BitReader& r) {
    if (r.end - r.in >= 8) {
        uint64_t next;
        __builtin_memcpy(&next, r.in, 8);
        r.hold |= next << r.held;
        r.in += (63 - r.held) >> 3;
        r.held |= 56;
        return;
    }
    while (r.held <= 56 && r.in != r.end) {
        r.hold |= static_cast<uint64_t>(*r.in++) << r.held;
        r.held += 8;
    }
}

static inline uint64_t get_bits(BitReader& r, int n) {
    if (n > 56) {
        const uint64_t low = get_bits(r, 32);
        return low | (get_bits(r, n - 32) << 32);
    }
    if (r.held < n) {
        refill(r);
        if (r.held < n) {
            r.over = true;
            return 0;
        }
    }
    const uint64_t v = r.hold & ((uint64_t{1} << n) - 1);
    r.hold >>= n;
    r.held -= n;
    return v;
}

// ---- symbols: small codes as themselves, large ones as an octave and a few leading bits -----------------------------

static constexpr int FIRST_OCTAVE = 5;
static constexpr int LARGE = 2 * EXACT + 1;
static constexpr int WIDE = LARGE + (32 - FIRST_OCTAVE) * 4;  // octaves from 2^32 on have two symbols, not four

template <class Q>
static inline uint8_t put_large(Q v, BitWriter& bits) {
    const uint64_t a = v < 0 ? uint64_t{0} - static_cast<uint64_t>(static_cast<int64_t>(v)) : static_cast<uint64_t>(v);
    const int e = 63 - __builtin_clzll(a);
    const int lead = e < 32 ? 2 : 1;
    const uint64_t low = a & ((uint64_t{1} << (e - lead)) - 1);
    put_bits(bits, (low << 1) | (v < 0 ? 1 : 0), e - lead + 1);
    const int sub = static_cast<int>((a >> (e - lead)) & ((1u << lead) - 1));
    return static_cast<uint8_t>(e < 32 ? LARGE + (e - FIRST_OCTAVE) * 4 + sub : WIDE + (e - 32) * 2 + sub);
}

static inline int64_t get_large(unsigned symbol, BitReader& bits) {
    const bool wide = symbol >= WIDE;
    const int lead = wide ? 1 : 2;
    const unsigned k = symbol - (wide ? WIDE : LARGE);
    const int e = wide ? 32 + static_cast<int>(k >> 1) : FIRST_OCTAVE + static_cast<int>(k >> 2);
    const uint64_t raw = get_bits(bits, e - lead + 1);
    const uint64_t negative = raw & 1, low = raw >> 1;
    const uint64_t top = (uint64_t{1} << lead) | (k & ((1u << lead) - 1));
    const uint64_t a = (top << (e - lead)) | low;
    return static_cast<int64_t>(negative ? uint64_t{0} - a : a);
}

// ---- neighbours ----------------------------------------------------------------------------------------------------

static constexpr size_t PAD = 1;
static constexpr uint16_t MAX_MAGNITUDE = 4095;

struct Neighbours {
    const uint16_t* north;
    const uint16_t* plane;
    const uint16_t* reference;
};

static inline const uint16_t* first_of(const uint16_t* a, const uint16_t* b, const uint16_t* c, const uint16_t* zeros) {
    return a ? a : b ? b : c ? c : zeros;
}

template <class Q>
static inline Neighbours neighbours(const GridJob<Q>& job, size_t i0, size_t i1, size_t i2) {
    const Dims& d = job.dims;
    const size_t stride = d.n[X] + 2 * PAD;
    const uint16_t* here = job.magnitudes + ((i0 * d.n[1] + i1) * d.n[2] + i2) * stride + PAD;
    const uint16_t* north = i2 > 0 ? here - stride : nullptr;
    const uint16_t* plane = i1 > 0 ? here - d.n[2] * stride : i0 > 0 ? here - d.n[1] * d.n[2] * stride : nullptr;
    const uint16_t* reference = nullptr;
    if (job.reference) {
        const Dims& r = job.reference_dims;
        const size_t r0 = i0 < r.n[0] ? i0 : r.n[0] - 1, r1 = i1 < r.n[1] ? i1 : r.n[1] - 1,
                     r2 = i2 < r.n[2] ? i2 : r.n[2] - 1;
        reference = job.reference + ((r0 * r.n[1] + r1) * r.n[2] + r2) * (r.n[X] + 2 * PAD) + PAD;
    }
    return {first_of(north, plane, reference, job.zeros + PAD), first_of(plane, north, reference, job.zeros + PAD),
            first_of(reference, plane, north, job.zeros + PAD)};
}

// Half octaves of 1 + m, m being eight times the neighbours' mean magnitude.
static inline uint8_t half_octave(unsigned m) {
    const float f = static_cast<float>(static_cast<int>(m + 1));
    return static_cast<uint8_t>((__builtin_bit_cast(uint32_t, f) >> 22) - 254);
}

static inline void half_octaves(V16<uint16_t> m, uint8_t* out) {
    const V16<float> f = convert16<float>(convert16<int32_t>(m + 1));
    store16(out, convert16<uint8_t>(convert16<uint16_t>(__builtin_bit_cast(V16<uint32_t>, f) >> 22)) - 254);
}

static inline void grid_contexts(const Neighbours& nb, size_t n, uint8_t* out) {
    const uint16_t *north = nb.north, *plane = nb.plane, *ref = nb.reference;
    in_strips(
        n,
        [=](size_t x) {
            const V16<uint16_t> near = load16(north + x) + load16(plane + x) + load16(ref + x);
            half_octaves(2 * near + load16(north + x - 1) + load16(north + x + 1), out + x);
        },
        [=](size_t x) {
            const unsigned near = unsigned{north[x]} + plane[x] + ref[x];
            out[x] = half_octave(2 * near + *(north + x - 1) + north[x + 1]);
        });
}

// A folded series: the three steps before, in each lane.
template <class Q>
static inline void series_contexts(const GridJob<Q>& job, size_t t, uint8_t* __restrict out) {
    const size_t stride = job.dims.n[X] + 2 * PAD;
    const uint16_t* here = job.magnitudes + t * stride + PAD;
    const uint16_t* __restrict a = t > 0 ? here - stride : job.zeros + PAD;
    const uint16_t* __restrict b = t > 1 ? here - 2 * stride : a;
    const uint16_t* __restrict c = t > 2 ? here - 3 * stride : b;
    for (size_t x = 0; x < job.dims.n[X]; ++x) out[x] = half_octave(4u * a[x] + 2u * b[x] + 2u * c[x]);
}

template <class Q>
static inline void row_contexts(const GridJob<Q>& job, size_t i0, size_t i1, size_t i2, uint8_t* out) {
    if (job.folded) series_contexts(job, i2, out);
    else grid_contexts(neighbours(job, i0, i1, i2), job.dims.n[X], out);
}

// ---- a grid, forth and back ----------------------------------------------------------------------------------------

// Calls visit(x) where large(x) holds, in order. The positions are gathered first, without a branch for each.
template <class Large, class Visit>
static inline void each_large(size_t n, Large&& large, Visit&& visit) {
    constexpr size_t STRIP = 256;
    uint32_t found[STRIP];
    for (size_t from = 0; from < n; from += STRIP) {
        const size_t to = n - from < STRIP ? n : from + STRIP;
        size_t count = 0;
        for (size_t x = from; x < to; ++x) {
            found[count] = static_cast<uint32_t>(x);
            count += large(x) ? 1 : 0;
        }
        for (size_t k = 0; k < count; ++k) visit(found[k]);
    }
}

template <class Q>
static inline void row_symbols(const Q* __restrict codes, size_t n, uint16_t* __restrict mags,
                               uint8_t* __restrict symbols, BitWriter& bits) {
    using U = Word<Q>;
    U any = 0;
    V16<U> large{};
    in_strips(
        n,
        [&](size_t x) {
            const V16<Q> v = load16(codes + x);
            const V16<U> sign = reinterpret_cast<V16<U>>(v >> (8 * sizeof(Q) - 1));
            const V16<U> a = (reinterpret_cast<V16<U>>(v) ^ sign) - sign;
            store16(mags + x, convert16<uint16_t>(a < MAX_MAGNITUDE ? a : V16<U>{} + MAX_MAGNITUDE));
            store16(symbols + x, convert16<uint8_t>(convert16<uint16_t>(2 * a + sign)));
            large |= a;
        },
        [&](size_t x) {
            const Q v = codes[x];
            const U a = v < 0 ? U(0) - static_cast<U>(v) : static_cast<U>(v);
            mags[x] = static_cast<uint16_t>(a < MAX_MAGNITUDE ? a : MAX_MAGNITUDE);
            symbols[x] = static_cast<uint8_t>(2 * a - (v < 0 ? 1 : 0));
            any |= a;
        });
    if ((any | any16<U>(large)) <= EXACT) return;
    each_large(n, [&](size_t x) { return mags[x] > EXACT; }, [&](size_t x) { symbols[x] = put_large(codes[x], bits); });
}

template <class Q>
static inline void row_codes(const uint8_t* __restrict symbols, size_t n, uint16_t* __restrict mags,
                             Q* __restrict codes, BitReader& bits) {
    int any = 0;
    V16<uint8_t> large{};
    in_strips(
        n,
        [&](size_t x) {
            const V16<uint8_t> s = load16(symbols + x);
            const V16<uint16_t> wide = convert16<uint16_t>(s);
            const V16<int16_t> code = reinterpret_cast<V16<int16_t>>((wide >> 1) ^ -(wide & 1));
            store16(codes + x, convert16<Q>(code));
            store16(mags + x, (wide + 1) >> 1);
            large |= reinterpret_cast<V16<uint8_t>>(s >= static_cast<uint8_t>(LARGE));
        },
        [&](size_t x) {
            const int s = symbols[x];
            codes[x] = static_cast<Q>((s >> 1) ^ -(s & 1));
            mags[x] = static_cast<uint16_t>((s + 1) >> 1);
            any |= s >= LARGE ? 1 : 0;
        });
    if (!(any | static_cast<int>(any16<uint8_t>(large)))) return;
    each_large(
        n, [&](size_t x) { return symbols[x] >= LARGE; },
        [&](size_t x) {
            const int64_t v = get_large(symbols[x], bits);
            const uint64_t a = v < 0 ? uint64_t{0} - static_cast<uint64_t>(v) : static_cast<uint64_t>(v);
            codes[x] = static_cast<Q>(v);
            mags[x] = static_cast<uint16_t>(a < MAX_MAGNITUDE ? a : MAX_MAGNITUDE);
        });
}

template <class Q, class Row>
static inline void each_grid_row(const GridJob<Q>& job, Row&& row) {
    const size_t n = job.dims.n[X], stride = n + 2 * PAD;
    size_t r = 0;
    for (size_t i0 = 0; i0 < job.dims.n[0]; ++i0)
        for (size_t i1 = 0; i1 < job.dims.n[1]; ++i1)
            for (size_t i2 = 0; i2 < job.dims.n[2]; ++i2, ++r) {
                uint16_t* mags = job.magnitudes + r * stride;
                mags[0] = mags[stride - 1] = 0;
                row(i0, i1, i2, r * n, mags + PAD);
            }
}

// Eight alike are counted at once: where little happens most are.
static inline void count_symbols(const uint8_t* contexts, const uint8_t* symbols, size_t n,
                                 uint32_t (*histogram)[2][256]) {
    size_t x = 0;
    for (; x + 8 <= n; x += 8) {
        uint64_t c, s;
        __builtin_memcpy(&c, contexts + x, 8);
        __builtin_memcpy(&s, symbols + x, 8);
        if (s == 0 && c == (c & 0xff) * 0x0101010101010101u) {
            histogram[c & 0xff][0][0] += 8;
            continue;
        }
        for (int k = 0; k < 8; ++k, c >>= 8, s >>= 8) ++histogram[c & 0xff][k & 1][s & 0xff];
    }
    for (; x < n; ++x) ++histogram[contexts[x]][0][symbols[x]];
}

template <class Q>
static void model_grid(GridJob<Q>& job, BitWriter& bits) {
    const size_t n = job.dims.n[X];
    each_grid_row(job, [&](size_t i0, size_t i1, size_t i2, size_t at, uint16_t* mags) {
        uint8_t* contexts = job.contexts + at;
        uint8_t* symbols = job.symbols + at;
        row_contexts(job, i0, i1, i2, contexts);
        row_symbols(job.codes + at, n, mags, symbols, bits);
        count_symbols(contexts, symbols, n, job.histogram);
    });
}

template <class Q>
static void decode_grid(GridJob<Q>& job, RansDecoder& rans, const uint8_t* table_of, BitReader& bits) {
    const size_t n = job.dims.n[X];
    each_grid_row(job, [&](size_t i0, size_t i1, size_t i2, size_t at, uint16_t* mags) {
        row_contexts(job, i0, i1, i2, job.contexts);
        to_tables(job.contexts, n, table_of);
        rans_decode_row(rans, job.contexts, job.symbols, n);
        row_codes(job.symbols, n, mags, job.codes + at, bits);
    });
}
