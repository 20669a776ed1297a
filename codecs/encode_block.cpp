// The cheapest representation of a block at one bound.
#include <algorithm>
#include <limits>

#include "block.hpp"
#include "choose.hpp"
#include "encode_body.hpp"
#include "entropy/low_bits.hpp"
#include "exact.hpp"
#include "pack/pack.hpp"
#include "predict/autoregress.hpp"
#include "sample.hpp"
#include "values.hpp"

namespace sciflow {

namespace {

constexpr int64_t NARROW = int64_t{1} << 30;
constexpr size_t FEW_VALUES = 16;
constexpr size_t MANY_HOLES = 8;      // one value in so many: then weights are tried at level max alone
constexpr double NOTABLE_RUNS = 0.1;  // of a block's bits: then they are looked at twice

template <class T>
constexpr int64_t largest_lattice() {
    return sizeof(T) == 4 ? int64_t{1} << 22 : int64_t{1} << 27;
}

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

    void run() {
        find_sentinels_to_avoid();
        if (is_constant(in_, n_)) {
            writer_.u8(static_cast<uint8_t>(Mode::constant));
            writer_.raw(settled(in_[0]));
            return;
        }
        grow(s_.exact);
        const std::vector<T>& sample = sample_ = draw_sample(in_, n_, options_.preserve);
        const bool free = !options_.lattice_only || options_.bound == 0;
        const bool relative = header_.pointwise() || (free && below_spacing(sample, options_.bound));
        const bool wide = !relative && !options_.lattice_only && spans_too_much(sample, options_.bound);
        const size_t start = out_.size();
        if (options_.level == 0 && !relative && packed(sample)) return raw_where_shorter(start);
        const Interval r = relative                        ? Interval{-INFINITY, INFINITY}
                           : options_.lattice_only || wide ? everywhere()
                                                           : reach(sample, 2 * options_.bound);
        mark(relative ? std::numeric_limits<T>::lowest() : static_cast<T>(r.low),
             relative ? std::numeric_limits<T>::max() : static_cast<T>(r.high));
        if (exact_count_ == n_) lorenzo_of(LinearMap{0, 1}, 0);
        else if (relative) magnitudes();
        else if (wide) wider_than_codes({0, 2 * options_.bound});
        else bounded(sample);
        raw_where_shorter(start);
    }

    // How the block compares with what went in, where that was found on the way.
    const Check* checked() const { return was_checked_ ? &checked_ : nullptr; }

  private:
    template <class V>
    void grow(V& v) const {
        if (v.size() < n_ + 64) v.resize(n_ + 64);
    }

    void raw_where_shorter(size_t start) {
        if (out_.size() - start <= n_ * sizeof(T)) return;
        out_.resize(start);
        was_checked_ = false;
        writer_.u8(static_cast<uint8_t>(Mode::raw));
        for (size_t i = 0; i < n_; ++i) writer_.raw(settled(in_[i]));
    }

    // The fast level: one pass of differences in groups of fixed width. False where its codes do not reach.
    bool packed(const std::vector<T>& drawn) {
        const size_t start = out_.size();
        const std::vector<T> sample = within_reach(drawn, reach(drawn, 2 * options_.bound));
        if (sample.empty()) return false;
        for (const LinearMap& map : options_.lattice_only ? std::vector<LinearMap>{{0, 2 * options_.bound}}
                                                          : packed_maps(sample, n_, options_.bound)) {
            const LatticeJob job = job_of(map, sample[sample.size() / 2]);
            if (options_.lattice_only && std::fabs(job.base) > 0x1p49) return false;
            const PackInput<T> input{in_, dims_, job, header_, options_, avoid_};
            const Orders orders = choose_orders(input, s_.pack);
            if (pack_values(input, orders, s_, checked_) == Packed::unfit) continue;
            exact_count_ = s_.pack.missed.size();
            if (exact_count_ > 0) std::fill_n(s_.exact.begin(), n_, uint8_t{0});
            for (uint32_t i : s_.pack.missed) s_.exact[i] = 1;
            head(Mode::packed, plain(map) ? PLAIN_STEP : 0);
            write_map(map);
            writer_.zigzag(static_cast<int64_t>(job.base));
            append_packed(orders, s_.pack, s_.entropy, out_);
            was_checked_ = true;
            if (options_.verify)
                checked_.holds &= packed_as_meant(View(out_).subspan(start), dims_, header_, job, orders, s_, in_);
            return true;
        }
        return false;
    }

