#include "pack/pack.hpp"

#include <cmath>

#include "check.hpp"
#include "pack/unpack.hpp"
#include "values.hpp"

namespace sciflow {

namespace {

constexpr size_t SLACK = 64;
constexpr size_t STRIP_PATCH_BYTES = STRIP / GROUP * 20 * (6 + 32) / 8 + 1;
constexpr size_t BODY_EXTRA = 4096;    // tables of the groups' numbers, the block's checksum
constexpr size_t MISSES_ALLOWED = 32;  // one value in so many

template <class T>
T largest_below(double bound) {
    const T limit = static_cast<T>(bound);
    return static_cast<double>(limit) > bound ? std::nextafter(limit, T(0)) : limit;
}

template <class T>
class Packer {
  public:
    Packer(const PackInput<T>& input, const Orders& orders, BlockScratch<T>& scratch, Check& found)
        : i_(input),
          n_(input.dims.size()),
          order_(orders.of[X]),
          lags_(orders, input.dims),
          history_(scratch.pack.history, lags_.reach(), n_),
          limit_(largest_below<T>(input.job.bound)),
          s_(scratch.pack),
          unpacker_(input.dims, scratch.unpack),
          found_(found) {
        unpacker_.begin(orders);
    }

    Packed run() {
        reserve();
        for (size_t at = 0; at < n_; at += STRIP) {
            const size_t n = std::min(STRIP, n_ - at), missed = s_.missed.size();
            if (!strip(at, n)) return Packed::unfit;
            if (i_.options.verify || i_.options.mse > 0) compare(at, n, missed);
        }
        s_.payload_bytes = payload_;
        s_.patch_bytes = patches_ + (bits_.held > 0 ? 1 : 0);
        return found_.holds ? Packed::done : Packed::broken;
    }

  private:
    template <class V>
    static void grow(std::vector<V>& v, size_t n) {
        if (v.size() < n) v.resize(n);
    }

    void reserve() {
        const size_t groups = (n_ + GROUP - 1) / GROUP;
        for (auto* v : {&s_.width, &s_.count, &s_.high}) v->resize(groups);
        grow(s_.strip, STRIPS_HELD);
        s_.missed.clear();
    }

    // Room for one more strip, however badly it packs.
    void make_room() {
        grow(s_.payload, payload_ + 4 * STRIP + SLACK);
        grow(s_.patches, patches_ + STRIP_PATCH_BYTES + SLACK);
    }

    bool strip(size_t at, size_t n) {
        uint32_t* values = history_.strip();
        uint32_t* codes = order_ == 0 ? values : s_.strip.data() + 2;
        uint32_t* words = s_.strip.data() + 2 + STRIP;
        const bool doubts = steps<T>(kernels()).to_steps(i_.in + at, n, i_.job, limit_, codes, words);
        if (order_ > 0) std::copy_n(before_, 2, codes - 2);
        if (!doubts && !i_.job.fixed_point && i_.options.preserve.empty()) difference(codes, n, values);
        else if (!settle(at, n, codes, words, values)) return false;
        before_[0] = n > 1 ? codes[n - 2] : before_[1];
        before_[1] = codes[n - 1];
        kernels().lags.differences(values, n, lags_.of, lags_.count, words);
        for (size_t i = n; i % GROUP != 0; ++i) words[i] = 0;
        history_.advance(n);
        pack(at / GROUP, n, words);
        return true;
    }

    void pack(size_t group, size_t n, const uint32_t* words) {
        make_room();
        PackJob job;
        job.words = words;
        job.groups = (n + GROUP - 1) / GROUP;
        job.width = s_.width.data() + group;
        job.count = s_.count.data() + group;
        job.high = s_.high.data() + group;
        job.payload = s_.payload.data() + payload_;
        job.patches = bits_;
        job.patches.out = s_.patches.data() + patches_;
        kernels().groups.pack(job);
        payload_ = static_cast<size_t>(job.payload - s_.payload.data());
        patches_ = static_cast<size_t>(job.patches.out - s_.patches.data());
        bits_ = job.patches;
    }

    // What the strip's bits come back as, against what went in.
    void compare(size_t at, size_t n, size_t first_missed) {
        unpacker_.set({s_.width.data(), s_.count.data(), s_.high.data(), s_.payload.data(), s_.patches.data()});
        const int32_t* codes = nullptr;
        unpacker_.next(codes);
        const bool plain = i_.options.mse == 0 && i_.options.preserve.empty() && first_missed == s_.missed.size();
        if (plain && steps<T>(kernels()).steps_kept(codes, i_.in + at, n, i_.job, limit_)) return;
        quantize<T>(kernels()).from_lattice(codes, n, i_.job, back_);
        for (size_t k = first_missed; k < s_.missed.size(); ++k) back_[s_.missed[k] - at] = i_.in[s_.missed[k]];
        const Check c = check(i_.in + at, back_, n, i_.header, i_.options);
        found_.holds &= c.holds;
        found_.squares += c.squares;
        found_.counted += c.counted;
    }

