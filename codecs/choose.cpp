#include "choose.hpp"

#include <algorithm>
#include <bit>
#include <limits>
#include <span>
#include <tuple>

namespace sciflow {

namespace {

constexpr size_t LEAST_CROP = 3072, MOST_CROP = 8192;
constexpr size_t ONE_CROP_BELOW = 1 << 16;
constexpr double REFINE_BELOW = 0.8;  // bits a value; there finer coarse levels can save more than they cost
constexpr unsigned REFINED = 3;
constexpr double CONTEXT_GAIN = 0.94;      // of rough prices: contexts save more on grids of several levels
constexpr size_t RASTER_FROM = 512;        // values a block has before learning from it pays
constexpr double FAR_BEHIND = 1.5;         // of rough prices
constexpr size_t THOROUGH_FROM = 1 << 19;  // values; a small block's crops are mostly edge, where contexts mislead
constexpr double THOROUGH_BELOW = 0.5;     // bits a value
constexpr double ROUGH_FROM = 4;           // bits a value; below, only contexts tell what codes cost
constexpr double EDGE_ALLOWANCE = 0.985;   // a crop has more edge than its block, and interpolation suffers there

struct Crop {
    Dims dims;
    size_t origin[AXES] = {0, 0, 0, 0};
};

Dims crop_dims(const Dims& block) {
    Dims d = block;
    const size_t most = std::clamp(block.size() / 64, LEAST_CROP, MOST_CROP);
    while (d.size() > most) {
        size_t* largest = std::max_element(d.n, d.n + AXES);
        *largest = (*largest + 1) / 2;
    }
    return d;
}

// Radical inverse: positions that fill an interval evenly, however many of them are taken.
double spread(size_t k, size_t base) {
    double v = 0, f = 1;
    for (; k > 0; k /= base) v += static_cast<double>(k % base) * (f /= static_cast<double>(base));
    return v;
}

// How much there is to code in a crop: octaves of differences along its rows, every eighth row; holes count nothing.
template <class V>
double activity(const V* values, const Dims& block, const Crop& c, double step) {
    const Layout from = Layout::dense(block);
    double sum = 0;
    size_t r = 0;
    for (size_t i0 = 0; i0 < c.dims.n[0]; ++i0)
        for (size_t i1 = 0; i1 < c.dims.n[1]; ++i1)
            for (size_t i2 = 0; i2 < c.dims.n[2]; ++i2, ++r) {
                if (r % 8) continue;
                const V* row = values + from.row(c.origin[0] + i0, c.origin[1] + i1, c.origin[2] + i2) + c.origin[X];
                for (size_t x = 1; x < c.dims.n[X]; ++x) {
                    const float d = static_cast<float>(
                        std::fabs(static_cast<double>(row[x]) - static_cast<double>(row[x - 1])) / step);
                    if (d < 1e30f) sum += static_cast<double>(std::bit_cast<int32_t>(1.0f + d) - 0x3f800000);
                }
            }
    return sum;
}

// Of a few crops the liveliest, where most bits will go, and two further down the order.
template <class V>
std::vector<Crop> crops_of(const V* values, const Dims& block, double step) {
    const Dims d = crop_dims(block);
    const size_t count = block.size() > 5 * d.size() ? 24 : 1;
    std::vector<std::pair<double, Crop>> crops;
    for (size_t k = 1; k <= count; ++k) {
        Crop c;
        c.dims = d;
        constexpr size_t bases[AXES] = {7, 5, 3, 2};
        for (int a = 0; a < AXES; ++a)
            c.origin[a] = static_cast<size_t>(static_cast<double>(block.n[a] - d.n[a]) * spread(k, bases[a]));
        crops.emplace_back(count == 1 ? 0 : activity(values, block, c, step), c);
    }
    std::stable_sort(crops.begin(), crops.end(), [](const auto& a, const auto& b) { return a.first > b.first; });
    if (count == 1) return {crops[0].second};
    if (block.size() < ONE_CROP_BELOW) return {crops[0].second};
    return {crops[0].second, crops[count / 4].second, crops[count / 2].second};
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

std::vector<GridSpec> whole(const Dims& d) {
    GridSpec g;
    g.dims = d;
    return {g};
}

template <class T>
class Trials {
  public:
    Trials(const T* values, const Dims& dims, const EncodeOptions& options, BlockScratch<T>& scratch)
        : options_(options), scratch_(scratch) {
        for (const Crop& c : crops_of(values, dims, 2 * options.bound)) {
            if (options.level <= 1 && !crops_.empty()) break;  // fast and quick: the liveliest alone
            std::vector<T> v(c.dims.size());
            copy_crop(values, dims, c, v.data());
            crops_.push_back(std::move(v));
            dims_ = c.dims;
        }
        codes_.resize(dims_.size());
    }

    // About the bits that codes take, from their sizes alone: no contexts, no tables, no fitted weights.
    double rough_multilevel(unsigned mask, double step) {
        MultilevelPlan plan;
        plan.mask = mask;
        plan.step = step;
        plan.most_fitted = 0;
        double bits = 0;
        failed_.clear();
        for (const auto& crop : crops_) {
            plan.start = start_of(crop);
            multilevel_encode(crop.data(), dims_, {options_.bound, {}}, plan, codes_.data(), failed_,
                              scratch_.multilevel);
            bits += octaves();
        }
        return bits + exact_bits(failed_.size());
    }

    double rough_lorenzo(unsigned mask, const LinearMap& map) {
        if (!on_lattice(map)) return std::numeric_limits<double>::infinity();
        double bits = 0;
        for (const auto& integers : integers_) {
            difference(integers, mask);
            bits += octaves();
        }
        return bits + exact_bits(strays_);
    }

    double multilevel(unsigned mask, double step, unsigned refinement = 0) {
        double bits = 0;
        size_t failures = 0;
        for (const auto& crop : crops_) {
            MultilevelPlan plan;
            plan.mask = mask;
            plan.step = step;
            plan.refinement = refinement;
            plan.start = start_of(crop);
            failed_.clear();
            multilevel_encode(crop.data(), dims_, {options_.bound, {}}, plan, codes_.data(), failed_,
                              scratch_.multilevel);
            bits += price_fine(mask);
            failures += failed_.size();
        }
        return bits * EDGE_ALLOWANCE + exact_bits(failures);
    }

    double lattice(unsigned mask, const LinearMap& map) {
        if (!on_lattice(map)) return std::numeric_limits<double>::infinity();
        double bits = 0;
        std::vector<T> v(dims_.size());
        for (const auto& integers : integers_) {
            for (size_t i = 0; i < v.size(); ++i) {
                v[i] = static_cast<T>(integers[i]);
                if (std::fabs(v[i]) > (sizeof(T) == 4 ? T(1 << 22) : T(1 << 27)))
                    return std::numeric_limits<double>::infinity();
            }
            MultilevelPlan plan;
            plan.mask = mask;
            plan.lattice = true;
            failed_.clear();
            multilevel_encode(v.data(), dims_, {0.5, {}}, plan, codes_.data(), failed_, scratch_.multilevel);
            bits += price_fine(mask);
        }
        return bits * EDGE_ALLOWANCE + exact_bits(strays_);
    }

    double lorenzo(unsigned mask, const LinearMap& map) {
        if (!on_lattice(map)) return std::numeric_limits<double>::infinity();
        double bits = 0;
        for (const auto& integers : integers_) {
            difference(integers, mask);
            bits += price_grids(whole(dims_), codes_.data(), scratch_.entropy);
        }
        return bits + exact_bits(strays_);
    }

    size_t values() const { return dims_.size() * crops_.size(); }

  private:
    // The coarse levels of a crop see less of the field than those of its block: the fine ones stand for them.
    double price_fine(unsigned mask) {
        std::vector<GridSpec> grids = multilevel_grids(dims_, mask);
        size_t skipped = 0, first = 0;
        while (first + 1 < grids.size() && skipped + grids[first].dims.size() <= codes_.size() / 32)
            skipped += grids[first++].dims.size();
        grids.erase(grids.begin(), grids.begin() + static_cast<ptrdiff_t>(first));
        for (GridSpec& g : grids) g.reference -= static_cast<int>(first);
        grids[0].reference = -1;
        const double n = static_cast<double>(codes_.size());
        return price_grids(grids, codes_.data() + skipped, scratch_.entropy) * n / (n - static_cast<double>(skipped));
    }

    void difference(const std::vector<int32_t>& integers, unsigned mask) {
        std::copy(integers.begin(), integers.end(), codes_.begin());
        sciflow::lorenzo<int32_t>(kernels()).forward(codes_.data(), dims_, mask);
        codes_[0] = 0;
    }

    double octaves() const {
        int64_t sum = 0;
        for (int32_t v : codes_) {
            const float size = 1.0f + 2.0f * std::fabs(static_cast<float>(v));
            sum += std::bit_cast<int32_t>(size) - 0x3f800000;
        }
        return static_cast<double>(sum) * 0x1p-23;
    }

    double exact_bits(size_t failures) const { return static_cast<double>(failures) * (8.0 * sizeof(T) + 8); }

    static double start_of(const std::vector<T>& crop) {
        for (T v : crop)
            if (v == v) return v;
        return 0;
    }

    // The crops' integers, from the first of each on; false where 31 bits do not hold them.
    bool on_lattice(const LinearMap& map) {
        if (map.origin == map_.origin && map.step == map_.step) return fits_;
        map_ = map;
        fits_ = true;
        strays_ = 0;
        integers_.resize(crops_.size());
        std::vector<uint8_t> exact(dims_.size());
        for (size_t k = 0; k < crops_.size() && fits_; ++k) {
            const auto& crop = crops_[k];
            auto& codes = integers_[k];
            codes.resize(dims_.size());
            for (size_t i = 0; i < exact.size(); ++i) exact[i] = crop[i] != crop[i];
            const auto holes = static_cast<size_t>(std::count(exact.begin(), exact.end(), 1));
            int64_t first = 0;
            map.forward(static_cast<T>(start_of(crop)), first);
            LatticeJob job;
            job.origin = map.origin;
            job.step = map.step;
            job.inverse = 1 / map.step;
            job.base = static_cast<double>(first);
            job.bound = options_.bound;
            fits_ = quantize<T>(kernels()).to_lattice(crop.data(), crop.size(), job, codes.data(), exact.data()) == 0;
            size_t marked = 0;
            for (size_t i = 0; i < exact.size(); ++i) {
                if (!exact[i]) continue;
                codes[i] = i > 0 ? codes[i - 1] : 0;
                ++marked;
            }
            strays_ += marked - holes;
        }
        return fits_;
    }

    const EncodeOptions& options_;
    BlockScratch<T>& scratch_;
    std::vector<std::vector<T>> crops_;
    Dims dims_;
    std::vector<int32_t> codes_;
    LinearMap map_{0, 0};                         // of the integers below
    std::vector<std::vector<int32_t>> integers_;  // by crop
    size_t strays_ = 0;
    bool fits_ = true;
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

// The spacing of floats at the sample's largest magnitude.
template <class T>
double spacing(const std::vector<T>& sample) {
    double largest = 0;
    for (T v : sample) largest = std::max(largest, std::fabs(static_cast<double>(v)));
    return largest > 0 ? std::exp2(std::floor(std::log2(largest)) - (sizeof(T) == 4 ? 23 : 52)) : 0;
}

// Near the float's own precision a step of an odd number of half spacings wastes nothing to rounding.
template <class T>
double grid_friendly_step(const std::vector<T>& sample, double bound) {
    const double ulp = spacing(sample);
    if (!(ulp > 0) || !(bound < 64 * ulp) || !(bound >= ulp)) return 0;
    return 2 * (std::floor(bound / ulp) + 0.5) * ulp;
}

// Whether hardly any value of the block strays from what its sample suggested.
template <class T>
bool lattice_holds(const T* values, size_t n, const LinearMap& map, double bound) {
    size_t seen = 0, strays = 0;
    for (size_t i = 0; i < n; i += 11) {
        if (values[i] != values[i]) continue;
        int64_t q = 0;
        ++seen;
        strays += !map.forward(values[i], q) ||
                  !(std::fabs(static_cast<double>(values[i]) - static_cast<double>(map.inverse<T>(q))) <= bound);
    }
    return strays * 256 <= seen;
}

// Estimates are least sure where hardly anything is coded, so there a rival is tried from further behind.
bool worth_trying(const Choice& rival, const Choice& best, int level) {
    const double margin = level >= 3 ? 1.3 : best.rate < 0.5 ? 1.25 : 0;
    return rival.mode != best.mode && rival.price < margin * best.price;
}

// One crop and rough prices: most of what trials find, for a tenth of their time.
template <class T>
Choice choose_quickly(Trials<T>& trials, unsigned all, double step, std::span<const LinearMap> maps) {
    const auto by_values = best_mask(all, 1, [&](unsigned m) { return trials.rough_multilevel(m, step); });
    Choice best{Mode::multilevel, by_values.first, {}, step, by_values.second, 0};
    for (const LinearMap& map : maps) {
        const auto [mask, price] = best_mask(all, 0, [&](unsigned m) { return trials.rough_lorenzo(m, map); });
        if (price < CONTEXT_GAIN * best.price) best = {Mode::lorenzo, mask, map, 0, price, 0};
    }
    return best;
}

// The spacing that the source's own packing left, if any, and one that is no lattice at all otherwise.
template <class T>
LinearMap packing(const T* values, size_t n, const std::vector<T>& sample, double bound) {
    const LinearMap packed = find_lattice(sample, bound);
    return packed.step > 0 && lattice_holds(values, n, packed, bound) ? packed : LinearMap{0, 0};
}

// What raster-scan prediction learns shows in a whole block alone: it has no price. Steps suit it as they suit others.
Choice raster_choice(const std::vector<Choice>& found) {
    Choice c;
    c.mode = Mode::raster;
    for (size_t k = found.size(); k-- > 0;)
        if (found[k].mode == Mode::multilevel) c.step = found[k].step;
    return c;
}

}  // namespace

template <class T>
double rounding_safe_step(const std::vector<T>& sample, double bound) {
    const double ulp = spacing(sample);
    return bound > 4 * ulp ? 2 * (bound - ulp) : 2 * bound;
}

template double rounding_safe_step<float>(const std::vector<float>&, double);
template double rounding_safe_step<double>(const std::vector<double>&, double);

template <class T>
std::vector<Choice> choose(const T* values, const Dims& dims, const std::vector<T>& sample,
                           const EncodeOptions& options, BlockScratch<T>& scratch) {
    Trials<T> trials(values, dims, options, scratch);
    const unsigned all = long_axes(dims);
    const LinearMap plain{0, 2 * options.bound};
    if (options.level <= 1 && !options.lattice_only) {
        const LinearMap maps[] = {plain, packing(values, dims.size(), sample, options.bound)};
        return {choose_quickly(trials, all, rounding_safe_step(sample, options.bound),
                               std::span(maps).first(maps[1].step > 0 ? 2 : 1))};
    }
    const double first_step = rounding_safe_step(sample, options.bound);
    const double rough = trials.rough_multilevel(all, first_step) / static_cast<double>(trials.values());
    const bool thorough =
        options.level >= 3 || rough < THOROUGH_BELOW || (rough < ROUGH_FROM && dims.size() >= THOROUGH_FROM);
    std::vector<Choice> found;
    double least_rough = std::numeric_limits<double>::infinity();  // of what was looked at
    // Below level max rough prices find the axes, and what is far behind by them is left at that.
    const auto priced = [&](Choice c, unsigned fewest, auto&& rough, auto&& price) {
        if (thorough) {
            std::tie(c.mask, c.price) = best_mask(all, fewest, price);
        } else {
            double about = 0;
            std::tie(c.mask, about) = best_mask(all, fewest, rough);
            least_rough = std::min(least_rough, about);
            if (c.mode != Mode::lattice && about > FAR_BEHIND * least_rough) return;
            c.price = price(c.mask);
            // Contexts alone tell what codes cost that predict nothing, or small whole numbers along all axes.
            const unsigned other = fewest == 0 ? 0 : all;
            if (const double bits = c.mask != other ? price(other) : c.price; bits < c.price) {
                c.price = bits;
                c.mask = other;
            }
        }
        found.push_back(c);
    };
    auto add_lorenzo = [&](const LinearMap& map) {
        priced(
            {Mode::lorenzo, 0, map, 0, 0, 0}, 0, [&](unsigned m) { return trials.rough_lorenzo(m, map); },
            [&](unsigned m) { return trials.lorenzo(m, map); });
    };
    auto add_lattice = [&](const LinearMap& map) {
        priced(
            {Mode::lattice, 0, map, 0, 0, 0}, 1, [&](unsigned m) { return trials.rough_multilevel(m, map.step); },
            [&](unsigned m) { return trials.lattice(m, map); });
    };
    if (options.lattice_only) {
        add_lattice(plain);
        add_lorenzo(plain);
    } else {
        const double step = first_step;
        priced(
            {Mode::multilevel, 0, plain, step, 0, 0}, 1, [&](unsigned m) { return trials.rough_multilevel(m, step); },
            [&](unsigned m) { return trials.multilevel(m, step); });
        const auto [axes, price] = std::pair(found[0].mask, found[0].price);
        add_lorenzo(plain);
        if (price < REFINE_BELOW * static_cast<double>(trials.values()))
            found.push_back({Mode::multilevel, axes, plain, step, trials.multilevel(axes, step, REFINED), 0, REFINED});
        if (const double s = grid_friendly_step(sample, options.bound); s > 0) {
            found.push_back({Mode::multilevel, axes, plain, s, trials.multilevel(axes, s), 0});
            add_lorenzo({0, s});
        }
        if (const LinearMap packed = packing(values, dims.size(), sample, options.bound); packed.step > 0) {
            add_lorenzo(packed);
            add_lattice(packed);
        }
    }
    for (Choice& c : found) c.rate = c.price / static_cast<double>(trials.values());
    std::stable_sort(found.begin(), found.end(), [](const Choice& a, const Choice& b) { return a.price < b.price; });
    std::vector<Choice> kept = {found[0]};
    for (const Choice& c : found)
        if (kept.size() < 2 && worth_trying(c, kept[0], options.level)) kept.push_back(c);
    if (options.level >= 3 && !options.lattice_only && dims.size() >= RASTER_FROM) kept.push_back(raster_choice(found));
    return kept;
}

template <class Q>
unsigned choose_lorenzo(const Q* values, const Dims& dims, EntropyScratch& scratch) {
    const std::vector<Crop> crops = crops_of(values, dims, 1.0);
    std::vector<Q> v(crops[0].dims.size());
    return best_mask(long_axes(dims), 0,
                     [&](unsigned m) {
                         double bits = 0;
                         for (const Crop& c : crops) {
                             copy_crop(values, dims, c, v.data());
                             lorenzo<Q>(kernels()).forward(v.data(), c.dims, m);
                             v[0] = 0;
                             bits += price_grids(whole(c.dims), v.data(), scratch);
                         }
                         return bits;
                     })
        .first;
}

template std::vector<Choice> choose<float>(const float*, const Dims&, const std::vector<float>&, const EncodeOptions&,
                                           BlockScratch<float>&);
template std::vector<Choice> choose<double>(const double*, const Dims&, const std::vector<double>&,
                                            const EncodeOptions&, BlockScratch<double>&);
template unsigned choose_lorenzo<int32_t>(const int32_t*, const Dims&, EntropyScratch&);
template unsigned choose_lorenzo<int64_t>(const int64_t*, const Dims&, EntropyScratch&);

}  // namespace sciflow
