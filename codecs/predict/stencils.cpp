#include "predict/stencils.hpp"

#include <algorithm>

namespace sciflow {

namespace {

constexpr uint8_t VERSION = 1;
constexpr int MAX_SETS = 16, MAX_STENCIL_LEVELS = 4;

// Where a class stands among those of a mask, in coding order; class 0 is known before all of them.
int place_of(unsigned mask, unsigned cls) {
    int place = 0;
    for (unsigned c : CLASS_ORDER) {
        if (c & ~mask) continue;
        if (c == cls) return place;
        ++place;
    }
    return -1;
}

Status read_tap(Cursor& in, unsigned mask, unsigned cls, StencilTap& tap) {
    unsigned source = cls;
    int8_t away[AXES] = {0, 0, 0, 0};
    for (int a = 0; a < AXES; ++a) {
        if (!((mask >> a) & 1)) continue;
        uint8_t byte = 0;
        if (!in.u8(byte)) return Status::truncated;
        away[a] = static_cast<int8_t>(byte);
        if (away[a] < -MAX_STENCIL_AWAY || away[a] > MAX_STENCIL_AWAY) return Status::corrupt;
        source ^= static_cast<unsigned>(away[a] & 1) << a;
    }
    if (source == cls || place_of(mask, source) >= place_of(mask, cls)) return Status::corrupt;
    tap.cls = static_cast<uint8_t>(source);
    for (int a = 0; a < AXES; ++a) {
        const int odd = static_cast<int>(cls >> a & 1), from = static_cast<int>(source >> a & 1);
        tap.shift[a] = static_cast<int8_t>((odd + away[a] - from) / 2);
    }
    return Status::ok;
}

bool same(const StencilTap& a, const StencilTap& b) {
    return a.cls == b.cls && std::equal(a.shift, a.shift + AXES, b.shift);
}

// A class's cells, each of them once.
Status read_taps(Cursor& in, unsigned mask, unsigned cls, StencilTap* taps, size_t count) {
    for (size_t k = 0; k < count; ++k) {
        if (Status s = read_tap(in, mask, cls, taps[k]); s != Status::ok) return s;
        if (std::any_of(taps, taps + k, [&](const StencilTap& t) { return same(t, taps[k]); })) return Status::corrupt;
    }
    return Status::ok;
}

}  // namespace

const int16_t* Stencils::weights_of(int set, int level, unsigned cls) const {
    const int classes = (1 << __builtin_popcount(mask)) - 1;
    const int row = (set * levels + std::min(level, levels - 1)) * classes + place_of(mask, cls);
    return weights.data() + static_cast<size_t>(row) * static_cast<size_t>(taps);
}

Status read_stencils(View bytes, Stencils& s) {
    Cursor in(bytes);
    uint8_t version = 0, axes = 0, sets = 0, levels = 0, taps = 0;
    if (!in.u8(version)) return Status::truncated;
    if (version != VERSION) return Status::unsupported;
    if (!in.u8(axes) || !in.u8(sets) || !in.u8(levels) || !in.u8(taps)) return Status::truncated;
    if (axes < 1 || axes >= AXES || sets < 1 || sets > MAX_SETS || levels < 1 || levels > MAX_STENCIL_LEVELS ||
        taps < 1 || taps > MAX_STENCIL_TAPS)
        return Status::corrupt;
    s.mask = ((1u << axes) - 1) << (AXES - axes);
    s.sets = sets;
    s.levels = levels;
    s.taps = taps;
    for (unsigned c : CLASS_ORDER) {
        if (c & ~s.mask) continue;
        if (Status status = read_taps(in, s.mask, c, s.tap[c].data(), taps); status != Status::ok) return status;
    }
    const size_t count = size_t{sets} * levels * ((size_t{1} << axes) - 1) * taps;
    s.weights.resize(count);
    for (int16_t& w : s.weights)
        if (!in.raw(w)) return Status::truncated;
    return in.left() == 0 ? Status::ok : Status::corrupt;
}

}  // namespace sciflow
