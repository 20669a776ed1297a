// Streams that no encoder wrote, their checksums right: an error or some values, but never a crash, never a large
// allocation, never a long wait; and the finds of the fuzzers by name.
#include <chrono>
#include <new>
#include <thread>

#include "built.hpp"
#include "repair.hpp"

using namespace sciflow;
using namespace sciflow::tests;

namespace {

size_t largest_allocation = 0;

}  // namespace

// Sees every allocation of the engine. AddressSanitizer still watches malloc.
void* operator new(size_t n, const std::nothrow_t&) noexcept {
    largest_allocation = n > largest_allocation ? n : largest_allocation;
    return std::malloc(n ? n : 1);
}
void* operator new(size_t n) {
    if (void* p = operator new(n, std::nothrow)) return p;
    throw std::bad_alloc();
}
void operator delete(void* p) noexcept { std::free(p); }
void operator delete(void* p, size_t) noexcept { std::free(p); }

namespace {

struct Outcome {
    Status status = Status::ok;
    size_t offset = 0;
};

// Into a buffer of exactly the size that the header claims, where that is affordable.
Outcome decode(View stream, int threads = 1) {
    Outcome o;
    Header h;
    o.status = read_header(stream, h, o.offset);
    if (o.status != Status::ok || h.values() > uint64_t{1} << 22) return o;
    Bytes out(static_cast<size_t>(h.values()) * itemsize(h.dtype));
    o.status = decode_stream(stream, out.data(), out.size(), threads, o.offset);
    CHECK(o.status == Status::ok || o.offset <= stream.size());
    return o;
}

template <class T>
Bytes random_stream(Random& random) {
    for (;;) {
        const Sample<T> s = random_sample<T>(random);
        Bytes stream;
        if (s.values.size() < 3000 && s.encode(stream) == Status::ok && stream.size() < 4000) return stream;
    }
}

// A stream of one block with this body.
Bytes one_block(const Header& header, const Bytes& body) {
    Header h = header;
    h.blocking = plan_blocks(h, 0);
    CHECK(h.blocking.count() == 1);
    h.block_bytes = {body.size() + BLOCK_OVERHEAD};
    Bytes out;
    write_header(h, out);
    Writer w(out);
    w.bytes(body);
    w.raw(crc32c(body));
    return out;
}

template <class T>
void every_prefix_is_truncated_and_more_is_corrupt(Random& random) {
    for (int i = 0; i < 12; ++i) {
        Bytes stream = random_stream<T>(random);
        for (size_t n = 0; n < stream.size(); ++n) {
            const Bytes prefix(stream.begin(), stream.begin() + static_cast<ptrdiff_t>(n));
            CHECK(decode(prefix).status == Status::truncated);
        }
        stream.push_back(0);
        CHECK(decode(stream).status == Status::corrupt);
    }
}

template <class T>
void every_flipped_bit_is_noticed(Random& random) {
    for (int i = 0; i < 6; ++i) {
        Bytes stream = random_stream<T>(random);
        for (size_t bit = 0; bit < 8 * stream.size(); ++bit) {
            stream[bit / 8] = static_cast<uint8_t>(stream[bit / 8] ^ (1u << bit % 8));
            CHECK(decode(stream).status != Status::ok);
            stream[bit / 8] = static_cast<uint8_t>(stream[bit / 8] ^ (1u << bit % 8));
        }
    }
}

template <class T>
void damage_behind_right_checksums_stays_inside(Random& random) {
    for (int i = 0; i < 60; ++i) {
        const Bytes stream = random_stream<T>(random);
        for (int k = 0; k < 60; ++k) {
            Bytes damaged = stream;
            for (size_t n = 1 + random.below(3); n > 0; --n) {
                uint8_t& b = damaged[random.below(damaged.size())];
                const uint8_t flipped = static_cast<uint8_t>(b ^ (1u << random.below(8)));
                b = random.once_in(3) ? uint8_t{0xff} : random.once_in(2) ? uint8_t{0} : flipped;
            }
            repair(damaged);
            decode(damaged, 1 + static_cast<int>(random.below(2)));
        }
    }
}

// Well formed blocks of numbers that no encoder writes decode, unless a field is out of its range, to the same values
// whatever the scratch held before: a new thread's holds nothing.
template <class T>
void numbers_of_every_size_decode(Random& random) {
    size_t good = 0;
    for (int i = 0; i < 300; ++i) {
        const Bytes stream = built_stream<T>(random, 5000);
        Header h;
        size_t offset = 0;
        CHECK(read_header(stream, h, offset) == Status::ok);
        std::vector<T> out(static_cast<size_t>(h.values())), again(out.size());
        const Status s = decode_stream(stream, out.data(), out.size() * sizeof(T), 1, offset);
        std::thread([&] {
            CHECK(decode_stream(stream, again.data(), again.size() * sizeof(T), 1, offset) == s);
        }).join();
        CHECK(s == Status::corrupt || (s == Status::ok && same_bits(out, again)));
        good += s == Status::ok;
    }
    CHECK(good > 100);
}

template <class T>
void shortened_bodies_are_refused(Random& random) {
    for (int i = 0; i < 20; ++i) {
        const Bytes stream = random_stream<T>(random);
        Header h;
        size_t offset = 0;
        CHECK(read_header(stream, h, offset) == Status::ok);
        if (h.block_bytes.size() != 1) continue;
        const View body = View(stream).subspan(h.header_bytes, stream.size() - h.header_bytes - BLOCK_OVERHEAD);
        for (size_t n = 1; n < body.size(); ++n)
            CHECK(decode(with_body(stream, h, 0, body.first(n))).status != Status::ok);
    }
}

// A block as large as the format allows, predicted by interpolation, all codes zero.
template <class T>
Bytes interpolated_zeros(const Header& header, unsigned mask) {
    Header h = header;
    h.blocking = plan_blocks(h, 0);
    const Dims dims = block_dims(h, 0);
    MultilevelPlan plan;
    plan.mask = mask;
    Bytes body = {static_cast<uint8_t>(Mode::multilevel), 0};
    write_plan(dims, plan, body);
    std::vector<int32_t> codes(dims.size());
    EntropyScratch scratch;
    encode_grids<int32_t>(multilevel_grids(dims, mask), codes.data(), scratch, body);
    return one_block(header, body);
}

// Rows of one or two values take most, each class keeping room for a halo: the format limits how many there are.
template <class T>
void small_streams_stay_small() {
    constexpr size_t n = MAX_BLOCK_VALUES;
    for (const std::vector<uint64_t>& shape :
         std::vector<std::vector<uint64_t>>{{n}, {MAX_BLOCK_ROWS, 2}, {2, n / 2}, {MAX_BLOCK_ROWS, 3}, {128, 128, 128}})
        for (unsigned mask : {8u, 12u, 15u}) {
            const Header h = header_of<T>(shape, 1);
            const Bytes stream = interpolated_zeros<T>(h, mask);
            CHECK(stream.size() < 300);
            largest_allocation = 0;
            const auto start = std::chrono::steady_clock::now();
            CHECK(decode(stream).status == Status::ok);
            CHECK(largest_allocation <= size_t{64} << 20);
            CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds(10));
        }
    Header too_many = header_of<T>({n / 2, 2}, 1);
    too_many.blocking = plan_blocks(too_many, 0);
    CHECK(too_many.blocking.rows == MAX_BLOCK_ROWS);
    too_many.blocking.rows = n / 2;
    too_many.block_bytes = {64};
    Bytes head;
    write_header(too_many, head);
    Header read;
    size_t offset = 0;
    CHECK(read_header(head, read, offset) == Status::corrupt);
}

}  // namespace

int main() {
    Random random(1);
    every_prefix_is_truncated_and_more_is_corrupt<float>(random);
    every_prefix_is_truncated_and_more_is_corrupt<double>(random);
    every_flipped_bit_is_noticed<float>(random);
    every_flipped_bit_is_noticed<double>(random);
    damage_behind_right_checksums_stays_inside<float>(random);
    damage_behind_right_checksums_stays_inside<double>(random);
    numbers_of_every_size_decode<float>(random);
    numbers_of_every_size_decode<double>(random);
    shortened_bodies_are_refused<float>(random);
    shortened_bodies_are_refused<double>(random);
    small_streams_stay_small<float>();
    small_streams_stay_small<double>();
}
