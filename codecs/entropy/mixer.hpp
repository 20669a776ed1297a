// The probability of a binary decision: counters under several contexts, mixed with weights that learn, then refined.
// Integers throughout. docs/format.md, "Mixing".
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <vector>

namespace sciflow {

inline constexpr int LOGIT_END = 3072;  // logits are 256ths, kept within +-12
inline constexpr int COUNTERS = 9;
inline constexpr int INPUTS = 12;  // the counters, a constant, and zeros that fill a vector
inline constexpr int NODES = 87;   // kinds of decisions, each with counters and weights of its own
inline constexpr int LEAVES = 84;
inline constexpr int CLASS_SETS = 8, ENERGY_SETS = 24, ENERGIES = 48;
inline constexpr int KNOTS = 33, KNOT_DISTANCE = 192;
inline constexpr std::array<uint16_t, COUNTERS> CONTEXTS = {256, 225, 225, 256, 225, 225, 720, 375, 2048};

struct LogitTables {
    std::array<uint16_t, 2 * LOGIT_END + 1> probability;  // of a logit, in 65536ths
    std::array<int16_t, 4096> logit;                      // of a probability in 4096ths
    std::array<uint32_t, 256> rate;                       // of a counter's step, by how often it was used
};

const LogitTables& logit_tables();

class Mixer {
  public:
    std::array<uint32_t, COUNTERS> context;
    uint32_t weights_by_class = 0, energy = 0;  // select weights; the energy refines too

    // As if nothing had been coded yet.
    void reset();

    template <class Coder>
    int code(Coder& coder, int bit, int node) {
        uint32_t* counter[COUNTERS];
        for (int i = 0; i < COUNTERS; ++i) {
            counter[i] = &counters_[first_[i] + node * CONTEXTS[i] + context[i]];
            input_[i] = t_.logit[*counter[i] >> 20];
        }
        int32_t* a = &by_class_[(node * CLASS_SETS + weights_by_class) * INPUTS];
        int32_t* b = &by_energy_[(node * ENERGY_SETS + energy / 2) * INPUTS];
        const int ya = mixed(a), yb = mixed(b), y = (ya + yb) >> 1;
        uint16_t* knot = &knots_[(node * ENERGIES + energy) * KNOTS + (y + LOGIT_END) / KNOT_DISTANCE];
        const int f = (y + LOGIT_END) % KNOT_DISTANCE;
        const uint32_t refined =
            (knot[0] * static_cast<uint32_t>(KNOT_DISTANCE - f) + knot[1] * static_cast<uint32_t>(f)) /
            static_cast<uint32_t>(KNOT_DISTANCE);
        const uint32_t one = std::clamp<uint32_t>((probability(y) + refined) >> 1, 1, 65535);
        bit = coder.code(bit, one);
        learn(a, ya, bit);
        learn(b, yb, bit);
        uint16_t& nearest = knot[f > KNOT_DISTANCE / 2 ? 1 : 0];
        nearest = static_cast<uint16_t>(nearest + (((bit ? 65535 : 0) - nearest) >> 6));
        for (uint32_t* c : counter) count(*c, bit);
        return bit;
    }

    // A decision of little structure: one counter, told apart by `leaf` and the energy.
    template <class Coder>
    int code_leaf(Coder& coder, int bit, int leaf) {
        uint32_t& c = leaves_[static_cast<size_t>(leaf * ENERGIES) + energy];
        bit = coder.code(bit, std::clamp<uint32_t>(c >> 16, 1, 65535));
        count(c, bit);
        return bit;
    }

  private:
    static constexpr int32_t WEIGHT_END = (1 << 18) - 1;

    uint32_t probability(int logit) const { return t_.probability[static_cast<size_t>(logit + LOGIT_END)]; }

    int mixed(const int32_t* w) const {
        int32_t sum = 0;
        for (int i = 0; i < INPUTS; ++i) sum += (input_[i] * w[i]) >> 4;
        return std::clamp(sum >> 12, -LOGIT_END + 1, LOGIT_END - 1);
    }

    void learn(int32_t* w, int logit, int bit) const {
        const int32_t error = (((bit ? 65535 : 0) - static_cast<int32_t>(probability(logit))) * 14) >> 4;
        for (int i = 0; i < INPUTS; ++i)
            w[i] = std::clamp(w[i] + ((input_[i] * error + (1 << 13)) >> 14), -WEIGHT_END, WEIGHT_END);
    }

    // 22 bits of probability above 10 bits of how often it was used: steps of 1/n at first.
    void count(uint32_t& c, int bit) const {
        const uint32_t n = c & 1023;
        const int64_t p = c >> 10;
        const int64_t step = (((bit ? 4194303 : 0) - p) * t_.rate[n]) >> 16;
        c = static_cast<uint32_t>(p + step) << 10 | (n < 255 ? n + 1 : n);
    }

    const LogitTables& t_ = logit_tables();
    std::array<size_t, COUNTERS> first_;
    std::vector<uint32_t> counters_, leaves_;
    std::vector<int32_t> by_class_, by_energy_;
    std::vector<uint16_t> knots_;
    alignas(16) int32_t input_[INPUTS] = {};
};

}  // namespace sciflow
