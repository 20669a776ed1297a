#include "entropy/mixing.hpp"

#include "entropy/binary_coder.hpp"
#include "entropy/neighbourhood.hpp"

namespace sciflow {

namespace {

constexpr int DEEPEST = 27;  // thresholds from here on share their nodes
constexpr int UP = 0, FIRST = 28, DOWN = 56, SIGN = 84;

// Magnitudes by octaves: 0, 1, 2, 3-4, 5-8, ... The class of m, and of a class above 2 how many bits tell its members
// apart: class - 2, of m - 1 without its top bit.
int class_of(uint64_t m) { return m <= 2 ? static_cast<int>(m) : 65 - __builtin_clzll(m - 1); }

constexpr int LAST_CLASS = 65;

template <class Coder>
class CodeCoder {
  public:
    CodeCoder(Mixer& mixer, Coder& coder) : mixer_(mixer), coder_(coder) {}

    // Codes `v`, or decodes one, where the neighbours' mean magnitude suggests to begin at `start`.
    int64_t code(int64_t v, int start) {
        const uint64_t m = v < 0 ? uint64_t{0} - static_cast<uint64_t>(v) : static_cast<uint64_t>(v);
        const int c = magnitude_class(Coder::DECODES ? 0 : class_of(m), start);
        if (c == 0) return 0;
        const bool negative = mixer_.code(coder_, v < 0, SIGN + std::min(c, 3) - 1) != 0;
        const uint64_t back = c < 3 ? static_cast<uint64_t>(c) : (uint64_t{1} << (c - 2)) + 1 + members(m - 1, c);
        return static_cast<int64_t>(negative ? uint64_t{0} - back : back);
    }

  private:
    bool ask(bool yes, int kind, int t) { return mixer_.code(coder_, yes, kind + std::min(t, DEEPEST)) != 0; }

    int magnitude_class(int c, int start) {
        int t = start <= 2 ? 0 : start;
        if (t > 0) {
            if (!ask(c > t, FIRST, t)) {
                while (t > 0 && !ask(c >= t, DOWN, t)) --t;
                return t;
            }
            ++t;
        }
        while (t < LAST_CLASS && ask(c > t, UP, t)) ++t;
        return t;
    }

    // The low c - 2 bits: two have counters, the others nothing.
    uint64_t members(uint64_t bits, int c) {
        int left = c - 2;
        const int leaf = 3 * std::min(c, DEEPEST);
        uint64_t back = 0;
        const auto next = [&] { return static_cast<int>((bits >> --left) & 1); };
        for (int k = 0, prefix = 0; k < 2 && left > 0; ++k) {
            const int bit = mixer_.code_leaf(coder_, next(), leaf + prefix);
            prefix = 1 + bit;
            back = back << 1 | static_cast<uint64_t>(bit);
        }
        while (left > 0) back = back << 1 | static_cast<uint64_t>(coder_.code(next(), 32768));
        return back;
    }

    Mixer& mixer_;
    Coder& coder_;
};

// Every code of every grid, forth or back. False where a decoder runs out of bytes.
template <class Q, class Coder>
bool walk(const std::vector<GridSpec>& grids, Q* codes, MixingScratch& s, Coder& coder) {
    s.mixer.reset();
    CodeCoder<Coder> one(s.mixer, coder);
    Neighbourhood around(grids, s);
    for (size_t k = 0; k < grids.size(); ++k) {
        around.enter(k);
        const Dims& d = grids[k].dims;
        for (size_t i0 = 0; i0 < d.n[0]; ++i0)
            for (size_t i1 = 0; i1 < d.n[1]; ++i1)
                for (size_t i2 = 0; i2 < d.n[2]; ++i2, codes += d.n[X]) {
                    around.enter_row(i0, i1, i2);
                    for (size_t x = 0; x < d.n[X]; ++x) {
                        const int start = around.contexts(x, s.mixer);
                        const int64_t v = one.code(Coder::DECODES ? 0 : int64_t{codes[x]}, start);
                        if constexpr (Coder::DECODES) codes[x] = static_cast<Q>(v);
                        around.learn(x, codes[x]);
                    }
                    if (coder.over()) return false;
                }
    }
    return true;
}

}  // namespace

template <class Q>
void mix_grids(const std::vector<GridSpec>& grids, const Q* codes, MixingScratch& scratch, Bytes& out) {
    BinaryEncoder coder;
    walk(grids, const_cast<Q*>(codes), scratch, coder);  // an encoder only reads them
    coder.finish(out);
}

template <class Q>
Status unmix_grids(Cursor& in, const std::vector<GridSpec>& grids, Q* codes, MixingScratch& scratch) {
    size_t count = 0;
    for (const GridSpec& g : grids) count += g.dims.size();
    if (count < MIXING_FROM) return Status::corrupt;
    BinaryDecoder coder;
    if (Status st = coder.open(in); st != Status::ok) return st;
    return walk(grids, codes, scratch, coder) && coder.closed() ? Status::ok : Status::corrupt;
}

template void mix_grids<int32_t>(const std::vector<GridSpec>&, const int32_t*, MixingScratch&, Bytes&);
template void mix_grids<int64_t>(const std::vector<GridSpec>&, const int64_t*, MixingScratch&, Bytes&);
template Status unmix_grids<int32_t>(Cursor&, const std::vector<GridSpec>&, int32_t*, MixingScratch&);
template Status unmix_grids<int64_t>(Cursor&, const std::vector<GridSpec>&, int64_t*, MixingScratch&);

}  // namespace sciflow
