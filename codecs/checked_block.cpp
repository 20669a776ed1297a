// A block that keeps every promise: of its bound, of its regions', of the mean squared error.
#include <algorithm>
#include <cmath>

#include "check.hpp"
#include "refine.hpp"
#include "values.hpp"

namespace sciflow {

namespace {

constexpr size_t TIGHT_SHARE = 4;  // from a quarter of the block on, the tightest bound for all of it is tried
constexpr int MSE_ATTEMPTS = 3;    // the last with a bound that cannot miss

template <class T>
Status encode_checked(const T* in, const Dims& dims, const Header& header, const EncodeOptions& asked,
                      BlockScratch<T>& scratch, Bytes& out) {
    EncodeOptions options = asked;
    options.bound = std::min(options.bound, static_cast<double>(huge<T>()) / 4);  // twice it must not overflow
    const double surely = std::sqrt(options.mse);
    if (options.mse > 0 && options.lattice_only) options.bound = std::min(options.bound, surely);
    const size_t start = out.size(), n = dims.size();
    for (int attempt = 0; attempt < MSE_ATTEMPTS; ++attempt) {
        out.resize(start);
        Check c;
        const bool seen = encode_unchecked(in, dims, header, options, scratch, out, c) && !options.regions.of;
        if (options.regions.of)
            if (Status s = refine(in, dims, header, options, scratch, out, start); s != Status::ok) return s;
        if (!options.verify && options.mse == 0) return Status::ok;
        if (!seen) {
            if (scratch.check.size() < n) scratch.check.resize(n);
            if (decode_block(View(out).subspan(start), dims, header, scratch, scratch.check.data()) != Status::ok)
                return Status::bound_violated;
            c = check(in, scratch.check.data(), n, header, options);
        }
        if (!c.holds) return Status::bound_violated;
        const double allowed = options.mse * static_cast<double>(c.counted);
        if (options.mse == 0 || c.squares <= allowed) return Status::ok;
        const double next = attempt + 2 < MSE_ATTEMPTS ? options.bound * std::sqrt(allowed / c.squares) * 0.98 : surely;
        options.bound = std::min(options.bound, next);
    }
    return Status::ok;
}

}  // namespace

template <class T>
Status encode_block(const T* in, const Dims& dims, const Header& header, const EncodeOptions& asked,
                    BlockScratch<T>& scratch, Bytes& out) {
    if (!asked.regions.of) return encode_checked(in, dims, header, asked, scratch, out);
    const auto [tightest, loosest, tighter] = bounds_of(asked.regions, dims.size());
    const size_t start = out.size();
    EncodeOptions options = asked;
    options.bound = loosest;
    const Status s = encode_checked(in, dims, header, options, scratch, out);
    if (s != Status::ok || tighter < dims.size() / TIGHT_SHARE) return s;
    const Bytes refined(out.begin() + static_cast<ptrdiff_t>(start), out.end());
    out.resize(start);
    options.bound = tightest;
    if (Status st = encode_checked(in, dims, header, options, scratch, out); st != Status::ok) return st;
    if (out.size() - start <= refined.size()) return Status::ok;
    out.resize(start);
    Writer(out).bytes(refined);
    return Status::ok;
}

template Status encode_block<float>(const float*, const Dims&, const Header&, const EncodeOptions&,
                                    BlockScratch<float>&, Bytes&);
template Status encode_block<double>(const double*, const Dims&, const Header&, const EncodeOptions&,
                                     BlockScratch<double>&, Bytes&);

}  // namespace sciflow
