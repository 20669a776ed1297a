// One block: the cheapest of its representations that keeps the promise, and back. docs/format.md section 4.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "entropy/mixing.hpp"
#include "frame.hpp"
#include "pack/packed.hpp"
#include "predict/multilevel.hpp"
#include "predict/raster.hpp"

namespace sciflow {

enum class Mode : uint8_t {
    raw = 0,         // the values as they are
    constant = 1,    // one bit pattern
    multilevel = 2,  // interpolation on values, quantised residuals
    lattice = 3,     // interpolation on integers
    lorenzo = 4,     // differences of integers
    raster = 5,      // least squares from what is reconstructed, quantised residuals; fits to every value
    packed = 6,      // differences of integers in groups of a fixed width each
    described = 7,   // integers in a body of their own, and how the source made the values of them
    thinned = 8,     // raster, with fits to some of the values
    learned = 9,     // multilevel by a model's weights, which are not in the stream; corrupt where there are none
};

// Bounds that hold in parts of an array, in place of the one that holds for all of it.
struct Regions {
    const uint8_t* of = nullptr;     // the region of every value; null: there are none
    std::span<const double> bounds;  // of each region; 0: exact
};

struct EncodeOptions {
    double bound = 0;           // absolute; 0: exact. Relative to each value where the header says pointwise
    double mse = 0;             // 0: none; else the mean squared error that a block may not exceed
    bool lattice_only = false;  // rewrite-safe
    int level = 2;              // 0 fast, 1 quick, 2 balanced, 3 max
    std::span<const uint64_t> preserve;
    bool verify = true;
    Regions regions;
};

// Everything a thread reuses from block to block.
template <class T>
struct BlockScratch {
    EntropyScratch entropy;
    MixingScratch mixing;
    MultilevelScratch<T> multilevel;
    RasterScratch<T> raster;
    Scratch<T> work, check;  // check: also the values with holes, before there is something to check
    std::vector<uint8_t> exact, was_exact, marked, sign, outer_exact, region;
    PackScratch pack, unpack;
    std::vector<int32_t> codes, meant;  // meant: codes before their low bits were taken away
    std::vector<int64_t> wide;
    std::vector<uint32_t> failed;
    std::unique_ptr<BlockScratch<T>> part;        // for trials while the rest is in use
    std::unique_ptr<BlockScratch<double>> wider;  // for integers that float does not hold
};

// What a block's bytes decode to, against what went in.
struct Check {
    bool holds = true;
    double squares = 0;
    size_t counted = 0;  // values that may differ: finite and not listed
};

Dims block_dims(const Header& header, uint64_t block);

// The header that a body of integers, within one of mode described, is read by: its plain map is the identity.
Header header_of_integers(const Header& header);

// At options.bound alone: no look at regions or the mean squared error. True where `found` tells how the body compares with
// what went in: it was seen on the way.
template <class T>
bool encode_unchecked(const T* in, const Dims& dims, const Header& header, const EncodeOptions& options,
                      BlockScratch<T>& scratch, Bytes& out, Check& found);

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
