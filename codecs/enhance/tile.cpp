#include "enhance/tile.hpp"

#include <algorithm>

#include "values.hpp"

namespace sciflow::enhance {

namespace {

// Beyond its ends an axis is mirrored, the end cells not doubled.
size_t mirror(ptrdiff_t i, size_t n) {
    if (n == 1) return 0;
    const ptrdiff_t period = 2 * (static_cast<ptrdiff_t>(n) - 1);
    i = (i % period + period) % period;
    return static_cast<size_t>(i < static_cast<ptrdiff_t>(n) ? i : period - i);
}

struct Step {
    int z, y, x;
};

// One of each pair of opposite neighbours within two steps, in lexicographic order.
constexpr Step STEPS[4][MAX_PAIRS] = {
    {},
    {{0, 0, 1}, {0, 0, 2}},
    {{0, 0, 1}, {0, 0, 2}, {0, 1, -1}, {0, 1, 0}, {0, 1, 1}, {0, 2, 0}},
    {{0, 0, 1},
     {0, 0, 2},
     {0, 1, -1},
     {0, 1, 0},
     {0, 1, 1},
     {0, 2, 0},
     {1, -1, 0},
     {1, 0, -1},
     {1, 0, 0},
     {1, 0, 1},
     {1, 1, 0},
     {2, 0, 0}},
};

// A hole takes the integer of the last cell before it in its row that has one, else of the first behind it, else 0.
void fill_holes(const uint8_t* hole, size_t n, int32_t* t) {
    size_t first = 0;
    while (first < n && hole[first]) ++first;
    int32_t last = first < n ? t[first] : 0;
    for (size_t i = 0; i < n; ++i) {
        if (hole[i]) t[i] = last;
        else last = t[i];
    }
}

}  // namespace

Volume Volume::of(std::span<const uint64_t> shape) {
    Volume v;
    size_t* const axis[3] = {&v.nx, &v.ny, &v.nz};
    int found = 0;
    for (size_t i = shape.size(); i-- > 0;) {
        const size_t n = static_cast<size_t>(shape[i]);
        if (n == 1) continue;
        if (found < 3) *axis[found++] = n;
        else v.slabs *= n;
    }
    v.axes = std::max(found, 1);
    return v;
}

std::vector<Part> cut(const Volume& v, size_t planes) {
    std::vector<Part> parts;
    if (v.size() == 0) return parts;
    for (size_t s = 0; s < v.slabs; ++s)
        for (size_t z = 0; z < v.nz; z += planes) parts.push_back({s, z, std::min(planes, v.nz - z)});
    return parts;
}

size_t default_planes(const Volume& v) {
    constexpr size_t CELLS = size_t{1} << 19, LEAST = 16;  // thin parts would be mostly border
    return std::max(LEAST, CELLS / std::max<size_t>(v.plane(), 1));
}

Tile::Tile(const Volume& v)
    : v_(v), hz_(v.axes > 2 ? REACH : 0), hy_(v.axes > 1 ? REACH : 0), py_(v.ny + 2 * hy_), px_(v.nx + 2 * REACH) {}

template <class T>
void Tile::load_row(const Field<T>& field, const Scale& scale, size_t source, int32_t* out, uint8_t* hole) {
    const FixedPoint<T>& fixed = fixed_point<T>(kernels());
    const T* in = field.data + source;
    std::fill_n(hole, v_.nx, uint8_t{0});
    bool whole = fixed.to_fixed(in, v_.nx, scale.origin, 1.0 / scale.unit, out, hole);
    if (!field.patterns.empty())
        for (size_t x = 0; x < v_.nx; ++x)
            if (listed(in[x], field.patterns)) hole[x] = 1, whole = false;
    if (!whole) fill_holes(hole, v_.nx, out);
    any_hole_ |= !whole;
    for (size_t k = 1; k <= REACH; ++k) {
        out[-static_cast<ptrdiff_t>(k)] = out[mirror(-static_cast<ptrdiff_t>(k), v_.nx)];
        out[v_.nx + k - 1] = out[mirror(static_cast<ptrdiff_t>(v_.nx + k - 1), v_.nx)];
    }
}

template <class T>
void Tile::load(const Field<T>& field, const Scale& scale, const Part& part) {
    part_ = part;
    any_hole_ = false;
    const size_t pz = part.count + 2 * hz_;
    t_.resize(pz * py_ * px_);
    hole_.resize(part.count * v_.plane());
    row_hole_.resize(v_.nx);
    for (size_t z = 0; z < pz; ++z) {
        const size_t zs = mirror(static_cast<ptrdiff_t>(part.first + z) - static_cast<ptrdiff_t>(hz_), v_.nz);
        const bool inside = z >= hz_ && z < hz_ + part.count;
        for (size_t y = 0; y < v_.ny; ++y) {
            uint8_t* const hole = inside ? hole_.data() + ((z - hz_) * v_.ny + y) * v_.nx : row_hole_.data();
            load_row(field, scale, part.slab * v_.slab() + zs * v_.plane() + y * v_.nx,
                     t_.data() + (z * py_ + y + hy_) * px_ + REACH, hole);
        }
        for (size_t k = 1; k <= hy_; ++k) {
            const auto row = [&](size_t y) { return t_.data() + (z * py_ + y) * px_; };
            const size_t above = mirror(-static_cast<ptrdiff_t>(k), v_.ny);
            const size_t below = mirror(static_cast<ptrdiff_t>(v_.ny + k - 1), v_.ny);
            std::copy_n(row(above + hy_), px_, row(hy_ - k));
            std::copy_n(row(below + hy_), px_, row(hy_ + v_.ny + k - 1));
        }
    }
}

void Tile::load(const AuxArray& array, const AuxScale& scale, const Part& part) {
    const Scale s{scale.unit, scale.origin};
    if (array.wide) load(Field<double>{static_cast<const double*>(array.data), {}}, s, part);
    else load(Field<float>{static_cast<const float*>(array.data), {}}, s, part);
}

void Tile::measure() {
    // Slopes of two cells around the part, summed along x at once; then along y; `activity` sums along z.
    const EnhanceRows& k = kernels().enhance;
    const size_t bz = hz_ ? 2 : 0, by = hy_ ? 2 : 0;
    const size_t rows_z = part_.count + 2 * bz, rows_y = v_.ny + 2 * by;
    const ptrdiff_t forward[3] = {1, static_cast<ptrdiff_t>(px_), static_cast<ptrdiff_t>(px_ * py_)};
    std::vector<int32_t> slopes(v_.nx + 4), along_x(rows_y * v_.nx);
    sums_.resize(rows_z * v_.plane());
    for (size_t z = 0; z < rows_z; ++z) {
        for (size_t y = 0; y < rows_y; ++y) {
            const int32_t* t = t_.data() + ((z + hz_ - bz) * py_ + y + hy_ - by) * px_ + REACH - 2;
            k.activity(t, forward, v_.axes, v_.nx + 4, slopes.data());
            const int32_t* s = slopes.data();
            const int32_t* const five[5] = {s, s + 1, s + 2, s + 3, s + 4};
            k.sum_of_five(five, v_.nx, along_x.data() + y * v_.nx);
        }
        for (size_t y = 0; y < v_.ny; ++y) {
            int32_t* const out = sums_.data() + (z * v_.ny + y) * v_.nx;
            const int32_t* s = along_x.data() + y * v_.nx;
            if (by == 0) {
                std::copy_n(s, v_.nx, out);
                continue;
            }
            const int32_t* const five[5] = {s, s + v_.nx, s + 2 * v_.nx, s + 3 * v_.nx, s + 4 * v_.nx};
            k.sum_of_five(five, v_.nx, out);
        }
    }
}

void Tile::activity(size_t z, size_t y, int32_t* out) const {
    const int32_t* s = sums_.data() + (z * v_.ny + y) * v_.nx;
    if (hz_ == 0) {
        std::copy_n(s, v_.nx, out);
        return;
    }
    const size_t p = v_.plane();
    const int32_t* const five[5] = {s, s + p, s + 2 * p, s + 3 * p, s + 4 * p};
    kernels().enhance.sum_of_five(five, v_.nx, out);
}

void Tile::classes(const Model& model, size_t z, size_t y, int32_t* scratch, int32_t* out) const {
    const EnhanceRows& k = kernels().enhance;
    std::fill_n(out, v_.nx, 0);
    if (!model.activity.empty()) {
        activity(z, y, scratch);
        k.count_edges(scratch, v_.nx, model.activity.data(), model.activity.size(),
                      static_cast<int32_t>(model.second_bins()), out);
    }
    if (model.second == Second::value) k.count_edges(row(z, y), v_.nx, model.value.data(), model.value.size(), 1, out);
    if (model.second != Second::parity) return;
    const size_t zy = ((part_.first + z) & 1) << 2 | (y & 1) << 1;
    const int32_t mask = (1 << v_.axes) - 1;
    for (size_t x = 0; x < v_.nx; ++x) out[x] += static_cast<int32_t>(zy | (x & 1)) & mask;
}

ptrdiff_t Tile::step(int pair) const {
    const Step& s = STEPS[v_.axes][pair];
    const ptrdiff_t row = static_cast<ptrdiff_t>(px_);
    return (s.z * static_cast<ptrdiff_t>(py_) + s.y) * row + s.x;
}

template void Tile::load<float>(const Field<float>&, const Scale&, const Part&);
template void Tile::load<double>(const Field<double>&, const Scale&, const Part&);

}  // namespace sciflow::enhance
