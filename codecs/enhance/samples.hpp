// What a fit looks at: features and residuals of cells from all over an array, as integers.
#pragma once

#include "enhance/tile.hpp"

namespace sciflow::enhance {

struct Samples {
    explicit Samples(int reach, const std::vector<AuxScale>& others = {})
        : axes(reach), aux(others), features(2 * PAIRS[reach] * (1 + static_cast<int>(others.size())) + 1) {}

    int axes;
    std::vector<AuxScale> aux;  // of the arrays beside it
    int features;
    std::vector<int16_t> feature;   // [sample][feature]
    std::vector<int16_t> residual;  // what a perfect filter would answer
    std::vector<int32_t> activity, value;
    std::vector<uint8_t> parity;

    size_t size() const { return residual.size(); }
};

// Adds about `budget` cells of an array, spread over it evenly; `aux` are as many arrays as the samples name.
template <class T>
void add_samples(const Volume& volume, const Field<T>& original, const Field<T>& decoded, const Scale& scale,
                 std::span<const AuxArray> aux, size_t budget, Samples& samples);

}  // namespace sciflow::enhance
