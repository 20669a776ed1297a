// Blocks through the integers that their source made them of: found, coded by them, and the same bits again.
#include "described.hpp"

#include "recipe.hpp"
#include "streams.hpp"

using namespace sciflow;
using namespace sciflow::tests;

namespace {

constexpr size_t ROWS = 12, COLUMNS = 500;

// Encodes at bound 0, or at one so small that keeping every bit is cheaper; the mode must be `described`.
template <class T>
size_t lossless_size(const std::vector<T>& values, double bound) {
    Sample<T> s;
    s.values = values;
    s.header = header_of<T>({ROWS, COLUMNS}, bound);
    s.options.block.bound = bound;
    Bytes stream;
    CHECK(s.encode(stream) == Status::ok);
    Header h;
    size_t offset = 0;
    CHECK(read_header(stream, h, offset) == Status::ok);
    CHECK(stream[h.header_bytes] == static_cast<uint8_t>(Mode::described));
    CHECK(same_bits(decoded<T>(stream, values.size(), 1), values));
    return stream.size();
}

template <class T, class Make>
void comes_back_in_few_bytes(Make&& make, size_t most) {
    Random random(5);
    std::vector<T> values;
    for (size_t i = 0; i < ROWS * COLUMNS; ++i) values.push_back(static_cast<T>(make(i / COLUMNS, random)));
    for (double bound : {0.0, 1e-12}) CHECK(lossless_size(values, bound) < most);
    // Stray values, marks and holes cost themselves.
    values[7] = std::numeric_limits<T>::quiet_NaN();
    values[77] = T(-0.0);
    values[777] = std::numeric_limits<T>::max();
    CHECK(lossless_size(values, 0) < most + 200);
}

template <class T>
void sources_are_found() {
    const size_t n = ROWS * COLUMNS;
    comes_back_in_few_bytes<T>([](size_t, Random& r) { return static_cast<double>(r.below(900)) / 100; }, n * 11 / 8);
    comes_back_in_few_bytes<T>([](size_t, Random& r) { return static_cast<double>(r.below(900)) / 8; }, n * 11 / 8);
    comes_back_in_few_bytes<T>([](size_t, Random& r) { return std::sqrt(static_cast<double>(r.below(30))); },
                               n * 6 / 8);
    comes_back_in_few_bytes<T>(
        [](size_t row, Random& r) {
            return 270 + static_cast<double>(row * row) / 512 + 0.0625 * static_cast<double>(r.below(4000));
        },
        n * 13 / 8);
}

template <class T>
DescribedMap<T> random_map(const Dims& d, Random& random) {
    DescribedMap<T> map;
    map.kind = static_cast<MapKind>(random.below(3));
    map.axes = static_cast<int>(random.below(2));
    for (size_t s = slices_of(d, map.axes); s > 0; --s) {
        map.origin.push_back(random.between(-5, 5));
        map.step.push_back(std::ldexp(random.between(0.5, 1), -static_cast<int>(random.below(40))));
    }
    double entry = random.between(-50, 50);
    for (size_t k = 1 + random.below(100); k > 0; --k)
        map.table.push_back(static_cast<T>(entry += random.between(0.1, 1) * static_cast<double>(1 + random.below(3))));
    map.table_step = random.once_in(2) ? 0 : random.between(0.01, 3);
    return map;
}

template <class T>
void what_is_written_is_read(Random& random) {
    const Dims d = dims_of(1 + random.below(4), 2, 3, 40);
    const DescribedMap<T> map = random_map<T>(d, random);
    EntropyScratch scratch;
    Bytes out;
    write_described(map, scratch, out);
    DescribedMap<T> back;
    Cursor whole{View(out)};
    CHECK(read_described(whole, d, scratch, back) == Status::ok && whole.left() == 0);
    for (double q : {-1e300, -1.0, 0.0, 1.0, 7.0, 1e6, 1e300, static_cast<double>(NAN)}) {
        const T a = map.value(q, 0), b = back.value(q, 0);
        CHECK(std::memcmp(&a, &b, sizeof(T)) == 0 || (std::isnan(a) && std::isnan(b)));
    }
    Cursor part{View(out).first(random.below(out.size()))};
    CHECK(read_described(part, d, scratch, back) != Status::ok);
}

// A description by hand, of float: kind, then what follows.
template <class... V>
Status read_of(V... fields) {
    Bytes out;
    Writer w(out);
    (w.raw(fields), ...);
    EntropyScratch scratch;
    DescribedMap<float> map;
    Cursor in{View(out)};
    return read_described(in, dims_of(1, 1, 4, 10), scratch, map);
}

void ranges_are_checked() {
    using B = uint8_t;
    CHECK(read_of(B{3}) == Status::corrupt);
    CHECK(read_of(B{0}, B{0}) == Status::corrupt);
    CHECK(read_of(B{0}, B{41}) == Status::corrupt);
    CHECK(read_of(B{0}, B{1}, 1.0f, 0.0, B{0}) == Status::ok);
    CHECK(read_of(B{0}, B{1}, 1.0f, -1.0, B{0}) == Status::corrupt);
    CHECK(read_of(B{0}, B{1}, 1.0f, static_cast<double>(INFINITY), B{0}) == Status::corrupt);
    CHECK(read_of(B{0}, B{1}, 1.0f, 0.0, B{32}) == Status::corrupt);
    CHECK(read_of(B{1}, B{4}) == Status::corrupt);
    CHECK(read_of(B{1}, B{3}) == Status::corrupt);     // slices of ten values
    const auto one = [](double origin, double step) {  // no palette, one run of one literal
        return read_of(B{1}, B{0}, B{0}, B{1}, B{0}, origin, B{0}, B{1}, B{0}, step);
    };
    CHECK(one(5, 2) == Status::ok);
    for (double bad : {0.0, -1.0, static_cast<double>(NAN)}) CHECK(one(5, bad) == Status::corrupt);
    CHECK(one(static_cast<double>(INFINITY), 2) == Status::corrupt);
}

// Integers whose own body is described, or of binary64 where the values are: corrupt.
void nesting_is_refused() {
    const Dims d = dims_of(1, 1, 4, 10);
    Bytes body = {static_cast<uint8_t>(Mode::described), 0, 1, 0, 0, 1, 0};
    Writer w(body);
    w.raw(5.0), w.u8(0), w.u8(1), w.u8(0), w.raw(2.0);
    const size_t head = body.size();
    const auto with = [&](uint8_t flags, Bytes inner) {
        body.resize(head);
        body[1] = flags;
        body.insert(body.end(), inner.begin(), inner.end());
    };
    std::vector<float> out(d.size());
    std::vector<double> wider(d.size());
    BlockScratch<float> scratch;
    BlockScratch<double> wide_scratch;
    const auto decode = [&] { return decode_block(body, d, header_of<float>({4, 10}, 1), scratch, out.data()); };
    with(0, {static_cast<uint8_t>(Mode::constant), 0, 0, 0x80, 0x3f});
    CHECK(decode() == Status::ok && out[39] == 7);
    with(0, body);
    CHECK(decode() == Status::corrupt);
    with(0, {});
    CHECK(decode() == Status::truncated);
    with(4, {static_cast<uint8_t>(Mode::constant), 0, 0, 0x80, 0x3f});
    CHECK(decode() == Status::corrupt);
    with(2, {static_cast<uint8_t>(Mode::constant), 0, 0, 0, 0, 0, 0, 0xf0, 0x3f});
    CHECK(decode() == Status::ok && out[39] == 7);
    CHECK(decode_block(body, d, header_of<double>({4, 10}, 1), wide_scratch, wider.data()) == Status::corrupt);
}

}  // namespace

int main() {
    sources_are_found<float>();
    sources_are_found<double>();
    Random random(2);
    for (int i = 0; i < 300; ++i) {
        what_is_written_is_read<float>(random);
        what_is_written_is_read<double>(random);
    }
    ranges_are_checked();
    nesting_is_refused();
}
