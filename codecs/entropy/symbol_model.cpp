#include "entropy/symbol_model.hpp"

#ifdef __SSE4_1__
#include <smmintrin.h>
#endif

namespace sciflow {

namespace {

constexpr int MOST_USES = 255;
constexpr uint32_t DITHER = 40503;
constexpr uint32_t SHARED = 32768 - 16;  // the least share of each symbol is 1

// Steps are errors shifted by this, by how often a row was used.
constexpr std::array<uint8_t, MOST_USES + 1> STEP_SHIFT = [] {
    std::array<uint8_t, MOST_USES + 1> shift{};
    for (int uses = 0; uses <= MOST_USES; ++uses) {
        int k = 4;
        for (int end : {2, 6, 16, 48, 200}) k += uses >= end;
        shift[static_cast<size_t>(uses)] = static_cast<uint8_t>(k);
    }
    return shift;
}();

#ifdef __SSE4_1__

__m128i load(const int16_t* p) { return _mm_load_si128(reinterpret_cast<const __m128i*>(p)); }
void store(int16_t* p, __m128i v) { _mm_store_si128(reinterpret_cast<__m128i*>(p), v); }
__m128i all(int v) { return _mm_set1_epi16(static_cast<int16_t>(v)); }

// power_of below, of eight.
__m128i powers(__m128i d) {
    const __m128i x = _mm_slli_epi16(_mm_and_si128(d, all(2047)), 4);
    const __m128i slope = _mm_add_epi16(_mm_mulhi_epi16(x, all(11256)), all(10757));
    const __m128i mantissa = _mm_add_epi16(_mm_slli_epi16(_mm_mulhi_epi16(x, slope), 1), all(16384));
    const __m128i low = _mm_setr_epi8(0, 2, 4, 8, 16, 32, 64, -128, 0, 0, 0, 0, 0, 0, 0, 0);
    const __m128i high = _mm_setr_epi8(0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 4, 8, 16, 32, 64, -128);
    const __m128i k = _mm_max_epi16(_mm_add_epi16(_mm_srai_epi16(d, 11), all(15)), _mm_setzero_si128());
    const __m128i scale = _mm_or_si128(_mm_shuffle_epi8(low, _mm_or_si128(k, all(0x8000))),
                                       _mm_shuffle_epi8(high, _mm_or_si128(_mm_slli_epi16(k, 8), all(0x80))));
    return _mm_mulhi_epu16(scale, mantissa);
}

__m128i running_sums(__m128i v) {
    v = _mm_add_epi16(v, _mm_slli_si128(v, 2));
    v = _mm_add_epi16(v, _mm_slli_si128(v, 4));
    return _mm_add_epi16(v, _mm_slli_si128(v, 8));
}

#else

// 2^(d/2048) in 8192ths, for d <= 0; 0 below 2^-15.
int power_of(int d) {
    const int x = (d & 2047) << 4, k = std::max((d >> 11) + 15, 0);
    const int mantissa = 16384 + 2 * ((x * (((x * 11256) >> 16) + 10757)) >> 16);
    return k == 0 ? 0 : static_cast<int>((static_cast<uint32_t>(mantissa) << k) >> 16);
}

#endif

}  // namespace

void SymbolModel::reset() {
    rows_.assign(2 * ROWS, Row{});
    dither_ = 0;
}

#ifdef __SSE4_1__

void SymbolModel::add(Forecast& f) {
    const __m128i keep = _mm_setr_epi16(-1, -1, -1, -1, -1, -1, -1, 0);
    __m128i a = load(f.rows[0]->logit), b = load(f.rows[0]->logit + 8);
    for (int i = 1; i < COUNTERS; ++i) {
        a = _mm_adds_epi16(a, load(f.rows[i]->logit));
        b = _mm_adds_epi16(b, load(f.rows[i]->logit + 8));
    }
    b = _mm_blendv_epi8(all(-32768), b, keep);
    const __m128i below = _mm_minpos_epu16(_mm_sub_epi16(all(32767), _mm_max_epi16(a, b)));
    const __m128i most = _mm_sub_epi16(all(32767), _mm_shuffle_epi32(_mm_unpacklo_epi16(below, below), 0));
    a = powers(_mm_subs_epi16(a, most));
    b = _mm_and_si128(powers(_mm_subs_epi16(b, most)), keep);
    __m128i sum = _mm_add_epi32(_mm_madd_epi16(a, all(1)), _mm_madd_epi16(b, all(1)));
    sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0x4e));
    sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0xb1));
    const uint32_t total = static_cast<uint32_t>(_mm_cvtsi128_si32(sum));
    const __m128i by = all(static_cast<int>((SHARED << 14) / total));
    a = _mm_add_epi16(_mm_mulhi_epu16(_mm_slli_epi16(a, 2), by), all(1));
    b = _mm_sub_epi16(_mm_mulhi_epu16(_mm_slli_epi16(b, 2), by), keep);
    store(f.share, a);
    store(f.share + 8, b);
    a = running_sums(a);
    store(f.end, a);
    store(f.end + 8, _mm_add_epi16(running_sums(b), all(_mm_extract_epi16(a, 7))));
}

