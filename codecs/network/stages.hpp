// The network's stages: sums of products, and what brings them to 16 bits. Sums cannot overflow: model.cpp checks that.
// Compiled once for each instruction set: included by kernels.cpp alone, inside its namespace.

static inline int32_t network_half(int32_t shift) { return (int32_t{1} << shift) >> 1; }

static inline int32_t network_cut(int32_t v, int32_t low, int32_t high) {
    v = v < low ? low : v;
    return v > high ? high : v;
}

#if defined(__AVX512BW__) && defined(__AVX512F__)
inline constexpr size_t NETWORK_ROWS = 8;
struct NetworkSums {
    __m512i v;
    void load(const int32_t* p) { v = _mm512_loadu_si512(p); }
    void store(int32_t* p) const { _mm512_storeu_si512(p, v); }
    void add(int32_t pair, const int16_t* w) {
        v = _mm512_add_epi32(v, _mm512_madd_epi16(_mm512_set1_epi32(pair), _mm512_loadu_si512(w)));
    }
};
#elif defined(__AVX2__)
inline constexpr size_t NETWORK_ROWS = 4;
struct NetworkSums {
    __m256i v[2];
    static __m256i at(const void* p) { return _mm256_loadu_si256(static_cast<const __m256i*>(p)); }
    void load(const int32_t* p) { v[0] = at(p), v[1] = at(p + 8); }
    void store(int32_t* p) const {
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), v[0]);
        _mm256_storeu_si256(reinterpret_cast<__m256i*>(p + 8), v[1]);
    }
    void add(int32_t pair, const int16_t* w) {
        const __m256i x = _mm256_set1_epi32(pair);
        v[0] = _mm256_add_epi32(v[0], _mm256_madd_epi16(x, at(w)));
        v[1] = _mm256_add_epi32(v[1], _mm256_madd_epi16(x, at(w + 16)));
    }
};
#elif defined(__SSSE3__)
inline constexpr size_t NETWORK_ROWS = 2;
struct NetworkSums {
    __m128i v[4];
    static __m128i at(const void* p) { return _mm_loadu_si128(static_cast<const __m128i*>(p)); }
    void load(const int32_t* p) {
        for (size_t i = 0; i < 4; ++i) v[i] = at(p + 4 * i);
    }
    void store(int32_t* p) const {
        for (size_t i = 0; i < 4; ++i) _mm_storeu_si128(reinterpret_cast<__m128i*>(p + 4 * i), v[i]);
    }
    void add(int32_t pair, const int16_t* w) {
        const __m128i x = _mm_set1_epi32(pair);
        for (size_t i = 0; i < 4; ++i) v[i] = _mm_add_epi32(v[i], _mm_madd_epi16(x, at(w + 8 * i)));
    }
};
#else
inline constexpr size_t NETWORK_ROWS = 2;
struct NetworkSums {
    int32_t v[network::TILE];
    void load(const int32_t* p) { __builtin_memcpy(v, p, sizeof v); }
    void store(int32_t* p) const { __builtin_memcpy(p, v, sizeof v); }
    void add(int32_t pair, const int16_t* w) {
        const int32_t low = static_cast<int16_t>(pair & 0xffff), high = pair >> 16;
        for (size_t i = 0; i < network::TILE; ++i) v[i] += low * w[2 * i] + high * w[2 * i + 1];
    }
};
#endif

// Sixteen outputs of NETWORK_ROWS positions.
static inline void network_products(const network::StageJob& job, const int16_t* const* cells, const int16_t* weights,
                                    const int32_t* bias, int32_t (*sums)[network::TILE]) {
    NetworkSums total[NETWORK_ROWS];
    for (NetworkSums& t : total) t.load(bias);
    for (size_t tap = 0; tap < job.tap_count; ++tap) {
        const ptrdiff_t away = job.taps[tap];
        for (size_t k = 0; k < job.pairs; ++k, weights += 2 * network::TILE)
#pragma GCC unroll 8
            for (size_t p = 0; p < NETWORK_ROWS; ++p) {
                int32_t pair;
                __builtin_memcpy(&pair, cells[p] + away + 2 * k, sizeof pair);
                total[p].add(pair, weights);
            }
    }
    for (size_t p = 0; p < NETWORK_ROWS; ++p) total[p].store(sums[p]);
}

// All outputs of a position, where they are few: its cells side by side, then one sum after the other.
static inline void network_few(const network::StageJob& job, const int16_t* cell, int32_t* sums) {
    const size_t width = 2 * job.pairs, n = job.tap_count * width;
    size_t at = 0;
    for (size_t tap = 0; tap < job.tap_count;) {
        size_t run = 1;  // taps that lie side by side
        while (tap + run < job.tap_count && job.taps[tap + run] - job.taps[tap] == static_cast<int32_t>(run * width))
            ++run;
        __builtin_memcpy(job.gathered + at, cell + job.taps[tap], run * width * sizeof(int16_t));
        at += run * width;
        tap += run;
    }
    for (size_t o = 0; o < job.outputs; ++o) {
        const int16_t* w = job.weights + o * n;
        int32_t sum = 0;
        for (size_t i = 0; i < n; ++i) sum += int32_t{job.gathered[i]} * int32_t{w[i]};
        sums[o] = job.bias[o] + sum;
    }
}