    // Fill values that a neighbour within the bound could be mistaken for: nothing else may come back as one of them.
    void find_sentinels_to_avoid() {
        for (uint64_t pattern : options_.preserve) {
            const T sentinel = std::bit_cast<T>(static_cast<BitsOf<T>>(pattern));
            if (!std::isfinite(sentinel)) continue;
            const double s = static_cast<double>(sentinel);
            const double near =
                1.001 * (header_.pointwise() ? options_.bound * std::fabs(s) / (1 - options_.bound) : options_.bound);
            for (size_t i = 0; i < n_; ++i)
                if (in_[i] != sentinel && std::fabs(static_cast<double>(in_[i]) - s) <= near) {
                    avoid_.push_back(sentinel);
                    break;
                }
        }
    }

    bool avoided(T back) const { return std::find(avoid_.begin(), avoid_.end(), back) != avoid_.end(); }

    // What a value becomes whatever it is stored beside. Rewrite-safe streams promise that decoding and encoding again
    // changes nothing, so even a block that is stored raw holds lattice values.
    T settled(T x) const {
        if (!options_.lattice_only || header_.pointwise() || options_.bound == 0) return x;
        uint8_t exact = 0;
        const Interval r = everywhere();
        const Scan<T>& scan = sciflow::scan<T>(kernels());
        scan.mark_exact(&x, 1, static_cast<T>(r.low), static_cast<T>(r.high), &exact);
        for (uint64_t pattern : options_.preserve) scan.mark_pattern(&x, 1, pattern, &exact);
        const LinearMap map{0, 2 * options_.bound};
        int64_t q = 0;
        return !exact && map.forward(x, q) && keeps(map, x, q) ? map.inverse<T>(q) : x;
    }

    // Where 64-bit codes reach, of whatever block.
    Interval everywhere() const {
        const double most = std::min(static_cast<double>(huge<T>()), 2 * options_.bound * 0x1p50);
        return {-most, most};
    }

    void mark(T low, T high) {
        const Scan<T>& scan = sciflow::scan<T>(kernels());
        exact_count_ = scan.mark_exact(in_, n_, low, high, s_.exact.data());
        for (uint64_t pattern : options_.preserve) exact_count_ += scan.mark_pattern(in_, n_, pattern, s_.exact.data());
    }

    void bounded(const std::vector<T>& sample) {
        const T* values = with_holes();
        std::vector<Choice> choices = choose(values, dims_, sample, options_, s_);
        if (options_.level >= 3) reconsider(choices, sample);
        const size_t start = out_.size(), marked = keep_marks();
        rate_ = choices[0].rate;
        code(values, choices[0]);
        for (size_t k = 1; k < choices.size(); ++k) rival(start, marked, [&] { code(values, choices[k]); });
        try_weights(values, choices[0].map, start, marked);
    }

    void wider_than_codes(const LinearMap& map) {
        const T* values = with_holes();
        const size_t start = out_.size(), marked = keep_marks();
        lorenzo_wide(map);
        try_weights(values, map, start, marked);
    }

    void try_weights(const T* values, const LinearMap& map, size_t start, size_t marked) {
        if (options_.level < 2 || (options_.level == 2 && marked * MANY_HOLES > n_)) return;
        const Autoregression a =
            likely_autoregression(values, dims_, map, rate_since(start + head_), options_.level >= 3);
        if (!a.weight.empty()) rival(start, marked, [&] { autoregressive(map, a); });
    }

    size_t keep_marks() {
        if (exact_count_ > 0) s_.marked.assign(s_.exact.begin(), s_.exact.end());
        return exact_count_;
    }

    // Codes in another way, from the same marks, and keeps what is smaller.
    template <class Encode>
    void rival(size_t start, size_t marked, Encode&& encode) {
        const Bytes best(out_.begin() + static_cast<ptrdiff_t>(start), out_.end());
        out_.resize(start);
        exact_count_ = marked;
        if (marked > 0) std::copy(s_.marked.begin(), s_.marked.end(), s_.exact.begin());
        else std::fill_n(s_.exact.data(), n_, uint8_t{0});
        encode();
        if (out_.size() - start <= best.size()) return;
        out_.resize(start);
        writer_.bytes(best);
    }

