// Packed blocks: groups of every width on every instruction set, differences over any distance, whole streams of the
// fast level, and the numbers that a decoder refuses.
#include "pack/history.hpp"
#include "repair.hpp"
#include "streams.hpp"

using namespace sciflow;
using namespace sciflow::tests;

namespace {

struct Packing {
    std::vector<uint8_t> width, count, high;
    Bytes payload, patches;

    explicit Packing(size_t groups)
        : width(groups), count(groups), high(groups), payload(groups * 4 * GROUP + 64), patches(groups * 128 + 64) {}
    bool operator==(const Packing&) const = default;
};

Packing packed_by(const Kernels& k, const std::vector<uint32_t>& words) {
    Packing p(words.size() / GROUP);
    PackJob job;
    job.words = words.data();
    job.groups = p.width.size();
    job.width = p.width.data();
    job.count = p.count.data();
    job.high = p.high.data();
    job.payload = p.payload.data();
    job.patches.out = p.patches.data();
    k.groups.pack(job);
    p.payload.resize(static_cast<size_t>(job.payload - p.payload.data()));
    p.patches.resize(static_cast<size_t>(job.patches.out - p.patches.data()) + (job.patches.held > 0));
    return p;
}

std::vector<uint32_t> unpacked_by(const Kernels& k, Packing p) {
    std::vector<uint32_t> words(p.width.size() * GROUP);
    p.payload.resize(p.payload.size() + 64);
    p.patches.resize(p.patches.size() + 64);
    UnpackJob job;
    job.groups = p.width.size();
    job.width = p.width.data();
    job.count = p.count.data();
    job.high = p.high.data();
    job.payload = p.payload.data();
    job.patches = p.patches.data();
    job.words = words.data();
    k.groups.unpack(job);
    return words;
}

void every_width_packs_alike_everywhere() {
    Random random(1);
    std::vector<uint32_t> words;
    for (unsigned width = 0; width <= 32; ++width)
        for (size_t spikes : {size_t{0}, size_t{1}, size_t{5}, size_t{40}})
            for (size_t i = 0; i < GROUP; ++i) {
                const unsigned bits =
                    random.below(GROUP) < spikes ? 32 - static_cast<unsigned>(random.below(8)) : width;
                words.push_back(static_cast<uint32_t>(random.bits() & ((uint64_t{1} << bits) - 1)));
            }
    const Packing first = packed_by(*all_kernels()[0], words);
    size_t patched = 0;
    for (uint8_t c : first.count) patched += c > 0;
    CHECK(patched > 20);
    for (const Kernels* k : all_kernels()) {
        CHECK(packed_by(*k, words) == first);
        CHECK(unpacked_by(*k, first) == words);
    }
}

// Against the definition: differences over one distance after the other.
void differences_over_any_distance_are_undone() {
    Random random(2);
    constexpr size_t n = 700;
    for (const std::vector<size_t>& lags : std::vector<std::vector<size_t>>{
             {}, {1}, {2}, {15}, {16}, {699}, {3, 3}, {17, 40}, {2, 300}, {5, 35, 350}, {16, 16, 16}, {20, 20, 600}}) {
        size_t lag[MOST_LAGS] = {0, 0, 0}, reach = 0;
        for (size_t k = 0; k < lags.size(); ++k) reach += lag[k] = lags[k];
        std::vector<uint32_t> values(reach + n, 0u);
        for (size_t i = reach; i < values.size(); ++i) values[i] = static_cast<uint32_t>(random.bits());
        std::vector<uint32_t> expected(values.begin() + static_cast<ptrdiff_t>(reach), values.end());
        for (size_t distance : lags)
            for (size_t i = n; i-- > distance;) expected[i] -= expected[i - distance];
        for (uint32_t& d : expected) d = (d << 1) ^ (0 - (d >> 31));
        for (const Kernels* k : all_kernels()) {
            std::vector<uint32_t> words(n), sums = values;
            k->lags.differences(values.data() + reach, n, lag, static_cast<int>(lags.size()), words.data());
            CHECK(words == expected);
            std::copy(words.begin(), words.end(), sums.begin() + static_cast<ptrdiff_t>(reach));
            k->lags.sums(sums.data() + reach, n, lag, static_cast<int>(lags.size()));
            CHECK(sums == values);
        }
    }
}

void sums_along_x_follow_one_another() {
    Random random(3);
    std::vector<uint32_t> values(300);
    for (uint32_t& v : values) v = static_cast<uint32_t>(random.bits());
    for (int order : {1, 2}) {
        std::vector<uint32_t> expected = values;
        for (int k = 0; k < order; ++k)
            for (size_t i = 1; i < expected.size(); ++i) expected[i] += expected[i - 1];
        for (const Kernels* k : all_kernels()) {
            std::vector<uint32_t> sums(values.size());
            uint32_t carry[2] = {0, 0};
            for (size_t at = 0, n = 37; at < values.size(); at += n)
                k->lags.sums_along_x(values.data() + at, std::min(n, values.size() - at), order, carry, &sums[at]);
            CHECK(sums == expected);
        }
    }
}

// What the encoder relies on when it verifies: one value that is off, wherever it lies, is seen on every instruction set.
template <class T>
void one_value_beyond_the_limit_is_seen_everywhere() {
    Random random(8);
    constexpr size_t n = 77;
    LatticeJob job;
    job.step = 0.02;
    job.inverse = 1 / job.step;
    job.base = 5;
    std::vector<T> values(n);
    std::vector<uint32_t> codes(n), doubt(n);
    for (T& v : values) v = static_cast<T>(random.between(-3, 3));
    const T limit = T(0.0101);
    for (const Kernels* k : all_kernels()) {
        CHECK(!steps<T>(*k).to_steps(values.data(), n, job, limit, codes.data(), doubt.data()));
        const auto kept = [&](const std::vector<T>& v) {
            return steps<T>(*k).steps_kept(reinterpret_cast<const int32_t*>(codes.data()), v.data(), n, job, limit);
        };
        CHECK(kept(values));
        for (size_t i = 0; i < n; ++i)
            for (T other : {values[i] + T(0.03), values[i] - T(0.03), T(-0.0), std::numeric_limits<T>::quiet_NaN()}) {
                std::vector<T> off = values;
                off[i] = other;
                CHECK(!kept(off));
            }
    }
}

template <class T>
Sample<T> fast_sample(const std::vector<uint64_t>& shape, double bound, Random& random) {
    Sample<T> s;
    s.header = header_of<T>(shape, bound);
    s.options.block.bound = bound;
    s.options.block.level = 0;
    s.values.resize(static_cast<size_t>(s.header.values()));
    double walk = 0;
    for (T& v : s.values) v = static_cast<T>(walk = 0.98 * walk + random.between(-0.1, 0.1));
    return s;
}

Mode mode_of(const Bytes& stream) {
    Header h;
    size_t offset = 0;
    CHECK(read_header(stream, h, offset) == Status::ok);
    return static_cast<Mode>(stream[h.header_bytes]);
}

template <class T>
void is_packed_and_kept(const Sample<T>& s) {
    Bytes stream;
    CHECK(s.encode(stream) == Status::ok);
    CHECK(mode_of(stream) == Mode::packed);
    const std::vector<T> out = decoded<T>(stream, s.values.size(), 1);
    for (size_t i = 0; i < out.size(); ++i) CHECK(kept(s.values[i], out[i], s));
}

template <class T>
void every_rank_and_tail_is_packed() {
    Random random(4);
    for (const std::vector<uint64_t>& shape : std::vector<std::vector<uint64_t>>{{33},
                                                                                 {64},
                                                                                 {65},
                                                                                 {2047},
                                                                                 {2049},
                                                                                 {9001},
                                                                                 {3, 700},
                                                                                 {700, 3},
                                                                                 {61, 67},
                                                                                 {5, 30, 31},
                                                                                 {3, 4, 20, 21},
                                                                                 {2, 3, 2, 5, 40}})
        for (double bound : {1e-1, 1e-3, 1e-4}) is_packed_and_kept(fast_sample<T>(shape, bound, random));
}

// Holes, marks and fill values are exact; the rest is packed all the same.
template <class T>
void specials_do_not_keep_a_block_from_packing() {
    Random random(5);
    for (T special : {std::numeric_limits<T>::quiet_NaN(), std::numeric_limits<T>::infinity(), T(-0.0), T(1e20)})
        for (size_t every : {3, 1000}) {
            Sample<T> s = fast_sample<T>({40, 90}, 1e-3, random);
            for (size_t i = 0; i < s.values.size(); ++i)
                if (i / 50 % every == 1) s.values[i] = special;
            is_packed_and_kept(s);
        }
    Sample<T> s = fast_sample<T>({40, 90}, 1e-1, random);
    s.preserve.push_back(std::bit_cast<BitsOf<T>>(s.values[100]));
    is_packed_and_kept(s);
}

// A packed body of 100 values with these numbers; what they ask for follows as zeros, cut or prolonged by `more`.
Bytes body_of(uint8_t orders, const std::vector<uint32_t>& widths, const std::vector<uint32_t>& counts,
              const std::vector<uint32_t>& highs, int more = 0, uint8_t flags = 16) {
    Bytes body = {static_cast<uint8_t>(Mode::packed), flags};
    EntropyScratch scratch;
    Writer(body).zigzag(0);
    body.push_back(orders);
    for (const auto* numbers : {&widths, &counts, &highs}) write_numbers(*numbers, scratch, body);
    size_t bytes = 0, bits = 0, k = 0;
    for (uint32_t w : widths) bytes += GROUP / 8 * w;
    for (uint32_t c : counts)
        if (c > 0 && k < highs.size()) bits += c * (6 + highs[k++]);
    body.resize(body.size() + bytes + (bits + 7) / 8 + static_cast<size_t>(more));
    return body;
}

void numbers_out_of_range_are_refused() {
    Header h = header_of<float>({100}, 1);
    h.blocking = plan_blocks(h, 0);
    const auto status = [&](const Bytes& body) {
        BlockScratch<float> scratch;
        std::vector<float> out(100);
        return decode_block<float>(body, block_dims(h, 0), h, scratch, out.data());
    };
    CHECK(status(body_of(0, {0, 32}, {64, 1}, {32, 0})) == Status::ok);
    CHECK(status(body_of(0b01101010, {0, 3}, {0, 0}, {})) == Status::corrupt);  // differenced too often
    CHECK(status(body_of(0b01010110, {0, 3}, {0, 0}, {})) == Status::corrupt);
    CHECK(status(body_of(0b11000000, {0, 3}, {0, 0}, {})) == Status::corrupt);
    CHECK(status(body_of(0b10010110, {0, 3}, {0, 0}, {})) == Status::corrupt);
    CHECK(status(body_of(0b10010010, {0, 3}, {0, 0}, {})) == Status::ok);
    CHECK(status(body_of(0, {0, 33}, {0, 0}, {})) == Status::corrupt);
    CHECK(status(body_of(0, {0, 3}, {65, 0}, {1})) == Status::corrupt);
    CHECK(status(body_of(0, {0, 3}, {1, 0}, {33})) == Status::corrupt);
    CHECK(status(body_of(0, {0}, {0, 0}, {})) == Status::corrupt);
    CHECK(status(body_of(0, {0, 3}, {0}, {})) == Status::corrupt);
    CHECK(status(body_of(0, {0, 3}, {1, 0}, {})) == Status::corrupt);
    CHECK(status(body_of(0, {0, 3}, {1, 0}, {1, 1})) == Status::corrupt);
    CHECK(status(body_of(0, {0, 3}, {1, 0}, {1}, 1)) == Status::corrupt);
    CHECK(status(body_of(0, {0, 3}, {1, 0}, {1}, -1)) == Status::truncated);
    CHECK(status(body_of(0, {0, 3}, {0, 0}, {}, -1)) == Status::truncated);
    for (int flag : {2, 4, 8, 32, 128})
        CHECK(status(body_of(0, {0, 3}, {0, 0}, {}, 0, static_cast<uint8_t>(16 | flag))) == Status::corrupt);
}

}  // namespace

int main() {
    every_width_packs_alike_everywhere();
    differences_over_any_distance_are_undone();
    sums_along_x_follow_one_another();
    one_value_beyond_the_limit_is_seen_everywhere<float>();
    one_value_beyond_the_limit_is_seen_everywhere<double>();
    every_rank_and_tail_is_packed<float>();
    every_rank_and_tail_is_packed<double>();
    specials_do_not_keep_a_block_from_packing<float>();
    specials_do_not_keep_a_block_from_packing<double>();
    numbers_out_of_range_are_refused();
}
