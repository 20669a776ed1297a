// Tighter bounds where regions ask for them: codes behind a block's own that take values from its bound to theirs.
// docs/format.md section 13.
#pragma once

#include "block.hpp"

namespace sciflow {

struct BoundSpan {
    double tightest = 0, loosest = 0;
    size_t tighter = 0;  // values of which less than the loosest is asked
};

// Of the regions that the block's `n` values are in.
BoundSpan bounds_of(const Regions& regions, size_t n);

// Appends what the body in out[start..] lacks for its regions' bounds; raw values where those take less.
template <class T>
Status refine(const T* in, const Dims& dims, const Header& header, const EncodeOptions& options,
              BlockScratch<T>& scratch, Bytes& out, size_t start);

// Applies a refinement to decoded `values`; `exact` marks those it leaves alone, null for none.
template <class T>
Status read_refinement(Cursor& in, const Dims& dims, const uint8_t* exact, BlockScratch<T>& scratch, T* values);

}  // namespace sciflow
