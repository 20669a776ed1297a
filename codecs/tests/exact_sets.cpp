// Masks and exact values: there and back, whatever is marked; and what no writer makes.
#include "exact.hpp"

#include "check.hpp"

using namespace sciflow;
using namespace sciflow::tests;

namespace {

using Mask = std::vector<uint8_t>;

void mask_round_trip(const Mask& mask, const Dims& dims) {
    EntropyScratch scratch;
    size_t count = 0;
    each_marked(mask.data(), mask.size(), [&](size_t i) {
        CHECK(mask[i] == 1);
        ++count;
    });
    CHECK(count == static_cast<size_t>(std::count(mask.begin(), mask.end(), uint8_t{1})));
    Bytes bytes;
    write_mask(mask.data(), count, dims, scratch, bytes);
    Mask found(mask.size(), 9);
    Cursor c(bytes);
    MixingScratch mixing;
    CHECK(read_mask(c, dims, scratch, &mixing, found.data()) == Status::ok && c.left() == 0 && found == mask);
    for (size_t n = 0; n < bytes.size(); n += 1 + bytes.size() / 50) {
        Cursor prefix(View(bytes).first(n));
        CHECK(read_mask(prefix, dims, scratch, &mixing, found.data()) != Status::ok);
    }
}

void masks_round_trip(const Dims& dims, Random& random) {
    const size_t n = dims.size();
    Mask mask(n, 0);
    mask_round_trip(mask, dims);
    mask.assign(n, 1);
    mask_round_trip(mask, dims);
    for (size_t first : {size_t{0}, n - 1}) {
        mask.assign(n, 0);
        mask[first] = 1;
        mask_round_trip(mask, dims);
    }
    for (size_t phase : {0, 1}) {
        for (size_t i = 0; i < n; ++i) mask[i] = (i + phase) % 2;
        mask_round_trip(mask, dims);
    }
    for (size_t every : {2, 9, 100}) {
        for (uint8_t& m : mask) m = random.once_in(every);
        mask_round_trip(mask, dims);
    }
    const size_t inner = dims.n[2] * dims.n[X];
    for (size_t i = 0; i < n; ++i)
        mask[i] = i % inner < inner / 3 || i % inner % 7 == 0;  // the same land in every layer
    mask_round_trip(mask, dims);
    for (size_t i = 0; i < n; ++i) mask[i] = i % dims.n[X] % 3 == 0;
    mask_round_trip(mask, dims);
}

Bytes mask_of(uint8_t axis, std::initializer_list<uint64_t> runs) {
    Bytes b = {axis};
    Writer w(b);
    w.varint(runs.size());
    for (uint64_t r : runs) w.varint(r);
    return b;
}

struct Scratch {
    EntropyScratch entropy;
    MixingScratch mixing;
};

// Exact values behind a mask whose first `count` positions are marked.
Bytes behind_a_mask(size_t count, const Bytes& values) {
    Bytes bytes = mask_of(4, {0, count});
    bytes.insert(bytes.end(), values.begin(), values.end());
    return bytes;
}

template <class Bits>
Status read_set(View bytes, const Dims& dims, Scratch& scratch, std::vector<Bits>& found) {
    Mask mask(dims.size());
    Cursor c(bytes);
    const Status s = read_exact_set(c, dims, scratch.entropy, scratch.mixing, mask.data(), found);
    return s == Status::ok && c.left() > 0 ? Status::corrupt : s;
}

template <class Bits>
void values_round_trip(const std::vector<Bits>& values) {
    Scratch scratch;
    const size_t count = values.size();
    const Dims dims = dims_of(1, 1, 1, count + 9);
    Bytes bytes;
    write_exact(values, scratch.entropy, bytes);
    std::vector<Bits> found;
    CHECK(read_set(behind_a_mask(count, bytes), dims, scratch, found) == Status::ok && found == values);
    CHECK(read_set(behind_a_mask(count + 1, bytes), dims, scratch, found) == Status::corrupt);
    if (count > 0) CHECK(read_set(behind_a_mask(count - 1, bytes), dims, scratch, found) == Status::corrupt);
    bytes = behind_a_mask(count, bytes);
    for (size_t n = 0; n < bytes.size(); n += 1 + bytes.size() / 50)
        CHECK(read_set(View(bytes).first(n), dims, scratch, found) != Status::ok);
}

// Marks and kinds as one image, with what lies in the scratch from the one before.
template <class Bits>
void images_round_trip(Random& random) {
    Scratch scratch;
    for (size_t kinds : {1, 2, 62, 300}) {
        const Dims dims = dims_of(1, 3, 40, 50);
        std::vector<Bits> palette(kinds), values, found;
        for (Bits& b : palette) b = static_cast<Bits>(random.bits());
        Mask mask(dims.size()), marks(dims.size());
        for (size_t i = 0; i < mask.size(); ++i) {
            mask[i] = i % 50 > 30 || random.once_in(20);
            if (mask[i]) values.push_back(palette[random.once_in(4) ? random.below(kinds) : i / 2000 % kinds]);
        }
        Bytes bytes;
        write_exact_image(mask.data(), values, dims, scratch.mixing, bytes);
        Cursor c(bytes);
        CHECK(read_exact_set(c, dims, scratch.entropy, scratch.mixing, marks.data(), found) == Status::ok);
        CHECK(c.left() == 0 && found == values);
        for (size_t i = 0; i < mask.size(); ++i) CHECK((marks[i] != 0) == (mask[i] != 0));
        for (size_t n = 0; n < bytes.size(); n += 1 + bytes.size() / 50)
            CHECK(read_set(View(bytes).first(n), dims, scratch, found) != Status::ok);
    }
}

template <class Bits>
void exact_values_round_trip(Random& random) {
    values_round_trip<Bits>({});
    values_round_trip<Bits>({Bits(-1)});
    values_round_trip<Bits>(std::vector<Bits>(3000, Bits(0x7fc00000)));
    for (size_t kinds : {2, 61, 62, 63, 64, 200, 5000}) {  // 62 palette entries at most; 4096 distinct ones are counted
        std::vector<Bits> palette(kinds), values(20000);
        for (Bits& b : palette) b = static_cast<Bits>(random.bits());
        for (Bits& v : values) v = palette[random.below(kinds)];
        values_round_trip(values);
        std::sort(values.begin(), values.end());
        values_round_trip(values);
        for (Bits& v : values)
            if (random.once_in(3)) v = static_cast<Bits>(random.bits());
        values_round_trip(values);
    }
}

Status read(const Bytes& bytes, const Dims& dims) {
    EntropyScratch scratch;
    MixingScratch mixing;
    Mask mask(dims.size());  // exactly: AddressSanitizer sees a run that leaves it
    Cursor c(bytes);
    return read_mask(c, dims, scratch, &mixing, mask.data());
}

void each_hostile_mask_is_refused() {
    const Dims d = dims_of(2, 3, 4, 5);
    CHECK(read(mask_of(4, {3, 4, 113}), d) == Status::ok);
    CHECK(read(mask_of(4, {}), d) == Status::ok);
    CHECK(read(mask_of(4, {0, 120}), d) == Status::ok);
    CHECK(read(mask_of(4, {121}), d) == Status::corrupt);
    CHECK(read(mask_of(4, {100, 21}), d) == Status::corrupt);
    CHECK(read(mask_of(4, {100, INT32_MAX}), d) == Status::corrupt);
    CHECK(read(mask_of(4, {100, uint64_t{1} << 63}), d) == Status::corrupt);
    CHECK(read(mask_of(3, {3}), d) == Status::corrupt);  // along x: that is what runs are for
    CHECK(read(mask_of(5, {3}), d) != Status::ok);       // an image of fewer positions than any
    CHECK(read(mask_of(6, {3}), d) == Status::corrupt);
    CHECK(read(mask_of(255, {3}), d) == Status::corrupt);
    for (uint8_t axis = 0; axis < 3; ++axis) CHECK(read(mask_of(axis, {1, 2, 3}), dims_of(1, 1, 1, 120)) == Status::ok);
}

Bytes image_of(const std::vector<int32_t>& codes) {
    MixingScratch mixing;
    GridSpec grid;
    grid.dims.n[X] = codes.size();
    Bytes b = {5};
    mix_grids<int32_t>({grid}, codes.data(), mixing, b);
    return b;
}

void each_hostile_image_is_refused() {
    Scratch scratch;
    std::vector<uint32_t> found;
    const Dims d = dims_of(1, 1, 1, 300);
    std::vector<int32_t> codes(300, 0);
    codes[7] = 2;
    Bytes two = image_of(codes);
    CHECK(read(two, d) == Status::corrupt);  // a mask's flags are 0 and 1
    const size_t length = two.size();
    two.insert(two.end(), {1, 1, 2, 3, 4, 9, 9, 9, 9});
    CHECK(read_set(two, d, scratch, found) == Status::ok && found == std::vector<uint32_t>{0x09090909});
    CHECK(read_set(View(two).first(length + 8), d, scratch, found) == Status::truncated);
    two.resize(length);
    two.push_back(0);  // no palette: kinds end at 1
    CHECK(read_set(two, d, scratch, found) == Status::corrupt);
    for (int32_t code : {-1, 64}) {
        codes[7] = code;
        CHECK(read_set(image_of(codes), d, scratch, found) == Status::corrupt);
    }
    codes.resize(MIXING_FROM - 1);
    CHECK(read(image_of(codes), dims_of(1, 1, 1, codes.size())) == Status::corrupt);  // too few
}

void each_hostile_exact_set_is_refused() {
    Scratch scratch;
    std::vector<uint32_t> found;
    const auto read_of = [&](const Bytes& b, size_t count) {
        return read_set(behind_a_mask(count, b), dims_of(1, 1, 1, count), scratch, found);
    };
    CHECK(read_of({63, 0, 0, 0}, 1) == Status::corrupt);                      // a palette too large
    CHECK(read_of({1, 1, 2, 3, 4, 1, 2}, 2) == Status::ok);                   // one run of two of kind 0
    CHECK(read_of({1, 1, 2, 3, 4, 1, 4}, 2) == Status::corrupt);              // three
    CHECK(read_of({1, 1, 2, 3, 4, 1, 0}, 2) == Status::corrupt);              // one
    CHECK(read_of({0, 1, 0x80, 0x80, 0x80, 0x80, 8}, 2) == Status::corrupt);  // a run of 2^31
    CHECK(read_of({0, 1, 0xff, 0xff, 0xff, 0xff, 7}, 2) == Status::corrupt);  // a run of 2^31 - 1 literals
    CHECK(read_of({0, 1, 1, 9, 9, 9, 9, 8, 8, 8}, 2) == Status::truncated);
}

}  // namespace

int main() {
    Random random(1);
    for (const Dims& d : {dims_of(1, 1, 1, 1), dims_of(1, 1, 1, 1000), dims_of(1, 1, 60, 70), dims_of(5, 6, 7, 8),
                          dims_of(4, 1, 30, 40), dims_of(1, 9, 500, 1)})
        masks_round_trip(d, random);
    exact_values_round_trip<uint32_t>(random);
    exact_values_round_trip<uint64_t>(random);
    images_round_trip<uint32_t>(random);
    images_round_trip<uint64_t>(random);
    each_hostile_mask_is_refused();
    each_hostile_image_is_refused();
    each_hostile_exact_set_is_refused();
}
