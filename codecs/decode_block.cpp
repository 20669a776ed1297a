// A block's bytes to its values. Everything read here may be hostile.
#include "block.hpp"
#include "described.hpp"
#include "entropy/low_bits.hpp"
#include "exact.hpp"
#include "pack/unpack.hpp"
#include "predict/autoregress.hpp"
#include "refine.hpp"
#include "values.hpp"

namespace sciflow {

namespace {

// What a packed block's bytes should say.
template <class T>
struct Meant {
    const LatticeJob& job;
    const Orders& orders;
    const PackScratch& packed;
    const T* in;
};

template <class T>
class Decoder {
  public:
    Decoder(View in, const Dims& dims, const Header& header, BlockScratch<T>& scratch, T* out,
            const Meant<T>* meant = nullptr)
        : in_(in), dims_(dims), n_(dims.size()), header_(header), s_(scratch), out_(out), meant_(meant) {}

    Status run() {
        uint8_t mode = 0;
        if (!in_.u8(mode)) return Status::truncated;
        switch (static_cast<Mode>(mode)) {
            case Mode::raw: return raw();
            case Mode::constant: return constant();
            case Mode::multilevel: return predicted(Mode::multilevel);
            case Mode::lattice: return predicted(Mode::lattice);
            case Mode::lorenzo: return predicted(Mode::lorenzo);
            case Mode::described: return described();
            case Mode::raster: return predicted(Mode::raster);
            case Mode::thinned: return predicted(Mode::thinned);
            case Mode::packed: return predicted(Mode::packed);
            case Mode::learned: return header_.stencils ? predicted(Mode::learned) : Status::corrupt;
        }
        return Status::corrupt;
    }

  private:
    template <class V>
    void grow(std::vector<V>& v) const {
        if (v.size() < n_ + 64) v.resize(n_ + 64);
    }

    Status raw() {
        View v;
        if (!in_.bytes(n_ * sizeof(T), v)) return Status::truncated;
        std::memcpy(out_, v.data(), v.size());
        return end();
    }

    Status constant() {
        T value;
        if (!in_.raw(value)) return Status::truncated;
        std::fill(out_, out_ + n_, value);
        return end();
    }

    Status predicted(Mode mode) {
        uint8_t flags = 0;
        if (!in_.u8(flags)) return Status::truncated;
        constexpr uint8_t of_lorenzo = HAS_SIGNS | WIDE | MAGNITUDES;
        if (flags & ~(HAS_EXACT | PLAIN_STEP | MIXED | REFINED | LOW_BITS | of_lorenzo)) return Status::corrupt;
        if (mode != Mode::lorenzo && (flags & of_lorenzo)) return Status::corrupt;
        if (mode == Mode::packed && (flags & (LOW_BITS | MIXED))) return Status::corrupt;
        if (Status s = read_exact_set(flags); s != Status::ok) return s;
        Status s = mode == Mode::multilevel ? multilevel(flags)
                   : mode == Mode::learned  ? learned(flags)
                   : mode == Mode::lattice  ? lattice(flags)
                   : mode == Mode::raster   ? raster_scan(flags, true)
                   : mode == Mode::thinned  ? raster_scan(flags, false)
                   : mode == Mode::packed   ? packed_block(flags)
                                            : lorenzo_block(flags);
        if (s == Status::ok && (flags & REFINED))
            s = read_refinement(in_, dims_, (flags & HAS_EXACT) ? s_.exact.data() : nullptr, s_, out_);
        if (s != Status::ok) return s;
        size_t k = 0;
        if ((flags & HAS_EXACT) && mode != Mode::packed)
            each_marked(s_.exact.data(), n_, [&](size_t i) { out_[i] = std::bit_cast<T>(exact_[k++]); });
        return end();
    }

    Status read_exact_set(uint8_t flags) {
        if (!(flags & HAS_EXACT)) return Status::ok;
        grow(s_.exact);
        return sciflow::read_exact_set(in_, dims_, s_.entropy, s_.mixing, s_.exact.data(), exact_);
    }

