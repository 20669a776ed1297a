// Makes the checksums of a damaged stream right again, so that what lies behind them is tested.
#pragma once

#include <cstring>

#include "codec.hpp"

namespace sciflow::tests {

inline void seal(Bytes& bytes, size_t from, size_t to) {
    const uint32_t crc = crc32c(View(bytes).subspan(from, to - from));
    std::memcpy(bytes.data() + to, &crc, sizeof crc);
}

// True where the header is good, be it after its checksum has been put right.
inline bool repair_header(Bytes& stream, Header& h) {
    size_t offset = 0;
    const Status s = read_header(stream, h, offset);
    if (s != Status::corrupt || offset < 4) return s == Status::ok;
    uint8_t before[4];  // if it is not the checksum that is wrong, these are not one
    std::memcpy(before, stream.data() + offset - 4, 4);
    seal(stream, 0, offset - 4);
    if (read_header(stream, h, offset) == Status::ok) return true;
    std::memcpy(stream.data() + offset - 4, before, 4);
    return false;
}

inline void repair(Bytes& stream) {
    Header h;
    if (!repair_header(stream, h)) return;
    size_t at = h.header_bytes;
    for (uint64_t n : h.block_bytes) {
        if (n > stream.size() - at) return;
        at += static_cast<size_t>(n);
        seal(stream, at - static_cast<size_t>(n), at - BLOCK_OVERHEAD);
    }
}

// The stream with another body in one of its blocks.
inline Bytes with_body(const Bytes& stream, Header h, size_t block, View body) {
    Bytes bodies;
    size_t at = h.header_bytes;
    for (size_t b = 0; b < h.block_bytes.size(); ++b) {
        const size_t n = static_cast<size_t>(h.block_bytes[b]);
        if (n > stream.size() - at) return stream;
        const View old = View(stream).subspan(at, n - BLOCK_OVERHEAD), now = b == block ? body : old;
        Writer w(bodies);
        w.bytes(now);
        w.raw(crc32c(now));
        at += n;
    }
    h.block_bytes[block] = body.size() + BLOCK_OVERHEAD;
    Bytes out;
    write_header(h, out);
    Writer(out).bytes(bodies);
    return out;
}

}  // namespace sciflow::tests
