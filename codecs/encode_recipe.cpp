#include "encode_recipe.hpp"

#include <algorithm>
#include <limits>

#include "choose.hpp"
#include "exact.hpp"
#include "recipe.hpp"
#include "sample.hpp"
#include "values.hpp"

namespace sciflow {

namespace {

constexpr double HELD_BY_FLOAT = 0x1p22;  // integers that are predicted in float without a loss
constexpr double CLOSE = 1.04;            // an estimate this close to what is there is put to the test
constexpr size_t MOST_HEAD = 16;          // a recipe of at most one in so many bytes has nothing to fear of other modes

// What no recipe is sought for: NaN and Inf, negative zeros, preserved values.
template <class T>
std::vector<uint8_t> set_apart(const T* in, size_t n, std::span<const uint64_t> preserve) {
    const Scan<T>& scan = sciflow::scan<T>(kernels());
    std::vector<uint8_t> marks(n + 64);
    scan.mark_exact(in, n, std::numeric_limits<T>::lowest(), std::numeric_limits<T>::max(), marks.data());
    for (uint64_t pattern : preserve) scan.mark_pattern(in, n, pattern, marks.data());
    return marks;
}

// A recipe's body up to the integers, those as values of Q, and what all of it will take, estimated.
template <class T, class Q>
class Candidate {
  public:
    Candidate(const T* in, const Recipe<T>& recipe, const Dims& dims, int level, EntropyScratch& scratch)
        : dims_(dims), integers_(recipe.integers.begin(), recipe.integers.end()) {
        options_.bound = 0.5;
        options_.lattice_only = true;
        options_.level = level;
        options_.verify = false;
        Writer w(head_);
        w.u8(static_cast<uint8_t>(Mode::described));
        w.u8(static_cast<uint8_t>((recipe.misses > 0 ? HAS_EXACT : 0) | (sizeof(Q) > sizeof(T) ? DOUBLE_INTEGERS : 0)));
        if (recipe.misses > 0) {
            write_mask(recipe.missed.data(), recipe.misses, dims, scratch, head_);
            std::vector<BitsOf<T>> bits;
            each_marked(recipe.missed.data(), dims.size(),
                        [&](size_t i) { bits.push_back(std::bit_cast<BitsOf<T>>(in[i])); });
            write_exact(bits, scratch, head_);
        }
        write_described(recipe.map, scratch, head_);
    }

    double estimate(BlockScratch<Q>& scratch) const {
        const std::vector<Choice> found = choose<Q>(integers_.data(), dims_, {}, options_, scratch);
        return static_cast<double>(head_.size()) + found[0].rate * static_cast<double>(dims_.size()) / 8;
    }

    // Puts the body in the place of a larger one, or of none. True where hardly any of it is the recipe itself.
    bool encode(const Header& header, BlockScratch<Q>& scratch, size_t start, Bytes& out) {
        const size_t head = head_.size();
        Check found;
        encode_unchecked(integers_.data(), dims_, header_of_integers(header), options_, scratch, head_, found);
        if (out.size() > start && head_.size() >= out.size() - start) return false;
        out.resize(start);
        Writer(out).bytes(head_);
        return head * MOST_HEAD < head_.size();
    }

  private:
    const Dims dims_;
    EncodeOptions options_;
    std::vector<Q> integers_;
    Bytes head_;
};

// Codes by the recipe that promises most, where that is less than what is there.
template <class T, class Q>
bool encode_best(const T* in, const std::vector<Recipe<T>>& recipes, const Dims& dims, const Header& header, int level,
                 BlockScratch<T>& outer, BlockScratch<Q>& scratch, size_t start, Bytes& out) {
    std::vector<Candidate<T, Q>> candidates;
    size_t best = 0;
    double least = out.size() > start ? CLOSE * static_cast<double>(out.size() - start) : INFINITY;
    for (const Recipe<T>& recipe : recipes) {
        candidates.emplace_back(in, recipe, dims, level, outer.entropy);
        const double estimate = candidates.back().estimate(scratch);
        if (estimate >= least) continue;
        least = estimate;
        best = candidates.size();
    }
    return best > 0 && candidates[best - 1].encode(header, scratch, start, out);
}

template <class T>
bool held_by_float(const Recipe<T>& recipe) {
    const auto [least, most] = std::minmax_element(recipe.integers.begin(), recipe.integers.end());
    return std::max(-*least, *most) < HELD_BY_FLOAT && *most - *least < HELD_BY_FLOAT;
}

}  // namespace

template <class T>
bool encode_recipe(const T* in, const Dims& dims, const Header& header, const EncodeOptions& options,
                   BlockScratch<T>& scratch, size_t start, Bytes& out) {
    if (options.bound > 0 && (options.level <= 1 || options.lattice_only || header.pointwise())) return false;
    if (is_constant(in, dims.size())) return false;
    const bool gated = options.bound > 0 && options.level <= 2;
    Sought sought{true, true, 2 * options.bound};
    if (gated) sought = likely_ways(in, dims, options.bound, options.preserve, options.level, out.size() - start);
    if (!sought.lines && !sought.table) return false;
    const std::vector<uint8_t> marks = set_apart(in, dims.size(), options.preserve);
    const std::vector<Recipe<T>> recipes = find_recipes(in, marks, dims, options.bound, sought);
    if constexpr (sizeof(T) == 4) {
        if (!std::all_of(recipes.begin(), recipes.end(), held_by_float<T>)) {
            if (!scratch.wider) scratch.wider = std::make_unique<BlockScratch<double>>();
            return encode_best<T, double>(in, recipes, dims, header, options.level, scratch, *scratch.wider, start,
                                          out);
        }
    }
    return encode_best<T, T>(in, recipes, dims, header, options.level, scratch, scratch, start, out);
}

template bool encode_recipe<float>(const float*, const Dims&, const Header&, const EncodeOptions&, BlockScratch<float>&,
                                   size_t, Bytes&);
template bool encode_recipe<double>(const double*, const Dims&, const Header&, const EncodeOptions&,
                                    BlockScratch<double>&, size_t, Bytes&);

}  // namespace sciflow
