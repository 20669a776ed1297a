#include "entropy/neighbourhood.hpp"

namespace sciflow {

namespace {

constexpr int VALUE_END = 16000, TAP_END = 1023;
constexpr int GUESS_END = 1 << 20, ERROR_END = 1 << 18, WEIGHT_END = (1 << 18) - 1;

unsigned magnitude(int v) { return static_cast<unsigned>(v < 0 ? -v : v); }

int log2_floor(unsigned v) { return 31 - __builtin_clz(v); }

// Quarter octaves of 4 + m, at most ENERGIES - 1.
uint32_t quarter_octave(unsigned m) {
    const int e = log2_floor(m + 4);
    return std::min(4 * static_cast<unsigned>(e - 2) + (((m + 4) >> (e - 2)) & 3), ENERGIES - 1u);
}

// A value held to -end..end, from 0 on.
uint32_t held(int v, int end) { return static_cast<uint32_t>(std::clamp(v, -end, end) + end); }
int16_t held16(int16_t v, int16_t end) {
    return static_cast<int16_t>(std::clamp<int16_t>(v, static_cast<int16_t>(-end), end) + end);
}

// The guess, in 256ths, in GUESSES steps.
uint32_t guess_step(int g) {
    constexpr unsigned ends[] = {24, 64, 112, 176, 288, 448, 768};
    int k = 0;
    for (unsigned end : ends) k += magnitude(g) >= end;
    return static_cast<uint32_t>(g < 0 ? 7 - k : 7 + k);
}

}  // namespace

void RowScratch::assign(size_t longest) {
    quiet.assign(longest + 1, 0);
    rest.assign(longest, 0);
    coarse.assign(longest, 0);
    for (auto& p : part) p.assign(longest, 0);
}

int16_t* Neighbourhood::Plane::row(size_t i0, size_t i1, size_t i2) const {
    return values + ((i0 * dims.n[1] + i1) * dims.n[2] + i2) * (dims.n[X] + 2 * MARGIN) + MARGIN;
}

Neighbourhood::Neighbourhood(const std::vector<GridSpec>& grids, MixingScratch& s) : grids_(grids), s_(&s.rows[0]) {
    size_t total = 0, longest = 0;
    for (const GridSpec& g : grids) {
        total += g.dims.rows() * (g.dims.n[X] + 2 * MARGIN);
        longest = std::max(longest, g.dims.n[X]);
    }
    s.values.assign(total, 0);
    s.zeros.assign(longest + 2 * MARGIN, 0);
    zeros_ = s.zeros.data() + MARGIN;
    s_->assign(longest);
    int16_t* at = s.values.data();
    for (const GridSpec& g : grids) {
        planes_.push_back({g.dims, at});
        at += g.dims.rows() * (g.dims.n[X] + 2 * MARGIN);
    }
}

Neighbourhood::Neighbourhood(const Neighbourhood& first, RowScratch& rows)
    : grids_(first.grids_), s_(&rows), planes_(first.planes_), zeros_(first.zeros_) {
    s_->assign(first.s_->rest.size());
}

void Neighbourhood::enter(size_t k, const std::array<size_t, 3>& first_row) {
    first_ = first_row;
    size_t first = k;
    while (first > 0 && grids_[first].reference >= 0) --first;
    here_ = &planes_[k];
    const auto usable = [&](size_t i) {
        return planes_[i].dims.n[X] + 2 >= here_->dims.n[X] && planes_[i].dims.size() > 0 ? &planes_[i] : nullptr;
    };
    reference_ = k > first ? usable(k - 1) : nullptr;
    second_ = k > first + 1 ? usable(k - 2) : nullptr;
    parent_ = first > 0 && planes_[first - 1].dims.size() > 0 ? &planes_[first - 1] : nullptr;
    level_class_ = static_cast<int>(std::min<size_t>(k - first, LEVEL_CLASSES - 1));
    series_ = here_->dims.rows() < 16;
    weights_ = all_weights_[series_ ? 8 : level_class_];
}

const int16_t* Neighbourhood::row_of(const Plane* p, size_t i0, size_t i1, size_t i2) const {
    if (!p) return zeros_;
    const Dims& d = p->dims;
    return p->row(std::min(i0, d.n[0] - 1), std::min(i1, d.n[1] - 1), std::min(i2, d.n[2] - 1));
}

void Neighbourhood::enter_row(size_t i0, size_t i1, size_t i2) {
    const Dims& d = here_->dims;
    row_ = here_->row(i0, i1, i2);
    const bool north = i2 > first_[2], plane = i1 > first_[1] || i0 > first_[0];
    if (plane) {
        const size_t p0 = i1 > first_[1] ? i0 : i0 - 1, p1 = i1 > first_[1] ? i1 - 1 : i1;
        plane_ = here_->row(p0, p1, i2);
        plane_north_ = north ? here_->row(p0, p1, i2 - 1) : plane_;
        plane_south_ = i2 + 1 < d.n[2] ? here_->row(p0, p1, i2 + 1) : plane_;
    }
    north_ = north ? here_->row(i0, i1, i2 - 1) : plane ? plane_ : zeros_;
    north2_ = i2 > first_[2] + 1 ? here_->row(i0, i1, i2 - 2) : north_;
    if (!plane) {
        plane_ = plane_south_ = north_;
        plane_north_ = north2_;
    }
    alone_ = !north && !plane;
    ref_ = row_of(reference_, i0, i1, i2);
    ref_south_ = row_of(reference_, i0, i1, i2 + 1);
    ref2_ = row_of(second_, i0, i1, i2);
    coarse_ = zeros_;
    coarse_last_ = 0;
    coarse_shift_ = 0;
    if (parent_) {
        const auto shift = [&](int a) { return d.n[a] > 1 && 2 * parent_->dims.n[a] <= d.n[a] + 1 ? 1 : 0; };
        coarse_ = row_of(parent_, i0 >> shift(0), i1 >> shift(1), i2 >> shift(2));
        coarse_last_ = parent_->dims.n[X] - 1;
        coarse_shift_ = shift(X);
    }
    summarize_row();
}

// Sixteen neighbours, weighed; in 256ths.
int Neighbourhood::guess(size_t x) {
    const int16_t *w = row_ + x, *n = north_ + x, *p = plane_ + x, *r = ref_ + x;
    const int16_t grid[TAPS] = {
        w[-1],           w[-2],           n[0], n[-1], n[1],  north2_[x],    p[0],    p[-1], p[1],
        plane_north_[x], plane_south_[x], r[0], r[1],  r[-1], ref_south_[x], ref2_[x]};
    const int16_t line[TAPS] = {w[-1], w[-2], w[-3], w[-4], w[-5], w[-6], w[-7], w[-8],
                                n[0],  n[-1], n[1],  p[0],  r[0],  r[1],  r[-1], ref2_[x]};
    const int16_t* tap = series_ ? line : grid;
    int32_t sum = 0, energy = 64;
    for (int i = 0; i < TAPS; ++i) {
        const int32_t t = std::clamp<int32_t>(tap[i], -TAP_END, TAP_END);
        taps_[i] = t;
        sum += (weights_[i] * t) >> 4;
        energy += t * t;
    }
    power_ = log2_floor(static_cast<unsigned>(energy));
    return std::clamp(sum >> 4, -GUESS_END, GUESS_END);
}

// What the other rows say of each column.
void Neighbourhood::summarize_row() {
    const size_t n = here_->dims.n[X];
    int16_t* coarse = s_->coarse.data();
    if (parent_) {
        for (size_t x = 0; x < n; ++x) coarse[x] = coarse_[std::min(x >> coarse_shift_, coarse_last_)];
    } else {
        std::fill(coarse, coarse + n, int16_t{0});
    }
    const int16_t *north = north_, *north2 = north2_, *p = plane_, *pn = plane_north_, *ps = plane_south_;
    const int16_t *r = ref_, *rs = ref_south_, *r2 = ref2_;
    const unsigned northern = series_ ? 0u : 2u + alone_ + !reference_;
    const unsigned before = alone_ ? 0 : 1;
    uint32_t* rest = s_->rest.data();
    const auto a = [](int16_t v) { return static_cast<unsigned>(v < 0 ? -v : v); };
    for (size_t x = 0; x < n; ++x)
        rest[x] = northern * (2 * a(north[x]) + a(north[x - 1]) + a(north[x + 1])) +
                  before * (2 * a(p[x]) + a(p[x - 1]) + a(p[x + 1]) + a(pn[x]) + a(ps[x])) + 2 * a(r[x]) + a(r[x + 1]) +
                  a(r[x - 1]) + a(rs[x]) + a(r2[x]) + a(north2[x]) + a(coarse[x]) + a(north[x + 2]);
    uint16_t *part0 = s_->part[0].data(), *part1 = s_->part[1].data(), *part2 = s_->part[2].data();
    const auto u = [](int v) { return static_cast<uint16_t>(v); };
    for (size_t x = 0; x < n; ++x) {
        part0[x] = u((held16(north[x], 1) * 5 + held16(p[x], 2)) * 5 + held16(r[x], 2));
        part1[x] = u(((held16(p[x], 2) * 5 + held16(p[x - 1], 2)) * 3 + held16(p[x + 1], 1)) * 3 + held16(pn[x], 1));
    }
    for (size_t x = 0; x < n; ++x)
        part2[x] = u(((held16(r2[x], 2) * 5 + held16(coarse[x], 2)) * 3 + held16(r[x], 1)) * 3 + held16(north2[x], 1));
    s_->quiet[n] = 0;
    for (size_t x = n; x-- > 0;) s_->quiet[x] = rest[x] == 0 ? s_->quiet[x + 1] + 1 : 0;
}

uint32_t Neighbourhood::run_context(size_t x, size_t run) const {
    const uint32_t wide = s_->quiet[x] >= 2 * run, size = static_cast<uint32_t>(log2_floor(static_cast<unsigned>(run)));
    return ((static_cast<uint32_t>(level_class_) * 5 + size) * 2 + wide) * 8 + runs_;
}

Surroundings Neighbourhood::look(size_t x) {
    const int16_t* w = row_ + x;
    const int W = w[-1], WW = w[-2], N = north_[x];
    const auto a = magnitude;
    const unsigned west = series_ ? 3 * a(W) + 2 * a(WW) + a(w[-3]) : 2 * a(W);
    const unsigned all = s_->rest[x] + (2u + alone_ + !reference_) * west + a(WW);
    calm_ = all == 0;
    guess_ = calm_ ? 0 : guess(x);
    const uint32_t energy = quarter_octave(all), lean = held(guess_ >> (energy / 4 + 3), 7);
    const uint32_t g = all < 56 ? guess_step(guess_) : lean, w2 = held(W, 2);
    const unsigned mean = all / 28;
    return {{
                held(W, 1) * 75 + s_->part[0][x],
                s_->part[1][x],
                s_->part[2][x],
                g * ENERGIES + energy,
                (g * 5 + w2) * 5 + held(N, 2),
            },
            energy,
            lean,
            mean < 4 ? 0 : log2_floor(mean) + 1};
}

void Neighbourhood::learn(size_t x, int64_t v) {
    const int value = static_cast<int>(std::clamp<int64_t>(v, -VALUE_END, VALUE_END));
    row_[x] = static_cast<int16_t>(value);
    if (calm_) return;
    const int error = std::clamp(std::clamp(value, -TAP_END, TAP_END) * 256 - guess_, -ERROR_END, ERROR_END);
    const int32_t scaled = (error * 4096) >> power_;
    for (int i = 0; i < TAPS; ++i)
        weights_[i] = std::clamp(weights_[i] + ((scaled * taps_[i]) >> 10), -WEIGHT_END, WEIGHT_END);
}

}  // namespace sciflow
