// What an enhancer is: classes of cells, told from integers, and an integer filter for each. docs/gwlz-format.md section 4.
#pragma once

#include <array>

#include "bytes.hpp"
#include "enhance/rows_seam.hpp"

namespace sciflow::enhance {

inline constexpr int MAX_WEIGHT = 32767;
inline constexpr int MAX_SHIFT = 14;
inline constexpr int32_t BIAS = 32;  // the constant feature: two base bounds

// The other axis of classes; the first one is always activity, with as many bins as it has edges and one more.
enum class Second : uint8_t { none = 0, value = 1, parity = 2 };

// Integers of another array: what one is worth, and where it is 0.
struct AuxScale {
    float unit = 1, origin = 0;
};

struct Model {
    int axes = 3;  // that the filter reaches along
    Second second = Second::none;
    float unit = 1;    // what an integer is worth
    float origin = 0;  // and where it is 0
    int shift = 0;     // linear weights are multiples of 2^-shift,
    int coarse = 0;    // the others of 2^(coarse - shift)
    std::vector<int32_t>
        activity;  // ascending edges: a cell is in the bin that as many edges as its number do not exceed
    std::vector<int32_t> value;
    std::vector<uint8_t> filter_of;                         // of each class, activity-major
    std::vector<std::array<int16_t, MAX_FEATURES>> filter;  // of each source linear taps, clipped taps; bias
    std::vector<AuxScale> aux;                              // of the other arrays that it reads

    int pairs() const { return PAIRS[axes]; }
    int sources() const { return 1 + static_cast<int>(aux.size()); }
    int features() const { return 2 * pairs() * sources() + 1; }
    bool is_bias(int feature) const { return feature == features() - 1; }
    bool is_linear(int feature) const { return !is_bias(feature) && feature % (2 * pairs()) < pairs(); }
    size_t second_bins() const {
        return second == Second::value ? value.size() + 1 : second == Second::parity ? size_t{1} << axes : 1;
    }
    int32_t weight(size_t k, int feature) const {
        return int32_t{filter[k][static_cast<size_t>(feature)]} * (is_linear(feature) ? 1 : 1 << coarse);
    }
    size_t classes() const { return (activity.size() + 1) * second_bins(); }
};

// Whether no sum of products leaves 32 bits, whatever the cells hold, and no weight 16.
bool stays_in_range(const Model& model);

Bytes write_model(const Model& model);

// Whatever the bytes are, the model that comes back is safe to apply.
Status read_model(View bytes, Model& model);

}  // namespace sciflow::enhance
