// An array to a stream and back: the header, then its blocks, each coded on its own by one of `threads` threads.
#pragma once

#include "block.hpp"
#include "pool.hpp"

namespace sciflow {

struct StreamOptions {
    EncodeOptions block;
    uint64_t block_values = 0;  // values in a block at most; 0: as many as the format allows
    int threads = 1;
};

// A stream as it was made, each block in memory of its own that is lent until then.
struct StreamParts {
    Bytes header;
    std::vector<Lent<Bytes>> blocks;

    size_t size() const;
    // One behind the other with their checksums, to where there is room for size() bytes.
    void join(uint8_t* out, int threads) const;
};

// `header` carries dtype, flags, shape and bounds; blocking and index are filled in here.
Status encode_stream(const void* in, Header header, const StreamOptions& options, StreamParts& out);
Status encode_stream(const void* in, Header header, const StreamOptions& options, Bytes& out);

// Decodes into `out`, which holds header.values() values. `offset` tells where a failure stood. Blocks of mode learned
// need the weights that they were made with.
Status decode_stream(View stream, void* out, size_t out_bytes, int threads, size_t& offset,
                     const Stencils* stencils = nullptr);

// Decodes one block (its bytes as they lie in the stream) into `out`, which holds values_of(block) values.
Status decode_stream_block(const Header& header, View bytes, uint64_t block, void* out, size_t out_bytes);

// No stream of `nbytes` of data in `ndim` axes is longer.
size_t encoded_size_bound(size_t nbytes, int ndim);

}  // namespace sciflow
