// The probability of a binary decision: counters under several contexts, mixed with weights that learn, then refined.
// Integers throughout. docs/format.md, "Mixing".
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

#ifdef __SSSE3__
#include <tmmintrin.h>
#endif

namespace sciflow {

inline constexpr int LOGIT_END = 3072;  // logits are 256ths, kept within +-12
inline constexpr int COUNTERS = 5;
inline constexpr int INPUTS = 8;  // the counters, a constant, and zeros that fill a vector
inline constexpr int NODES = 38;  // kinds of decisions, each with counters and weights of its own
inline constexpr int LEVEL_CLASSES = 8, ENERGIES = 48, GUESSES = 15;
inline constexpr int LEAVES = 63 * ENERGIES;
inline constexpr int RUN_CONTEXTS = LEVEL_CLASSES * 5 * 16;
inline constexpr int KNOTS = 25, KNOT_DISTANCE = 256;
inline constexpr std::array<uint16_t, COUNTERS> CONTEXTS = {225, 225, 225, 720, 375};

struct LogitTables {
    std::array<uint16_t, 2 * LOGIT_END + 1> probability;  // of a logit, in 65536ths
    std::array<int16_t, 4096> logit;                      // of a probability in 4096ths
    std::array<uint32_t, 256> rate;                       // of a counter's step, by how often it was used
};

const LogitTables& logit_tables();

// What a code's decisions are told apart by.
struct Surroundings {
    std::array<uint32_t, COUNTERS> context;
    uint32_t energy = 0, lean = 0;
    int start = 0;  // the class of magnitudes to begin with
};

class Mixer {
  public:
    // As if nothing had been coded yet; or where only decisions that are not mixed follow.
    void reset();
    void reset_alone();

    void enter(const Surroundings& s) {
        for (int i = 0; i < COUNTERS; ++i) cells_[i] = &counters_[first_[i] + s.context[i]];
        enter_alone(s);
    }
    void enter_alone(const Surroundings& s) {
        energy_ = s.energy;
        lean_ = s.lean;
    }

    template <class Coder>
    int code(Coder& coder, int bit, int node) {
        Cells* const* c = cells_.data();
        const auto logit = [&](int i) { return t_.logit[(*c[i])[node] >> 20]; };
        const Vector input = {logit(0), logit(1), logit(2), logit(3), logit(4), 256, 0, 0};
        Vector& w = weights_[static_cast<size_t>(node * (ENERGIES / 2)) + energy_ / 2];
        const int y = std::clamp(product(input, w) >> 14, -LOGIT_END + 1, LOGIT_END - 1);
        const uint32_t p = t_.probability[static_cast<size_t>(y + LOGIT_END)];
        uint16_t* knot = &knots_[(static_cast<size_t>(node * ENERGIES) + energy_) * KNOTS +
                                 static_cast<uint32_t>(y + LOGIT_END) / KNOT_DISTANCE];
        const uint32_t f = static_cast<uint32_t>(y + LOGIT_END) % KNOT_DISTANCE;
        const uint32_t refined = (knot[0] * (KNOT_DISTANCE - f) + knot[1] * f) / KNOT_DISTANCE;
        bit = coder.code(bit, std::clamp<uint32_t>((p + refined) >> 1, 1, 65535));
        const int32_t target = -bit & 65535;
        learn(w, input, static_cast<int16_t>((target - static_cast<int32_t>(p)) >> 1));
        uint16_t& nearest = knot[f > KNOT_DISTANCE / 2 ? 1 : 0];
        nearest = static_cast<uint16_t>(nearest + ((target - nearest) >> 6));
        for (Cells* each : cells_) count((*each)[node], bit);
        return bit;
    }

    // A decision of little structure: one counter.
    template <class Coder>
    int code_leaf(Coder& coder, int bit, int leaf) {
        return code_alone(coder, bit, leaves_[static_cast<size_t>(leaf * ENERGIES) + energy_]);
    }
    // A sign that little but the guess tells of.
    template <class Coder>
    int code_sign(Coder& coder, int bit) {
        return code_alone(coder, bit, signs_[lean_ * ENERGIES + energy_]);
    }
    template <class Coder>
    int code_run(Coder& coder, int bit, uint32_t context) {
        return code_alone(coder, bit, runs_[context]);
    }

  private:
    struct alignas(64) Cells {
        uint32_t node[48];
        uint32_t& operator[](size_t i) { return node[i]; }
    };
    using Vector __attribute__((vector_size(2 * INPUTS))) = int16_t;

    static int product(const Vector& a, const Vector& b) {
#ifdef __SSSE3__
        __m128i sum = _mm_madd_epi16((__m128i)a, (__m128i)b);
        sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0x4e));
        return _mm_cvtsi128_si32(_mm_add_epi32(sum, _mm_shuffle_epi32(sum, 0xb1)));
#else
        int32_t sum = 0;
        for (int i = 0; i < INPUTS; ++i) sum += a[i] * b[i];
        return sum;
#endif
    }

    static void learn(Vector& w, const Vector& input, int16_t error) {
#ifdef __SSSE3__
        w = (Vector)_mm_adds_epi16((__m128i)w, _mm_mulhrs_epi16((__m128i)input, _mm_set1_epi16(error)));
#else
        for (int i = 0; i < INPUTS; ++i)
            w[i] = static_cast<int16_t>(std::clamp(w[i] + ((input[i] * error + (1 << 14)) >> 15), -32768, 32767));
#endif
    }

    template <class Coder>
    int code_alone(Coder& coder, int bit, uint32_t& c) {
        bit = coder.code(bit, std::clamp<uint32_t>(c >> 16, 1, 65535));
        count(c, bit);
        return bit;
    }

    // 22 bits of probability above 10 bits of how often it was used: steps of 1/n at first.
    void count(uint32_t& c, int bit) const {
        const uint32_t n = c & 1023;
        const int64_t p = c >> 10;
        const int64_t step = (((-bit & 4194303) - p) * t_.rate[n]) >> 16;
        c = static_cast<uint32_t>(p + step) << 10 | (n < 255 ? n + 1 : n);
    }

    const LogitTables& t_ = logit_tables();
    std::array<size_t, COUNTERS> first_;
    std::array<Cells*, COUNTERS> cells_;
    uint32_t energy_ = 0, lean_ = 0;
    std::vector<Cells> counters_;
    std::vector<uint32_t> leaves_, runs_, signs_;
    std::vector<Vector> weights_;
    std::vector<uint16_t> knots_;
};

}  // namespace sciflow
