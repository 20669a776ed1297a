// One block's encoder: what its parts, an encode_*.cpp each, share.
#pragma once

#include <algorithm>
#include <limits>

#include "block.hpp"
#include "choose.hpp"
#include "exact.hpp"
#include "predict/autoregress.hpp"
#include "sample.hpp"
#include "values.hpp"

namespace sciflow {

template <class T>
class Encoder {
  public:
    Encoder(const T* in, const Dims& dims, const Header& header, const EncodeOptions& options, BlockScratch<T>& scratch,
            Bytes& out)
        : in_(in),
          dims_(dims),
          n_(dims.size()),
          header_(header),
          options_(options),
          s_(scratch),
          out_(out),
          writer_(out) {}

    void run();
    // How the block compares with what went in, where that was found on the way.
    const Check* checked() const { return was_checked_ ? &checked_ : nullptr; }

  private:
    template <class V>
    void grow(V& v) const {
        if (v.size() < n_ + 64) v.resize(n_ + 64);
    }

    void raw_where_shorter(size_t start);
    // The fast level: one pass of differences in groups of fixed width. False where its codes do not reach.
    bool packed(const std::vector<T>& drawn);
    // Fill values that a neighbour within the bound could be mistaken for: nothing else may come back as one of them.
    void find_sentinels_to_avoid();
    bool avoided(T back) const { return std::find(avoid_.begin(), avoid_.end(), back) != avoid_.end(); }
    // What a value becomes whatever it is stored beside. Rewrite-safe streams promise that decoding and encoding again
    // changes nothing, so even a block that is stored raw holds lattice values.
    T settled(T x) const;
    // Where 64-bit codes reach, of whatever block.
    Interval everywhere() const;
    void mark(T low, T high);
    void bounded(const std::vector<T>& sample);
    // Interpolation by the model's weights, where the caller has some for blocks of this many axes; else another mode.
    Choice learned_choice(const std::vector<Choice>& choices, const std::vector<T>& sample) const;
    void wider_than_codes(const LinearMap& map);
    bool try_weights(const T* values, const LinearMap& map, size_t start, size_t marked);
    size_t keep_marks();
    void take_marks(size_t marked);
    // Codes in another way, from the same marks, and keeps what is smaller. True where that is the other way.
    template <class Encode>
    bool rival(size_t start, size_t marked, Encode&& encode) {
        const Bytes best(out_.begin() + static_cast<ptrdiff_t>(start), out_.end());
        out_.resize(start);
        take_marks(marked);
        encode();
        if (out_.size() - start <= best.size()) return true;
        out_.resize(start);
        writer_.bytes(best);
        return false;
    }

    // Mixing takes as long as everything else together: all choices are coded by static tables, and the best by mixing.
    // Few distinct values, which static tables do not show the worth of, are mixed as well.
    void contest(const T* values, std::vector<Choice> choices, const std::vector<T>& sample);
    static bool is_raster(const Choice& c) { return c.mode == Mode::raster; }
    // The middle of the block, some thousand values, cut from its longest axes first.
    Dims cut_part(std::vector<T>& part) const;
    // What a choice makes of a part of the block.
    double bytes_of(const Choice& c, const std::vector<T>& part, const Dims& dims, bool mixing);
    void only(const Choice& c, T low, T high);
    // A map onto whose integers a sample of few distinct values falls; its step is 0 where there is none.
    LinearMap map_of_few(std::vector<T> sample) const;
    void code(const T* values, const Choice& c);
    const T* with_holes();
    void multilevel_of(const T* values, const Choice& c);
    void raster_of(const Choice& c);
    // Integers of every value into s_.wide; where one misses the bound, the value is exact. Holes repeat the last.
    void to_integers(const LinearMap& map);
    bool keeps(const LinearMap& map, T x, int64_t q) const;
    // |x - y|, rounded up.
    static double error(T x, T y) {
        const double d = std::fabs(static_cast<double>(x) - static_cast<double>(y));
        return std::nextafter(d, std::numeric_limits<double>::infinity());
    }

