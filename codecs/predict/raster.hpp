// Raster-scan prediction: every value in C order from its already reconstructed neighbours, by least squares that
// encoder and decoder fit alike to what they have passed. docs/format-max.md section 11.
#pragma once

#include <vector>

#include "bytes.hpp"
#include "grid.hpp"
#include "kernels.hpp"
#include "predict/multilevel.hpp"

namespace sciflow {

template <class T>
struct RasterPlan {
    uint8_t every = 1;  // so many values apart those are that weights are fitted to; 0: dense, which is only decoded
    double step = 1;
    T centre = 0;         // what stands before the first row
    T low = 0, high = 0;  // no prediction leaves this interval
};

template <class T>
struct RasterScratch {
    std::vector<T> rows;
    std::vector<double> statistics, strip;
};

// The plan of `values`, of which those marked in `exact` count nothing.
template <class T>
RasterPlan<T> plan_raster(const T* values, const uint8_t* exact, const Dims& dims, double step);

// Codes `values` (dense). Those marked in `exact` get code 0; those whose reconstruction breaks the promise are marked
// too. Returns how many were marked.
template <class T>
size_t raster_encode(const T* values, const Dims& dims, const Promise<T>& promise, const RasterPlan<T>& plan,
                     uint8_t* exact, int32_t* codes, RasterScratch<T>& scratch);

// `exact` may be null: no value is.
template <class T>
void raster_decode(const int32_t* codes, const uint8_t* exact, const Dims& dims, const RasterPlan<T>& plan, T* values,
                   RasterScratch<T>& scratch);

template <class T>
void write_raster_plan(const RasterPlan<T>& plan, Bytes& out);
template <class T>
Status read_raster_plan(Cursor& in, bool dense, RasterPlan<T>& plan);

}  // namespace sciflow
