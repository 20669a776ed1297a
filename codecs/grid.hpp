// Geometry: every block is seen as four axes (x last), and halved level by level into parity classes.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

namespace sciflow {

inline constexpr int AXES = 4;
inline constexpr int X = 3;
inline constexpr int CLASSES = 1 << AXES;
inline constexpr int MAX_LEVELS = 22;

struct Dims {
    size_t n[AXES] = {1, 1, 1, 1};

    size_t size() const { return n[0] * n[1] * n[2] * n[3]; }
    size_t rows() const { return n[0] * n[1] * n[2]; }
};

// A grid of rows with room for the halo: two cells left of each row, two right of it.
inline constexpr size_t HALO = 2;

struct Layout {
    size_t stride[AXES] = {0, 0, 0, 1};

    static Layout padded(const Dims& d) { return of(d, d.n[X] + 2 * HALO); }
    static Layout dense(const Dims& d) { return of(d, d.n[X]); }
    static size_t padded_size(const Dims& d) { return d.rows() * (d.n[X] + 2 * HALO); }

    size_t row(size_t i0, size_t i1, size_t i2) const { return i0 * stride[0] + i1 * stride[1] + i2 * stride[2]; }

  private:
    static Layout of(const Dims& d, size_t row) {
        Layout l;
        l.stride[2] = row;
        l.stride[1] = d.n[2] * l.stride[2];
        l.stride[0] = d.n[1] * l.stride[1];
        return l;
    }
};

// Level 0 is the block. Each level halves the axes that `mask` names and that are longer than one: the even
// positions of all of them (class 0) are the next level's grid, the other classes are predicted from it.
struct Pyramid {
    struct Level {
        uint8_t active = 0;  // axes halved here, bit i for axis i
        Dims full;
    };
    int levels = 0;
    std::array<Level, MAX_LEVELS> level{};
    Dims coarsest;

    Pyramid(const Dims& block, unsigned mask) {
        Dims d = block;
        for (;;) {
            unsigned active = 0;
            for (int a = 0; a < AXES; ++a)
                if (((mask >> a) & 1) && d.n[a] > 1) active |= 1u << a;
            if (active == 0) break;
            level[levels].active = static_cast<uint8_t>(active);
            level[levels].full = d;
            ++levels;
            d = class_dims(levels - 1, 0);
        }
        coarsest = d;
    }

    // True where the class exists at the level: it is odd only along active axes.
    bool has(int l, unsigned c) const { return (c & ~unsigned{level[l].active}) == 0; }

    Dims class_dims(int l, unsigned c) const {
        Dims d = level[l].full;
        for (int a = 0; a < AXES; ++a) {
            if (!((level[l].active >> a) & 1)) continue;
            d.n[a] = ((c >> a) & 1) ? d.n[a] / 2 : (d.n[a] + 1) / 2;
        }
        return d;
    }
};

// Classes in coding order: fewer odd axes first, so that every source is known before it is used.
inline constexpr std::array<uint8_t, CLASSES - 1> CLASS_ORDER = {1, 2, 4, 8, 3, 5, 6, 9, 10, 12, 7, 11, 13, 14, 15};

}  // namespace sciflow
