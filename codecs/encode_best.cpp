// A block by the smallest of the bodies that are worth a try, checked.
#include <cmath>

#include "block.hpp"
#include "check.hpp"
#include "encode_body.hpp"
#include "encode_recipe.hpp"
#include "sample.hpp"

namespace sciflow {

namespace {

// So close to the spacing of the larger values that keeping all bits may be cheaper.
template <class T>
bool bound_is_tight(const T* in, size_t n, const Header& header, const EncodeOptions& o) {
    if (o.bound == 0 || o.level == 0 || o.lattice_only || header.pointwise()) return false;
    std::vector<T> sample = draw_sample(in, n, o.preserve);
    if (sample.empty()) return false;
    const auto large = sample.begin() + static_cast<ptrdiff_t>(sample.size() - 1 - sample.size() / 8);
    std::nth_element(sample.begin(), large, sample.end(), [](T a, T b) { return std::fabs(a) < std::fabs(b); });
    return o.bound < 4 * std::fabs(static_cast<double>(*large)) * (sizeof(T) == 4 ? 0x1p-23 : 0x1p-52);
}

// The smallest body of those that are worth a try.
template <class T>
void encode_best(const T* in, const Dims& dims, const Header& header, const EncodeOptions& options,
                 BlockScratch<T>& scratch, Bytes& out) {
    const size_t start = out.size();
    EncodeOptions no_loss = options;
    no_loss.bound = 0;
    const auto rival = [&](const EncodeOptions& o) {
        Bytes body;
        encode_body(in, dims, header, o, scratch, body);
        if (out.size() > start && body.size() >= out.size() - start) return;
        out.resize(start);
        Writer(out).bytes(body);
    };
    if (options.bound == 0 && encode_recipe(in, dims, header, options, scratch, start, out)) return;
    rival(options);
    if (bound_is_tight(in, dims.size(), header, options)) rival(no_loss);
    if (options.bound > 0) encode_recipe(in, dims, header, options, scratch, start, out);
}

}  // namespace

template <class T>
Status encode_block(const T* in, const Dims& dims, const Header& header, const EncodeOptions& asked,
                    BlockScratch<T>& scratch, Bytes& out) {
    EncodeOptions options = asked;
    options.bound = std::min(options.bound, static_cast<double>(huge<T>()) / 4);  // twice it must not overflow
    if (options.mse > 0 && options.lattice_only) options.bound = std::min(options.bound, std::sqrt(options.mse));
    const size_t start = out.size(), n = dims.size();
    for (int attempt = 0; attempt < 2; ++attempt) {
        out.resize(start);
        encode_best(in, dims, header, options, scratch, out);
        if (!options.verify && options.mse == 0) return Status::ok;
        if (scratch.check.size() < n) scratch.check.resize(n);
        if (decode_block(View(out).subspan(start), dims, header, scratch, scratch.check.data()) != Status::ok)
            return Status::bound_violated;
        const Check c = check(in, scratch.check.data(), n, header, options);
        if (!c.holds) return Status::bound_violated;
        if (options.mse == 0 || c.squares <= options.mse * static_cast<double>(c.counted)) return Status::ok;
        options.bound = std::min(options.bound, std::sqrt(options.mse));
    }
    return Status::ok;
}

template Status encode_block<float>(const float*, const Dims&, const Header&, const EncodeOptions&,
                                    BlockScratch<float>&, Bytes&);
template Status encode_block<double>(const double*, const Dims&, const Header&, const EncodeOptions&,
                                     BlockScratch<double>&, Bytes&);

}  // namespace sciflow
