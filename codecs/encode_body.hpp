// One attempt at a block's body, by the bound of `options`. True where `found` tells how the body compares with what went
// in: it was seen on the way.
#pragma once

#include "block.hpp"

namespace sciflow {

template <class T>
bool encode_body(const T* in, const Dims& dims, const Header& header, const EncodeOptions& options,
                 BlockScratch<T>& scratch, Bytes& out, Check& found);

}  // namespace sciflow
