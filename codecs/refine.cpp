#include "refine.hpp"

#include <algorithm>
#include <limits>

#include "exact.hpp"
#include "values.hpp"

namespace sciflow {

namespace {

enum Layout : uint8_t { LISTED = 0, PREDICTED = 1 };

constexpr size_t SAMPLE = 1024;
constexpr int MOST_PREDICTED = 16;  // in a block: each takes the time of a block's main codes

template <class T>
using SignedOf = std::make_signed_t<BitsOf<T>>;

// Listed codes are as wide as the values; predicted ones are held in T, where sums of a few of these are exact.
template <class T>
constexpr double LARGEST_LISTED = sizeof(T) == 4 ? 0x1p30 : 0x1p52;
template <class T>
constexpr double LARGEST_PREDICTED = sizeof(T) == 4 ? 0x1p20 : 0x1p26;

// Bit patterns in the order of the values they stand for.
template <class T>
BitsOf<T> ordered(T v) {
    constexpr BitsOf<T> sign = BitsOf<T>(1) << (8 * sizeof(T) - 1);
    const auto bits = std::bit_cast<BitsOf<T>>(v);
    return (bits & sign) ? static_cast<BitsOf<T>>(sign - bits) : bits;
}

template <class T>
T unordered(BitsOf<T> place) {
    constexpr BitsOf<T> sign = BitsOf<T>(1) << (8 * sizeof(T) - 1);
    return std::bit_cast<T>((place & sign) ? static_cast<BitsOf<T>>(sign - place) : place);
}

template <class T>
T stepped(T from, double code, double step) {
    return code == 0 ? from : static_cast<T>(static_cast<double>(from) + code * step);
}

template <class T>
T moved(T from, SignedOf<T> places) {
    return unordered<T>(static_cast<BitsOf<T>>(ordered(from) + static_cast<BitsOf<T>>(places)));
}

GridSpec list_of(size_t count) {
    GridSpec grid;
    grid.dims.n[X] = count;
    return grid;
}

unsigned long_axes(const Dims& d) {
    unsigned mask = 0;
    for (int a = 0; a < AXES; ++a)
        if (d.n[a] > 1) mask |= 1u << a;
    return mask;
}

template <class T>
class Refiner {
  public:
    Refiner(const T* in, const T* back, const Dims& dims, const uint8_t* exact, const EncodeOptions& options,
            BlockScratch<T>& scratch)
        : in_(in), back_(back), dims_(dims), n_(dims.size()), exact_(exact), options_(options), s_(scratch) {}

    // False where every region has its bound already.
    bool write(Bytes& out) {
        const size_t start = out.size();
        out.push_back(0);
        patch_.assign(n_, 0);
        for (size_t k = 0; k < options_.regions.bounds.size(); ++k) {
            if (!lacks(k)) continue;
            ++out[start];
            write_region(k, out);
        }
        if (out[start] == 0) {
            out.resize(start);
            return false;
        }
        write_patch(out);
        return true;
    }

  private:
    bool refined(size_t i, size_t k) const { return options_.regions.of[i] == k && !(exact_ && exact_[i]); }

    bool keeps(size_t i, T back, double bound) const {
        return within(static_cast<double>(in_[i]), static_cast<double>(back), bound) &&
               !listed(back, options_.preserve);
    }

    bool lacks(size_t k) const {
        const double bound = options_.regions.bounds[k];
        for (size_t i = 0; i < n_; ++i)
            if (refined(i, k) && !(bound == 0 ? std::bit_cast<BitsOf<T>>(in_[i]) == std::bit_cast<BitsOf<T>>(back_[i])
                                              : keeps(i, back_[i], bound)))
                return true;
        return false;
    }

    // Twice the bound, less what rounding to T can add; 0, for every bit, where the bound is near that.
    double step_of(size_t k) const {
        std::vector<double> sizes;
        for (size_t i = 0, every = std::max<size_t>(1, n_ / SAMPLE); i < n_; i += every)
            if (refined(i, k)) sizes.push_back(std::fabs(static_cast<double>(in_[i])));
        if (sizes.empty()) return 2 * options_.regions.bounds[k];
        std::sort(sizes.begin(), sizes.end());
        const double usual = sizes[sizes.size() * 9 / 10], bound = options_.regions.bounds[k];
        const double ulp = usual > 0 ? std::exp2(std::floor(std::log2(usual)) - (sizeof(T) == 4 ? 23 : 52)) : 0;
        return bound > 4 * ulp && std::isnormal(static_cast<T>(bound)) ? 2 * (bound - ulp) : 0;
    }

    int64_t code_of(size_t i, size_t k, double step) {
        if (step == 0) return static_cast<SignedOf<T>>(static_cast<BitsOf<T>>(ordered(in_[i]) - ordered(back_[i])));
        const double t = std::rint((static_cast<double>(in_[i]) - static_cast<double>(back_[i])) / step);
        if (std::fabs(t) < LARGEST_LISTED<T> && keeps(i, stepped(back_[i], t, step), options_.regions.bounds[k]))
            return static_cast<int64_t>(t);
        patch_[i] = 1;
        return 0;
    }

