// Which representation a block gets: each candidate coded for real on a few crops, its bits estimated by entropy.
#pragma once

#include "block.hpp"
#include "lattice.hpp"

namespace sciflow {

struct Choice {
    Mode mode = Mode::multilevel;
    unsigned mask = 0;        // axes predicted along (multilevel, lattice) or differenced along (lorenzo)
    LinearMap map;            // lattice, lorenzo
    double step = 0;          // multilevel, raster
    double price = 0;         // bits, estimated, of the crops
    double rate = 0;          // the same a value
    unsigned refinement = 0;  // multilevel
};

// The cheapest, and behind it those of other modes that a full encode might find cheaper still.
// `values` with holes as NaN, `sample` some of its regular values.
template <class T>
std::vector<Choice> choose(const T* values, const Dims& dims, const std::vector<T>& sample,
                           const EncodeOptions& options, BlockScratch<T>& scratch);

// Twice the bound, less what rounding a reconstruction to T can add: so that hardly any value has to be exact.
template <class T>
double rounding_safe_step(const std::vector<T>& sample, double bound);

// The best axes to difference along, for integers that are already there.
template <class Q>
unsigned choose_lorenzo(const Q* values, const Dims& dims, EntropyScratch& scratch);

}  // namespace sciflow
