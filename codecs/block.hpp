// One block: the cheapest of its representations that keeps the promise, and back. docs/format.md section 4.
#pragma once

#include <span>
#include <vector>

#include "entropy/mixing.hpp"
#include "frame.hpp"
#include "predict/multilevel.hpp"

namespace sciflow {

enum class Mode : uint8_t {
    raw = 0,         // the values as they are
    constant = 1,    // one bit pattern
    multilevel = 2,  // interpolation on values, quantised residuals
    lattice = 3,     // interpolation on integers
    lorenzo = 4,     // differences of integers
};

struct EncodeOptions {
    double bound = 0;           // absolute; 0: exact. Relative to each value where the header says pointwise
    double mse = 0;             // 0: none; else the mean squared error that a block may not exceed
    bool lattice_only = false;  // rewrite-safe
    int level = 2;              // 0 fast, 1 quick, 2 balanced, 3 max
    std::span<const uint64_t> preserve;
    bool verify = true;
};

// Everything a thread reuses from block to block.
template <class T>
struct BlockScratch {
    EntropyScratch entropy;
    MixingScratch mixing;
    MultilevelScratch<T> multilevel;
    std::vector<T> holes, work, check;
    std::vector<uint8_t> exact, was_exact, marked, sign;
    std::vector<int32_t> codes;
    std::vector<int64_t> wide;
    std::vector<uint32_t> failed;
};

Dims block_dims(const Header& header, uint64_t block);

template <class T>
Status encode_block(const T* in, const Dims& dims, const Header& header, const EncodeOptions& options,
                    BlockScratch<T>& scratch, Bytes& out);

template <class T>
Status decode_block(View in, const Dims& dims, const Header& header, BlockScratch<T>& scratch, T* out);

}  // namespace sciflow
