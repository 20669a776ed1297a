#include "choose.hpp"

#include <algorithm>
#include <limits>

namespace sciflow {

namespace {

constexpr size_t CROP_VALUES = 24576;
constexpr double EDGE_ALLOWANCE = 0.985;  // a crop has more edge than its block, and interpolation suffers there

struct Crop {
    Dims dims;
    size_t origin[AXES] = {0, 0, 0, 0};
};

Dims crop_dims(const Dims& block) {
    Dims d = block;
    const size_t most = std::min(CROP_VALUES, std::max<size_t>(2048, block.size() / 6));
    while (d.size() > most) {
        size_t* largest = std::max_element(d.n, d.n + AXES);
        *largest = (*largest + 1) / 2;
    }
    return d;
}

std::vector<Crop> crops_of(const Dims& block) {
    std::vector<Crop> crops;
    const Dims d = crop_dims(block);
    const size_t count = block.size() > 4 * d.size() ? 2 : 1;
    for (size_t k = 0; k < count; ++k) {
        Crop c;
        c.dims = d;
        for (int a = 0; a < AXES; ++a) c.origin[a] = (block.n[a] - d.n[a]) * (1 + 2 * k) / (2 * count);
        crops.push_back(c);
    }
    return crops;
}

template <class V>
void copy_crop(const V* values, const Dims& block, const Crop& c, V* out) {
    const Layout from = Layout::dense(block);
    for (size_t i0 = 0; i0 < c.dims.n[0]; ++i0)
        for (size_t i1 = 0; i1 < c.dims.n[1]; ++i1)
            for (size_t i2 = 0; i2 < c.dims.n[2]; ++i2) {
                const V* row = values + from.row(c.origin[0] + i0, c.origin[1] + i1, c.origin[2] + i2) + c.origin[X];
                out = std::copy_n(row, c.dims.n[X], out);
            }
}

// Order-0 entropy of the codes, small ones as symbols, large ones as octaves with their bits behind them.
class CodePrice {
  public:
    template <class Q>
    void add(const Q* codes, size_t n) {
        for (size_t i = 0; i < n; ++i) {
            const uint64_t a = static_cast<uint64_t>(codes[i] < 0 ? -static_cast<int64_t>(codes[i]) : static_cast<int64_t>(codes[i]));
            if (a <= EXACT) {
                ++count_[2 * a + (codes[i] < 0)];
            } else {
                const int e = 63 - __builtin_clzll(a);
                ++count_[64 + 2 * e + ((a >> (e - 1)) & 1)];
                extra_ += e;
            }
        }
        total_ += n;
    }
    double bits() const {
        double b = static_cast<double>(extra_);
        for (uint32_t c : count_)
            if (c) b -= c * std::log2(static_cast<double>(c) / static_cast<double>(total_));
        return b;
    }

  private:
    uint32_t count_[192] = {};
    uint64_t extra_ = 0, total_ = 0;
};

template <class T>
class Trials {
  public:
    Trials(const T* values, const Dims& dims, const EncodeOptions& options, BlockScratch<T>& scratch)
        : options_(options), scratch_(scratch) {
        for (const Crop& c : crops_of(dims)) {
            std::vector<T> v(c.dims.size());
            copy_crop(values, dims, c, v.data());
            crops_.push_back(std::move(v));
            dims_ = c.dims;
        }
        codes_.resize(dims_.size());
        integers_.resize(dims_.size());
    }

    double multilevel(unsigned mask, double step) {
        CodePrice price;
        size_t failures = 0;
        for (const auto& crop : crops_) {
            MultilevelPlan plan;
            plan.mask = mask;
            plan.step = step;
            plan.start = start_of(crop);
            failed_.clear();
            multilevel_encode(crop.data(), dims_, options_.bound, plan, codes_.data(), failed_, scratch_.multilevel);
            price.add(codes_.data(), codes_.size());
            failures += failed_.size();
        }
        return price.bits() * EDGE_ALLOWANCE + exact_bits(failures);
    }

    double lattice(unsigned mask, const LinearMap& map) {
        CodePrice price;
        size_t failures = 0;
        std::vector<T> v(dims_.size());
        for (const auto& crop : crops_) {
            failures += to_integers(crop, map);
            for (size_t i = 0; i < v.size(); ++i) {
                v[i] = static_cast<T>(integers_[i] - integers_[0]);
                if (std::fabs(v[i]) > (sizeof(T) == 4 ? T(1 << 22) : T(1 << 30)))
                    return std::numeric_limits<double>::infinity();
            }
            MultilevelPlan plan;
            plan.mask = mask;
            plan.lattice = true;
            failed_.clear();
            multilevel_encode(v.data(), dims_, 0.5, plan, codes_.data(), failed_, scratch_.multilevel);
            price.add(codes_.data(), codes_.size());
        }
        return price.bits() * EDGE_ALLOWANCE + exact_bits(failures);
    }

    double lorenzo(unsigned mask, const LinearMap& map) {
        CodePrice price;
        size_t failures = 0;
        for (const auto& crop : crops_) {
            failures += to_integers(crop, map);
            sciflow::lorenzo<int64_t>(kernels()).forward(integers_.data(), dims_, mask);
            price.add(integers_.data() + 1, integers_.size() - 1);
        }
        return price.bits() + exact_bits(failures);
    }

    const Dims& dims() const { return dims_; }

  private:
    double exact_bits(size_t failures) const { return static_cast<double>(failures) * (8.0 * sizeof(T) + 8); }

