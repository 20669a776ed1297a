#include "entropy/mixing.hpp"

#include "entropy/magnitude.hpp"
#include "entropy/neighbourhood.hpp"

namespace sciflow {

namespace {

constexpr int DEEPEST = 12;  // thresholds from here on share their nodes
constexpr uint64_t RUN = 16;

// Nodes, those that are asked one after the other side by side.
constexpr int SIGN = 3;
int up(int t) { return t < 3 ? t : 3 * std::min(t, DEEPEST); }
int first(int t) { return 3 * std::min(t, DEEPEST) - 1; }
int down(int t) { return t < 3 ? 5 + t : 3 * std::min(t, DEEPEST) + 1; }

template <class Coder>
class CodeCoder {
  public:
    CodeCoder(Mixer& mixer, Coder& coder) : mixer_(mixer), coder_(coder) {}

    // Codes `v`, or decodes one, where the neighbours' mean magnitude suggests to begin at `start`.
    int64_t code(int64_t v, int start) {
        const uint64_t m = v < 0 ? uint64_t{0} - static_cast<uint64_t>(v) : static_cast<uint64_t>(v);
        const int c = magnitude_class(Coder::DECODES ? 0 : class_of(m), start);
        if (c == 0) return 0;
        const bool negative = sign(v < 0, c);
        const uint64_t back = code_member(mixer_, coder_, m, c);
        return static_cast<int64_t>(negative ? uint64_t{0} - back : back);
    }

  private:
    bool ask(bool yes, int node) { return mixer_.code(coder_, yes, node) != 0; }

    bool sign(bool negative, int c) {
        if (c < 3) return ask(negative, SIGN + c - 1);
        return mixer_.code_sign(coder_, negative) != 0;
    }

    int magnitude_class(int c, int start) {
        int t = start;
        if (t > 0) {
            if (!ask(c > t, first(t))) {
                while (t > 0 && !ask(c >= t, down(t))) --t;
                return t;
            }
            ++t;
        }
        while (t < LAST_CLASS && ask(c > t, up(t))) ++t;
        return t;
    }

    Mixer& mixer_;
    Coder& coder_;
};

// Where a run of codes has nothing but zeros around it, one decision tells whether it is broken: not all zero.
template <class Q, class Coder>
void code_row(Q* codes, size_t n, Neighbourhood& around, Mixer& mixer, CodeCoder<Coder>& one, Coder& coder) {
    for (size_t x = 0, doubt = 0; x < n;) {
        const size_t run = std::min<size_t>(RUN, n - x);
        if (x >= doubt && run >= 4 && around.quiet(x) >= run) {
            const bool any = !Coder::DECODES && std::any_of(codes + x, codes + x + run, [](Q v) { return v != 0; });
            const bool broken = mixer.code_run(coder, any, around.run_context(x, run)) != 0;
            around.learn_run(broken);
            doubt = x + run;
            if (!broken) {
                if constexpr (Coder::DECODES) std::fill(codes + x, codes + doubt, Q(0));
                x = doubt;
                continue;
            }
        }
        const Surroundings s = around.look(x);
        mixer.enter(s);
        const int64_t v = one.code(Coder::DECODES ? 0 : int64_t{codes[x]}, s.start);
        if constexpr (Coder::DECODES) codes[x] = static_cast<Q>(v);
        around.learn(x, codes[x]);
        ++x;
    }
}

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
                    code_row(codes, d.n[X], around, s.mixer, one, coder);
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
    uint64_t kind = PAIRED;
    if (Status st = coder.open(in, kind); st != Status::ok) return st;
    if (kind == PAIRED) return unpair_grids(coder, grids, codes, scratch);
    return walk(grids, codes, scratch, coder) && coder.closed() ? Status::ok : Status::corrupt;
}

template void mix_grids<int32_t>(const std::vector<GridSpec>&, const int32_t*, MixingScratch&, Bytes&);
template void mix_grids<int64_t>(const std::vector<GridSpec>&, const int64_t*, MixingScratch&, Bytes&);
template Status unmix_grids<int32_t>(Cursor&, const std::vector<GridSpec>&, int32_t*, MixingScratch&);
template Status unmix_grids<int64_t>(Cursor&, const std::vector<GridSpec>&, int64_t*, MixingScratch&);

}  // namespace sciflow
