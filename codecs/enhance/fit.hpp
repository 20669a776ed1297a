// Finding the enhancer that is worth its bytes: classes as fine as the samples carry, merged while that saves more
// bytes than it loses quality, then filters in integers. Runs in the encoder alone.
#pragma once

#include "enhance/samples.hpp"

namespace sciflow::enhance {

enum class Groups : uint8_t { automatic = 0, value = 1, quantile = 2, activity = 3 };

struct FitOptions {
    Groups groups = Groups::automatic;
    int most = 16;  // filters at most
    double worth =
        0;  // bytes that a halving of the logarithm's unit of error is worth: bytes per neper of squared error
};

struct Fit {
    bool found = false;  // a model that is worth its bytes
    Model model;
    double left = 1;  // the share of the squared error that the samples keep
};

Fit fit(const Samples& samples, const Scale& scale, const FitOptions& options);

}  // namespace sciflow::enhance
