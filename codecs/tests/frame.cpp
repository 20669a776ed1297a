// The header: there and back, every prefix of it, and what no writer makes.
#include "frame.hpp"

#include "check.hpp"

using namespace sciflow;
using namespace sciflow::tests;

namespace {

Bytes written(Header h, uint64_t block_values, uint64_t length) {
    h.blocking = plan_blocks(h, block_values);
    h.block_bytes.assign(static_cast<size_t>(h.blocking.count()), length);
    Bytes bytes;
    write_header(h, bytes);
    return bytes;
}

Status read(View bytes, Header& h) {
    size_t offset = 0;
    const Status s = read_header(bytes, h, offset);
    CHECK(offset <= bytes.size());
    return s;
}

// The first bytes of a header, its last four being the checksum of what stands before.
Bytes sealed(Bytes bytes) {
    Writer(bytes).raw(crc32c(bytes));
    return bytes;
}

Bytes unsealed(Bytes bytes) {
    bytes.resize(bytes.size() - 4);
    return bytes;
}

void headers_round_trip() {
    Random random(1);
    for (int i = 0; i < 500; ++i) {
        std::vector<uint64_t> shape(random.below(MAX_NDIM + 1));
        for (uint64_t& n : shape) n = random.once_in(9) ? 0 : 1 + random.below(random.once_in(4) ? 3000 : 6);
        Header h = header_of<float>(shape, random.unit(), static_cast<BoundKind>(random.below(4)));
        if (h.values() > uint64_t{1} << 26) continue;
        if (random.once_in(2)) h.dtype = Dtype::float64;
        h.order_f = random.once_in(2);
        h.big_endian = random.once_in(2);
        h.lattice = random.once_in(2);
        if (h.request == BoundKind::rel || h.request == BoundKind::psnr) h.request_value = random.unit();
        const uint64_t wish = random.once_in(2) ? 0 : 100000 + random.below(100000), length = 5 + random.below(1000);
        const Bytes bytes = written(h, wish, length);
        Header f;
        CHECK(read(bytes, f) == Status::ok && f.header_bytes == bytes.size());
        CHECK(f.dtype == h.dtype && f.order_f == h.order_f && f.big_endian == h.big_endian && f.lattice == h.lattice);
        CHECK(f.request == h.request && f.request_value == h.request_value && f.bound == h.bound);
        CHECK(f.ndim == h.ndim && std::equal(shape.begin(), shape.end(), f.shape.begin()));
        const Blocking cut = plan_blocks(h, wish);
        CHECK(f.blocking.count() == cut.count() && f.block_bytes.size() == cut.count());
        for (uint64_t n : f.block_bytes) CHECK(n == length);
        Bytes longer = bytes;
        longer.resize(longer.size() + 40, 0xaa);
        CHECK(read(longer, f) == Status::ok && f.header_bytes == bytes.size());
    }
}

void blocks_tile_the_array() {
    Random random(2);
    for (int i = 0; i < 300; ++i) {
        std::vector<uint64_t> shape(random.below(5));
        for (uint64_t& n : shape) n = 1 + random.below(random.once_in(3) ? 700 : 9);
        const Header h = header_of<float>(shape, 1);
        const uint64_t wish = 1 + random.below(5000);
        const Blocking cut = plan_blocks(h, wish);
        uint64_t at = 0;
        if (cut.count() > 100000) continue;
        for (uint64_t b = 0; b < cut.count(); ++b) {
            CHECK(cut.first_value(b) == at && cut.values_of(b) > 0 && cut.values_of(b) <= wish);
            CHECK(block_dims(
                      [&] {
                          Header c = h;
                          c.blocking = cut;
                          return c;
                      }(),
                      b)
                      .size() == cut.values_of(b));
            at += cut.values_of(b);
        }
        CHECK(at == h.values());
    }
}

void every_prefix_is_truncated() {
    Header h = header_of<double>({300, 5, 2000}, 0.25, BoundKind::psnr);
    const Bytes bytes = written(h, 2500, 70000);
    for (size_t n = 0; n < bytes.size(); ++n) CHECK(read(View(bytes).first(n), h) == Status::truncated);
}

void every_flipped_bit_is_noticed() {
    Header h = header_of<float>({4, 1000}, 0.25);
    Bytes bytes = written(h, 1000, 70000);
    for (size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
        bytes[bit / 8] = static_cast<uint8_t>(bytes[bit / 8] ^ (1u << bit % 8));
        CHECK(read(bytes, h) != Status::ok);
        bytes[bit / 8] = static_cast<uint8_t>(bytes[bit / 8] ^ (1u << bit % 8));
    }
    CHECK(read(bytes, h) == Status::ok);
}

void versions_are_told_apart() {
    Header h = header_of<float>({4}, 1);
    const Bytes good = unsealed(written(h, 0, 70));
    Bytes major = good, minor = good, magic = good;
    major[2] = static_cast<uint8_t>(STREAM_MAJOR + 1);
    minor[3] = static_cast<uint8_t>(STREAM_MINOR + 1);
    magic[0] ^= 1;
    CHECK(read(sealed(good), h) == Status::ok);
    CHECK(read(sealed(major), h) == Status::unsupported);
    CHECK(read(sealed(minor), h) == Status::unsupported);
    CHECK(read(sealed(magic), h) == Status::corrupt);
}

// A header of one axis or more, written field by field.
Bytes fields(uint8_t flags, uint8_t dims, std::initializer_list<uint64_t> shape, double bound, uint64_t rows,
             std::initializer_list<uint64_t> lengths) {
    Bytes b = {0x53, 0xF7, STREAM_MAJOR, STREAM_MINOR, flags, dims};
    Writer w(b);
    for (uint64_t n : shape) w.varint(n);
    w.raw(bound);
    w.varint(rows);
    for (uint64_t n : lengths) w.varint(n);
    return sealed(b);
}

void each_hostile_field_is_refused() {
    constexpr uint64_t large = uint64_t{1} << 56;
    Header h;
    CHECK(read(fields(0, 1, {7}, 1, 7, {9}), h) == Status::ok);
    CHECK(read(fields(0x80, 1, {7}, 1, 7, {9}), h) == Status::corrupt);  // a flag from the future
    CHECK(read(fields(0, 9, {1, 1, 1, 1, 1, 1, 1, 1, 1}, 1, 1, {9}), h) == Status::corrupt);
    CHECK(read(fields(0, 0x11, {7}, 1, 7, {9}), h) == Status::corrupt);  // no axis 1
    CHECK(read(fields(0, 0x10, {}, 1, 1, {9}), h) == Status::corrupt);
    CHECK(read(fields(0, 1, {large + 1}, 1, 1, {9}), h) == Status::corrupt);  // more values than any stream
    CHECK(read(fields(0, 1, {UINT64_MAX}, 1, 1, {9}), h) == Status::corrupt);
    CHECK(read(fields(0, 2, {large, 2}, 1, 1, {9}), h) == Status::corrupt);
    CHECK(read(fields(0, 3, {uint64_t{1} << 32, uint64_t{1} << 32, 0}, 1, 1, {}), h) == Status::corrupt);
    CHECK(read(fields(0, 1, {7}, -1, 7, {9}), h) == Status::corrupt);
    CHECK(read(fields(0, 1, {7}, std::numeric_limits<double>::quiet_NaN(), 7, {9}), h) == Status::corrupt);
    CHECK(read(fields(0, 1, {7}, std::numeric_limits<double>::infinity(), 7, {9}), h) == Status::corrupt);
    CHECK(read(fields(0, 1, {7}, 1, 0, {9}), h) == Status::corrupt);  // blocks of no rows
    CHECK(read(fields(0, 1, {7}, 1, 8, {9}), h) == Status::corrupt);  // more rows than there are
    CHECK(read(fields(0, 1, {MAX_BLOCK_VALUES + 1}, 1, MAX_BLOCK_VALUES + 1, {9}), h) == Status::corrupt);
    CHECK(read(fields(0, 2, {1, MAX_BLOCK_VALUES + 1}, 1, 1, {9}), h) == Status::corrupt);
    CHECK(read(fields(0, 2, {3, MAX_BLOCK_VALUES}, 1, 2, {9, 9}), h) == Status::corrupt);
    CHECK(read(fields(0, 2, {uint64_t{1} << 40, 1 << 16}, 1, uint64_t{1} << 40, {9}), h) == Status::corrupt);
    CHECK(read(fields(0, 1, {7}, 1, 7, {4}), h) == Status::corrupt);              // shorter than a mode and a checksum
    CHECK(read(fields(0, 1, {large}, 1, 1, {9, 9, 9}), h) == Status::truncated);  // an index of 2^56 entries
    CHECK(read(fields(0, 1, {0}, 1, 1, {}), h) == Status::ok && h.blocking.count() == 0);
    CHECK(read(fields(0, 2, {large, 0}, 1, large, {}), h) == Status::ok && h.blocking.count() == 0);
}

// One axis, a bound of 1, then what the flag of regions asks for.
Status read_regional(uint8_t flags, double elsewhere, std::initializer_list<RegionBound> regions) {
    Bytes b = {0x53, 0xF7, STREAM_MAJOR, STREAM_MINOR, flags, 1, 7};
    Writer w(b);
    w.raw(1.0);
    w.raw(elsewhere);
    w.varint(regions.size());
    for (const RegionBound& r : regions) w.zigzag(r.label), w.raw(r.bound);
    w.varint(7);
    w.varint(9);
    Header h;
    return read(sealed(b), h);
}

void each_hostile_region_is_refused() {
    CHECK(read_regional(0x40, 1, {{5, 0.5}}) == Status::ok);
    CHECK(read_regional(0x40, 0, {{INT64_MIN, 1}, {INT64_MAX, 0}}) == Status::ok);
    CHECK(read_regional(0x40, 1, {}) == Status::corrupt);
    CHECK(read_regional(0x40, 1.5, {{5, 0.5}}) == Status::corrupt);  // looser than the loosest
    CHECK(read_regional(0x40, -1, {{5, 0.5}}) == Status::corrupt);
    CHECK(read_regional(0x40, 1, {{5, 1.5}}) == Status::corrupt);
    CHECK(read_regional(0x40, 1, {{5, std::numeric_limits<double>::quiet_NaN()}}) == Status::corrupt);
    CHECK(read_regional(0x48, 1, {{5, 0.5}}) == Status::corrupt);  // rewrite-safe
    CHECK(read_regional(0x60, 1, {{5, 0.5}}) == Status::corrupt);  // pointwise
}

void every_prefix_with_regions_is_truncated() {
    Header h = header_of<double>({300, 5, 2000}, 0.25);
    h.has_regions = true;
    h.elsewhere = 0.25;
    h.regions = {{-7, 0.125}, {int64_t{1} << 40, 0}};
    const Bytes bytes = written(h, 2500, 70000);
    for (size_t n = 0; n < bytes.size(); ++n) CHECK(read(View(bytes).first(n), h) == Status::truncated);
}

}  // namespace

int main() {
    each_hostile_region_is_refused();
    every_prefix_with_regions_is_truncated();
    headers_round_trip();
    blocks_tile_the_array();
    every_prefix_is_truncated();
    every_flipped_bit_is_noticed();
    versions_are_told_apart();
    each_hostile_field_is_refused();
}