    // Looks at every doubtful value again; one that must be exact takes the code that is predicted for it. Fills
    // `values`, the differences along x, on the way: predictions need them.
    bool settle(size_t at, size_t n, uint32_t* codes, const uint32_t* doubt, uint32_t* values) {
        const bool all = i_.job.fixed_point || !i_.options.preserve.empty() || !i_.avoid.empty();
        size_t filled = 0;
        for (size_t i = 0; i < n; ++i) {
            if (!(all || doubt[i]) || can_stay(i_.in[at + i], codes[i])) continue;
            if (!may_miss(i_.in[at + i], codes[i])) return false;
            difference(codes + filled, i - filled, values + filled);
            values[i] = codes[i] = predicted(values + i);
            if (order_ == 1) codes[i] += *(codes + i - 1);
            if (order_ == 2) codes[i] += 2 * *(codes + i - 1) - *(codes + i - 2);
            s_.missed.push_back(static_cast<uint32_t>(at + i));
            filled = i + 1;
        }
        difference(codes + filled, n - filled, values + filled);
        return true;
    }

    void difference(const uint32_t* codes, size_t n, uint32_t* values) const {
        if (order_ > 0 && n > 0) kernels().lags.differences_along_x(codes, n, order_, values);
    }

    // 1 - (1 - S^a)(1 - S^b)(1 - S^c) of the values before v.
    uint32_t predicted(const uint32_t* v) const {
        const size_t a = lags_.of[0], b = lags_.of[1], c = lags_.of[2];
        switch (lags_.count) {
            case 0: return 0;
            case 1: return *(v - a);
            case 2: return *(v - a) + *(v - b) - *(v - a - b);
            default:
                return *(v - a) + *(v - b) + *(v - c) - *(v - a - b) - *(v - a - c) - *(v - b - c) + *(v - a - b - c);
        }
    }

    bool usual(T x) const {
        return std::fabs(x) <= huge<T>() && !(x == 0 && std::signbit(x)) && !listed(x, i_.options.preserve);
    }

    bool can_stay(T x, uint32_t code) const { return usual(x) && keeps(x, code); }

    // Only so many values may miss the bound for their rounding. Those far out are outliers, a fill value say; but the
    // lattice of a rewrite-safe stream holds them wherever its codes reach.
    bool may_miss(T x, uint32_t code) {
        if (!usual(x)) return true;
        const bool far = static_cast<int32_t>(code) == INT32_MIN;
        if (far) return !i_.job.fixed_point;
        return ++misses_ <= n_ / MISSES_ALLOWED + 16;
    }

    bool keeps(T x, uint32_t code) const {
        const LinearMap map{i_.job.origin, i_.job.step};
        const int64_t q = static_cast<int64_t>(i_.job.base) + static_cast<int32_t>(code);
        const T back = map.inverse<T>(q);
        if (!within(static_cast<double>(x), static_cast<double>(back), i_.job.bound)) return false;
        if (std::find(i_.avoid.begin(), i_.avoid.end(), back) != i_.avoid.end()) return false;
        int64_t again = 0, first = 0;
        return !i_.job.fixed_point || (map.forward(x, first) && first == q && map.forward(back, again) && again == q);
    }

    const PackInput<T>& i_;
    const size_t n_;
    const int order_;
    const LagList lags_;
    History history_;
    const T limit_;
    PackScratch& s_;
    Unpacker unpacker_;
    Check& found_;
    BitWriter bits_;
    size_t payload_ = 0, patches_ = 0, misses_ = 0;
    uint32_t before_[2] = {0, 0};
    T back_[STRIP];
};

void append_numbers(const std::vector<uint8_t>& v, PackScratch& s, EntropyScratch& entropy, Bytes& out) {
    s.numbers.assign(v.begin(), v.end());
    write_numbers(s.numbers, entropy, out);
}

}  // namespace

template <class T>
Packed pack_values(const PackInput<T>& input, const Orders& orders, BlockScratch<T>& scratch, Check& found) {
    found = {};
    return Packer<T>(input, orders, scratch, found).run();
}

void append_packed(const Orders& orders, PackScratch& s, EntropyScratch& entropy, Bytes& out) {
    out.reserve(out.size() + 4 * s.width.size() + s.payload_bytes + s.patch_bytes + BODY_EXTRA);
    Writer w(out);
    w.u8(orders.byte());
    append_numbers(s.width, s, entropy, out);
    append_numbers(s.count, s, entropy, out);
    s.numbers.clear();
    for (size_t g = 0; g < s.count.size(); ++g)
        if (s.count[g] > 0) s.numbers.push_back(s.high[g]);
    write_numbers(s.numbers, entropy, out);
    w.bytes(View(s.payload).first(s.payload_bytes));
    w.bytes(View(s.patches).first(s.patch_bytes));
}

template Packed pack_values<float>(const PackInput<float>&, const Orders&, BlockScratch<float>&, Check&);
template Packed pack_values<double>(const PackInput<double>&, const Orders&, BlockScratch<double>&, Check&);

}  // namespace sciflow
