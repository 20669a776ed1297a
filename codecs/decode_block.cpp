// A block's bytes to its values. Everything read here may be hostile.
#include "block.hpp"
#include "entropy/low_bits.hpp"
#include "exact.hpp"
#include "values.hpp"

namespace sciflow {

namespace {

template <class T>
class Decoder {
  public:
    Decoder(View in, const Dims& dims, const Header& header, BlockScratch<T>& scratch, T* out)
        : in_(in), dims_(dims), n_(dims.size()), header_(header), s_(scratch), out_(out) {}

    Status run() {
        uint8_t mode = 0;
        if (!in_.u8(mode)) return Status::truncated;
        switch (static_cast<Mode>(mode)) {
            case Mode::raw: return raw();
            case Mode::constant: return constant();
            case Mode::multilevel: return predicted(Mode::multilevel);
            case Mode::lattice: return predicted(Mode::lattice);
            case Mode::lorenzo: return predicted(Mode::lorenzo);
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
        if (flags & ~(HAS_EXACT | HAS_SIGNS | WIDE | MAGNITUDES | PLAIN_STEP | MIXED | LOW_BITS))
            return Status::corrupt;
        if (mode != Mode::lorenzo && (flags & (HAS_SIGNS | WIDE | MAGNITUDES))) return Status::corrupt;
        if (Status s = read_exact_set(flags); s != Status::ok) return s;
        Status s = mode == Mode::multilevel ? multilevel(flags)
                   : mode == Mode::lattice  ? lattice(flags)
                                            : lorenzo_block(flags);
        if (s != Status::ok) return s;
        size_t k = 0;
        if (flags & HAS_EXACT)
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

    Status multilevel(uint8_t flags) {
        MultilevelPlan plan;
        if (Status s = read_plan(in_, dims_, plan); s != Status::ok) return s;
        if (Status s = read_codes(flags, multilevel_grids(dims_, plan.mask), s_.codes); s != Status::ok) return s;
        multilevel_decode(s_.codes.data(), dims_, plan, out_, s_.multilevel);
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
    Status differences(uint8_t flags, std::vector<Q>& q, unsigned mask) {
        GridSpec grid;
        grid.dims = dims_;
        if (Status s = read_codes(flags, {grid}, q); s != Status::ok) return s;
        lorenzo<Q>(kernels()).inverse(q.data(), dims_, mask);
        return Status::ok;
    }

    Status read_signs(uint8_t flags) {
        if (!(flags & HAS_SIGNS)) return Status::ok;
        grow(s_.sign);
        return read_mask(in_, dims_, s_.entropy, s_.mixing, s_.sign.data());
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
        if (mask > 15) return Status::corrupt;
        const Status s = (flags & WIDE) ? differences(flags, s_.wide, mask) : differences(flags, s_.codes, mask);
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

    Status end() const { return in_.left() == 0 ? Status::ok : Status::corrupt; }

    Cursor in_;
    const Dims dims_;
    const size_t n_;
    const Header& header_;
    BlockScratch<T>& s_;
    T* out_;
    std::vector<BitsOf<T>> exact_;
};

}  // namespace

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

template Status decode_block<float>(View, const Dims&, const Header&, BlockScratch<float>&, float*);
template Status decode_block<double>(View, const Dims&, const Header&, BlockScratch<double>&, double*);

}  // namespace sciflow
