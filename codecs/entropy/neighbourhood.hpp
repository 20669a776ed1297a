// What is known of a code before it is coded: its neighbours, and a guess at it that learns. docs/format.md section 8.
#pragma once

#include "entropy/mixing.hpp"

namespace sciflow {

class Neighbourhood {
  public:
    Neighbourhood(const std::vector<GridSpec>& grids, MixingScratch& scratch);
    // Another lane in the same grids: what it learns is its own.
    Neighbourhood(const Neighbourhood& first, RowScratch& rows);

    // Rows before `first` of the grid's axes are out of sight.
    void enter(size_t grid, const std::array<size_t, 3>& first = {});
    void enter_row(size_t i0, size_t i1, size_t i2);

    Surroundings look(size_t x);

    // How many columns from x on have nothing but zeros around them, as long as they are zero; and what tells runs apart.
    size_t quiet(size_t x) const { return row_[x - 1] | row_[x - 2] | row_[x - 3] ? 0 : s_->quiet[x]; }
    uint32_t run_context(size_t x, size_t run) const;
    void learn_run(bool broken) { runs_ = (runs_ << 1 | static_cast<uint32_t>(broken)) & 7; }

    // Column x holds `v`.
    void learn(size_t x, int64_t v);

  private:
    static constexpr size_t MARGIN = 8;
    static constexpr int TAPS = 16;

    struct Plane {
        Dims dims;
        int16_t* values = nullptr;
        int16_t* row(size_t i0, size_t i1, size_t i2) const;
    };

    const int16_t* row_of(const Plane* plane, size_t i0, size_t i1, size_t i2) const;
    void summarize_row();
    int guess(size_t x);

    const std::vector<GridSpec>& grids_;
    RowScratch* s_;
    std::vector<Plane> planes_;
    const int16_t* zeros_;
    const Plane *here_ = nullptr, *reference_ = nullptr, *second_ = nullptr, *parent_ = nullptr;
    std::array<size_t, 3> first_ = {};
    int level_class_ = 0;
    bool series_ = false, alone_ = false, calm_ = false;
    int16_t* row_ = nullptr;
    const int16_t *north_, *north2_, *plane_, *plane_north_, *plane_south_, *ref_, *ref_south_, *ref2_, *coarse_;
    size_t coarse_last_ = 0;
    int coarse_shift_ = 0;
    uint32_t runs_ = 0;
    int32_t* weights_ = nullptr;
    int32_t all_weights_[9][TAPS] = {};
    int32_t taps_[TAPS];
    int guess_ = 0, power_ = 0;
};

}  // namespace sciflow