// floor(sqrt(v * 2^16)): the root of a number below 2^47 is correctly rounded and never rounds up to a whole one.
static inline int32_t network_root(int32_t v) {
    return static_cast<int32_t>(__builtin_sqrt(static_cast<double>(v) * (1 << network::ROOT_BITS)));
}

static inline void network_norm(const network::StageJob& job, int32_t* sums) {
    for (size_t i = 0; i < network::TILE; ++i) sums[i] = network_root(sums[i] < 1 ? 1 : sums[i]);
    if (job.norm == network::Norm::multiply) return;
    // The quotient of a power of two below 2^53 is whole where the rounded one is: a denominator is below 2^24.
    constexpr double ONE = static_cast<double>(int64_t{1} << network::INVERSE_BITS);
    for (size_t i = 0; i < network::TILE; ++i) sums[i] = static_cast<int32_t>(ONE / static_cast<double>(sums[i]));
}

static inline void network_activate(const network::StageJob& job, int32_t* v) {
    using namespace network;
    if (job.activation == Activation::relu) {
        for (size_t i = 0; i < TILE; ++i) v[i] = v[i] < 0 ? 0 : v[i];
    } else if (job.activation == Activation::leaky) {
        for (size_t i = 0; i < TILE; ++i)
            v[i] = v[i] < 0 ? (v[i] * job.slope + network_half(SLOPE_BITS)) >> SLOPE_BITS : v[i];
    } else if (job.activation == Activation::table) {
        for (size_t i = 0; i < TILE; ++i) {
            const int32_t at = (v[i] + 32768) >> 8, part = (v[i] + 32768) & 255;
            v[i] = (job.table[at] * (256 - part) + job.table[at + 1] * part + 128) >> 8;
        }
    }
}

// `x`: the values that a norm scales, else not read.
static inline void network_finish(const network::StageJob& job, size_t first, const int16_t* x, int32_t* sums) {
    using namespace network;
    if (job.norm != Norm::none) network_norm(job, sums);
    const int32_t *pre = job.pre + first, *times = job.multiplier + first;
    const int32_t most = job.norm == Norm::none ? job.most : MOST;
    for (size_t i = 0; i < TILE; ++i) {
        const int32_t v = network_cut((sums[i] + network_half(pre[i])) >> pre[i], -MOST_SCALED, MOST_SCALED);
        sums[i] = network_cut((v * times[i] + network_half(SCALE_BITS)) >> SCALE_BITS, -most, most);
    }
    if (job.norm == Norm::none) return network_activate(job, sums);
    for (size_t i = 0; i < TILE; ++i)
        sums[i] = network_cut((x[i] * sums[i] + network_half(job.shift)) >> job.shift, -job.most, job.most);
}

static inline void network_write(const network::StageJob& job, size_t first, const int32_t* sums, int16_t* out) {
    const size_t n = job.outputs - first < network::TILE ? job.outputs - first : network::TILE;
    if (job.place) {
        for (size_t i = 0; i < n; ++i) out[job.place[first + i]] = static_cast<int16_t>(sums[i]);
    } else if (n == network::TILE) {
        for (size_t i = 0; i < network::TILE; ++i) out[first + i] = static_cast<int16_t>(sums[i]);
    } else {
        for (size_t i = 0; i < n; ++i) out[first + i] = static_cast<int16_t>(sums[i]);
    }
}

static inline void network_finish_position(const network::StageJob& job, size_t first, size_t position, int32_t* sums) {
    int16_t x[network::TILE] = {};
    if (job.norm != network::Norm::none) {
        const size_t n = job.outputs - first < network::TILE ? job.outputs - first : network::TILE;
        __builtin_memcpy(x, job.scaled + job.from[position] + first, n * sizeof(int16_t));
    }
    network_finish(job, first, x, sums);
    network_write(job, first, sums, job.out + job.to[position]);
}

static void network_run_few(const network::StageJob& job) {
    int32_t sums[network::TILE] = {};
    for (size_t i = 0; i < job.count; ++i) {
        network_few(job, job.in + job.from[i], sums);
        network_finish_position(job, 0, i, sums);
    }
}

static void network_run(const network::StageJob& job) {
    using namespace network;
    if (job.outputs <= FEW_OUTPUTS) return network_run_few(job);
    alignas(64) int32_t sums[NETWORK_ROWS][TILE];
    const size_t tile_weights = job.tap_count * job.pairs * 2 * TILE;
    for (size_t first = 0; first < job.outputs; first += TILE) {
        const int16_t* weights = job.weights + first / TILE * tile_weights;
        for (size_t i = 0; i < job.count; i += NETWORK_ROWS) {
            const size_t n = job.count - i < NETWORK_ROWS ? job.count - i : NETWORK_ROWS;
            const int16_t* cells[NETWORK_ROWS];
            for (size_t p = 0; p < NETWORK_ROWS; ++p) cells[p] = job.in + job.from[i + (p < n ? p : n - 1)];
            network_products(job, cells, weights, job.bias + first, sums);
            for (size_t p = 0; p < n; ++p) network_finish_position(job, first, i + p, sums[p]);
        }
    }
}

static void network_square(const int16_t* in, size_t n, int shift, int16_t* out) {
    const int32_t half = network_half(shift);
    for (size_t i = 0; i < n; ++i) {
        const int32_t v = (int32_t{in[i]} * in[i] + half) >> shift;
        out[i] = static_cast<int16_t>(v > network::MOST ? network::MOST : v);
    }
}