    // Largest distance from the first integer.
    int64_t span() const;
    LatticeJob job_of(const LinearMap& map) const { return job_of(map, first_regular()); }
    LatticeJob job_of(const LinearMap& map, T middle) const;
    // Integers of every value into s_.codes, from the first regular one's; false where they need more than 31 bits.
    bool to_codes(const LatticeJob& job);
    void lattice_of(const Choice& c);
    void lorenzo_of(const LinearMap& map, unsigned mask);
    void lorenzo_narrow(const LinearMap& map, unsigned mask, const LatticeJob& job);
    void lorenzo_wide(const LinearMap& map);
    void autoregressive(const LinearMap& map, const Autoregression& a);
    void autoregress_from(int64_t base, bool wide, const Autoregression& a);
    template <class Q>
    void autoregress(std::vector<Q>& codes, const Autoregression& a);
    template <class Q>
    void differences(unsigned mask, std::vector<Q>& codes);
    // The integers in s_.wide, in 64 or in 32 bits, from the first of them on, or from their middle.
    void wide_differences(unsigned mask, bool wide);
    int64_t wide_middle() const;
    template <class Encode>
    void with_codes(int64_t base, bool wide, Encode&& encode) {
        if (wide) {
            for (size_t i = 0; i < n_; ++i)
                s_.wide[i] = static_cast<int64_t>(static_cast<uint64_t>(s_.wide[i]) - static_cast<uint64_t>(base));
            return encode(s_.wide);
        }
        grow(s_.codes);
        for (size_t i = 0; i < n_; ++i) s_.codes[i] = static_cast<int32_t>(s_.wide[i] - base);
        encode(s_.codes);
    }

    // Bounds relative to each value, and no loss at all: signs apart, magnitudes through their bit patterns.
    void magnitudes();
    void magnitudes_head(const MagnitudeMap& map, size_t signs);
    // Bits a value of what was written from there on.
    double rate_since(size_t start) const;
    bool keeps_ratio(T x, T back) const;
    bool plain(const LinearMap& map) const { return map.origin == 0 && map.step == 2 * header_.bound; }
    void write_map(const LinearMap& map);
    void head(Mode mode, uint8_t flags);
    // Codes end a body: by static tables, or at level max by mixing where that is smaller.
    template <class Q>
    void write_codes(const std::vector<GridSpec>& grids, std::vector<Q>& codes);
    template <class Q>
    void write_symbols(const std::vector<GridSpec>& grids, std::vector<Q>& codes);
    // Level quick, in place of decoding all of the body: the codes' bytes and the exact set say what was meant. How the
    // values compare was seen as they were quantised.
    void check_symbols(size_t from, const std::vector<GridSpec>& grids);
    bool exact_set_is_meant();
    // Joins codes, of which the symbols say what they kept, with their low bits as written: they have to be whole again.
    template <class Q>
    bool low_bits_are_meant(View planes, std::vector<Q>& codes);
    T first_regular() const {
        for (size_t i = 0; i < n_; ++i)
            if (!s_.exact[i]) return in_[i];
        return T(0);
    }

    const T* in_;
    const Dims dims_;
    const size_t n_;
    const Header& header_;
    const EncodeOptions& options_;
    BlockScratch<T>& s_;
    Bytes& out_;
    Writer writer_;
    size_t flags_at_ = 0;  // in out_
    size_t head_ = 0;      // bytes of the last body up to its codes' own description
    size_t exact_count_ = 0;
    double rate_ = std::numeric_limits<double>::infinity();  // bits a value, estimated
    std::vector<T> avoid_;
    double relative_bound_ = 0;  // of magnitudes; 0: every bit
    std::vector<T> sample_;
    T low_ = 0, high_ = 0;  // what lies beyond them is exact
    bool mixing_ = true;    // at level max
    bool whole_ = true;     // the block, not a part of it to compare choices on: those are too few codes for symbols
    Autoregression weights_;
    Check checked_;
    bool was_checked_ = false;
};

}  // namespace sciflow