    // What pays to mix as well: the more bits there are, the nearer a rival's price must be; and few values as they are.
    void reconsider(std::vector<Choice>& choices, const std::vector<T>& sample) const {
        const double rate = choices[0].rate;
        const double most = (rate < 3 ? 1.3 : rate < 6 ? 1.1 : 1.05) * choices[0].price;
        std::erase_if(choices, [&](const Choice& c) { return c.price > most; });
        const LinearMap map = map_of_few(sample);
        if (map.step > 0 && !options_.lattice_only) choices.push_back({Mode::lorenzo, 0, map, 0, 0, rate, 0});
    }

    // A map onto whose integers a sample of few distinct values falls; its step is 0 where there is none.
    LinearMap map_of_few(std::vector<T> sample) const {
        std::sort(sample.begin(), sample.end());
        sample.erase(std::unique(sample.begin(), sample.end()), sample.end());
        LinearMap map{0, 0};
        if (sample.size() < 2 || sample.size() > FEW_VALUES) return map;
        map.origin = static_cast<double>(sample[0]);
        double least = std::numeric_limits<double>::infinity();
        for (size_t i = 1; i < sample.size(); ++i)
            least = std::min(least, static_cast<double>(sample[i]) - static_cast<double>(sample[i - 1]));
        map.step = std::max(least, 2 * options_.bound);
        for (T v : sample) {
            int64_t q = 0;
            if (!map.forward(v, q) || !keeps(map, v, q)) return {0, 0};
        }
        return map;
    }

    void code(const T* values, const Choice& c) {
        if (c.mode == Mode::multilevel) multilevel_of(values, c);
        else if (c.mode == Mode::lattice) lattice_of(c);
        else if (c.mode == Mode::raster) raster_of(c);
        else lorenzo_of(c.map, c.mask);
    }

    const T* with_holes() {
        if (exact_count_ == 0) return in_;
        grow(s_.check);
        for (size_t i = 0; i < n_; ++i) s_.check[i] = s_.exact[i] ? std::numeric_limits<T>::quiet_NaN() : in_[i];
        return s_.check.data();
    }

    void multilevel_of(const T* values, const Choice& c) {
        grow(s_.codes);
        MultilevelPlan plan;
        plan.mask = c.mask;
        plan.step = c.step;
        plan.start = static_cast<double>(first_regular());
        plan.refinement = c.refinement;
        if (options_.level <= 1) plan.most_fitted = 1;
        s_.failed.clear();
        multilevel_encode(values, dims_, {options_.bound, avoid_}, plan, s_.codes.data(), s_.failed, s_.multilevel);
        for (uint32_t i : s_.failed) s_.exact[i] = 1;
        exact_count_ += s_.failed.size();
        head(Mode::multilevel, 0);
        write_plan(dims_, plan, out_);
        write_codes(multilevel_grids(dims_, plan.mask), s_.codes);
    }

    void raster_of(const Choice& c) {
        grow(s_.codes);
        const RasterPlan<T> plan = plan_raster(in_, s_.exact.data(), n_, c.step);
        exact_count_ +=
            raster_encode(in_, dims_, {options_.bound, avoid_}, plan, s_.exact.data(), s_.codes.data(), s_.raster);
        head(Mode::raster, 0);
        write_raster_plan(plan, out_);
        GridSpec grid;
        grid.dims = dims_;
        write_codes({grid}, s_.codes);
    }

    // Integers of every value into s_.wide; where one misses the bound, the value is exact. Holes repeat the last.
    void to_integers(const LinearMap& map) {
        grow(s_.wide);
        int64_t held = 0;
        for (size_t i = 0; i < n_; ++i)
            if (!s_.exact[i] && map.forward(in_[i], held)) break;
        for (size_t i = 0; i < n_; ++i) {
            int64_t q = held;
            if (!s_.exact[i] && !(map.forward(in_[i], q) && keeps(map, in_[i], q))) {
                s_.exact[i] = 1;
                ++exact_count_;
                q = held;
            }
            s_.wide[i] = held = q;
        }
    }

    bool keeps(const LinearMap& map, T x, int64_t q) const {
        const T back = map.inverse<T>(q);
        if (!within(static_cast<double>(x), static_cast<double>(back), options_.bound) || avoided(back)) return false;
        int64_t again = 0;
        return !options_.lattice_only || (map.forward(back, again) && again == q);
    }

    // |x - y|, rounded up.
    static double error(T x, T y) {
        const double d = std::fabs(static_cast<double>(x) - static_cast<double>(y));
        return std::nextafter(d, std::numeric_limits<double>::infinity());
    }

