#include "frame.hpp"

#include <algorithm>
#include <cmath>

namespace sciflow {

namespace {

constexpr uint8_t MAGIC[2] = {0x53, 0xF7};
constexpr uint64_t MAX_VALUES = uint64_t{1} << 56;

// The product of the shape, or false where it does not fit.
bool count_values(const Header& h, uint64_t& n) {
    n = 1;
    for (int i = 0; i < h.ndim; ++i) {
        if (h.shape[i] > MAX_VALUES) return false;
        if (h.shape[i] != 0 && n > MAX_VALUES / h.shape[i]) return false;
        n *= h.shape[i];
    }
    return true;
}

Blocking blocking_along(const Header& h, int axis, uint64_t rows) {
    Blocking b;
    b.axis = axis;
    b.rows = rows;
    for (int i = 0; i < h.ndim; ++i) {
        if (i < axis) b.outer *= h.shape[i];
        if (i > axis) b.inner *= h.shape[i];
    }
    b.along = h.ndim == 0 ? 1 : h.shape[axis];
    return b;
}

// Values in a row of a block cut along `axis`: the last length above one behind it; a block of one row has no limit.
uint64_t row_length(const Header& h, int axis) {
    for (int i = h.ndim - 1; i > axis; --i)
        if (h.shape[i] > 1) return h.shape[i];
    return MAX_BLOCK_VALUES;
}

// What a block cut along `axis` may hold.
uint64_t most_values(const Header& h, int axis) {
    const uint64_t row = row_length(h, axis);
    return row > MAX_BLOCK_VALUES / MAX_BLOCK_ROWS ? MAX_BLOCK_VALUES : row * MAX_BLOCK_ROWS;
}

void write_regions(const Header& h, Writer& w) {
    w.raw(h.elsewhere);
    w.varint(h.regions.size());
    for (const RegionBound& r : h.regions) {
        w.zigzag(r.label);
        w.raw(r.bound);
    }
}

Status read_regions(Cursor& c, Header& h) {
    uint64_t count = 0;
    const auto allowed = [&](double bound) { return bound >= 0 && bound <= h.bound; };
    if (h.pointwise() || h.lattice) return Status::corrupt;
    if (!c.raw(h.elsewhere)) return Status::truncated;
    if (!c.varint(count)) return c.left() < 10 ? Status::truncated : Status::corrupt;
    if (!allowed(h.elsewhere) || count == 0 || count > MAX_REGIONS) return Status::corrupt;
    h.regions.resize(static_cast<size_t>(count));
    for (RegionBound& r : h.regions) {
        if (!c.zigzag(r.label)) return c.left() < 10 ? Status::truncated : Status::corrupt;
        if (!c.raw(r.bound)) return Status::truncated;
        if (!allowed(r.bound)) return Status::corrupt;
    }
    return Status::ok;
}

}  // namespace

Blocking plan_blocks(const Header& h, uint64_t block_values) {
    if (h.ndim == 0) return blocking_along(h, 0, 1);
    if (block_values == 0) block_values = MAX_BLOCK_VALUES;
    block_values = std::min(block_values, most_values(h, 0));
    if (h.values() == 0) {
        Blocking empty = blocking_along(h, 0, 1);
        empty.along = 0;
        return empty;
    }
    int axis = 0;
    uint64_t inner = h.values() / h.shape[0];
    while (axis + 1 < h.ndim && inner > block_values) inner /= h.shape[++axis];
    while (axis + 1 < h.ndim && h.shape[axis] == 1) inner /= h.shape[++axis];
    block_values = std::min(block_values, most_values(h, axis));
    const uint64_t along = h.shape[axis];
    const uint64_t most = block_values / inner > 0 ? block_values / inner : 1;
    uint64_t count = (along + most - 1) / most;
    if (count > 1 && count % 2 == 1 && count < along) ++count;  // two threads share an even number evenly
    return blocking_along(h, axis, (along + count - 1) / count);
}

void write_header(const Header& h, Bytes& out) {
    const size_t start = out.size();
    Writer w(out);
    w.u8(MAGIC[0]);
    w.u8(MAGIC[1]);
    w.u8(STREAM_MAJOR);
    w.u8(STREAM_MINOR);
    w.u8(static_cast<uint8_t>((h.dtype == Dtype::float64 ? 1 : 0) | (h.order_f ? 2 : 0) | (h.big_endian ? 4 : 0) |
                              (h.lattice ? 8 : 0) | (static_cast<int>(h.request) << 4) | (h.has_regions ? 64 : 0)));
    w.u8(static_cast<uint8_t>(h.ndim | (h.blocking.axis << 4)));
    for (int i = 0; i < h.ndim; ++i) w.varint(h.shape[i]);
    w.raw(h.bound);
    if (h.request == BoundKind::rel || h.request == BoundKind::psnr) w.raw(h.request_value);
    if (h.has_regions) write_regions(h, w);
    w.varint(h.blocking.rows);
    for (uint64_t n : h.block_bytes) w.varint(n);
    w.raw(crc32c(View(out).subspan(start)));
}

Status read_header(View stream, Header& h, size_t& offset) {
    Cursor c(stream);
    offset = 0;
    auto stop = [&](Status s) {
        offset = c.offset();
        return s;
    };
    uint8_t magic[2], major = 0, minor = 0, flags = 0, dims = 0;
    for (uint8_t& m : magic)
        if (!c.u8(m)) return stop(Status::truncated);
    if (magic[0] != MAGIC[0] || magic[1] != MAGIC[1]) return stop(Status::corrupt);
    if (!c.u8(major) || !c.u8(minor)) return stop(Status::truncated);
    if (major != STREAM_MAJOR || minor > STREAM_MINOR) return stop(Status::unsupported);
    if (!c.u8(flags) || !c.u8(dims)) return stop(Status::truncated);
    h.ndim = dims & 15;
    const int axis = dims >> 4;
    if ((flags & 0x80) || h.ndim > MAX_NDIM || axis > (h.ndim == 0 ? 0 : h.ndim - 1)) return stop(Status::corrupt);
    h.dtype = (flags & 1) ? Dtype::float64 : Dtype::float32;
    h.order_f = flags & 2;
    h.big_endian = flags & 4;
    h.lattice = flags & 8;
    h.request = static_cast<BoundKind>((flags >> 4) & 3);
    h.has_regions = flags & 64;
    h.regions.clear();
    for (int i = 0; i < h.ndim; ++i)
        if (!c.varint(h.shape[i])) return stop(c.left() < 10 ? Status::truncated : Status::corrupt);
    uint64_t values = 0;
    if (!count_values(h, values)) return stop(Status::corrupt);
    if (!c.raw(h.bound)) return stop(Status::truncated);
    h.request_value = h.bound;
    if ((h.request == BoundKind::rel || h.request == BoundKind::psnr) && !c.raw(h.request_value))
        return stop(Status::truncated);
    if (!(h.bound >= 0) || !std::isfinite(h.bound) || !std::isfinite(h.request_value)) return stop(Status::corrupt);
    if (h.has_regions)
        if (Status s = read_regions(c, h); s != Status::ok) return stop(s);
    uint64_t rows = 0;
    if (!c.varint(rows)) return stop(c.left() < 10 ? Status::truncated : Status::corrupt);
    if (rows == 0) return stop(Status::corrupt);
    h.blocking = blocking_along(h, axis, rows);
    if (values == 0) {
        h.blocking.along = 0;
    } else if (rows > h.blocking.along || h.blocking.inner > MAX_BLOCK_VALUES ||
               rows * h.blocking.inner > most_values(h, axis)) {
        return stop(Status::corrupt);
    }
    const uint64_t blocks = h.blocking.count();
    if (blocks > c.left()) return stop(Status::truncated);  // a block's length is a byte at least
    h.block_bytes.resize(static_cast<size_t>(blocks));
    for (uint64_t& n : h.block_bytes) {
        if (!c.varint(n)) return stop(c.left() < 10 ? Status::truncated : Status::corrupt);
        if (n < 1 + BLOCK_OVERHEAD) return stop(Status::corrupt);
    }
    const uint32_t expected = crc32c(stream.first(c.offset()));
    uint32_t found = 0;
    if (!c.raw(found)) return stop(Status::truncated);
    if (found != expected) return stop(Status::corrupt);
    h.header_bytes = c.offset();
    return Status::ok;
}

}  // namespace sciflow
