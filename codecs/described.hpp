// Integers to values by a description of how the source made them: a table, or an origin and a step for each slice.
// docs/format.md section 8.
#pragma once

#include "exact.hpp"
#include "lattice.hpp"

namespace sciflow {

enum class MapKind : uint8_t {
    table = 0,      // the q-th of a list of values
    steps = 1,      // origin + q * step
    quotients = 2,  // origin + q / step
};

template <class T>
struct DescribedMap {
    MapKind kind = MapKind::table;
    int axes = 0;  // each position along the first `axes` axes is a slice with an origin and a step of its own
    std::vector<double> origin, step;
    std::vector<T> table;
    double table_step = 0;  // most entries follow the one before by a multiple of it; 0: none such

    T value(double q, size_t slice) const {
        if (kind == MapKind::table) {
            const double last = static_cast<double>(table.size() - 1);
            return table[static_cast<size_t>(q > 0 ? (q < last ? q : last) : 0)];
        }
        return static_cast<T>(origin[slice] + (kind == MapKind::steps ? q * step[slice] : q / step[slice]));
    }

    // The values of n integers; `out` may be `q`.
    template <class Q>
    void values(const Q* q, size_t n, T* out) const {
        const size_t slices = kind == MapKind::table ? 1 : origin.size(), length = n / slices;
        for (size_t s = 0; s < slices; ++s)
            for (size_t i = s * length; i < (s + 1) * length; ++i) out[i] = value(static_cast<double>(q[i]), s);
    }
};

// How many slices the first `axes` axes have.
size_t slices_of(const Dims& dims, int axes);

template <class T>
void write_described(const DescribedMap<T>& map, EntropyScratch& scratch, Bytes& out);
template <class T>
Status read_described(Cursor& in, const Dims& dims, EntropyScratch& scratch, DescribedMap<T>& map);

}  // namespace sciflow
