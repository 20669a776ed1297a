#include "entropy/mixer.hpp"

namespace sciflow {

namespace {

constexpr int16_t FIRST_WEIGHT = 3800;  // 16384ths
constexpr uint32_t EVEN = uint32_t{1} << 31;
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

void Mixer::reset_alone() {
    leaves_.assign(LEAVES, EVEN);
    runs_.assign(RUN_CONTEXTS, EVEN);
    signs_.assign(GUESSES * ENERGIES, EVEN);
}

void Mixer::reset() {
    reset_alone();
    size_t total = 0;
    for (int i = 0; i < COUNTERS; ++i) {
        first_[i] = total;
        total += CONTEXTS[i];
    }
    Cells cells;
    std::fill(std::begin(cells.node), std::end(cells.node), EVEN);
    counters_.assign(total, cells);
    weights_.assign(NODES * ENERGIES / 2, Vector{} + FIRST_WEIGHT);
    knots_.resize(NODES * ENERGIES * KNOTS);
    for (size_t i = 0; i < knots_.size(); ++i) {
        const int logit = static_cast<int>(i % KNOTS) * KNOT_DISTANCE;
        knots_[i] = t_.probability[static_cast<size_t>(std::clamp(logit, 1, 2 * LOGIT_END - 1))];
    }
}

}  // namespace sciflow