    template <class Q>
    Status read_codes(uint8_t flags, const std::vector<GridSpec>& grids, std::vector<Q>& codes) {
        grow(codes);
        LowBits low;
        if (flags & LOW_BITS)
            if (Status s = read_low_bits<Q>(in_, n_, low); s != Status::ok) return s;
        const Status s = (flags & MIXED) ? unmix_grids<Q>(in_, grids, codes.data(), s_.mixing)
                                         : decode_grids<Q>(in_, grids, codes.data(), s_.entropy);
        if (s != Status::ok) return s;
        join_low_bits(low, n_, codes.data());
        return Status::ok;
    }

    Status learned(uint8_t flags) {
        MultilevelPlan plan;
        plan.stencils = header_.stencils;
        uint8_t set = 0;
        if (!in_.u8(set)) return Status::truncated;
        if (set >= plan.stencils->sets) return Status::corrupt;
        plan.set = set;
        return multilevel(flags, plan);
    }

    Status multilevel(uint8_t flags) {
        MultilevelPlan plan;
        return multilevel(flags, plan);
    }

    Status multilevel(uint8_t flags, MultilevelPlan& plan) {
        if (Status s = read_plan(in_, dims_, plan); s != Status::ok) return s;
        if (plan.stencils && (plan.fitted > 0 || plan.mask != plan.stencils->mask)) return Status::corrupt;
        if (Status s = read_codes(flags, multilevel_grids(dims_, plan.mask), s_.codes); s != Status::ok) return s;
        multilevel_decode(s_.codes.data(), dims_, plan, out_, s_.multilevel);
        return Status::ok;
    }

    Status raster_scan(uint8_t flags, bool dense) {
        RasterPlan<T> plan;
        if (Status s = read_raster_plan(in_, dense, plan); s != Status::ok) return s;
        GridSpec grid;
        grid.dims = dims_;
        if (Status s = read_codes(flags, {grid}, s_.codes); s != Status::ok) return s;
        raster_decode(s_.codes.data(), (flags & HAS_EXACT) ? s_.exact.data() : nullptr, dims_, plan, out_, s_.raster);
        return Status::ok;
    }

    Status read_map(uint8_t flags, LinearMap& map) {
        map = {0, 2 * header_.bound};
        if (!(flags & PLAIN_STEP) && (!in_.raw(map.origin) || !in_.raw(map.step))) return Status::truncated;
        return map.valid() ? Status::ok : Status::corrupt;
    }

    Status lattice(uint8_t flags) {
        LinearMap map;
        int64_t base = 0;
        MultilevelPlan plan;
        plan.lattice = true;
        if (Status s = read_map(flags, map); s != Status::ok) return s;
        if (!in_.zigzag(base)) return Status::truncated;
        if (base < -MAX_BASE || base > MAX_BASE) return Status::corrupt;
        if (Status s = read_plan(in_, dims_, plan); s != Status::ok) return s;
        if (Status s = read_codes(flags, multilevel_grids(dims_, plan.mask), s_.codes); s != Status::ok) return s;
        multilevel_decode(s_.codes.data(), dims_, plan, out_, s_.multilevel);
        for (size_t i = 0; i < n_; ++i) {
            const double q = static_cast<double>(out_[i]) + static_cast<double>(base);
            out_[i] = static_cast<T>(map.origin + q * map.step);
        }
        return Status::ok;
    }

    template <class Q>
    Status differences(uint8_t flags, std::vector<Q>& q, unsigned mask, const Autoregression& a) {
        GridSpec grid;
        grid.dims = dims_;
        if (Status s = read_codes(flags, {grid}, q); s != Status::ok) return s;
        if (!a.weight.empty()) autoregress_inverse(q.data(), dims_, a);
        lorenzo<Q>(kernels()).inverse(q.data(), dims_, mask);
        return Status::ok;
    }

    Status read_signs(uint8_t flags) {
        if (!(flags & HAS_SIGNS)) return Status::ok;
        grow(s_.sign);
        return read_mask(in_, dims_, s_.entropy, &s_.mixing, s_.sign.data());
    }

