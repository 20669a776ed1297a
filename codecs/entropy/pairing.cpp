// Two halves of every grid in step, a symbol of one and a symbol of the other: neither waits for what the other finds.
// docs/format-max.md section 15.
#include "entropy/magnitude.hpp"
#include "entropy/neighbourhood.hpp"

namespace sciflow {

namespace {

constexpr uint64_t RUN = 16;
constexpr int LAST_SIGNED = 7, LAST_UNSIGNED = OUTCOMES - 1;  // classes that larger ones share a symbol with

constexpr int8_t VALUES[] = {0, 1, -1, 2, -2};

template <class Q, class Coder>
class Lane {
  public:
    Lane(Neighbourhood&& around, MixingScratch& s, Coder& coder)
        : around_(std::move(around)), mixer_(s.mixer), model_(s.symbols), coder_(coder) {}
    const Neighbourhood& around() const { return around_; }

    // Rows `first` to `end` of grid `k`, in C order, the first of them in the grid at `codes`.
    void enter(size_t k, const Dims& d, size_t first, size_t end, Q* codes) {
        dims_ = d;
        row_ = first;
        end_ = end;
        codes_ = codes + first * d.n[X];
        if (d.n[X] == 0) row_ = end_;
        if (row_ == end_) return;
        around_.enter(k, index_of(first));
        start_row();
    }

    // Goes to the next code that is not in a run of zeros, and looks around. False where none is left.
    bool seek() {
        while (row_ < end_) {
            if (x_ == dims_.n[X]) {
                codes_ += dims_.n[X];
                if (++row_ == end_ || coder_.over()) return false;
                start_row();
            }
            if (skip_run()) continue;
            here_ = around_.look(x_);
            small_ = is_large() ? 0 : 4;
            return true;
        }
        return false;
    }

    void forecast() { model_.forecast(here_, forecast_); }

    void code_symbol() {
        const int64_t v = codes_[x_];
        symbol_ = Coder::DECODES ? SymbolModel::symbol_at(forecast_, coder_.find()) : symbol_of(v);
        const int16_t* end = forecast_.end;
        coder_.take(symbol_ == 0 ? 0 : static_cast<uint32_t>(end[symbol_ - 1]),
                    symbol_ == OUTCOMES - 1 ? 1u << SHARE_BITS : static_cast<uint32_t>(end[symbol_]));
    }

    void learn() { model_.learn(forecast_, symbol_); }

    // What the symbol leaves open.
    void finish() {
        const int64_t v = symbol_ <= small_ ? VALUES[symbol_] : rest_of(Coder::DECODES ? 0 : int64_t{codes_[x_]});
        if constexpr (Coder::DECODES) codes_[x_] = static_cast<Q>(v);
        around_.learn(x_, codes_[x_]);
        ++x_;
    }

  private:
    std::array<size_t, 3> index_of(size_t row) const {
        return {row / (dims_.n[1] * dims_.n[2]), row / dims_.n[2] % dims_.n[1], row % dims_.n[2]};
    }

    void start_row() {
        const auto [i0, i1, i2] = index_of(row_);
        around_.enter_row(i0, i1, i2);
        x_ = doubt_ = 0;
    }

    // Past a run that is nothing but zeros.
    bool skip_run() {
        const size_t run = std::min<size_t>(RUN, dims_.n[X] - x_);
        if (x_ < doubt_ || run < 4 || around_.quiet(x_) < run) return false;
        Q* codes = codes_ + x_;
        const bool any = !Coder::DECODES && std::any_of(codes, codes + run, [](Q v) { return v != 0; });
        const bool broken = mixer_.code_run(coder_, any, around_.run_context(x_, run)) != 0;
        around_.learn_run(broken);
        doubt_ = x_ + run;
        if (broken) return false;
        if constexpr (Coder::DECODES) std::fill(codes, codes + run, Q(0));
        x_ = doubt_;
        return true;
    }

    bool is_large() const { return here_.start > 0; }

    int symbol_of(int64_t v) const {
        const int c = class_of(magnitude_of(v));
        if (is_large()) return std::min(c, LAST_UNSIGNED);
        return c == 0 ? 0 : 2 * std::min(c, LAST_SIGNED) - (v > 0);
    }

