// A block by the smallest of the bodies that are worth a try.
#include <cmath>

#include "block.hpp"
#include "encode_body.hpp"
#include "encode_recipe.hpp"
#include "sample.hpp"

namespace sciflow {

namespace {

constexpr size_t SHARE = 16;
constexpr size_t LEAST_PART = 8192;   // values
constexpr double CLOSE = 1.03;        // as much more than what is there a part may promise
constexpr double CLOSE_MIXED = 1.12;  // at level max, where a part has less to learn from

// So close to the spacing of the larger values that keeping all bits may be cheaper.
template <class T>
bool bound_is_tight(const T* in, size_t n, const Header& header, const EncodeOptions& o) {
    if (o.bound == 0 || o.level == 0 || o.lattice_only || header.pointwise()) return false;
    std::vector<T> sample = draw_sample(in, n, o.preserve);
    if (sample.empty()) return false;
    const auto large = sample.begin() + static_cast<ptrdiff_t>(sample.size() - 1 - sample.size() / 8);
    std::nth_element(sample.begin(), large, sample.end(), [](T a, T b) { return std::fabs(a) < std::fabs(b); });
    const double spacings = o.level >= 3 ? 4 : 1;
    return o.bound < spacings * std::fabs(static_cast<double>(*large)) * (sizeof(T) == 4 ? 0x1p-23 : 0x1p-52);
}

// A few neighbouring lines of a block that stand for it: a sixteenth of it.
struct Part {
    size_t from = 0;
    Dims dims;
};

Part part_of(const Dims& dims) {
    Part part{0, dims};
    const size_t wanted = std::max(dims.size() / SHARE, LEAST_PART);
    for (int a = 0; a < AXES && part.dims.size() > wanted; ++a) {
        const size_t inner = part.dims.size() / dims.n[a];
        part.dims.n[a] = std::max<size_t>(1, wanted / inner);
        part.from += (dims.n[a] - part.dims.n[a]) / 2 * inner;
    }
    return part;
}

}  // namespace

template <class T>
bool encode_unchecked(const T* in, const Dims& dims, const Header& header, const EncodeOptions& options,
                      BlockScratch<T>& scratch, Bytes& out, Check& found) {
    if (options.level <= 1 && options.bound > 0) return encode_body(in, dims, header, options, scratch, out, found);
    const size_t start = out.size();
    EncodeOptions no_loss = options;
    no_loss.bound = 0;
    const auto rival = [&](const EncodeOptions& o) {
        Bytes body;
        encode_body(in, dims, header, o, scratch, body, found);
        if (out.size() > start && body.size() >= out.size() - start) return;
        out.resize(start);
        Writer(out).bytes(body);
    };
    if (options.bound == 0 && encode_recipe(in, dims, header, options, scratch, start, out)) return false;
    if (out.size() > start) rival(options);
    else encode_body(in, dims, header, options, scratch, out, found);
    const auto promises = [&](const EncodeOptions& o) {
        const Part part = part_of(dims);
        const double share = static_cast<double>(part.dims.size()) / static_cast<double>(dims.size());
        if (share > 0.5) return true;
        Bytes body;
        encode_body(in + part.from, part.dims, header, o, scratch, body, found);
        const double close = o.level >= 3 ? CLOSE_MIXED : CLOSE;
        return static_cast<double>(body.size()) < close * share * static_cast<double>(out.size() - start);
    };
    if (options.level > 1 && bound_is_tight(in, dims.size(), header, options) && promises(no_loss)) rival(no_loss);
    if (options.bound > 0) encode_recipe(in, dims, header, options, scratch, start, out);
    return false;
}

template bool encode_unchecked<float>(const float*, const Dims&, const Header&, const EncodeOptions&,
                                      BlockScratch<float>&, Bytes&, Check&);
template bool encode_unchecked<double>(const double*, const Dims&, const Header&, const EncodeOptions&,
                                       BlockScratch<double>&, Bytes&, Check&);

}  // namespace sciflow
