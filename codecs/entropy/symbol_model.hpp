// The shares of 15 symbols: each of several contexts has a logit for every symbol; they are added, and learn together.
// Integers throughout. docs/format-max.md section 15.
#pragma once

#include "entropy/mixer.hpp"

namespace sciflow {

inline constexpr int OUTCOMES = 15;

class SymbolModel {
  public:
    struct alignas(32) Row {
        int16_t logit[16];  // in 2048ths of an octave; the last place holds how often the row was used
    };

    struct Forecast {
        Row* rows[COUNTERS];
        alignas(16) int16_t share[16];  // in 32768ths; the last place is 0
        alignas(16) int16_t end[16];    // sums of them
    };

    // As if nothing had been coded yet.
    void reset();

    void forecast(const Surroundings& s, Forecast& f) {
        const size_t half = s.start > 0 ? ROWS : 0;
        for (int i = 0; i < COUNTERS; ++i) f.rows[i] = &rows_[half + FIRST[i] + s.context[i]];
        add(f);
    }
    // Which symbol has this share. The last has what the others leave.
    static int symbol_at(const Forecast& f, uint32_t share);
    void learn(const Forecast& f, int symbol);

  private:
    static constexpr std::array<size_t, COUNTERS> FIRST = {0, 225, 450, 675, 1395};
    static constexpr size_t ROWS = 1770;

    static void add(Forecast& f);

    std::vector<Row> rows_;
    uint32_t dither_ = 0;
};

}  // namespace sciflow
