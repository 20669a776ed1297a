// The second look at a block: what its bytes decode to, against what went in.
#pragma once

#include "block.hpp"

namespace sciflow {

template <class T>
Check check(const T* in, const T* out, size_t n, const Header& header, const EncodeOptions& options);

}  // namespace sciflow
