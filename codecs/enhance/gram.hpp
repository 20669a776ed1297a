// Second moments of features and residuals, and the filter that they call for. They add up: of two classes together
// they are the sums of both. Features are integers, so that sums are exact and their order means nothing.
#pragma once

#include <array>

#include "enhance/samples.hpp"

namespace sciflow::enhance {

struct Gram {
    explicit Gram(int features)
        : cross(static_cast<size_t>(features)), moment(static_cast<size_t>(features) * static_cast<size_t>(features)) {}

    double cells = 0;
    double energy = 0;           // sum of squared residuals
    std::vector<double> cross;   // feature by residual
    std::vector<double> moment;  // feature by feature, the lower half

    int features() const { return static_cast<int>(cross.size()); }
    void add(const Gram& other);
};

using Weights = std::array<double, MAX_FEATURES>;

// One for each class; `class_of` gives each sample's.
std::vector<Gram> moments(const Samples& samples, const std::vector<uint8_t>& class_of, size_t classes);

// The weights of least squared error, a little shrunk. False where there is nothing to learn from.
bool solve(const Gram& gram, Weights& weights);

// The squared error that is left with some weights.
double error_with(const Gram& gram, const Weights& weights);

// The squared error that is left with the weights of `solve`.
double least_error(const Gram& gram);

// The natural logarithm to some 1e-9, in operations that every machine rounds alike: what is chosen must not depend on
// a library.
double steady_log(double x);

}  // namespace sciflow::enhance
