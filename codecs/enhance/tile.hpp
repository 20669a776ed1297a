// A tile of an array in fixed point, with what the enhancer asks of it: integers with a mirrored border, and classes.
#pragma once

#include <span>

#include "enhance/model.hpp"
#include "kernels.hpp"

namespace sciflow::enhance {

// Any array as slabs of up to three axes: the last ones that are longer than one; slabs know nothing of each other.
struct Volume {
    size_t slabs = 1, nz = 1, ny = 1, nx = 1;
    int axes = 1;

    static Volume of(std::span<const uint64_t> shape);
    size_t plane() const { return ny * nx; }
    size_t slab() const { return nz * plane(); }
    size_t size() const { return slabs * slab(); }
};

// Planes `first` to `first + count` of a slab.
struct Part {
    size_t slab = 0, first = 0, count = 0;
};

// The parts that an array is worked on in; `planes` at most each.
std::vector<Part> cut(const Volume& v, size_t planes);
size_t default_planes(const Volume& v);

// What maps values to integers: the same for every cell of an array.
struct Scale {
    double unit = 1, origin = 0;
};

template <class T>
struct Field {
    const T* data = nullptr;
    std::span<const uint64_t> patterns;  // bit patterns that are marks, not data
};

// Another array of the same shape, of either type, that is read beside it.
struct AuxArray {
    const void* data = nullptr;
    bool wide = false;  // binary64
};

class Tile {
  public:
    explicit Tile(const Volume& v);

    // Integers of a part and its border. A cell that has none gets that of a cell beside it, and is a hole.
    template <class T>
    void load(const Field<T>& field, const Scale& scale, const Part& part);
    void load(const AuxArray& array, const AuxScale& scale, const Part& part);

    // Sums of slopes over the 5^axes cells around each: call before `activity`.
    void measure();

    const Part& part() const { return part_; }
    const int32_t* row(size_t z, size_t y) const { return t_.data() + at(z, y); }  // of the part, not of the slab
    const uint8_t* holes(size_t z, size_t y) const {
        return any_hole_ ? hole_.data() + (z * v_.ny + y) * v_.nx : nullptr;
    }
    void activity(size_t z, size_t y, int32_t* out) const;
    void classes(const Model& model, size_t z, size_t y, int32_t* scratch, int32_t* out) const;
    ptrdiff_t step(int pair) const;  // to one neighbour of a pair

  private:
    static constexpr size_t REACH = 3;  // two cells for the filter and the sums, one more for the slopes

    size_t at(size_t z, size_t y) const { return ((z + hz_) * py_ + y + hy_) * px_ + REACH; }
    template <class T>
    void load_row(const Field<T>& field, const Scale& scale, size_t source, int32_t* out, uint8_t* hole);

    Volume v_;
    Part part_;
    size_t hz_, hy_, py_, px_;
    std::vector<int32_t> t_, sums_;
    std::vector<uint8_t> hole_, row_hole_;
    bool any_hole_ = false;
};

}  // namespace sciflow::enhance
