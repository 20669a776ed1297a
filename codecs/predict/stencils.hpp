// Weights that a model learned: a parity class predicted from the nearest cells known before it, in place of the cells
// along its odd axes alone. docs/aesz-format.md section 8.
#pragma once

#include <vector>

#include "bytes.hpp"
#include "grid.hpp"
#include "kernels.hpp"

namespace sciflow {

inline constexpr int MAX_STENCIL_AWAY = 3;  // cells of a level's grid, along any axis

// A cell that is read: its class, and its place there less that of the cell that is predicted.
struct StencilTap {
    uint8_t cls = 0;
    int8_t shift[AXES] = {0, 0, 0, 0};
};

struct Stencils {
    unsigned mask = 0;  // levels that halve exactly these axes are predicted by it
    int sets = 0, levels = 0, taps = 0;
    std::array<std::array<StencilTap, MAX_STENCIL_TAPS>, CLASSES> tap{};
    std::vector<int16_t> weights;  // by set, level (finest first, the last for all coarser ones), class, tap

    bool serves(unsigned active) const { return active == mask; }
    const int16_t* weights_of(int set, int level, unsigned cls) const;
};

// Reads what sciflow/models/linear.py writes. Bytes may be hostile.
Status read_stencils(View bytes, Stencils& stencils);

}  // namespace sciflow
