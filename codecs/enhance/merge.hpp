// Greedy merging of classes by rate and distortion.
#pragma once

#include "enhance/gram.hpp"

namespace sciflow::enhance {

// Classes lie on a grid of `rows` by `columns`; neighbours on it may merge. `cube`: columns are corners of a cube.
struct ClassGrid {
    size_t rows = 1, columns = 1;
    bool cube = false;

    size_t size() const { return rows * columns; }
    bool touch(size_t a, size_t b) const;
};

struct Groupings {
    std::vector<uint8_t> group_of;  // of each class, numbered from 0 in order of appearance
    std::vector<Gram> grams;        // of each group
};

// The grouping of at most `most` groups for which worth * log(error) + price * groups is least.
Groupings merge(const std::vector<Gram>& classes, const ClassGrid& grid, size_t most, double worth, double price);

}  // namespace sciflow::enhance