    void write_region(size_t k, Bytes& out) {
        s_.region.assign(n_, 0);
        size_t marked = 0;
        for (size_t i = 0; i < n_; ++i) marked += s_.region[i] = options_.regions.of[i] == k;
        write_mask(s_.region.data(), marked, dims_, s_.entropy, out);
        const double step = step_of(k);
        s_.wide.clear();
        at_.clear();
        for (size_t i = 0; i < n_; ++i) {
            if (!refined(i, k)) continue;
            at_.push_back(static_cast<uint32_t>(i));
            s_.wide.push_back(code_of(i, k, step));
        }
        Bytes listed, predicted;
        write_listed(listed);
        const bool fewer =
            predicted_ < MOST_PREDICTED && write_predicted(predicted) && predicted.size() < listed.size();
        predicted_ += fewer;
        Writer w(out);
        w.u8(fewer ? PREDICTED : LISTED);
        w.raw(step);
        w.bytes(fewer ? predicted : listed);
    }

    void write_listed(Bytes& out) {
        std::vector<SignedOf<T>> codes(s_.wide.begin(), s_.wide.end());
        encode_grids<SignedOf<T>>({list_of(codes.size())}, codes.data(), s_.entropy, out);
    }

    // The codes as a field of their own, everything outside the region a hole.
    bool write_predicted(Bytes& out) {
        s_.work.assign(n_ + 64, std::numeric_limits<T>::quiet_NaN());
        for (size_t j = 0; j < at_.size(); ++j) {
            const double code = static_cast<double>(s_.wide[j]);
            if (!(std::fabs(code) < LARGEST_PREDICTED<T>)) return false;
            s_.work[at_[j]] = static_cast<T>(code);
        }
        if (s_.codes.size() < n_ + 64) s_.codes.resize(n_ + 64);
        MultilevelPlan plan;
        plan.mask = long_axes(dims_);
        plan.lattice = true;
        s_.failed.clear();
        multilevel_encode(s_.work.data(), dims_, {0.5, {}}, plan, s_.codes.data(), s_.failed, s_.multilevel);
        if (!s_.failed.empty()) return false;
        write_plan(dims_, plan, out);
        encode_grids<int32_t>(multilevel_grids(dims_, plan.mask), s_.codes.data(), s_.entropy, out);
        return true;
    }

    void write_patch(Bytes& out) {
        std::vector<BitsOf<T>> bits;
        each_marked(patch_.data(), n_, [&](size_t i) { bits.push_back(std::bit_cast<BitsOf<T>>(in_[i])); });
        write_mask(patch_.data(), bits.size(), dims_, s_.entropy, out);
        write_exact(bits, s_.entropy, out);
    }

