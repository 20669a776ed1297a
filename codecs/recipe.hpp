// How the values of a block were made, found from the values: multiples of a step, slice by slice with an origin, or
// few distinct ones. Each way turns them into integers, and those back into the same bits.
#pragma once

#include <span>

#include "described.hpp"

namespace sciflow {

template <class T>
struct Recipe {
    DescribedMap<T> map;
    std::vector<double> integers;  // a value each; of one that is not reproduced, the integer before it
    std::vector<uint8_t> missed;   // a flag each: not reproduced
    size_t misses = 0;
};

// Which ways a few values leave likely to take less than `bytes`. No more than tables of few values are sought at level 1.
struct Sought {
    bool lines = false, table = false;
    double least_step = 0;  // of lines
};

template <class T>
Sought likely_ways(const T* in, const Dims& dims, double bound, std::span<const uint64_t> preserve, int level,
                   size_t bytes);

// The ways that are worth pricing, for a block whose values may be off by `bound`. Marked ones are left
// out; `missed` has at least eight flags more than values.
template <class T>
std::vector<Recipe<T>> find_recipes(const T* in, const std::vector<uint8_t>& missed, const Dims& dims, double bound,
                                    Sought sought);

}  // namespace sciflow