    // Largest distance from the first integer.
    int64_t span() const {
        int64_t least = s_.wide[0], most = s_.wide[0];
        for (size_t i = 0; i < n_; ++i) {
            least = std::min(least, s_.wide[i]);
            most = std::max(most, s_.wide[i]);
        }
        return std::max(most - s_.wide[0], s_.wide[0] - least);
    }

    LatticeJob job_of(const LinearMap& map) const { return job_of(map, first_regular()); }

    LatticeJob job_of(const LinearMap& map, T middle) const {
        LatticeJob job;
        job.origin = map.origin;
        job.step = map.step;
        job.inverse = 1 / map.step;
        int64_t q = 0;
        map.forward(middle, q);
        job.base = static_cast<double>(q);
        job.bound = options_.bound;
        job.fixed_point = options_.lattice_only;
        return job;
    }

    // Integers of every value into s_.codes, from the first regular one's; false where they need more than 31 bits.
    bool to_codes(const LatticeJob& job) {
        grow(s_.codes);
        if (exact_count_ > 0) grow(s_.was_exact);
        if (exact_count_ > 0) std::copy_n(s_.exact.data(), n_, s_.was_exact.data());
        const size_t far = quantize<T>(kernels()).to_lattice(in_, n_, job, s_.codes.data(), s_.exact.data());
        if (far > 0) {
            if (exact_count_ > 0) std::copy_n(s_.was_exact.data(), n_, s_.exact.data());
            else std::fill_n(s_.exact.data(), n_, uint8_t{0});
            return false;
        }
        for (size_t i = 0; i < n_ && !avoid_.empty(); ++i)
            if (avoided(static_cast<T>(job.origin + (job.base + s_.codes[i]) * job.step))) s_.exact[i] = 1;
        exact_count_ = 0;
        each_marked(s_.exact.data(), n_, [&](size_t i) {
            if (i > 0) s_.codes[i] = s_.codes[i - 1];  // a hole repeats its neighbour
            ++exact_count_;
        });
        return true;
    }

    void lattice_of(const Choice& c) {
        const LatticeJob job = job_of(c.map);
        if (!to_codes(job)) return lorenzo_wide(c.map);
        const auto [least, most] = std::minmax_element(s_.codes.begin(), s_.codes.begin() + static_cast<ptrdiff_t>(n_));
        if (std::max<int64_t>(-int64_t{*least}, *most) >= largest_lattice<T>())
            return lorenzo_narrow(c.map, choose_lorenzo(s_.codes.data(), dims_, s_.entropy), job);
        grow(s_.work);
        for (size_t i = 0; i < n_; ++i) s_.work[i] = static_cast<T>(s_.codes[i]);
        each_marked(s_.exact.data(), n_, [&](size_t i) { s_.work[i] = std::numeric_limits<T>::quiet_NaN(); });
        MultilevelPlan plan;
        plan.mask = c.mask;
        plan.lattice = true;
        s_.failed.clear();
        multilevel_encode(s_.work.data(), dims_, {0.5, {}}, plan, s_.codes.data(), s_.failed, s_.multilevel);
        if (!s_.failed.empty()) {
            to_codes(job);
            return lorenzo_narrow(c.map, choose_lorenzo(s_.codes.data(), dims_, s_.entropy), job);
        }
        head(Mode::lattice, plain(c.map) ? PLAIN_STEP : 0);
        write_map(c.map);
        writer_.zigzag(static_cast<int64_t>(job.base));
        write_plan(dims_, plan, out_);
        write_codes(multilevel_grids(dims_, plan.mask), s_.codes);
    }

    void lorenzo_of(const LinearMap& map, unsigned mask) {
        LatticeJob job = job_of(map);
        if (int64_t q = 0; mask == 0 && map.forward(middle_of(sample_, map.step), q)) job.base = static_cast<double>(q);
        if (to_codes(job)) lorenzo_narrow(map, mask, job);
        else lorenzo_wide(map);
    }

    void lorenzo_narrow(const LinearMap& map, unsigned mask, const LatticeJob& job) {
        head(Mode::lorenzo, plain(map) ? PLAIN_STEP : 0);
        write_map(map);
        writer_.zigzag(static_cast<int64_t>(job.base));
        differences(mask, s_.codes);
    }

