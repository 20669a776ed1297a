// Frequency tables: there and back, and every way in which they can be wrong.
#include "entropy/tables.hpp"

#include <numeric>

#include "check.hpp"

using namespace sciflow;
using namespace sciflow::tests;

namespace {

using Freqs = std::array<uint16_t, 256>;

struct Tables {
    TableMap map;
    std::vector<Freqs> freqs;
};

// Bits packed least significant first, as the tables are.
struct Bits {
    Bytes bytes;
    size_t held = 0;
    void put(uint64_t v, int n) {
        for (int i = 0; i < n; ++i, ++held) {
            if (held % 8 == 0) bytes.push_back(0);
            bytes.back() = static_cast<uint8_t>(bytes.back() | (((v >> i) & 1) << (held % 8)));
        }
    }
};

Freqs random_freqs(Random& random) {
    Histogram h{};
    const size_t present = 1 + random.below(random.once_in(2) ? 4 : SYMBOLS);
    for (size_t k = 0; k < present; ++k)
        h[random.below(SYMBOLS)] = static_cast<uint32_t>(1 + random.below(1u << random.below(20)));
    return normalize(h);
}

Tables random_tables(Random& random) {
    Tables t;
    t.map.sixteen = random.once_in(2);
    while (t.map.tables() < static_cast<int>(1 + random.below(MAX_TABLES)))
        t.map.starts |= 1u << random.below(FINE_CONTEXTS);
    for (int i = 0; i < t.map.tables(); ++i) t.freqs.push_back(random_freqs(random));
    return t;
}

Status read(View bytes, Tables& t, size_t* left = nullptr) {
    Cursor c(bytes);
    const Status s = read_tables(c, t.map, t.freqs);
    if (left) *left = c.left();
    return s;
}

void tables_round_trip() {
    Random random(1);
    for (int i = 0; i < 200; ++i) {
        const Tables t = random_tables(random);
        Bytes bytes;
        write_tables(t.map, t.freqs, bytes);
        Tables found;
        size_t left = 1;
        CHECK(read(bytes, found, &left) == Status::ok && left == 0);
        CHECK(found.map.starts == t.map.starts && found.map.sixteen == t.map.sixteen && found.freqs == t.freqs);
        for (size_t n = 0; n < bytes.size(); ++n) CHECK(read(View(bytes).first(n), found) == Status::truncated);
    }
}

void flipped_bits_are_refused_or_still_sum_up() {
    Random random(2);
    for (int i = 0; i < 20; ++i) {
        const Tables t = random_tables(random);
        Bytes bytes;
        write_tables(t.map, t.freqs, bytes);
        for (size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
            bytes[bit / 8] = static_cast<uint8_t>(bytes[bit / 8] ^ (1u << bit % 8));
            Tables found;
            if (read(bytes, found) == Status::ok) {
                CHECK(found.map.tables() <= MAX_TABLES &&
                      found.freqs.size() == static_cast<size_t>(found.map.tables()));
                for (const Freqs& f : found.freqs) {
                    CHECK(std::accumulate(f.begin(), f.end(), 0u) == 1u << PROB_BITS);
                    CHECK(std::accumulate(f.begin() + SYMBOLS, f.end(), 0u) == 0);
                }
            }
            bytes[bit / 8] = static_cast<uint8_t>(bytes[bit / 8] ^ (1u << bit % 8));
        }
    }
}

// One table, whose first (and last) symbol's frequency has a length that differs from 8 by what `ones` say.
Status one_table(int last, int ones, uint64_t low, int low_bits) {
    Bits b;
    b.put(0, FINE_CONTEXTS - 1);
    b.put(static_cast<uint64_t>(last), 8);
    b.put(~uint64_t{0}, ones);
    b.put(0, 1);
    b.put(low, low_bits);
    b.put(0, 64);
    Tables t;
    return read(b.bytes, t);
}

// Tables behind these bytes in the place of each one's last symbol; every table has symbol 0 alone.
Status with_lasts(const std::vector<std::vector<int>>& lasts, bool& sixteen) {
    Bits b;
    b.put((1u << (lasts.size() - 1)) - 1, FINE_CONTEXTS - 1);
    for (const auto& of : lasts) {
        for (int last : of) b.put(static_cast<uint64_t>(last), 8);
        b.put(~uint64_t{0}, 10);
        b.put(0, 13);
    }
    b.put(0, 64);
    Tables t;
    const Status s = read(b.bytes, t);
    sixteen = t.map.sixteen;
    return s;
}

void sixteen_lanes_are_announced_once_by_the_first_table() {
    bool sixteen = true;
    CHECK(with_lasts({{0}, {0}}, sixteen) == Status::ok && !sixteen);
    CHECK(with_lasts({{255, 0}, {0}}, sixteen) == Status::ok && sixteen);
    CHECK(with_lasts({{0}, {255, 0}}, sixteen) == Status::corrupt);
    CHECK(with_lasts({{255, 255, 0}, {0}}, sixteen) == Status::corrupt);
    CHECK(with_lasts({{255, SYMBOLS}, {0}}, sixteen) == Status::corrupt);
}

void each_corrupt_field_is_refused() {
    CHECK(one_table(0, 10, 0, 12) == Status::ok);             // 13 bits, 4096
    CHECK(one_table(0, 10, 1, 12) == Status::corrupt);        // 4097
    CHECK(one_table(0, 8, 0xfff, 11) == Status::corrupt);     // 4095, and nothing more
    CHECK(one_table(0, 12, 0, 13) == Status::corrupt);        // 14 bits
    CHECK(one_table(0, 15, 0, 0) == Status::corrupt);         // no bits, a sum of zero
    CHECK(one_table(0, 17, 0, 0) == Status::corrupt);         // less than no bits
    CHECK(one_table(0, 60, 0, 0) == Status::corrupt);         // ones without end
    CHECK(one_table(SYMBOLS, 10, 0, 12) == Status::corrupt);  // no such symbol
    Bits many;
    many.put((1u << MAX_TABLES) - 1, FINE_CONTEXTS - 1);  // sixteen, besides the first
    many.put(0, 64);
    Tables t;
    CHECK(read(many.bytes, t) == Status::corrupt);
}

void frequencies_sum_up_and_keep_every_symbol() {
    Random random(3);
    for (int i = 0; i < 300; ++i) {
        Histogram h{};
        const uint32_t most = random.once_in(3) ? UINT32_MAX : 1u << random.below(12);
        for (int s = 0; s < SYMBOLS; ++s)
            if (!random.once_in(4)) h[s] = static_cast<uint32_t>(random.below(most));
        const Freqs f = normalize(h);
        CHECK(std::accumulate(f.begin(), f.end(), 0u) == 1u << PROB_BITS);
        for (int s = 0; s < SYMBOLS; ++s) CHECK(h[s] == 0 || f[s] > 0);
    }
    CHECK(normalize(Histogram{})[0] == 1u << PROB_BITS);
}

void the_reciprocal_divides_every_state() {
    Random random(4);
    for (uint32_t f = 1; f <= 1u << PROB_BITS; f += f < 64 ? 1 : 61) {
        Freqs freqs{};
        freqs[0] = static_cast<uint16_t>(f);
        freqs[1] = static_cast<uint16_t>((1u << PROB_BITS) - f);
        uint32_t reciprocal[256] = {}, range[256] = {};
        encode_table(freqs, reciprocal, range);
        for (int i = 0; i < 200; ++i) {
            const uint32_t near = static_cast<uint32_t>(random.below((1u << 31) / f)) * f;
            for (uint32_t x : {near, near - 1, near + f - 1, 0x7fffffffu}) {
                if (x >= 1u << 31) continue;
                CHECK(static_cast<uint32_t>((uint64_t{x} * reciprocal[0]) >> (31 + (range[0] >> 25))) == x / f);
            }
        }
    }
}

void merged_contexts_stay_below_the_limit() {
    Random random(5);
    static uint32_t histogram[FINE_CONTEXTS][2][256];
    for (auto& context : histogram)  // each context has a symbol of its own, so each would rather stay apart
        for (auto& half : context) half[random.below(SYMBOLS)] = 100000;
    std::vector<Histogram> merged;
    const TableMap map = merge_contexts(histogram, merged);
    CHECK(map.tables() <= MAX_TABLES && merged.size() == static_cast<size_t>(map.tables()));
    const auto table_of = map.table_of();
    for (int i = 0; i < FINE_CONTEXTS; ++i)
        for (int s = 0; s < SYMBOLS; ++s) CHECK(merged[table_of[i]][s] >= histogram[i][0][s] + histogram[i][1][s]);
}

}  // namespace

int main() {
    tables_round_trip();
    flipped_bits_are_refused_or_still_sum_up();
    sixteen_lanes_are_announced_once_by_the_first_table();
    each_corrupt_field_is_refused();
    frequencies_sum_up_and_keep_every_symbol();
    the_reciprocal_divides_every_state();
    merged_contexts_stay_below_the_limit();
}
