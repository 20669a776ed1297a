// The second look at a block: what its bytes decode to, against what went in.
#pragma once

#include "block.hpp"

namespace sciflow {

struct Check {
    bool holds = true;
    double squares = 0;
    size_t counted = 0;  // values that may differ: finite and not listed
};

template <class T>
Check check(const T* in, const T* out, size_t n, const Header& header, const EncodeOptions& options);

}  // namespace sciflow
