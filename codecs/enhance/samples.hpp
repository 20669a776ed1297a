// What a fit looks at: features and residuals of cells from all over an array, as integers.
#pragma once

#include "enhance/tile.hpp"

namespace sciflow::enhance {

struct Samples {
    explicit Samples(int reach) : axes(reach), features(2 * PAIRS[reach] + 1) {}

    int axes;
    int features;
    std::vector<int16_t> feature;   // [sample][feature]
    std::vector<int16_t> residual;  // what a perfect filter would answer
    std::vector<int32_t> activity, value;
    std::vector<uint8_t> parity;

    size_t size() const { return residual.size(); }
};

// Adds about `budget` cells of an array, spread over it evenly.
template <class T>
void add_samples(const Volume& volume, const Field<T>& original, const Field<T>& decoded, const Scale& scale,
                 size_t budget, Samples& samples);

}  // namespace sciflow::enhance
