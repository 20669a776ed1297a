// Blocks as integers: multiples of a step, differenced or interpolated, and magnitudes by their bit patterns.
#include "encoder.hpp"

namespace sciflow {

namespace {

constexpr int64_t NARROW = int64_t{1} << 30;

template <class T>
constexpr int64_t largest_lattice() {
    return sizeof(T) == 4 ? int64_t{1} << 22 : int64_t{1} << 27;
}

}  // namespace

template <class T>
void Encoder<T>::to_integers(const LinearMap& map) {
    grow(s_.wide);
    int64_t held = 0;
    for (size_t i = 0; i < n_; ++i)
        if (!s_.exact[i] && map.forward(in_[i], held)) break;
    for (size_t i = 0; i < n_; ++i) {
        int64_t q = held;
        if (!s_.exact[i] && !(map.forward(in_[i], q) && keeps(map, in_[i], q))) {
            s_.exact[i] = 1;
            ++exact_count_;
            q = held;
        }
        s_.wide[i] = held = q;
    }
}

template <class T>
bool Encoder<T>::keeps(const LinearMap& map, T x, int64_t q) const {
    const T back = map.inverse<T>(q);
    if (!within(static_cast<double>(x), static_cast<double>(back), options_.bound) || avoided(back)) return false;
    int64_t again = 0;
    return !options_.lattice_only || (map.forward(back, again) && again == q);
}

template <class T>
int64_t Encoder<T>::span() const {
    int64_t least = s_.wide[0], most = s_.wide[0];
    for (size_t i = 0; i < n_; ++i) {
        least = std::min(least, s_.wide[i]);
        most = std::max(most, s_.wide[i]);
    }
    return std::max(most - s_.wide[0], s_.wide[0] - least);
}

template <class T>
LatticeJob Encoder<T>::job_of(const LinearMap& map, T middle) const {
    LatticeJob job;
    job.origin = map.origin;
    job.step = map.step;
    job.inverse = 1 / map.step;
    int64_t q = 0;
    map.forward(middle, q);
    job.base = static_cast<double>(q);
    job.bound = options_.bound;
    job.fixed_point = options_.lattice_only;
    return job;
}

template <class T>
bool Encoder<T>::to_codes(const LatticeJob& job) {
    grow(s_.codes);
    if (exact_count_ > 0) grow(s_.was_exact);
    if (exact_count_ > 0) std::copy_n(s_.exact.data(), n_, s_.was_exact.data());
    const size_t far = quantize<T>(kernels()).to_lattice(in_, n_, job, s_.codes.data(), s_.exact.data());
    if (far > 0) {
        if (exact_count_ > 0) std::copy_n(s_.was_exact.data(), n_, s_.exact.data());
        else std::fill_n(s_.exact.data(), n_, uint8_t{0});
        return false;
    }
    for (size_t i = 0; i < n_ && !avoid_.empty(); ++i)
        if (avoided(static_cast<T>(job.origin + (job.base + s_.codes[i]) * job.step))) s_.exact[i] = 1;
    exact_count_ = 0;
    each_marked(s_.exact.data(), n_, [&](size_t i) {
        if (i > 0) s_.codes[i] = s_.codes[i - 1];  // a hole repeats its neighbour
        ++exact_count_;
    });
    return true;
}

template <class T>
void Encoder<T>::lattice_of(const Choice& c) {
    const LatticeJob job = job_of(c.map);
    if (!to_codes(job)) return lorenzo_wide(c.map);
    const auto [least, most] = std::minmax_element(s_.codes.begin(), s_.codes.begin() + static_cast<ptrdiff_t>(n_));
    if (std::max<int64_t>(-int64_t{*least}, *most) >= largest_lattice<T>())
        return lorenzo_narrow(c.map, choose_lorenzo(s_.codes.data(), dims_, s_.entropy), job);
    grow(s_.work);
    for (size_t i = 0; i < n_; ++i) s_.work[i] = static_cast<T>(s_.codes[i]);
    each_marked(s_.exact.data(), n_, [&](size_t i) { s_.work[i] = std::numeric_limits<T>::quiet_NaN(); });
    MultilevelPlan plan;
    plan.mask = c.mask;
    plan.lattice = true;
    s_.failed.clear();
    multilevel_encode(s_.work.data(), dims_, {0.5, {}}, plan, s_.codes.data(), s_.failed, s_.multilevel);
    if (!s_.failed.empty()) {
        to_codes(job);
        return lorenzo_narrow(c.map, choose_lorenzo(s_.codes.data(), dims_, s_.entropy), job);
    }
    head(Mode::lattice, plain(c.map) ? PLAIN_STEP : 0);
    write_map(c.map);
    writer_.zigzag(static_cast<int64_t>(job.base));
    write_plan(dims_, plan, out_);
    write_codes(multilevel_grids(dims_, plan.mask), s_.codes);
}

template <class T>
void Encoder<T>::lorenzo_of(const LinearMap& map, unsigned mask) {
    LatticeJob job = job_of(map);
    if (int64_t q = 0; mask == 0 && map.forward(middle_of(sample_, map.step), q)) job.base = static_cast<double>(q);
    if (to_codes(job)) lorenzo_narrow(map, mask, job);
    else lorenzo_wide(map);
}

template <class T>
void Encoder<T>::lorenzo_narrow(const LinearMap& map, unsigned mask, const LatticeJob& job) {
    head(Mode::lorenzo, plain(map) ? PLAIN_STEP : 0);
    write_map(map);
    writer_.zigzag(static_cast<int64_t>(job.base));
    differences(mask, s_.codes);
}

template <class T>
void Encoder<T>::lorenzo_wide(const LinearMap& map) {
    to_integers(map);
    const unsigned mask = choose_lorenzo(s_.wide.data(), dims_, s_.entropy);
    head(Mode::lorenzo, static_cast<uint8_t>(WIDE | (plain(map) ? PLAIN_STEP : 0)));
    write_map(map);
    wide_differences(mask, true);
}

template <class T>
void Encoder<T>::autoregressive(const LinearMap& map, const Autoregression& a) {
    LatticeJob job = job_of(map);
    job.base = a.mean;
    const bool narrow = to_codes(job);
    if (!narrow) to_integers(map);
    head(Mode::lorenzo, static_cast<uint8_t>((narrow ? 0 : WIDE) | (plain(map) ? PLAIN_STEP : 0)));
    write_map(map);
    if (!narrow) return autoregress_from(static_cast<int64_t>(a.mean), true, a);
    writer_.zigzag(static_cast<int64_t>(a.mean));
    autoregress(s_.codes, a);
}

template <class T>
void Encoder<T>::autoregress_from(int64_t base, bool wide, const Autoregression& a) {
    writer_.zigzag(base);
    with_codes(base, wide, [&](auto& codes) { autoregress(codes, a); });
}

template <class T>
template <class Q>
void Encoder<T>::autoregress(std::vector<Q>& codes, const Autoregression& a) {
    writer_.u8(AUTOREGRESSIVE);
    write_autoregression(a, out_);
    GridSpec grid;
    grid.dims = dims_;
    autoregress_forward(codes.data(), dims_, a);
    write_codes({grid}, codes);
}

template <class T>
template <class Q>
void Encoder<T>::differences(unsigned mask, std::vector<Q>& codes) {
    writer_.u8(static_cast<uint8_t>(mask));
    GridSpec grid;
    grid.dims = dims_;
    lorenzo<Q>(kernels()).forward(codes.data(), dims_, mask);
    write_codes({grid}, codes);
}

template <class T>
void Encoder<T>::wide_differences(unsigned mask, bool wide) {
    const int64_t base = mask == 0 ? wide_middle() : s_.wide[0];
    writer_.zigzag(base);
    with_codes(base, wide, [&](auto& codes) { differences(mask, codes); });
}

template <class T>
int64_t Encoder<T>::wide_middle() const {
    std::vector<int64_t> some;
    for (size_t i = 0; i < n_; i += n_ / SAMPLE + 1) some.push_back(s_.wide[i]);
    return middle_of(some, 1);
}

template <class T>
void Encoder<T>::magnitudes() {
    relative_bound_ = header_.pointwise() ? options_.bound : 0;
    const MagnitudeMap map = MagnitudeMap::for_relative<T>(relative_bound_);
    grow(s_.sign);
    grow(s_.wide);
    int64_t held = 0;
    size_t signs = 0;
    for (size_t i = 0; i < n_; ++i) {
        const bool negative = std::signbit(in_[i]) && !s_.exact[i];
        s_.sign[i] = negative;
        int64_t q = held;
        if (!s_.exact[i]) {
            q = map.forward(in_[i]);
            if (!keeps_ratio(in_[i], map.template inverse<T>(q, negative))) {
                s_.exact[i] = 1;
                ++exact_count_;
                s_.sign[i] = 0;
                q = held;
            }
        }
        signs += s_.sign[i];
        s_.wide[i] = held = q;
    }
    const std::vector<int64_t> kept(s_.wide.begin(), s_.wide.begin() + static_cast<ptrdiff_t>(n_));
    const unsigned mask = choose_lorenzo(s_.wide.data(), dims_, s_.entropy);
    const size_t start = out_.size();
    magnitudes_head(map, signs);
    wide_differences(mask, span() >= NARROW);
    if (options_.level < 2) return;
    const LinearMap identity{static_cast<double>(kept[0]), 1};
    Autoregression a = likely_autoregression(kept.data(), dims_, identity, rate_since(start), options_.level >= 3);
    if (a.weight.empty()) return;
    a.mean += identity.origin;
    const Bytes differenced(out_.begin() + static_cast<ptrdiff_t>(start), out_.end());
    out_.resize(start);
    std::copy(kept.begin(), kept.end(), s_.wide.begin());
    magnitudes_head(map, signs);
    autoregress_from(static_cast<int64_t>(a.mean), span() >= NARROW, a);
    if (out_.size() - start <= differenced.size()) return;
    out_.resize(start);
    writer_.bytes(differenced);
}

template <class T>
void Encoder<T>::magnitudes_head(const MagnitudeMap& map, size_t signs) {
    const uint8_t wide = span() >= NARROW ? uint8_t{WIDE} : uint8_t{0};
    head(Mode::lorenzo, static_cast<uint8_t>(MAGNITUDES | wide | (signs ? HAS_SIGNS : 0)));
    if (signs) write_mask(s_.sign.data(), signs, dims_, s_.entropy, out_);
    writer_.varint(map.stride);
}

template <class T>
bool Encoder<T>::keeps_ratio(T x, T back) const {
    if (std::bit_cast<BitsOf<T>>(x) == std::bit_cast<BitsOf<T>>(back)) return true;
    return std::isfinite(back) && !avoided(back) &&
           error(x, back) <= relative_bound_ * std::fabs(static_cast<double>(x)) * (1 - 0x1p-50);
}

template bool Encoder<float>::keeps(const LinearMap&, float, int64_t) const;
template bool Encoder<double>::keeps(const LinearMap&, double, int64_t) const;
template LatticeJob Encoder<float>::job_of(const LinearMap&, float) const;
template LatticeJob Encoder<double>::job_of(const LinearMap&, double) const;
template void Encoder<float>::lattice_of(const Choice&);
template void Encoder<double>::lattice_of(const Choice&);
template void Encoder<float>::lorenzo_of(const LinearMap&, unsigned);
template void Encoder<double>::lorenzo_of(const LinearMap&, unsigned);
template void Encoder<float>::lorenzo_wide(const LinearMap&);
template void Encoder<double>::lorenzo_wide(const LinearMap&);
template void Encoder<float>::autoregressive(const LinearMap&, const Autoregression&);
template void Encoder<double>::autoregressive(const LinearMap&, const Autoregression&);
template void Encoder<float>::magnitudes();
template void Encoder<double>::magnitudes();

}  // namespace sciflow