    static double start_of(const std::vector<T>& crop) {
        for (T v : crop)
            if (v == v) return v;
        return 0;
    }

    size_t to_integers(const std::vector<T>& crop, const LinearMap& map) {
        size_t failures = 0;
        int64_t held = 0;
        for (T v : crop)
            if (v == v && map.forward(v, held)) break;
        for (size_t i = 0; i < crop.size(); ++i) {
            int64_t q = held;
            if (crop[i] == crop[i]) {
                if (!map.forward(crop[i], q)) q = held;
                const double e = static_cast<double>(crop[i]) - static_cast<double>(map.inverse<T>(q));
                failures += !(std::fabs(e) <= options_.bound);
            }
            integers_[i] = held = q;
        }
        return failures;
    }

    const EncodeOptions& options_;
    BlockScratch<T>& scratch_;
    std::vector<std::vector<T>> crops_;
    Dims dims_;
    std::vector<int32_t> codes_;
    std::vector<int64_t> integers_;
    std::vector<uint32_t> failed_;
};

unsigned long_axes(const Dims& d) {
    unsigned m = 0;
    for (int a = 0; a < AXES; ++a)
        if (d.n[a] > 1) m |= 1u << a;
    return m;
}

// From all axes, drops one at a time while that makes it cheaper.
template <class Price>
std::pair<unsigned, double> best_mask(unsigned all, unsigned fewest, Price&& price) {
    unsigned mask = all;
    double least = price(mask);
    for (bool better = true; better;) {
        better = false;
        unsigned next = mask;
        for (int a = 0; a < AXES; ++a) {
            const unsigned m = mask & ~(1u << a);
            if (m == mask || static_cast<unsigned>(__builtin_popcount(m)) < fewest) continue;
            const double p = price(m);
            if (p >= least) continue;
            least = p;
            next = m;
            better = true;
        }
        mask = next;
    }
    return {mask, least};
}

// Near the float's own precision a step of an odd number of half ulps wastes nothing to rounding.
template <class T>
double grid_friendly_step(const std::vector<T>& sample, double bound) {
    double largest = 0;
    for (T v : sample) largest = std::max(largest, std::fabs(static_cast<double>(v)));
    const double ulp = std::exp2(std::floor(std::log2(largest)) - (sizeof(T) == 4 ? 23 : 52));
    if (!(largest > 0) || !(bound < 64 * ulp) || !(bound >= ulp)) return 0;
    return 2 * (std::floor(bound / ulp) + 0.5) * ulp;
}

}  // namespace

template <class T>
Choice choose(const T* values, const Dims& dims, const std::vector<T>& sample, const EncodeOptions& options,
              BlockScratch<T>& scratch) {
    Trials<T> trials(values, dims, options, scratch);
    const unsigned all = long_axes(dims);
    Choice best;
    double least = std::numeric_limits<double>::infinity();
    auto consider = [&](Mode mode, unsigned mask, const LinearMap& map, double step, double price) {
        if (price >= least) return;
        least = price;
        best = {mode, mask, map, step};
    };
    auto try_integers = [&](const LinearMap& map) {
        const auto [deltas, cost] = best_mask(all, 0, [&](unsigned m) { return trials.lorenzo(m, map); });
        consider(Mode::lorenzo, deltas, map, 0, cost);
        const auto [axes, price] = best_mask(all, 1, [&](unsigned m) { return trials.lattice(m, map); });
        consider(Mode::lattice, axes, map, 0, price);
    };
    const LinearMap plain{0, 2 * options.bound};
    if (options.lattice_only) {
        try_integers(plain);
        return best;
    }
    const auto [deltas, cost] = best_mask(all, 0, [&](unsigned m) { return trials.lorenzo(m, plain); });
    consider(Mode::lorenzo, deltas, plain, 0, cost);
    const double step = 2 * options.bound;
    const auto [axes, price] = best_mask(all, 1, [&](unsigned m) { return trials.multilevel(m, step); });
    consider(Mode::multilevel, axes, plain, step, price);
    if (const double s = grid_friendly_step(sample, options.bound); s > 0) {
        consider(Mode::multilevel, axes, plain, s, trials.multilevel(axes, s));
        consider(Mode::lorenzo, deltas, {0, s}, 0, trials.lorenzo(deltas, {0, s}));
    }
    if (const LinearMap packed = find_lattice(sample, options.bound); packed.step > 0) try_integers(packed);
    return best;
}

template <class Q>
unsigned choose_lorenzo(const Q* values, const Dims& dims) {
    const std::vector<Crop> crops = crops_of(dims);
    std::vector<Q> v(crops[0].dims.size());
    return best_mask(long_axes(dims), 0, [&](unsigned m) {
        CodePrice price;
        for (const Crop& c : crops) {
            copy_crop(values, dims, c, v.data());
            lorenzo<Q>(kernels()).forward(v.data(), c.dims, m);
            price.add(v.data() + 1, v.size() - 1);
        }
        return price.bits();
    }).first;
}

template Choice choose<float>(const float*, const Dims&, const std::vector<float>&, const EncodeOptions&,
                              BlockScratch<float>&);
template Choice choose<double>(const double*, const Dims&, const std::vector<double>&, const EncodeOptions&,
                               BlockScratch<double>&);
template unsigned choose_lorenzo<int32_t>(const int32_t*, const Dims&);
template unsigned choose_lorenzo<int64_t>(const int64_t*, const Dims&);

}  // namespace sciflow