    void lorenzo_wide(const LinearMap& map) {
        to_integers(map);
        const unsigned mask = choose_lorenzo(s_.wide.data(), dims_, s_.entropy);
        head(Mode::lorenzo, static_cast<uint8_t>(WIDE | (plain(map) ? PLAIN_STEP : 0)));
        write_map(map);
        wide_differences(mask, true);
    }

    void autoregressive(const LinearMap& map, const Autoregression& a) {
        LatticeJob job = job_of(map);
        job.base = a.mean;
        const bool narrow = to_codes(job);
        if (!narrow) to_integers(map);
        head(Mode::lorenzo, static_cast<uint8_t>((narrow ? 0 : WIDE) | (plain(map) ? PLAIN_STEP : 0)));
        write_map(map);
        if (!narrow) return autoregress_from(static_cast<int64_t>(a.mean), true, a);
        writer_.zigzag(static_cast<int64_t>(a.mean));
        autoregress(s_.codes, a);
    }

    void autoregress_from(int64_t base, bool wide, const Autoregression& a) {
        writer_.zigzag(base);
        with_codes(base, wide, [&](auto& codes) { autoregress(codes, a); });
    }

    template <class Q>
    void autoregress(std::vector<Q>& codes, const Autoregression& a) {
        writer_.u8(AUTOREGRESSIVE);
        write_autoregression(a, out_);
        GridSpec grid;
        grid.dims = dims_;
        autoregress_forward(codes.data(), dims_, a);
        write_codes({grid}, codes);
    }

    template <class Q>
    void differences(unsigned mask, std::vector<Q>& codes) {
        writer_.u8(static_cast<uint8_t>(mask));
        GridSpec grid;
        grid.dims = dims_;
        lorenzo<Q>(kernels()).forward(codes.data(), dims_, mask);
        write_codes({grid}, codes);
    }

    // The integers in s_.wide, in 64 or in 32 bits, from the first of them on, or from their middle.
    void wide_differences(unsigned mask, bool wide) {
        const int64_t base = mask == 0 ? wide_middle() : s_.wide[0];
        writer_.zigzag(base);
        with_codes(base, wide, [&](auto& codes) { differences(mask, codes); });
    }

    int64_t wide_middle() const {
        std::vector<int64_t> some;
        for (size_t i = 0; i < n_; i += n_ / SAMPLE + 1) some.push_back(s_.wide[i]);
        return middle_of(some, 1);
    }

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
    void magnitudes() {
        relative_bound_ = header_.pointwise() ? options_.bound : 0;
        const MagnitudeMap map = MagnitudeMap::for_relative<T>(relative_bound_);
        grow(s_.sign);
        grow(s_.wide);
        int64_t held = 0;
        size_t signs = 0;
        for (size_t i = 0; i < n_; ++i) {
            const bool negative = std::signbit(in_[i]) && !s_.exact[i];
            s_.sign[i] = negative;
            int64_t q = held;
            if (!s_.exact[i]) {
                q = map.forward(in_[i]);
                if (!keeps_ratio(in_[i], map.template inverse<T>(q, negative))) {
                    s_.exact[i] = 1;
                    ++exact_count_;
                    s_.sign[i] = 0;
                    q = held;
                }
            }
            signs += s_.sign[i];
            s_.wide[i] = held = q;
        }
        const std::vector<int64_t> kept(s_.wide.begin(), s_.wide.begin() + static_cast<ptrdiff_t>(n_));
        const unsigned mask = choose_lorenzo(s_.wide.data(), dims_, s_.entropy);
        const size_t start = out_.size();
        magnitudes_head(map, signs);
        wide_differences(mask, span() >= NARROW);
        if (options_.level < 2) return;
        const LinearMap identity{static_cast<double>(kept[0]), 1};
        Autoregression a = likely_autoregression(kept.data(), dims_, identity, rate_since(start), options_.level >= 3);
        if (a.weight.empty()) return;
        a.mean += identity.origin;
        const Bytes differenced(out_.begin() + static_cast<ptrdiff_t>(start), out_.end());
        out_.resize(start);
        std::copy(kept.begin(), kept.end(), s_.wide.begin());
        magnitudes_head(map, signs);
        autoregress_from(static_cast<int64_t>(a.mean), span() >= NARROW, a);
        if (out_.size() - start <= differenced.size()) return;
        out_.resize(start);
        writer_.bytes(differenced);
    }

