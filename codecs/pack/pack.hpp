// How a block is packed: which map, which differences, then strip by strip.
#pragma once

#include "block.hpp"
#include "lattice.hpp"

namespace sciflow {

template <class T>
struct PackInput {
    const T* in = nullptr;
    Dims dims;
    LatticeJob job;
    const Header& header;
    const EncodeOptions& options;
    std::span<const T> avoid;
};

// The maps worth trying for n values: the sample's own lattice, where it has one, then one of about twice the bound.
template <class T>
std::vector<LinearMap> packed_maps(const std::vector<T>& sample, size_t n, double bound);

// The cheapest orders of differences, found on a few groups.
template <class T>
Orders choose_orders(const PackInput<T>& input, PackScratch& scratch);

enum class Packed { done, unfit, broken };

// Fills scratch.pack for append_packed; positions that must be exact go to its `missed`. Unfit where another mode should
// be tried: codes of 32 bits do not reach, or too many values miss the bound. With options.verify each strip is unpacked
// again while it is in the cache, and `found` tells how it compares.
template <class T>
Packed pack_values(const PackInput<T>& input, const Orders& orders, BlockScratch<T>& scratch, Check& found);

// What pack_values left in the scratch, from the orders on.
void append_packed(const Orders& orders, PackScratch& scratch, EntropyScratch& entropy, Bytes& out);

}  // namespace sciflow
