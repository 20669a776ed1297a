// The frame: one header for an array, then blocks that decode on their own. docs/format.md sections 2 and 3.
#pragma once

#include <array>

#include "bytes.hpp"

namespace sciflow {

// How the array is cut: the axes before `axis` are walked one index at a time, `rows` indices along `axis` make a
// block, the axes behind it belong to the block whole. So a block is contiguous in C order.
struct Blocking {
    int axis = 0;
    uint64_t rows = 1;   // indices along `axis` in a block (the last one of each walk may hold fewer)
    uint64_t outer = 1;  // product of the axes before `axis`
    uint64_t along = 1;  // length of `axis`
    uint64_t inner = 1;  // product of the axes behind it

    uint64_t per_outer() const { return along == 0 ? 0 : (along + rows - 1) / rows; }
    uint64_t count() const { return outer * per_outer(); }
    uint64_t rows_of(uint64_t block) const {
        const uint64_t first = (block % per_outer()) * rows;
        return along - first < rows ? along - first : rows;
    }
    uint64_t values_of(uint64_t block) const { return rows_of(block) * inner; }
    uint64_t first_value(uint64_t block) const {
        return ((block / per_outer()) * along + (block % per_outer()) * rows) * inner;
    }
};

enum class BoundKind : uint8_t { abs = 0, rel = 1, pointwise_rel = 2, psnr = 3 };

struct RegionBound {
    int64_t label = 0;  // as the user wrote it
    double bound = 0;
};

struct Stencils;

struct Header {
    Dtype dtype = Dtype::float32;
    bool order_f = false;
    bool big_endian = false;
    bool lattice = false;  // rewrite-safe: every reconstruction lies on a lattice of the bound alone
    BoundKind request = BoundKind::abs;
    double request_value = 0;  // as the user wrote it
    double bound = 0;          // as it holds: absolute, or relative to each value for pointwise_rel
    bool has_regions = false;  // `bound` is the loosest; what holds where no label is, and with each
    double elsewhere = 0;
    std::vector<RegionBound> regions;
    int ndim = 0;
    std::array<uint64_t, MAX_NDIM> shape{};
    Blocking blocking;
    std::vector<uint64_t> block_bytes;
    size_t header_bytes = 0;
    const Stencils* stencils =
        nullptr;          // no part of a stream: the weights that its caller has for blocks of mode learned
    int stencil_set = 0;  // those that an encoder tries

    bool pointwise() const { return request == BoundKind::pointwise_rel; }
    uint64_t values() const {
        uint64_t n = 1;
        for (int i = 0; i < ndim; ++i) n *= shape[i];
        return n;
    }
};

// `block_values` is a wish (0: as large as allowed); the cut depends on shape and wish alone.
Blocking plan_blocks(const Header& header, uint64_t block_values);

void write_header(const Header& header, Bytes& out);

// Reads and checks the header and the block index. `offset` says where a failed read stood.
Status read_header(View stream, Header& header, size_t& offset);

// A block as it lies in the stream: its bytes, then their CRC-32C.
inline constexpr size_t BLOCK_OVERHEAD = 4;

}  // namespace sciflow
