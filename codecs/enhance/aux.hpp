// How arrays that are read beside another one become integers.
#pragma once

#include "enhance/tile.hpp"

namespace sciflow::enhance {

// Scales at which each array is about as steep, in integers, as the decoded one is at its own; none where an array, or
// the decoded one, is flat. Runs in the encoder alone.
template <class T>
std::vector<AuxScale> scales_beside(const Volume& volume, const T* decoded, double unit, std::span<const AuxArray> aux);

}  // namespace sciflow::enhance
