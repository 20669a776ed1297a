#include "entropy/mixer.hpp"

namespace sciflow {

namespace {

constexpr int32_t FIRST_WEIGHT = 9000;  // 65536ths
constexpr uint64_t ONE = uint64_t{1} << 32;
constexpr uint64_t DECAY = 4278222790;  // 2^32 e^(-1/256)

LogitTables make_tables() {
    LogitTables t;
    uint64_t odds = ONE;
    for (int x = 0; x <= LOGIT_END; ++x) {
        const uint64_t p = (ONE << 16) / (ONE + odds);
        t.probability[static_cast<size_t>(LOGIT_END + x)] = static_cast<uint16_t>(std::min<uint64_t>(p, 65535));
        t.probability[static_cast<size_t>(LOGIT_END - x)] = static_cast<uint16_t>(std::max<uint64_t>(65536 - p, 1));
        odds = (odds * DECAY) >> 32;
    }
    int x = -LOGIT_END;
    for (size_t i = 0; i < t.logit.size(); ++i) {
        while (x < LOGIT_END && t.probability[static_cast<size_t>(LOGIT_END + x)] < i * 16 + 8) ++x;
        t.logit[i] = static_cast<int16_t>(x);
    }
    for (uint32_t n = 0; n < t.rate.size(); ++n) t.rate[n] = 131072 / (2 * n + 3);
    return t;
}

}  // namespace

const LogitTables& logit_tables() {
    static const LogitTables tables = make_tables();
    return tables;
}

void Mixer::reset() {
    size_t total = 0;
    for (int i = 0; i < COUNTERS; ++i) {
        first_[i] = total;
        total += size_t{NODES} * CONTEXTS[i];
    }
    counters_.assign(total, uint32_t{1} << 31);
    leaves_.assign(LEAVES * ENERGIES, uint32_t{1} << 31);
    by_class_.assign(NODES * CLASS_SETS * INPUTS, FIRST_WEIGHT);
    by_energy_.assign(NODES * ENERGY_SETS * INPUTS, FIRST_WEIGHT);
    std::array<uint16_t, KNOTS> line;
    for (int k = 0; k < KNOTS; ++k)
        line[k] = t_.probability[static_cast<size_t>(std::clamp(k * KNOT_DISTANCE, 1, 2 * LOGIT_END - 1))];
    knots_.clear();
    for (int i = 0; i < NODES * ENERGIES; ++i) knots_.insert(knots_.end(), line.begin(), line.end());
    std::fill(input_, input_ + INPUTS, 0);
    input_[COUNTERS] = 256;
}

}  // namespace sciflow
