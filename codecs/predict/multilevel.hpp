// Multilevel interpolation of a block: from the coarsest grid up, each level's parity classes predicted from what is
// already known. Codes come out grid by grid, in the order in which the entropy coder takes them.
#pragma once

#include <vector>

#include "entropy/coder.hpp"
#include "grid.hpp"
#include "kernels.hpp"
#include "predict/stencils.hpp"
#include "status.hpp"

namespace sciflow {

// How a class weighs its sources: 64ths, and whether each is cubic or linear.
struct ClassWeights {
    int8_t weight[AXES] = {0, 0, 0, 0};
    bool cubic[AXES] = {true, true, true, true};
};

struct MultilevelPlan {
    unsigned mask = 0;     // the axes that are halved
    bool lattice = false;  // values are integers; predictions are rounded, codes exact
    double step = 1;
    double start = 0;         // what the first value is predicted as
    unsigned refinement = 0;  // 0 to 3: how much finer coarse levels are quantised, 16ths a level
    int most_fitted = 3;      // levels that an encoder may fit
    int fitted = 0;           // levels with weights of their own, finest first; the others follow the last of them
    std::vector<std::array<ClassWeights, CLASSES>> weights;
    const Stencils* stencils = nullptr;  // of a model: then no level is fitted
    int set = 0;                         // of its weights
};

// What an encoder keeps to: the bound, and values that only their like may come back as.
template <class T>
struct Promise {
    double bound = 0;
    std::vector<T> avoid;
};

template <class T>
struct MultilevelScratch {
    Scratch<T> arena;
    std::vector<T> row;
    std::vector<uint32_t> failed;
};

// The grids of a block in coding order: the coarsest one (as a series), then each level's classes.
std::vector<GridSpec> multilevel_grids(const Dims& dims, unsigned mask);

// Codes `values` (dense; NaN marks a hole, which is given code 0) and fits the plan's weights on the way.
// `failed` receives the dense positions whose reconstruction breaks the promise.
template <class T>
void multilevel_encode(const T* values, const Dims& dims, const Promise<T>& promise, MultilevelPlan& plan,
                       int32_t* codes, std::vector<uint32_t>& failed, MultilevelScratch<T>& scratch);

template <class T>
void multilevel_decode(const int32_t* codes, const Dims& dims, const MultilevelPlan& plan, T* values,
                       MultilevelScratch<T>& scratch);

void write_plan(const Dims& dims, const MultilevelPlan& plan, Bytes& out);
Status read_plan(Cursor& in, const Dims& dims, MultilevelPlan& plan);

// Fits one class on its original neighbours; `errors` of a source along each odd axis, cubic and linear.
template <class T>
ClassWeights fit_class(const ClassJob<T>& job, double bound);

ClassWeights default_weights(unsigned odd_axes);

}  // namespace sciflow