    int64_t rest_of(int64_t v) {
        mixer_.enter_alone(here_);
        const uint64_t m = magnitude_of(v);
        const int last = is_large() ? LAST_UNSIGNED : LAST_SIGNED;
        int c = is_large() ? symbol_ : (symbol_ + 1) / 2;
        bool negative = is_large() ? mixer_.code_sign(coder_, v < 0) != 0 : symbol_ % 2 == 0;
        const int real = Coder::DECODES ? 0 : class_of(m);
        if (c == last)
            while (c < LAST_CLASS && mixer_.code_leaf(coder_, real > c, std::min(c - last, 8))) ++c;
        const uint64_t back = code_member(mixer_, coder_, m, c);
        return static_cast<int64_t>(negative ? uint64_t{0} - back : back);
    }

    Neighbourhood around_;
    Mixer& mixer_;
    SymbolModel& model_;
    Coder& coder_;
    Dims dims_;
    size_t row_ = 0, end_ = 0, x_ = 0, doubt_ = 0;
    Q* codes_ = nullptr;
    Surroundings here_;
    SymbolModel::Forecast forecast_;
    int symbol_ = 0, small_ = 0;  // up to there symbols are values
};

// How many of a grid's rows are the first lane's: half of its first axis that has halves.
size_t first_rows(const Dims& d) {
    const size_t rows = d.rows();
    if (rows * d.n[X] < PAIR_FROM) return rows;
    for (int a = 0; a < X; ++a)
        if (d.n[a] > 1) return rows / d.n[a] * ((d.n[a] + 1) / 2);
    return rows;
}

template <class Q, class Coder>
bool walk(const std::vector<GridSpec>& grids, Q* codes, MixingScratch& s, Coder& coder) {
    s.mixer.reset_alone();
    s.symbols.reset();
    Lane<Q, Coder> a(Neighbourhood(grids, s), s, coder);
    Lane<Q, Coder> b(Neighbourhood(a.around(), s.rows[1]), s, coder);
    for (size_t k = 0; k < grids.size(); ++k) {
        const Dims& d = grids[k].dims;
        const size_t half = first_rows(d);
        a.enter(k, d, 0, half, codes);
        b.enter(k, d, half, d.rows(), codes);
        bool in_a = a.seek(), in_b = b.seek();
        while (in_a && in_b) {
            a.forecast();
            b.forecast();
            a.code_symbol();
            b.code_symbol();
            a.learn();
            b.learn();
            a.finish();
            b.finish();
            in_a = a.seek();
            in_b = b.seek();
        }
        for (Lane<Q, Coder>* one : {&a, &b})
            for (bool in = one == &a ? in_a : in_b; in; in = one->seek()) {
                one->forecast();
                one->code_symbol();
                one->learn();
                one->finish();
            }
        if (coder.over()) return false;
        codes += d.size();
    }
    return true;
}

}  // namespace

template <class Q>
void pair_grids(const std::vector<GridSpec>& grids, const Q* codes, MixingScratch& scratch, Bytes& out) {
    BinaryEncoder coder;
    walk(grids, const_cast<Q*>(codes), scratch, coder);  // an encoder only reads them
    coder.finish(out, PAIRED);
}

template <class Q>
Status unpair_grids(BinaryDecoder& coder, const std::vector<GridSpec>& grids, Q* codes, MixingScratch& scratch) {
    return walk(grids, codes, scratch, coder) && coder.closed() ? Status::ok : Status::corrupt;
}

template void pair_grids<int32_t>(const std::vector<GridSpec>&, const int32_t*, MixingScratch&, Bytes&);
template void pair_grids<int64_t>(const std::vector<GridSpec>&, const int64_t*, MixingScratch&, Bytes&);
template Status unpair_grids<int32_t>(BinaryDecoder&, const std::vector<GridSpec>&, int32_t*, MixingScratch&);
template Status unpair_grids<int64_t>(BinaryDecoder&, const std::vector<GridSpec>&, int64_t*, MixingScratch&);

}  // namespace sciflow
