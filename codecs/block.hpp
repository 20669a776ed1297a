// One block: the cheapest of its representations that keeps the promise, and back. docs/format.md section 4.
#pragma once

#include <span>
#include <vector>

#include "frame.hpp"
#include "pack/packed.hpp"
#include "predict/multilevel.hpp"

namespace sciflow {

enum class Mode : uint8_t {
    raw = 0,         // the values as they are
    constant = 1,    // one bit pattern
    multilevel = 2,  // interpolation on values, quantised residuals
    lattice = 3,     // interpolation on integers
    lorenzo = 4,     // differences of integers
    packed = 6,      // differences of integers in groups of a fixed width each
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
    MultilevelScratch<T> multilevel;
    Scratch<T> work, check;  // check: also the values with holes, before there is something to check
    PackScratch pack, unpack;
    std::vector<uint8_t> exact, was_exact, marked, sign;
    std::vector<int32_t> codes;
    std::vector<int64_t> wide;
    std::vector<uint32_t> failed;
};

// What a block's bytes decode to, against what went in.
struct Check {
    bool holds = true;
    double squares = 0;
    size_t counted = 0;  // values that may differ: finite and not listed
};

Dims block_dims(const Header& header, uint64_t block);

template <class T>
Status encode_block(const T* in, const Dims& dims, const Header& header, const EncodeOptions& options,
                    BlockScratch<T>& scratch, Bytes& out);

template <class T>
Status decode_block(View in, const Dims& dims, const Header& header, BlockScratch<T>& scratch, T* out);

// Whether a packed block's bytes are what scratch.pack and the exact values of `in` say; spoils scratch.exact.
template <class T>
bool packed_as_meant(View body, const Dims& dims, const Header& header, const LatticeJob& job, const Orders& orders,
                     BlockScratch<T>& scratch, const T* in);

}  // namespace sciflow