    void magnitudes_head(const MagnitudeMap& map, size_t signs) {
        const uint8_t wide = span() >= NARROW ? uint8_t{WIDE} : uint8_t{0};
        head(Mode::lorenzo, static_cast<uint8_t>(MAGNITUDES | wide | (signs ? HAS_SIGNS : 0)));
        if (signs) write_mask(s_.sign.data(), signs, dims_, s_.entropy, out_);
        writer_.varint(map.stride);
    }

    // Bits a value of what was written from there on.
    double rate_since(size_t start) const {
        return 8 * static_cast<double>(out_.size() - start) / static_cast<double>(n_);
    }

    bool keeps_ratio(T x, T back) const {
        if (std::bit_cast<BitsOf<T>>(x) == std::bit_cast<BitsOf<T>>(back)) return true;
        return std::isfinite(back) && !avoided(back) &&
               error(x, back) <= relative_bound_ * std::fabs(static_cast<double>(x)) * (1 - 0x1p-50);
    }

    bool plain(const LinearMap& map) const { return map.origin == 0 && map.step == 2 * header_.bound; }

    void write_map(const LinearMap& map) {
        if (plain(map)) return;
        writer_.raw(map.origin);
        writer_.raw(map.step);
    }

    void head(Mode mode, uint8_t flags) {
        writer_.u8(static_cast<uint8_t>(mode));
        flags_at_ = out_.size();
        writer_.u8(static_cast<uint8_t>(flags | (exact_count_ ? HAS_EXACT : 0)));
        head_ = 2;
        if (exact_count_ == 0) return;
        std::vector<BitsOf<T>> bits;
        bits.reserve(exact_count_);
        each_marked(s_.exact.data(), n_, [&](size_t i) { bits.push_back(std::bit_cast<BitsOf<T>>(in_[i])); });
        const size_t from = out_.size();
        write_mask(s_.exact.data(), exact_count_, dims_, s_.entropy, out_);
        write_exact(bits, s_.entropy, out_);
        head_ += out_.size() - from;
        if (n_ < MIXING_FROM || !worth_an_image(out_.size() - from)) return;
        Bytes image;
        write_exact_image(s_.exact.data(), bits, dims_, s_.mixing, image);
        if (image.size() >= out_.size() - from) return;
        out_.resize(from);
        writer_.bytes(image);
    }

    // Whether to look for something smaller than runs: at level max always, below it where they are much of the block.
    bool worth_an_image(size_t runs) const {
        if (options_.level != 2) return options_.level >= 3;
        return 8 * static_cast<double>(runs) > NOTABLE_RUNS * rate_ * static_cast<double>(n_);
    }

    // Codes end a body: by static tables, or at level max by mixing where that is smaller.
    template <class Q>
    void write_codes(const std::vector<GridSpec>& grids, std::vector<Q>& codes) {
        if (options_.level < 3 || n_ < MIXING_FROM) return write_symbols(grids, codes);
        Bytes mixed;
        mix_grids<Q>(grids, codes.data(), s_.mixing, mixed);
        const size_t from = out_.size();
        const uint8_t flags = out_[flags_at_];
        write_symbols(grids, codes);
        if (mixed.size() >= out_.size() - from) return;
        out_.resize(from);
        out_[flags_at_] = flags | MIXED;
        writer_.bytes(mixed);
    }

    template <class Q>
    void write_symbols(const std::vector<GridSpec>& grids, std::vector<Q>& codes) {
        if (const unsigned low = count_low_bits(codes.data(), n_); low > 0) {
            out_[flags_at_] |= LOW_BITS;
            write_low_bits(codes.data(), n_, low, out_);
        }
        encode_grids<Q>(grids, codes.data(), s_.entropy, out_);
    }

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
    Check checked_;
    bool was_checked_ = false;
};

}  // namespace

template <class T>
bool encode_body(const T* in, const Dims& dims, const Header& header, const EncodeOptions& options,
                 BlockScratch<T>& scratch, Bytes& out, Check& found) {
    Encoder<T> encoder(in, dims, header, options, scratch, out);
    encoder.run();
    if (encoder.checked() == nullptr) return false;
    found = *encoder.checked();
    return true;
}

template bool encode_body<float>(const float*, const Dims&, const Header&, const EncodeOptions&, BlockScratch<float>&,
                                 Bytes&, Check&);
template bool encode_body<double>(const double*, const Dims&, const Header&, const EncodeOptions&,
                                  BlockScratch<double>&, Bytes&, Check&);

}  // namespace sciflow
