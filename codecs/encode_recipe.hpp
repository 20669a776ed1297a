// A block through the integers that its source made it of, where that is the cheapest way. docs/format.md section 9.
#pragma once

#include "block.hpp"

namespace sciflow {

// Puts a body of mode described, of no loss at all, behind the first `start` bytes of `out`, unless what is there is
// smaller. True where no other lossless mode needs to be tried.
template <class T>
bool encode_recipe(const T* in, const Dims& dims, const Header& header, const EncodeOptions& options,
                   BlockScratch<T>& scratch, size_t start, Bytes& out);

}  // namespace sciflow
