#include "codec.hpp"

#include <algorithm>
#include <atomic>
#include <new>
#include <system_error>
#include <thread>

namespace sciflow {

namespace {

constexpr size_t KEPT_BYTES = size_t{64} << 20;  // of a stream, between calls

// A thread's scratch, kept from call to call; given back where it has grown past what one block needs.
template <class T>
BlockScratch<T>& scratch() {
    thread_local BlockScratch<T> s;
    return s;
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
Status append_block(const T* in, const Header& h, uint64_t b, const StreamOptions& o, Bytes& out) {
    const size_t start = out.size();
    const T* from = in + h.blocking.first_value(b);
    EncodeOptions block = o.block;
    if (block.regions.of) block.regions.of += h.blocking.first_value(b);
    const Status s = encode_block(from, block_dims(h, b), h, block, scratch<T>(), out);
    if (s == Status::ok) Writer(out).raw(crc32c(View(out).subspan(start)));
    return s;
}

// All blocks one behind the other, in memory that the thread keeps: fresh pages for each call cost time.
template <class T>
Status encode_serially(const T* in, Header& h, const StreamOptions& o, Bytes& out) {
    thread_local Bytes bodies;
    bodies.clear();
    for (uint64_t b = 0; b < h.blocking.count(); ++b) {
        const size_t start = bodies.size();
        if (Status s = append_block(in, h, b, o, bodies); s != Status::ok) return s;
        h.block_bytes.push_back(bodies.size() - start);
    }
    out.clear();
    out.reserve(bodies.size() + 64 + 5 * h.block_bytes.size());
    write_header(h, out);
    Writer(out).bytes(bodies);
    if (bodies.capacity() > KEPT_BYTES) Bytes().swap(bodies);
    return Status::ok;
}

template <class T>
Status encode_typed(const T* in, Header& h, const StreamOptions& o, Bytes& out) {
    h.block_bytes.clear();
    const uint64_t count = h.blocking.count();
    if (o.threads <= 1 || count <= 1) return encode_serially(in, h, o, out);
    std::vector<Bytes> blocks(static_cast<size_t>(count));
    const Status s = for_blocks(count, o.threads,
                                [&](uint64_t b) { return append_block(in, h, b, o, blocks[static_cast<size_t>(b)]); });
    if (s != Status::ok) return s;
    size_t total = 0;
    for (const Bytes& b : blocks) {
        h.block_bytes.push_back(b.size());
        total += b.size();
    }
    out.clear();
    out.reserve(total + 64 + 5 * blocks.size());
    write_header(h, out);
    for (const Bytes& b : blocks) out.insert(out.end(), b.begin(), b.end());
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
    return decode_block(body, block_dims(h, block), h, scratch<T>(), out);
}

Status decode_any(const Header& h, View bytes, uint64_t block, uint8_t* out) {
    return h.dtype == Dtype::float32 ? decode_checked(h, bytes, block, reinterpret_cast<float*>(out))
                                     : decode_checked(h, bytes, block, reinterpret_cast<double*>(out));
}

}  // namespace

Status encode_stream(const void* in, Header h, const StreamOptions& o, Bytes& out) {
    h.blocking = plan_blocks(h, o.block_values);
    try {
        return h.dtype == Dtype::float32 ? encode_typed(static_cast<const float*>(in), h, o, out)
                                         : encode_typed(static_cast<const double*>(in), h, o, out);
    } catch (const std::bad_alloc&) { return Status::no_memory; }
}

Status decode_stream(View stream, void* out, size_t out_bytes, int threads, size_t& offset) {
    try {
        Header h;
        if (Status s = read_header(stream, h, offset); s != Status::ok) return s;
        if (h.values() * itemsize(h.dtype) != out_bytes) return Status::bad_argument;
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