    static int64_t plus(int64_t a, int64_t b) {
        return static_cast<int64_t>(static_cast<uint64_t>(a) + static_cast<uint64_t>(b));
    }

    Status lorenzo_block(uint8_t flags) {
        LinearMap map;
        MagnitudeMap magnitudes;
        if (Status s = read_signs(flags); s != Status::ok) return s;
        if (flags & MAGNITUDES) {
            if (!in_.varint(magnitudes.stride)) return Status::truncated;
        } else if (Status s = read_map(flags, map); s != Status::ok) {
            return s;
        }
        int64_t base = 0;
        uint8_t mask = 0;
        if (!in_.zigzag(base) || !in_.u8(mask)) return Status::truncated;
        if (!(flags & MAGNITUDES) && (base < -MAX_BASE || base > MAX_BASE)) return Status::corrupt;
        if (mask > (15 | AUTOREGRESSIVE)) return Status::corrupt;
        Autoregression a;
        if (mask & AUTOREGRESSIVE)
            if (Status s = read_autoregression(in_, a); s != Status::ok) return s;
        const Status s =
            (flags & WIDE) ? differences(flags, s_.wide, mask & 15, a) : differences(flags, s_.codes, mask & 15, a);
        if (s != Status::ok) return s;
        const auto integer = [&](size_t i) { return plus((flags & WIDE) ? s_.wide[i] : int64_t{s_.codes[i]}, base); };
        if (flags & MAGNITUDES) {
            for (size_t i = 0; i < n_; ++i)
                out_[i] = magnitudes.inverse<T>(integer(i), (flags & HAS_SIGNS) && s_.sign[i]);
        } else if (flags & WIDE) {
            for (size_t i = 0; i < n_; ++i) out_[i] = map.inverse<T>(integer(i));
        } else {
            LatticeJob job;
            job.origin = map.origin;
            job.step = map.step;
            job.base = static_cast<double>(base);
            quantize<T>(kernels()).from_lattice(s_.codes.data(), n_, job, out_);
        }
        return Status::ok;
    }

    // The integers come first, by any other mode; the mask of what is exact waits for them outside of their scratch.
    Status described() {
        uint8_t flags = 0;
        DescribedMap<T> map;
        View body;
        if (!in_.u8(flags)) return Status::truncated;
        const bool wider = flags & DOUBLE_INTEGERS;
        if ((flags & ~(HAS_EXACT | DOUBLE_INTEGERS)) || (wider && sizeof(T) == 8)) return Status::corrupt;
        if (Status s = read_exact_set(flags); s != Status::ok) return s;
        s_.outer_exact.swap(s_.exact);
        if (Status s = read_described(in_, dims_, s_.entropy, map); s != Status::ok) return s;
        if (!in_.bytes(in_.left(), body)) return Status::truncated;
        if (!body.empty() && body[0] == static_cast<uint8_t>(Mode::described)) return Status::corrupt;
        if (Status s = wider ? wide_integers(body, map) : integers(body, map); s != Status::ok) return s;
        size_t k = 0;
        if (flags & HAS_EXACT)
            each_marked(s_.outer_exact.data(), n_, [&](size_t i) { out_[i] = std::bit_cast<T>(exact_[k++]); });
        return Status::ok;
    }

    Status integers(View body, const DescribedMap<T>& map) {
        if (Status s = decode_block(body, dims_, header_of_integers(header_), s_, out_); s != Status::ok) return s;
        map.values(out_, n_, out_);
        return Status::ok;
    }

    Status wide_integers(View body, const DescribedMap<T>& map) {
        if (!s_.wider) s_.wider = std::make_unique<BlockScratch<double>>();
        auto& q = s_.wider->check;
        if (q.size() < n_) q.resize(n_);
        if (Status s = decode_block(body, dims_, header_of_integers(header_), *s_.wider, q.data()); s != Status::ok)
            return s;
        map.values(q.data(), n_, out_);
        return Status::ok;
    }