    const T *in_, *back_;
    const Dims dims_;
    const size_t n_;
    const uint8_t* exact_;
    const EncodeOptions& options_;
    BlockScratch<T>& s_;
    std::vector<uint8_t> patch_;  // values that no code brings within their bound
    std::vector<uint32_t> at_;
    int predicted_ = 0;
};

template <class T>
Status read_listed(Cursor& in, const std::vector<uint32_t>& at, double step, EntropyScratch& scratch, T* values) {
    std::vector<SignedOf<T>> codes(at.size());
    if (Status s = decode_grids<SignedOf<T>>(in, {list_of(at.size())}, codes.data(), scratch); s != Status::ok)
        return s;
    for (size_t j = 0; j < at.size(); ++j) {
        T& v = values[at[j]];
        v = step == 0 ? moved(v, codes[j]) : stepped(v, static_cast<double>(codes[j]), step);
    }
    return Status::ok;
}

template <class T>
Status read_predicted(Cursor& in, const Dims& dims, const std::vector<uint32_t>& at, double step, BlockScratch<T>& s,
                      T* values) {
    MultilevelPlan plan;
    plan.lattice = true;
    if (Status st = read_plan(in, dims, plan); st != Status::ok) return st;
    if (s.codes.size() < dims.size() + 64) s.codes.resize(dims.size() + 64);
    if (s.work.size() < dims.size() + 64) s.work.resize(dims.size() + 64);
    const Status st = decode_grids<int32_t>(in, multilevel_grids(dims, plan.mask), s.codes.data(), s.entropy);
    if (st != Status::ok) return st;
    multilevel_decode(s.codes.data(), dims, plan, s.work.data(), s.multilevel);
    for (uint32_t i : at) {
        const double code = static_cast<double>(s.work[i]);
        if (!(std::fabs(code) < 0x1p31)) return Status::corrupt;
        values[i] = step == 0 ? moved(values[i], static_cast<SignedOf<T>>(code)) : stepped(values[i], code, step);
    }
    return Status::ok;
}

// What the regions of a block may still take: no value is in two of them.
struct Allowance {
    size_t values = 0;
    int predicted = MOST_PREDICTED;
};

template <class T>
Status read_region(Cursor& in, const Dims& dims, const uint8_t* exact, Allowance& left, BlockScratch<T>& s, T* values) {
    uint8_t layout = 0;
    double step = 0;
    s.region.resize(dims.size());
    if (Status st = read_mask(in, dims, s.entropy, nullptr, s.region.data()); st != Status::ok) return st;
    if (!in.u8(layout) || !in.raw(step)) return Status::truncated;
    if (layout > PREDICTED || !(step >= 0) || !std::isfinite(step)) return Status::corrupt;
    std::vector<uint32_t> at;
    each_marked(s.region.data(), dims.size(), [&](size_t i) {
        if (!exact || !exact[i]) at.push_back(static_cast<uint32_t>(i));
    });
    if (at.empty() || at.size() > left.values) return Status::corrupt;
    left.values -= at.size();
    if (layout == LISTED) return read_listed(in, at, step, s.entropy, values);
    if (left.predicted-- == 0) return Status::corrupt;
    return read_predicted(in, dims, at, step, s, values);
}

template <class T>
Status read_patch(Cursor& in, const Dims& dims, BlockScratch<T>& s, T* values) {
    std::vector<BitsOf<T>> bits;
    if (Status st = read_exact_set(in, dims, s.entropy, s.mixing, s.region.data(), bits); st != Status::ok) return st;
    size_t j = 0;
    each_marked(s.region.data(), dims.size(), [&](size_t i) { values[i] = std::bit_cast<T>(bits[j++]); });
    return Status::ok;
}

template <class T>
void store_raw(const T* in, size_t n, Bytes& out, size_t start) {
    out.resize(start);
    out.push_back(static_cast<uint8_t>(Mode::raw));
    const auto* bytes = reinterpret_cast<const uint8_t*>(in);
    out.insert(out.end(), bytes, bytes + n * sizeof(T));
}

}  // namespace

BoundSpan bounds_of(const Regions& regions, size_t n) {
    std::array<size_t, 256> count{};
    for (size_t i = 0; i < n; ++i) ++count[regions.of[i]];
    BoundSpan span{std::numeric_limits<double>::infinity(), 0, 0};
    for (size_t k = 0; k < regions.bounds.size(); ++k) {
        if (count[k] == 0) continue;
        span.tightest = std::min(span.tightest, regions.bounds[k]);
        span.loosest = std::max(span.loosest, regions.bounds[k]);
    }
    for (size_t k = 0; k < regions.bounds.size(); ++k)
        if (regions.bounds[k] < span.loosest) span.tighter += count[k];
    return span;
}

template <class T>
Status refine(const T* in, const Dims& dims, const Header& header, const EncodeOptions& options, BlockScratch<T>& s,
              Bytes& out, size_t start) {
    const Mode mode = static_cast<Mode>(out[start]);
    if (mode == Mode::raw || mode == Mode::constant || mode == Mode::described) return Status::ok;  // no loss
    const size_t n = dims.size();
    if (s.check.size() < n) s.check.resize(n);
    const View body = View(out).subspan(start);
    if (decode_block(body, dims, header, s, s.check.data()) != Status::ok) return Status::bound_violated;
    const uint8_t* exact = (out[start + 1] & HAS_EXACT) ? s.exact.data() : nullptr;
    if (!Refiner<T>(in, s.check.data(), dims, exact, options, s).write(out)) return Status::ok;
    out[start + 1] |= REFINED;
    if (out.size() - start > 1 + n * sizeof(T)) store_raw(in, n, out, start);
    return Status::ok;
}

template <class T>
Status read_refinement(Cursor& in, const Dims& dims, const uint8_t* exact, BlockScratch<T>& scratch, T* values) {
    uint8_t regions = 0;
    if (!in.u8(regions)) return Status::truncated;
    if (regions == 0) return Status::corrupt;
    Allowance left{dims.size()};
    for (int k = 0; k < regions; ++k)
        if (Status s = read_region(in, dims, exact, left, scratch, values); s != Status::ok) return s;
    return read_patch(in, dims, scratch, values);
}

template Status refine<float>(const float*, const Dims&, const Header&, const EncodeOptions&, BlockScratch<float>&,
                              Bytes&, size_t);
template Status refine<double>(const double*, const Dims&, const Header&, const EncodeOptions&, BlockScratch<double>&,
                               Bytes&, size_t);
template Status read_refinement<float>(Cursor&, const Dims&, const uint8_t*, BlockScratch<float>&, float*);
template Status read_refinement<double>(Cursor&, const Dims&, const uint8_t*, BlockScratch<double>&, double*);

}  // namespace sciflow
