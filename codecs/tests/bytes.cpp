// Bytes in and out: numbers at the ends of their ranges, reads at the ends of the buffer, the checksum.
#include "bytes.hpp"

#include "check.hpp"

using namespace sciflow;

namespace {

void varints_round_trip_and_stop_at_the_end() {
    std::vector<uint64_t> values = {0, 1, UINT64_MAX};
    for (int shift = 1; shift < 64; ++shift)
        for (int d : {-1, 0, 1}) values.push_back((uint64_t{1} << shift) + static_cast<uint64_t>(d));
    for (uint64_t v : values) {
        Bytes bytes;
        Writer(bytes).varint(v);
        Cursor whole(bytes);
        uint64_t found = ~v;
        CHECK(whole.varint(found) && found == v && whole.left() == 0);
        for (size_t n = 0; n < bytes.size(); ++n) {
            Cursor prefix(View(bytes).first(n));
            CHECK(!prefix.varint(found) && prefix.offset() == 0);
        }
    }
}

void varints_that_no_writer_makes_are_refused() {
    const Bytes zero_padded = {0x80, 0x00};
    const Bytes too_large = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x02};
    const Bytes too_long(11, 0x80);
    for (const Bytes& b : {zero_padded, too_large, too_long}) {
        Cursor c(b);
        uint64_t v = 0;
        CHECK(!c.varint(v) && c.offset() == 0);
    }
}

void signed_numbers_round_trip() {
    for (int64_t v : {int64_t{0}, int64_t{-1}, int64_t{1}, INT64_MIN, INT64_MAX}) {
        Bytes bytes;
        Writer(bytes).zigzag(v);
        Cursor c(bytes);
        int64_t found = 1;
        CHECK(c.zigzag(found) && found == v);
    }
}

void lengths_beyond_the_buffer_are_refused() {
    const Bytes bytes(5, 0);
    for (uint64_t n : {uint64_t{6}, uint64_t{1} << 63, UINT64_MAX}) {
        Cursor c(bytes);
        View v;
        CHECK(!c.bytes(n, v) && c.offset() == 0);
    }
    Cursor c(bytes);
    View v;
    uint64_t eight = 0;
    uint32_t four = 0;
    CHECK(!c.raw(eight) && c.raw(four) && c.left() == 1);
    CHECK(c.bytes(1, v) && c.bytes(0, v) && !c.bytes(1, v));
}

void the_checksum_is_crc32c() {
    const char digits[] = "123456789";
    const View v(reinterpret_cast<const uint8_t*>(digits), 9);
    CHECK(crc32c(v) == 0xe3069283u);
    CHECK(crc32c(View()) == 0);
    CHECK(crc32c(Bytes(32, 0)) == 0x8a9136aau);  // RFC 3720, B.4
    CHECK(crc32c(Bytes(32, 0xff)) == 0x62a8ab43u);
}

// Bit by bit, as the definition has it.
uint32_t slow_checksum(View data) {
    uint32_t crc = ~0u;
    for (uint8_t byte : data) {
        crc ^= byte;
        for (int k = 0; k < 8; ++k) crc = (crc >> 1) ^ (0x82f63b78u & (0 - (crc & 1)));
    }
    return ~crc;
}

void the_checksum_of_any_length_may_be_continued() {
    tests::Random random(3);
    Bytes bytes(20000);
    for (uint8_t& b : bytes) b = static_cast<uint8_t>(random.bits());
    for (size_t n : {1, 7, 8, 9, 6143, 6144, 6145, 6151, 12288, 12299, 20000}) {
        const View data = View(bytes).first(n);
        CHECK(crc32c(data) == slow_checksum(data));
        for (size_t cut : {size_t{0}, n, random.below(n), random.below(n)})
            CHECK(crc32c(data.subspan(cut), crc32c(data.first(cut))) == crc32c(data));
    }
}

}  // namespace

int main() {
    varints_round_trip_and_stop_at_the_end();
    varints_that_no_writer_makes_are_refused();
    signed_numbers_round_trip();
    lengths_beyond_the_buffer_are_refused();
    the_checksum_is_crc32c();
    the_checksum_of_any_length_may_be_continued();
}