    Status packed_block(uint8_t flags) {
        LinearMap map;
        int64_t base = 0;
        if (Status s = read_map(flags, map); s != Status::ok) return s;
        if (!in_.zigzag(base)) return Status::truncated;
        if (base < -MAX_BASE || base > MAX_BASE) return Status::corrupt;
        Unpacker unpacker(dims_, s_.unpack);
        if (Status s = unpacker.open(in_, s_.entropy); s != Status::ok) return s;
        LatticeJob job;
        job.origin = map.origin;
        job.step = map.step;
        job.base = static_cast<double>(base);
        if (meant_) return as_meant(unpacker, job, flags) ? Status::ok : Status::bound_violated;
        const int32_t* codes = nullptr;
        size_t at = 0, k = 0;
        while (const size_t n = unpacker.next(codes)) {
            quantize<T>(kernels()).from_lattice(codes, n, job, out_ + at);
            if (flags & HAS_EXACT)
                each_marked(s_.exact.data() + at, n, [&](size_t i) { out_[at + i] = std::bit_cast<T>(exact_[k++]); });
            at += n;
        }
        return Status::ok;
    }

    bool as_meant(const Unpacker& unpacker, const LatticeJob& job, uint8_t flags) const {
        const std::vector<uint32_t>& missed = meant_->packed.missed;
        const LatticeJob& j = meant_->job;
        bool same = job.origin == j.origin && job.step == j.step && job.base == j.base &&
                    ((flags & HAS_EXACT) != 0) == !missed.empty() && exact_.size() == missed.size() &&
                    unpacker.same_as(meant_->orders, meant_->packed);
        for (size_t k = 0; k < missed.size() && same; ++k)
            same = s_.exact[missed[k]] && exact_[k] == std::bit_cast<BitsOf<T>>(meant_->in[missed[k]]);
        return same;
    }

    Status end() const { return in_.left() == 0 ? Status::ok : Status::corrupt; }

    Cursor in_;
    const Dims dims_;
    const size_t n_;
    const Header& header_;
    BlockScratch<T>& s_;
    T* out_;
    const Meant<T>* meant_;  // packed blocks only: compared with it, not decoded
    std::vector<BitsOf<T>> exact_;
};

}  // namespace

Header header_of_integers(const Header& h) {
    Header integers;
    integers.dtype = h.dtype;
    integers.lattice = true;
    integers.bound = 0.5;
    return integers;
}

Dims block_dims(const Header& h, uint64_t block) {
    Dims d;
    std::vector<uint64_t> longer;
    if (h.ndim > 0 && h.blocking.rows_of(block) > 1) longer.push_back(h.blocking.rows_of(block));
    for (int i = h.blocking.axis + 1; i < h.ndim; ++i)
        if (h.shape[static_cast<size_t>(i)] > 1) longer.push_back(h.shape[static_cast<size_t>(i)]);
    int at = AXES;
    for (size_t i = longer.size(); i-- > 0;) {
        if (at > 0) --at;
        d.n[at] *= static_cast<size_t>(longer[i]);  // axes beyond the fourth fold into the first
    }
    return d;
}

template <class T>
Status decode_block(View in, const Dims& dims, const Header& header, BlockScratch<T>& scratch, T* out) {
    return Decoder<T>(in, dims, header, scratch, out).run();
}

template <class T>
bool packed_as_meant(View body, const Dims& dims, const Header& header, const LatticeJob& job, const Orders& orders,
                     BlockScratch<T>& scratch, const T* in) {
    const Meant<T> meant{job, orders, scratch.pack, in};
    return Decoder<T>(body, dims, header, scratch, nullptr, &meant).run() == Status::ok;
}

template bool packed_as_meant<float>(View, const Dims&, const Header&, const LatticeJob&, const Orders&,
                                     BlockScratch<float>&, const float*);
template bool packed_as_meant<double>(View, const Dims&, const Header&, const LatticeJob&, const Orders&,
                                      BlockScratch<double>&, const double*);
template Status decode_block<float>(View, const Dims&, const Header&, BlockScratch<float>&, float*);
template Status decode_block<double>(View, const Dims&, const Header&, BlockScratch<double>&, double*);

}  // namespace sciflow
