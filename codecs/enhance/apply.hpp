// Corrections of a whole array, in units of the model.
#pragma once

#include "enhance/tile.hpp"

namespace sciflow::enhance {

// One for each cell, 0 where a cell holds no data. The model must suit the array and those beside it (`suits`).
template <class T>
std::vector<int16_t> corrections(const Model& model, const Volume& volume, const Field<T>& decoded,
                                 std::span<const AuxArray> aux);

// out = decoded + correction, held to +-limit; holes keep their bits.
template <class T>
void correct(const T* decoded, const std::vector<int16_t>& h, int32_t limit, double unit, T* out);

inline bool suits(const Model& model, const Volume& volume, size_t aux) {
    return model.axes == volume.axes && (model.aux.empty() || model.aux.size() == aux);
}

}  // namespace sciflow::enhance
