// One attempt at a block's body, by the bound of `options`.
#pragma once

#include "block.hpp"

namespace sciflow {

template <class T>
void encode_body(const T* in, const Dims& dims, const Header& header, const EncodeOptions& options,
                 BlockScratch<T>& scratch, Bytes& out);

}  // namespace sciflow
