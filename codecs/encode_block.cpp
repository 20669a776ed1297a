// The cheapest representation of a block at one bound.
#include "encode_body.hpp"
#include "encoder.hpp"
#include "pack/pack.hpp"

namespace sciflow {

namespace {

constexpr size_t FEW_VALUES = 16;
constexpr size_t PART_VALUES = 16384, PART_SHARE = 16;
constexpr double RASTER_PAYS = 1.03;  // of bytes of a part: it has more to learn from in all of the block
constexpr double MIXING_PAYS = 1.04;  // of a part as well
constexpr size_t MANY_HOLES = 8;      // one value in so many: then weights are tried at level max alone

}  // namespace

template <class T>
void Encoder<T>::run() {
    find_sentinels_to_avoid();
    if (is_constant(in_, n_)) {
        writer_.u8(static_cast<uint8_t>(Mode::constant));
        writer_.raw(settled(in_[0]));
        return;
    }
    grow(s_.exact);
    const std::vector<T>& sample = sample_ = draw_sample(in_, n_, options_.preserve);
    const bool free = !options_.lattice_only || options_.bound == 0;
    const bool relative = header_.pointwise() || (free && below_spacing(sample, options_.bound));
    const bool wide = !relative && !options_.lattice_only && spans_too_much(sample, options_.bound);
    const size_t start = out_.size();
    if (options_.level == 0 && !relative && packed(sample)) return raw_where_shorter(start);
    const Interval r = relative                        ? Interval{-INFINITY, INFINITY}
                       : options_.lattice_only || wide ? everywhere()
                                                       : reach(sample, 2 * options_.bound);
    low_ = relative ? std::numeric_limits<T>::lowest() : static_cast<T>(r.low);
    high_ = relative ? std::numeric_limits<T>::max() : static_cast<T>(r.high);
    mark(low_, high_);
    if (exact_count_ == n_) lorenzo_of(LinearMap{0, 1}, 0);
    else if (relative) magnitudes();
    else if (wide) wider_than_codes({0, 2 * options_.bound});
    else bounded(sample);
    raw_where_shorter(start);
}

template <class T>
void Encoder<T>::raw_where_shorter(size_t start) {
    if (out_.size() - start <= n_ * sizeof(T)) return;
    out_.resize(start);
    was_checked_ = false;
    writer_.u8(static_cast<uint8_t>(Mode::raw));
    for (size_t i = 0; i < n_; ++i) writer_.raw(settled(in_[i]));
}

template <class T>
bool Encoder<T>::packed(const std::vector<T>& drawn) {
    const size_t start = out_.size();
    const std::vector<T> sample = within_reach(drawn, reach(drawn, 2 * options_.bound));
    if (sample.empty()) return false;
    for (const LinearMap& map : options_.lattice_only ? std::vector<LinearMap>{{0, 2 * options_.bound}}
                                                      : packed_maps(sample, n_, options_.bound)) {
        const LatticeJob job = job_of(map, sample[sample.size() / 2]);
        if (options_.lattice_only && std::fabs(job.base) > 0x1p49) return false;
        const PackInput<T> input{in_, dims_, job, header_, options_, avoid_};
        const Orders orders = choose_orders(input, s_.pack);
        if (pack_values(input, orders, s_, checked_) == Packed::unfit) continue;
        exact_count_ = s_.pack.missed.size();
        if (exact_count_ > 0) std::fill_n(s_.exact.begin(), n_, uint8_t{0});
        for (uint32_t i : s_.pack.missed) s_.exact[i] = 1;
        head(Mode::packed, plain(map) ? PLAIN_STEP : 0);
        write_map(map);
        writer_.zigzag(static_cast<int64_t>(job.base));
        append_packed(orders, s_.pack, s_.entropy, out_);
        was_checked_ = true;
        if (options_.verify)
            checked_.holds &= packed_as_meant(View(out_).subspan(start), dims_, header_, job, orders, s_, in_);
        return true;
    }
    return false;
}

template <class T>
void Encoder<T>::find_sentinels_to_avoid() {
    for (uint64_t pattern : options_.preserve) {
        const T sentinel = std::bit_cast<T>(static_cast<BitsOf<T>>(pattern));
        if (!std::isfinite(sentinel)) continue;
        const double s = static_cast<double>(sentinel);
        const double near =
            1.001 * (header_.pointwise() ? options_.bound * std::fabs(s) / (1 - options_.bound) : options_.bound);
        for (size_t i = 0; i < n_; ++i)
            if (in_[i] != sentinel && std::fabs(static_cast<double>(in_[i]) - s) <= near) {
                avoid_.push_back(sentinel);
                break;
            }
    }
}

template <class T>
T Encoder<T>::settled(T x) const {
    if (!options_.lattice_only || header_.pointwise() || options_.bound == 0) return x;
    uint8_t exact = 0;
    const Interval r = everywhere();
    const Scan<T>& scan = sciflow::scan<T>(kernels());
    scan.mark_exact(&x, 1, static_cast<T>(r.low), static_cast<T>(r.high), &exact);
    for (uint64_t pattern : options_.preserve) scan.mark_pattern(&x, 1, pattern, &exact);
    const LinearMap map{0, 2 * options_.bound};
    int64_t q = 0;
    return !exact && map.forward(x, q) && keeps(map, x, q) ? map.inverse<T>(q) : x;
}

template <class T>
Interval Encoder<T>::everywhere() const {
    const double most = std::min(static_cast<double>(huge<T>()), 2 * options_.bound * 0x1p50);
    return {-most, most};
}

template <class T>
void Encoder<T>::mark(T low, T high) {
    const Scan<T>& scan = sciflow::scan<T>(kernels());
    exact_count_ = scan.mark_exact(in_, n_, low, high, s_.exact.data());
    for (uint64_t pattern : options_.preserve) exact_count_ += scan.mark_pattern(in_, n_, pattern, s_.exact.data());
}

template <class T>
void Encoder<T>::bounded(const std::vector<T>& sample) {
    const T* values = with_holes();
    std::vector<Choice> choices = choose(values, dims_, sample, options_, s_);
    rate_ = choices[0].rate;
    if (const Choice c = learned_choice(choices, sample); c.mode == Mode::learned) choices.push_back(c);
    if (options_.level >= 3) return contest(values, std::move(choices), sample);
    const size_t start = out_.size(), marked = keep_marks();
    code(values, choices[0]);
    for (size_t k = 1; k < choices.size(); ++k) rival(start, marked, [&] { code(values, choices[k]); });
    try_weights(values, choices[0].map, start, marked);
}

template <class T>
Choice Encoder<T>::learned_choice(const std::vector<Choice>& choices, const std::vector<T>& sample) const {
    Choice c;
    if (!header_.stencils || options_.lattice_only ||
        !header_.stencils->serves(Pyramid(dims_, header_.stencils->mask).level[0].active))
        return c;
    c.mode = Mode::learned;
    c.mask = header_.stencils->mask;
    c.step = rounding_safe_step(sample, options_.bound);
    c.rate = choices[0].rate;
    for (const Choice& other : choices)
        if (other.mode == Mode::multilevel) c.refinement = other.refinement;
    return c;
}

template <class T>
void Encoder<T>::wider_than_codes(const LinearMap& map) {
    const T* values = with_holes();
    const size_t start = out_.size(), marked = keep_marks();
    lorenzo_wide(map);
    try_weights(values, map, start, marked);
}

template <class T>
bool Encoder<T>::try_weights(const T* values, const LinearMap& map, size_t start, size_t marked) {
    if (options_.level < 2 || (options_.level == 2 && marked * MANY_HOLES > n_)) return false;
    weights_ = likely_autoregression(values, dims_, map, rate_since(start + head_), options_.level >= 3);
    return !weights_.weight.empty() && rival(start, marked, [&] { autoregressive(map, weights_); });
}

template <class T>
size_t Encoder<T>::keep_marks() {
    if (exact_count_ > 0) s_.marked.assign(s_.exact.begin(), s_.exact.end());
    return exact_count_;
}

template <class T>
void Encoder<T>::take_marks(size_t marked) {
    exact_count_ = marked;
    if (marked > 0) std::copy(s_.marked.begin(), s_.marked.end(), s_.exact.begin());
    else std::fill_n(s_.exact.data(), n_, uint8_t{0});
}

template <class T>
void Encoder<T>::contest(const T* values, std::vector<Choice> choices, const std::vector<T>& sample) {
    const size_t start = out_.size(), marked = keep_marks();
    if (header_.stencils) std::erase_if(choices, is_raster);  // which is there where the caller tries without them
    const auto raster = std::find_if(choices.begin(), choices.end(), is_raster);
    if (raster != choices.end()) {
        std::vector<T> part;
        const Dims dims = cut_part(part);
        const double other = bytes_of(choices[0], part, dims, true), mixed = bytes_of(*raster, part, dims, true);
        if (mixed < RASTER_PAYS * other) choices = {*raster};
        else choices.erase(raster);
        mixing_ = !is_raster(choices[0]) || bytes_of(choices[0], part, dims, false) > MIXING_PAYS * mixed;
    }
    Choice best = choices[0];
    Autoregression weights;
    if (!is_raster(best)) {
        mixing_ = false;
        code(values, best);
        for (size_t k = 1; k < choices.size(); ++k)
            if (rival(start, marked, [&] { code(values, choices[k]); })) best = choices[k];
        if (try_weights(values, choices[0].map, start, marked)) weights = weights_;
        mixing_ = true;
        out_.resize(start);
        take_marks(marked);
    }
    if (weights.weight.empty()) code(values, best);
    else autoregressive(choices[0].map, weights);
    mixing_ = true;
    const LinearMap few = map_of_few(sample);
    if (few.step > 0 && !options_.lattice_only)
        rival(start, marked, [&] { code(values, {Mode::lorenzo, 0, few, 0, 0, rate_, 0}); });
}

template <class T>
Dims Encoder<T>::cut_part(std::vector<T>& part) const {
    const size_t wanted = std::max(n_ / PART_SHARE, PART_VALUES);
    Dims d = dims_;
    while (d.size() > wanted) {
        size_t* longest = std::max_element(d.n, d.n + AXES);
        *longest = (*longest + 1) / 2;
    }
    const Layout from = Layout::dense(dims_);
    size_t first[AXES];
    for (int a = 0; a < AXES; ++a) first[a] = (dims_.n[a] - d.n[a]) / 2;
    part.clear();
    for (size_t i0 = 0; i0 < d.n[0]; ++i0)
        for (size_t i1 = 0; i1 < d.n[1]; ++i1)
            for (size_t i2 = 0; i2 < d.n[2]; ++i2) {
                const T* row = in_ + from.row(first[0] + i0, first[1] + i1, first[2] + i2) + first[X];
                part.insert(part.end(), row, row + d.n[X]);
            }
    return d;
}

template <class T>
double Encoder<T>::bytes_of(const Choice& c, const std::vector<T>& part, const Dims& dims, bool mixing) {
    if (!s_.part) s_.part = std::make_unique<BlockScratch<T>>();
    Bytes bytes;
    Encoder<T> encoder(part.data(), dims, header_, options_, *s_.part, bytes);
    encoder.mixing_ = mixing;
    encoder.whole_ = false;
    encoder.only(c, low_, high_);
    return static_cast<double>(bytes.size());
}

template <class T>
void Encoder<T>::only(const Choice& c, T low, T high) {
    find_sentinels_to_avoid();
    grow(s_.exact);
    mark(low, high);
    rate_ = c.rate;
    code(with_holes(), c);
}

template <class T>
LinearMap Encoder<T>::map_of_few(std::vector<T> sample) const {
    std::sort(sample.begin(), sample.end());
    sample.erase(std::unique(sample.begin(), sample.end()), sample.end());
    LinearMap map{0, 0};
    if (sample.size() < 2 || sample.size() > FEW_VALUES) return map;
    map.origin = static_cast<double>(sample[0]);
    double least = std::numeric_limits<double>::infinity();
    for (size_t i = 1; i < sample.size(); ++i)
        least = std::min(least, static_cast<double>(sample[i]) - static_cast<double>(sample[i - 1]));
    map.step = std::max(least, 2 * options_.bound);
    for (T v : sample) {
        int64_t q = 0;
        if (!map.forward(v, q) || !keeps(map, v, q)) return {0, 0};
    }
    return map;
}

template <class T>
void Encoder<T>::code(const T* values, const Choice& c) {
    if (c.mode == Mode::multilevel || c.mode == Mode::learned) multilevel_of(values, c);
    else if (c.mode == Mode::lattice) lattice_of(c);
    else if (c.mode == Mode::raster) raster_of(c);
    else lorenzo_of(c.map, c.mask);
}

template <class T>
const T* Encoder<T>::with_holes() {
    if (exact_count_ == 0) return in_;
    grow(s_.check);
    for (size_t i = 0; i < n_; ++i) s_.check[i] = s_.exact[i] ? std::numeric_limits<T>::quiet_NaN() : in_[i];
    return s_.check.data();
}

template <class T>
void Encoder<T>::multilevel_of(const T* values, const Choice& c) {
    grow(s_.codes);
    MultilevelPlan plan;
    plan.mask = c.mask;
    plan.step = c.step;
    plan.start = static_cast<double>(first_regular());
    plan.refinement = c.refinement;
    if (options_.level <= 1) plan.most_fitted = 1;
    if (c.mode == Mode::learned) {
        plan.stencils = header_.stencils;
        plan.set = header_.stencil_set;
    }
    s_.failed.clear();
    multilevel_encode(values, dims_, {options_.bound, avoid_}, plan, s_.codes.data(), s_.failed, s_.multilevel);
    for (uint32_t i : s_.failed) s_.exact[i] = 1;
    exact_count_ += s_.failed.size();
    head(c.mode, 0);
    if (c.mode == Mode::learned) writer_.u8(static_cast<uint8_t>(plan.set));
    write_plan(dims_, plan, out_);
    write_codes(multilevel_grids(dims_, plan.mask), s_.codes);
}

template <class T>
void Encoder<T>::raster_of(const Choice& c) {
    grow(s_.codes);
    const RasterPlan<T> plan = plan_raster(in_, s_.exact.data(), dims_, c.step);
    exact_count_ +=
        raster_encode(in_, dims_, {options_.bound, avoid_}, plan, s_.exact.data(), s_.codes.data(), s_.raster);
    head(Mode::thinned, 0);
    write_raster_plan(plan, out_);
    GridSpec grid;
    grid.dims = dims_;
    write_codes({grid}, s_.codes);
}

template <class T>
double Encoder<T>::rate_since(size_t start) const {
    return 8 * static_cast<double>(out_.size() - start) / static_cast<double>(n_);
}

template double Encoder<float>::rate_since(size_t) const;
template double Encoder<double>::rate_since(size_t) const;

template <class T>
bool encode_body(const T* in, const Dims& dims, const Header& header, const EncodeOptions& options,
                 BlockScratch<T>& scratch, Bytes& out, Check& found) {
    Encoder<T> encoder(in, dims, header, options, scratch, out);
    encoder.run();
    if (encoder.checked() == nullptr) return false;
    found = *encoder.checked();
    return true;
}

template bool encode_body<float>(const float*, const Dims&, const Header&, const EncodeOptions&, BlockScratch<float>&,
                                 Bytes&, Check&);
template bool encode_body<double>(const double*, const Dims&, const Header&, const EncodeOptions&,
                                  BlockScratch<double>&, Bytes&, Check&);

}  // namespace sciflow
