#include "codec.hpp"

#include <algorithm>
#include <atomic>
#include <new>
#include <system_error>
#include <thread>

namespace sciflow {

namespace {

constexpr size_t BODIES_KEPT = size_t{64} << 20;    // bytes of streams, between calls
constexpr size_t SCRATCH_KEPT = size_t{128} << 20;  // bytes a processor, between calls
constexpr size_t WORTH_A_THREAD = size_t{1} << 20;  // bytes to copy
constexpr size_t COPIED_AT_ONCE = 12288;            // bytes

size_t processors() { return std::max(1u, std::thread::hardware_concurrency()); }

size_t bytes_of(const EntropyScratch& s) {
    return bytes_held(s.contexts, s.symbols, s.words, s.bits, s.magnitudes[0], s.magnitudes[1], s.zeros, s.tables,
                      s.folded);
}

size_t bytes_of(const MixingScratch& s) {
    size_t n = bytes_held(s.values, s.zeros);
    for (const RowScratch& r : s.rows) n += bytes_held(r.quiet, r.rest, r.part[0], r.part[1], r.part[2], r.coarse);
    return n;
}

size_t bytes_of(const PackScratch& s) {
    return bytes_held(s.history, s.strip, s.numbers, s.missed, s.sample, s.width, s.count, s.high, s.payload,
                      s.patches);
}

template <class T>
size_t bytes_of(const BlockScratch<T>& s) {
    size_t n = bytes_of(s.entropy) + bytes_of(s.mixing) + bytes_of(s.pack) + bytes_of(s.unpack) +
               bytes_held(s.multilevel.arena, s.multilevel.row, s.multilevel.failed, s.raster.rows, s.raster.statistics,
                          s.raster.strip, s.work, s.check, s.exact, s.was_exact, s.marked, s.sign, s.outer_exact,
                          s.region, s.codes, s.meant, s.wide, s.failed);
    if (s.part) n += bytes_of(*s.part);
    if (s.wider) n += bytes_of(*s.wider);
    return n;
}

}  // namespace

template <class T>
size_t bytes_held(const BlockScratch<T>& s) {
    return bytes_of(s);
}

namespace {

// Never destroyed: threads may outlive what is static.
Pool<Bytes>& bodies() {
    static Pool<Bytes>& pool = *new Pool<Bytes>(Pool<Bytes>::SLOTS, BODIES_KEPT);
    return pool;
}

template <class T>
Pool<BlockScratch<T>>& scratches() {
    static auto& pool = *new Pool<BlockScratch<T>>(processors(), processors() * SCRATCH_KEPT);
    return pool;
}

// Runs work(block) for every block on up to `threads` threads; the lowest failing block decides the status.
template <class Work>
Status for_blocks(uint64_t count, int threads, Work&& work) {
    std::atomic<uint64_t> next{0};
    std::vector<Status> status(static_cast<size_t>(count), Status::ok);
    auto loop = [&] {
        for (uint64_t b = next++; b < count; b = next++) {
            try {
                status[static_cast<size_t>(b)] = work(b);
            } catch (const std::bad_alloc&) { status[static_cast<size_t>(b)] = Status::no_memory; }
            if (threads <= 1 && status[static_cast<size_t>(b)] != Status::ok) return;
        }
    };
    std::vector<std::thread> pool;
    const uint64_t extra = std::min<uint64_t>(threads > 1 ? static_cast<uint64_t>(threads) : 1, count);
    try {
        for (uint64_t t = 1; t < extra; ++t) pool.emplace_back(loop);
    } catch (const std::system_error&) {
        // The system grants no more threads: those there are share the work.
    }
    loop();
    for (std::thread& t : pool) t.join();
    for (Status s : status)
        if (s != Status::ok) return s;
    return Status::ok;
}

template <class T>
Status encode_at(const T* in, const Header& h, uint64_t b, const StreamOptions& o, Bytes& out) {
    const Lent<BlockScratch<T>> scratch(scratches<T>());
    EncodeOptions block = o.block;
    if (block.regions.of) block.regions.of += h.blocking.first_value(b);
    out.clear();
    return encode_block(in + h.blocking.first_value(b), block_dims(h, b), h, block, *scratch, out);
}

// A block and its checksum, which reads what is still in the first-level cache.
void copy_and_check(View from, uint8_t* to) {
    uint32_t crc = 0;
    for (size_t at = 0; at < from.size(); at += COPIED_AT_ONCE) {
        const View some = from.subspan(at, std::min(COPIED_AT_ONCE, from.size() - at));
        std::memcpy(to + at, some.data(), some.size());
        crc = crc32c(some, crc);
    }
    std::memcpy(to + from.size(), &crc, sizeof crc);
}

template <class T>
Status encode_typed(const T* in, Header& h, const StreamOptions& o, StreamParts& out) {
    const uint64_t count = h.blocking.count();
    for (uint64_t b = 0; b < count; ++b) out.blocks.emplace_back(bodies());
    const Status s = for_blocks(
        count, o.threads, [&](uint64_t b) { return encode_at(in, h, b, o, *out.blocks[static_cast<size_t>(b)]); });
    if (s != Status::ok) return s;
    h.block_bytes.clear();
    for (const Lent<Bytes>& b : out.blocks) h.block_bytes.push_back(b->size() + BLOCK_OVERHEAD);
    write_header(h, out.header);
    return Status::ok;
}

template <class T>
Status decode_checked(const Header& h, View bytes, uint64_t block, T* out) {
    Cursor c(bytes);
    View body;
    uint32_t found = 0;
    if (bytes.size() < BLOCK_OVERHEAD || !c.bytes(bytes.size() - BLOCK_OVERHEAD, body) || !c.raw(found))
        return Status::truncated;
    if (found != crc32c(body)) return Status::corrupt;
    const Lent<BlockScratch<T>> scratch(scratches<T>());
    return decode_block(body, block_dims(h, block), h, *scratch, out);
}

Status decode_any(const Header& h, View bytes, uint64_t block, uint8_t* out) {
    return h.dtype == Dtype::float32 ? decode_checked(h, bytes, block, reinterpret_cast<float*>(out))
                                     : decode_checked(h, bytes, block, reinterpret_cast<double*>(out));
}

}  // namespace

Status encode_stream(const void* in, Header h, const StreamOptions& o, StreamParts& out) {
    h.blocking = plan_blocks(h, o.block_values);
    out.header.clear();
    out.blocks.clear();
    try {
        return h.dtype == Dtype::float32 ? encode_typed(static_cast<const float*>(in), h, o, out)
                                         : encode_typed(static_cast<const double*>(in), h, o, out);
    } catch (const std::bad_alloc&) { return Status::no_memory; }
}

size_t StreamParts::size() const {
    size_t n = header.size();
    for (const Lent<Bytes>& b : blocks) n += b->size() + BLOCK_OVERHEAD;
    return n;
}

void StreamParts::join(uint8_t* out, int threads) const {
    std::vector<uint8_t*> to;
    uint8_t* at = std::copy(header.begin(), header.end(), out);
    for (const Lent<Bytes>& b : blocks) {
        to.push_back(at);
        at += b->size() + BLOCK_OVERHEAD;
    }
    const auto worth = static_cast<int>(std::min<size_t>(static_cast<size_t>(at - out) / WORTH_A_THREAD, 64));
    for_blocks(blocks.size(), std::min(threads, worth), [&](uint64_t b) {
        copy_and_check(*blocks[static_cast<size_t>(b)], to[static_cast<size_t>(b)]);
        return Status::ok;
    });
}

Status encode_stream(const void* in, Header h, const StreamOptions& o, Bytes& out) {
    StreamParts parts;
    if (Status s = encode_stream(in, std::move(h), o, parts); s != Status::ok) return s;
    try {
        out.resize(parts.size());
        parts.join(out.data(), o.threads);
        return Status::ok;
    } catch (const std::bad_alloc&) { return Status::no_memory; }
}

Status decode_stream(View stream, void* out, size_t out_bytes, int threads, size_t& offset, const Stencils* stencils) {
    try {
        Header h;
        if (Status s = read_header(stream, h, offset); s != Status::ok) return s;
        if (h.values() * itemsize(h.dtype) != out_bytes) return Status::bad_argument;
        h.stencils = stencils;
        std::vector<size_t> at;
        size_t end = h.header_bytes;
        for (uint64_t n : h.block_bytes) {
            if (n > stream.size() - end) {
                offset = stream.size();
                return Status::truncated;
            }
            at.push_back(end);
            end += static_cast<size_t>(n);
        }
        if (end != stream.size()) {
            offset = end;
            return Status::corrupt;
        }
        std::atomic<size_t> failed{stream.size()};
        const Status s = for_blocks(at.size(), threads, [&](uint64_t b) {
            const size_t i = static_cast<size_t>(b);
            const View bytes = stream.subspan(at[i], static_cast<size_t>(h.block_bytes[i]));
            uint8_t* to = static_cast<uint8_t*>(out) + h.blocking.first_value(b) * itemsize(h.dtype);
            const Status st = decode_any(h, bytes, b, to);
            if (st != Status::ok) failed = at[i];
            return st;
        });
        offset = failed;
        return s;
    } catch (const std::bad_alloc&) { return Status::no_memory; }
}

Status decode_stream_block(const Header& h, View bytes, uint64_t block, void* out, size_t out_bytes) {
    if (block >= h.blocking.count() || bytes.size() != h.block_bytes[static_cast<size_t>(block)] ||
        out_bytes != h.blocking.values_of(block) * itemsize(h.dtype))
        return Status::bad_argument;
    try {
        return decode_any(h, bytes, block, static_cast<uint8_t*>(out));
    } catch (const std::bad_alloc&) { return Status::no_memory; }
}

size_t encoded_size_bound(size_t nbytes, int ndim) {
    // A block holds at most its values, a mode byte and a checksum; its length in the index takes at most five bytes.
    // Blocks are cut to at least half of what fits, and never to fewer than one value.
    const size_t header = 2 + 2 + 1 + 1 + 10 * static_cast<size_t>(ndim) + 16 + 10 + 4;
    const size_t blocks = nbytes / 4 / MAX_BLOCK_ROWS + 2;
    return header + nbytes + blocks * (1 + BLOCK_OVERHEAD + 5);
}

}  // namespace sciflow