int SymbolModel::symbol_at(const Forecast& f, uint32_t share) {
    const __m128i t = all(static_cast<int>(share));
    const __m128i above = _mm_packs_epi16(_mm_cmpgt_epi16(load(f.end), t), _mm_cmpgt_epi16(load(f.end + 8), t));
    return __builtin_ctz(static_cast<unsigned>(_mm_movemask_epi8(above)) | 1u << (OUTCOMES - 1));
}

void SymbolModel::learn(const Forecast& f, int symbol) {
    const __m128i is = all(symbol), one = all(32767);
    const __m128i here = _mm_cmpeq_epi16(is, _mm_setr_epi16(0, 1, 2, 3, 4, 5, 6, 7));
    const __m128i there = _mm_cmpeq_epi16(is, _mm_setr_epi16(8, 9, 10, 11, 12, 13, 14, 15));
    const __m128i a = _mm_sub_epi16(_mm_and_si128(here, one), load(f.share));
    const __m128i b = _mm_sub_epi16(_mm_and_si128(there, one), load(f.share + 8));
    dither_ = (dither_ + DITHER) & 65535;
    for (Row* row : f.rows) {
        const int uses = row->logit[OUTCOMES], shift = STEP_SHIFT[static_cast<size_t>(uses)];
        const __m128i u = all(static_cast<int>(dither_ >> (16 - shift))), by = _mm_cvtsi32_si128(shift);
        store(row->logit, _mm_adds_epi16(load(row->logit), _mm_sra_epi16(_mm_adds_epi16(a, u), by)));
        store(row->logit + 8, _mm_adds_epi16(load(row->logit + 8), _mm_sra_epi16(_mm_adds_epi16(b, u), by)));
        row->logit[OUTCOMES] = static_cast<int16_t>(std::min(uses + 1, MOST_USES));
    }
}

#else

void SymbolModel::add(Forecast& f) {
    const auto held = [](int v) { return std::clamp(v, -32768, 32767); };
    int logit[OUTCOMES], total = 0;
    for (int k = 0; k < OUTCOMES; ++k) {
        logit[k] = f.rows[0]->logit[k];
        for (int i = 1; i < COUNTERS; ++i) logit[k] = held(logit[k] + f.rows[i]->logit[k]);
    }
    const int most = *std::max_element(logit, logit + OUTCOMES);
    for (int& v : logit) total += v = power_of(held(v - most));
    const uint32_t by = (SHARED << 14) / static_cast<uint32_t>(total);
    int16_t end = 0;
    for (int k = 0; k < OUTCOMES; ++k) {
        f.share[k] = static_cast<int16_t>(((static_cast<uint32_t>(logit[k]) * 4 * by) >> 16) + 1);
        f.end[k] = end = static_cast<int16_t>(end + f.share[k]);
    }
    f.share[OUTCOMES] = 0;
    f.end[OUTCOMES] = end;
}

int SymbolModel::symbol_at(const Forecast& f, uint32_t share) {
    int k = 0;
    while (k < OUTCOMES - 1 && f.end[k] <= static_cast<int>(share)) ++k;
    return k;
}

void SymbolModel::learn(const Forecast& f, int symbol) {
    dither_ = (dither_ + DITHER) & 65535;
    for (Row* row : f.rows) {
        const int uses = row->logit[OUTCOMES], shift = STEP_SHIFT[static_cast<size_t>(uses)],
                  u = static_cast<int>(dither_ >> (16 - shift));
        for (int k = 0; k < OUTCOMES; ++k) {
            const int error = std::min((k == symbol ? 32767 : 0) - f.share[k] + u, 32767);
            row->logit[k] = static_cast<int16_t>(std::clamp(row->logit[k] + (error >> shift), -32768, 32767));
        }
        row->logit[OUTCOMES] = static_cast<int16_t>(std::min(uses + 1, MOST_USES));
    }
}

#endif

}  // namespace sciflow
