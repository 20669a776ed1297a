#include "entropy/neighbourhood.hpp"

namespace sciflow {

namespace {

constexpr int VALUE_END = 16000, TAP_END = 1023;
constexpr int GUESS_END = 1 << 20, ERROR_END = 1 << 18, WEIGHT_END = (1 << 18) - 1;

unsigned magnitude(int v) { return static_cast<unsigned>(v < 0 ? -v : v); }

int log2_floor(unsigned v) { return 31 - __builtin_clz(v); }

// Half octaves of 1 + m, at most 15; quarter octaves of 4 + m, at most ENERGIES - 1.
uint32_t half_octave(unsigned m) {
    const int e = log2_floor(m + 1);
    const unsigned half = e > 0 ? ((m + 1) >> (e - 1)) & 1 : 0;
    return std::min(2 * static_cast<unsigned>(e) + half, 15u);
}
uint32_t quarter_octave(unsigned m) {
    const int e = log2_floor(m + 4);
    return std::min(4 * static_cast<unsigned>(e - 2) + (((m + 4) >> (e - 2)) & 3), ENERGIES - 1u);
}

// A value held to -end..end, from 0 on.
uint32_t held(int v, int end) { return static_cast<uint32_t>(std::clamp(v, -end, end) + end); }

// The guess, in 256ths, in 15 steps.
uint32_t guess_step(int g) {
    constexpr unsigned ends[] = {24, 64, 112, 176, 288, 448, 768};
    int k = 0;
    for (unsigned end : ends) k += magnitude(g) >= end;
    return static_cast<uint32_t>(g < 0 ? 7 - k : 7 + k);
}

uint32_t marked(int v, int bit) { return static_cast<uint32_t>(v != 0) << bit; }

}  // namespace

int16_t* Neighbourhood::Plane::row(size_t i0, size_t i1, size_t i2) const {
    return values + ((i0 * dims.n[1] + i1) * dims.n[2] + i2) * (dims.n[X] + 2 * MARGIN) + MARGIN;
}

Neighbourhood::Neighbourhood(const std::vector<GridSpec>& grids, MixingScratch& s) : grids_(grids) {
    size_t total = 0, longest = 0;
    for (const GridSpec& g : grids) {
        total += g.dims.rows() * (g.dims.n[X] + 2 * MARGIN);
        longest = std::max(longest, g.dims.n[X]);
    }
    s.values.assign(total, 0);
    s.zeros.assign(longest + 2 * MARGIN, 0);
    zeros_ = s.zeros.data() + MARGIN;
    int16_t* at = s.values.data();
    for (const GridSpec& g : grids) {
        planes_.push_back({g.dims, at});
        at += g.dims.rows() * (g.dims.n[X] + 2 * MARGIN);
    }
}

void Neighbourhood::enter(size_t k) {
    size_t first = k;
    while (first > 0 && grids_[first].reference >= 0) --first;
    here_ = &planes_[k];
    const auto usable = [&](size_t i) {
        return planes_[i].dims.n[X] + 2 >= here_->dims.n[X] && planes_[i].dims.size() > 0 ? &planes_[i] : nullptr;
    };
    reference_ = k > first ? usable(k - 1) : nullptr;
    second_ = k > first + 1 ? usable(k - 2) : nullptr;
    parent_ = first > 0 && planes_[first - 1].dims.size() > 0 ? &planes_[first - 1] : nullptr;
    level_class_ = static_cast<int>(std::min<size_t>(k - first, CLASS_SETS - 1));
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
    const bool north = i2 > 0, plane = i1 > 0 || i0 > 0;
    if (plane) {
        const size_t p0 = i1 > 0 ? i0 : i0 - 1, p1 = i1 > 0 ? i1 - 1 : i1;
        plane_ = here_->row(p0, p1, i2);
        plane_north_ = north ? here_->row(p0, p1, i2 - 1) : plane_;
        plane_south_ = i2 + 1 < d.n[2] ? here_->row(p0, p1, i2 + 1) : plane_;
    }
    north_ = north ? here_->row(i0, i1, i2 - 1) : plane ? plane_ : zeros_;
    north2_ = i2 > 1 ? here_->row(i0, i1, i2 - 2) : north_;
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
    average_ = 0;
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

int Neighbourhood::contexts(size_t x, Mixer& mixer) {
    const int16_t *w = row_ + x, *n = north_ + x, *p = plane_ + x, *r = ref_ + x;
    const int W = w[-1], WW = w[-2], N = n[0], NW = n[-1], NE = n[1], NN = north2_[x], P = p[0], R = r[0];
    const int R2 = ref2_[x], C = coarse_[std::min(x >> coarse_shift_, coarse_last_)];
    const auto a = magnitude;
    const unsigned same = series_ ? 3 * a(W) + 2 * a(WW) + a(w[-3]) : 2 * a(W) + 2 * a(N) + a(NW) + a(NE);
    const unsigned before = alone_ ? same : 2 * a(P) + a(p[-1]) + a(p[1]) + a(plane_north_[x]) + a(plane_south_[x]);
    const unsigned other = reference_ ? 2 * a(R) + a(r[1]) + a(r[-1]) + a(ref_south_[x]) + a(R2) : same;
    const unsigned wider = a(WW) + a(NN) + a(C) + a(n[2]);
    const unsigned all = 2 * same + before + other + wider;
    guess_ = guess(x);
    const uint32_t g = guess_step(guess_), energy = quarter_octave(all);
    mixer.context = {
        half_octave(same) * 16 + half_octave(before),
        ((held(W, 2) * 5 + held(N, 2)) * 3 + held(NW, 1)) * 3 + held(NE, 1),
        ((held(W, 1) * 3 + held(N, 1)) * 5 + held(P, 2)) * 5 + held(R, 2),
        half_octave(wider + static_cast<unsigned>(average_ >> 4)) * 16 + half_octave(other),
        ((held(P, 2) * 5 + held(p[-1], 2)) * 3 + held(p[1], 1)) * 3 + held(plane_north_[x], 1),
        ((held(R2, 2) * 5 + held(C, 2)) * 3 + held(R, 1)) * 3 + held(NN, 1),
        g * ENERGIES + energy,
        (g * 5 + held(W, 2)) * 5 + held(N, 2),
        marked(W, 0) | marked(N, 1) | marked(NW, 2) | marked(NE, 3) | marked(WW, 4) | marked(NN, 5) | marked(n[2], 6) |
            marked(n[-2], 7) | marked(P, 8) | marked(p[1], 9) | marked(plane_south_[x], 10),
    };
    mixer.weights_by_class = static_cast<uint32_t>(level_class_);
    mixer.energy = energy;
    const unsigned mean = all / 28;
    return mean < 3 ? 0 : log2_floor(mean) + 1;
}

void Neighbourhood::learn(size_t x, int64_t v) {
    const int value = static_cast<int>(std::clamp<int64_t>(v, -VALUE_END, VALUE_END));
    row_[x] = static_cast<int16_t>(value);
    average_ += (static_cast<int>(magnitude(value)) * 256 - average_) >> 4;
    const int error = std::clamp(std::clamp(value, -TAP_END, TAP_END) * 256 - guess_, -ERROR_END, ERROR_END);
    const int32_t scaled = (error * 4096) >> power_;
    for (int i = 0; i < TAPS; ++i)
        weights_[i] = std::clamp(weights_[i] + ((scaled * taps_[i]) >> 10), -WEIGHT_END, WEIGHT_END);
}

}  // namespace sciflow
