// Lists of grids and of numbers through the coder: with references and folded, and with whatever lay in the scratch.
#include "entropy/coder.hpp"

#include "check.hpp"

using namespace sciflow;
using namespace sciflow::tests;

namespace {

size_t total(const std::vector<GridSpec>& grids) {
    size_t n = 0;
    for (const GridSpec& g : grids) n += g.dims.size();
    return n;
}

// Memory as an earlier, larger block may have left it.
EntropyScratch poisoned(size_t cells) {
    EntropyScratch s;
    s.magnitudes[0].assign(cells, 4095);
    s.magnitudes[1].assign(cells, 4095);
    s.contexts.assign(cells, 29);
    s.symbols.assign(cells, 234);
    s.folded.assign(8 * cells, 0xff);
    return s;
}

template <class Q>
void round_trip(const std::vector<GridSpec>& grids, Random& random, int spread) {
    std::vector<Q> codes(total(grids));
    for (size_t i = 0; i < codes.size(); ++i) {  // calm and lively stretches, so that contexts matter
        const size_t most = i / 300 % 2 ? 1 : static_cast<size_t>(spread);
        codes[i] = static_cast<Q>(random.once_in(most > 1 ? 30 : 3000) ? random.bits() >> random.below(64)
                                                                       : random.below(most));
    }
    std::vector<Q> sent = codes, found(codes.size());
    EntropyScratch clean, dirty = poisoned(8 * codes.size() + 4096);
    Bytes bytes, again;
    encode_grids<Q>(grids, sent.data(), clean, bytes);
    sent = codes;
    encode_grids<Q>(grids, sent.data(), dirty, again);
    CHECK(bytes == again);
    for (EntropyScratch* s : {&clean, &dirty}) {
        Cursor c(bytes);
        CHECK(decode_grids<Q>(c, grids, found.data(), *s) == Status::ok && c.left() == 0);
        CHECK(found == codes);
    }
}

std::vector<GridSpec> one(const Dims& d) {
    GridSpec g;
    g.dims = d;
    return {g};
}

template <class Q>
void single_grids_round_trip(Random& random) {
    const Dims shapes[] = {dims_of(1, 1, 1, 1),    dims_of(1, 1, 1, 2047), dims_of(1, 1, 1, 2048),
                           dims_of(1, 1, 1, 2049), dims_of(1, 1, 2047, 1), dims_of(1, 1, 4000, 1),
                           dims_of(1, 1, 15, 400), dims_of(1, 1, 16, 400), dims_of(20, 20, 20, 15),
                           dims_of(3, 5, 7, 16),   dims_of(1, 1, 300, 300)};
    for (const Dims& d : shapes)
        for (int spread : {1, 2, 60, 9000}) round_trip<Q>(one(d), random, spread);
}

// Every pyramid that blocks can have, where a class's reference may be wider, narrower or shorter than itself.
void pyramids_round_trip(Random& random) {
    for (int i = 0; i < 300; ++i) {
        const size_t most = random.once_in(4) ? 40 : 5;
        const Dims d =
            dims_of(1 + random.below(most), 1 + random.below(most), 1 + random.below(5), 1 + random.below(45));
        round_trip<int32_t>(multilevel_grids(d, static_cast<unsigned>(random.below(16))), random, 70);
    }
}

// Class 7 of such a block is one row, longer by one than its reference, class 12, whose row ends where it is read last.
void a_row_is_zero_beyond_its_ends(Random& random) {
    for (size_t n : {3, 5, 21, 3001})
        for (size_t n2 : {1, 2, 3}) round_trip<int32_t>(multilevel_grids(dims_of(2, 2, n2, n), 15), random, 30);
}

void numbers_round_trip(Random& random) {
    for (size_t count : {0, 1, 47, 48, 49, 2047, 2048, 5000})
        for (uint32_t most : {1u, 3u, 100000u, uint32_t{INT32_MAX}}) {
            std::vector<uint32_t> numbers(count), found;
            for (uint32_t& v : numbers) v = random.once_in(7) ? most : static_cast<uint32_t>(random.below(most));
            EntropyScratch scratch;
            Bytes bytes;
            write_numbers(numbers, scratch, bytes);
            Cursor c(bytes);
            CHECK(read_numbers(c, count, scratch, found) == Status::ok && c.left() == 0 && found == numbers);
            if (count > 0) {
                Cursor fewer(bytes);
                CHECK(read_numbers(fewer, count - 1, scratch, found) == Status::corrupt);
            }
            for (size_t n = 0; n < bytes.size(); n += 1 + bytes.size() / 100) {
                Cursor prefix(View(bytes).first(n));
                CHECK(read_numbers(prefix, count, scratch, found) != Status::ok);
            }
        }
}

void numbers_are_below_2_to_the_31() {
    EntropyScratch scratch;
    std::vector<uint32_t> found;
    Bytes plain;
    Writer w(plain);
    w.varint(1);
    w.varint(uint64_t{1} << 31);
    Cursor c(plain);
    CHECK(read_numbers(c, 10, scratch, found) == Status::corrupt);
    std::vector<int32_t> codes(100, -1);
    Bytes coded;
    Writer(coded).varint(codes.size());
    encode_grids<int32_t>(one(dims_of(1, 1, 1, codes.size())), codes.data(), scratch, coded);
    Cursor d(coded);
    CHECK(read_numbers(d, 100, scratch, found) == Status::corrupt);
}

}  // namespace

int main() {
    Random random(1);
    single_grids_round_trip<int32_t>(random);
    single_grids_round_trip<int64_t>(random);
    pyramids_round_trip(random);
    a_row_is_zero_beyond_its_ends(random);
    numbers_round_trip(random);
    numbers_are_below_2_to_the_31();
}
