#include "check.hpp"

#include "values.hpp"

namespace sciflow {

namespace {

template <class T>
bool clearly_holds(const T* in, const T* out, size_t n, const EncodeOptions& o) {
    const Scan<T>& scan = sciflow::scan<T>(kernels());
    T limit = static_cast<T>(o.bound);
    if (static_cast<double>(limit) > o.bound) limit = std::nextafter(limit, T(0));
    if (!scan.clearly_within(in, out, n, limit)) return false;
    for (uint64_t pattern : o.preserve)
        if (!scan.pattern_kept(in, out, n, pattern)) return false;
    return true;
}

}  // namespace

template <class T>
Check check(const T* in, const T* out, size_t n, const Header& h, const EncodeOptions& o) {
    Check c;
    if (o.mse == 0 && !h.pointwise() && !o.regions.of && clearly_holds(in, out, n, o)) return c;
    for (size_t i = 0; i < n; ++i) {
        if (std::bit_cast<BitsOf<T>>(in[i]) == std::bit_cast<BitsOf<T>>(out[i])) {
            c.counted += std::isfinite(in[i]) && !listed(in[i], o.preserve);
            continue;
        }
        const double x = static_cast<double>(in[i]), y = static_cast<double>(out[i]);
        const bool exact = !std::isfinite(in[i]) || (x == 0 && std::signbit(in[i])) || listed(in[i], o.preserve) ||
                           listed(out[i], o.preserve);
        const double bound = o.regions.of ? o.regions.bounds[o.regions.of[i]] : o.bound;
        if (exact || !within(x, y, h.pointwise() ? bound * std::fabs(x) : bound)) {
            c.holds = false;
            return c;
        }
        c.squares += (x - y) * (x - y);
        ++c.counted;
    }
    return c;
}

template Check check<float>(const float*, const float*, size_t, const Header&, const EncodeOptions&);
template Check check<double>(const double*, const double*, size_t, const Header&, const EncodeOptions&);

}  // namespace sciflow
