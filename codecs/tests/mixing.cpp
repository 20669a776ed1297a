// Lists of grids through the mixing coder: there and back whatever they hold, and what no writer makes.
#include "entropy/mixing.hpp"

#include <limits>

#include "check.hpp"
#include "entropy/binary_coder.hpp"

using namespace sciflow;
using namespace sciflow::tests;

namespace {

std::vector<GridSpec> one(const Dims& d) {
    GridSpec g;
    g.dims = d;
    return {g};
}

size_t total(const std::vector<GridSpec>& grids) {
    size_t n = 0;
    for (const GridSpec& g : grids) n += g.dims.size();
    return n;
}

// Calm and lively stretches, now and then a code of any size.
template <class Q>
std::vector<Q> random_codes(size_t n, Random& random, size_t spread) {
    std::vector<Q> codes(n);
    for (size_t i = 0; i < n; ++i) {
        const size_t most = i / 300 % 2 ? 1 : spread;
        codes[i] = static_cast<Q>(random.below(2 * most - 1)) - static_cast<Q>(most - 1);
        if (random.once_in(most > 1 ? 30 : 3000)) codes[i] = static_cast<Q>(random.bits() >> random.below(64));
    }
    return codes;
}

enum Kind { DECISIONS, SYMBOLS };

template <class Q>
void write(Kind kind, const std::vector<GridSpec>& grids, const std::vector<Q>& codes, MixingScratch& s, Bytes& out) {
    kind == DECISIONS ? mix_grids<Q>(grids, codes.data(), s, out) : pair_grids<Q>(grids, codes.data(), s, out);
}

// Through scratch that is new and scratch that another block has used.
template <class Q>
Bytes round_trip_of(Kind kind, const std::vector<GridSpec>& grids, const std::vector<Q>& codes) {
    static MixingScratch used;
    MixingScratch clean;
    Bytes bytes, again;
    write(kind, grids, codes, clean, bytes);
    write(kind, grids, codes, used, again);
    CHECK(bytes == again);
    std::vector<Q> found(codes.size());
    for (MixingScratch* s : {&clean, &used}) {
        Cursor c(bytes);
        CHECK(unmix_grids<Q>(c, grids, found.data(), *s) == Status::ok && c.left() == 0);
        CHECK(found == codes);
    }
    return bytes;
}

template <class Q>
Bytes round_trip(const std::vector<GridSpec>& grids, const std::vector<Q>& codes) {
    round_trip_of(SYMBOLS, grids, codes);
    return round_trip_of(DECISIONS, grids, codes);
}

template <class Q>
void single_grids_round_trip(Random& random) {
    for (const Dims& d : {dims_of(1, 1, 1, 256), dims_of(1, 1, 300, 1), dims_of(1, 1, 3, 700), dims_of(1, 1, 30, 41),
                          dims_of(1, 7, 9, 11), dims_of(5, 1, 8, 9), dims_of(3, 4, 5, 6), dims_of(2, 300, 1, 1)})
        for (size_t spread : {1, 2, 6, 5000}) round_trip(one(d), random_codes<Q>(d.size(), random, spread));
}

// Each axis that can be halved, halves of the same and of other lengths, grids that are too small for two lanes between
// larger ones.
template <class Q>
void lanes_round_trip(Random& random) {
    std::vector<GridSpec> grids = one(dims_of(1, 1, 3, 12000));
    for (const Dims& d :
         {dims_of(5, 3, 30, 75), dims_of(1, 2, 129, 128), dims_of(1, 1, 50, 60), dims_of(1, 1, 1, 40000),
          dims_of(1, 7, 1, 5000), dims_of(0, 7, 1, 5000), dims_of(1, 1, 181, 182)}) {
        GridSpec g;
        g.dims = d;
        g.reference = d.n[3] == 128 || d.n[3] == 60 ? static_cast<int>(grids.size()) - 1 : -1;
        grids.push_back(g);
    }
    for (size_t spread : {1, 2, 50}) round_trip_of(SYMBOLS, grids, random_codes<Q>(total(grids), random, spread));
}

// As levels are: classes that refer to the one before, parents of half the size, grids of nothing.
template <class Q>
void levels_round_trip(Random& random) {
    std::vector<GridSpec> grids = one(dims_of(1, 1, 1, 24));
    for (size_t n : {4, 9, 21})
        for (size_t odd : {1, 2, 3}) {
            GridSpec g;
            g.dims = dims_of(1, odd == 2 ? 0 : 3, n + (odd & 1), n - (odd >> 1));
            g.reference = odd > 1 ? static_cast<int>(grids.size()) - 1 : -1;
            grids.push_back(g);
        }
    for (size_t spread : {1, 3, 100}) round_trip(grids, random_codes<Q>(total(grids), random, spread));
}

template <class Q>
void extremes_round_trip() {
    const Q least = std::numeric_limits<Q>::min(), most = std::numeric_limits<Q>::max();
    std::vector<Q> codes;
    for (int i = 0; i < 200; ++i)
        for (Q v : {least, most, Q(least + 1), Q(most - 1), Q(0), Q(-1), Q(Q(1) << (i % (8 * sizeof(Q) - 1)))})
            codes.push_back(v);
    round_trip(one(dims_of(1, 1, 1, codes.size())), codes);
    round_trip(one(dims_of(1, 7, 10, 20)), codes);
    round_trip(one(dims_of(1, 1, 1, 4096)), std::vector<Q>(4096, least));
}

void certainty_costs_next_to_nothing() {
    const Bytes zeros = round_trip(one(dims_of(1, 64, 64, 64)), std::vector<int32_t>(64 * 64 * 64, 0));
    CHECK(zeros.size() < 64);
    std::vector<int32_t> lonely(64 * 64 * 64, 0);  // at each place in a run, and in runs cut short
    for (size_t i = 0; i < lonely.size(); i += 4097) lonely[i] = 1;
    CHECK(round_trip(one(dims_of(1, 64, 64, 64)), lonely).size() < 256);
    round_trip(one(dims_of(1, 1, 64 * 64 * 64 / 19, 19)),
               std::vector<int32_t>(lonely.begin(), lonely.begin() + 262143 / 19 * 19));
    std::vector<int32_t> stripes(300 * 300);
    for (size_t i = 0; i < stripes.size(); ++i) stripes[i] = i / 300 % 8 > 3 ? 1 : 0;
    CHECK(round_trip(one(dims_of(1, 1, 300, 300)), stripes).size() < stripes.size() / 200);
}

// The same bytes on every machine, with vectors and without.
void symbols_are_integers() {
    std::vector<int32_t> codes(220 * 160);
    Random random(7);
    for (int32_t& c : codes) c = static_cast<int32_t>(random.below(9) + random.below(9)) - 8;
    uint32_t sum = 0;
    for (uint8_t b : round_trip_of(SYMBOLS, one(dims_of(1, 1, 220, 160)), codes)) sum = sum * 31 + b;
    CHECK(sum == 3960632947u);
}

Status read(const Bytes& bytes, size_t n) {
    MixingScratch scratch;
    std::vector<int32_t> codes(n);
    Cursor c(bytes);
    const Status s = unmix_grids<int32_t>(c, one(dims_of(1, 1, 1, n)), codes.data(), scratch);
    return s == Status::ok && c.left() > 0 ? Status::corrupt : s;
}

void each_hostile_string_is_refused(Random& random) {
    const std::vector<int32_t> codes = random_codes<int32_t>(2000, random, 5);
    const Bytes bytes = round_trip(one(dims_of(1, 1, 1, codes.size())), codes);
    CHECK(read(bytes, codes.size()) == Status::ok);
    CHECK(read(bytes, MIXING_FROM - 1) == Status::corrupt);  // so few codes are never mixed
    for (size_t n = 0; n < bytes.size(); n += 17) {
        const Bytes prefix(bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(n));
        CHECK(read(prefix, codes.size()) == Status::truncated);
        Bytes shorter;  // honest about its length
        Writer w(shorter);
        w.varint(n);
        w.bytes(View(bytes).subspan(bytes.size() < 0x80 ? 1 : 2).first(std::min(n, bytes.size() - 10)));
        if (n < bytes.size() - 30) CHECK(read(shorter, codes.size()) == Status::corrupt);
    }
    Bytes longer;
    Writer w(longer);
    w.varint(bytes.size() - 2 + 9);
    w.bytes(View(bytes).subspan(2));
    for (int i = 0; i < 9; ++i) w.u8(0);
    CHECK(read(longer, codes.size()) == Status::corrupt);  // bytes that no code asks for
    for (size_t bit = 0; bit < 8 * bytes.size(); bit += 3) {
        Bytes flipped = bytes;
        flipped[bit / 8] = static_cast<uint8_t>(flipped[bit / 8] ^ (1 << bit % 8));
        (void)read(flipped, codes.size());  // an error or other codes
    }
    for (const int fill : {0x00, 0xff, 0x55}) {
        Bytes b = {100};
        b.resize(101, static_cast<uint8_t>(fill));
        CHECK(read(b, 4000) != Status::ok || fill != 0x55);
    }
}

void each_hostile_string_of_symbols_is_refused(Random& random) {
    const std::vector<GridSpec> grids = one(dims_of(1, 1, 40, 1000));
    std::vector<int32_t> codes = random_codes<int32_t>(40000, random, 3), found(codes.size());
    MixingScratch scratch;
    Bytes bytes;
    pair_grids<int32_t>(grids, codes.data(), scratch, bytes);
    const auto decoded = [&](const Bytes& b) {
        Cursor c(b);
        return unmix_grids<int32_t>(c, grids, found.data(), scratch);
    };
    CHECK(decoded(bytes) == Status::ok && found == codes);
    const size_t size = bytes.size() - 5;
    for (size_t n : {size_t{0}, size_t{1}, size_t{4}, size_t{5}, size / 2, size + 4})
        CHECK(decoded(Bytes(bytes.begin(), bytes.begin() + static_cast<ptrdiff_t>(n))) == Status::truncated);
    for (size_t n : {size_t{0}, size / 3, size - 30}) {
        Bytes shorter;
        Writer w(shorter);
        w.varint(PAIRED + n);
        w.bytes(View(bytes).subspan(5).first(n));
        CHECK(decoded(shorter) == Status::corrupt);
    }
    Bytes vast;
    Writer(vast).varint(~uint64_t{0});
    CHECK(decoded(vast) == Status::truncated);
    for (size_t bit = 0; bit < 8 * bytes.size(); bit += 997) {
        Bytes flipped = bytes;
        flipped[bit / 8] = static_cast<uint8_t>(flipped[bit / 8] ^ (1 << bit % 8));
        (void)decoded(flipped);  // an error or other codes
    }
    for (const int fill : {0x00, 0xff, 0x55}) {
        Bytes b;
        Writer(b).varint(PAIRED + 300);
        b.resize(305, static_cast<uint8_t>(fill));
        CHECK(decoded(b) != Status::ok || fill != 0x55);
    }
}

void logits_are_a_table_of_integers() {
    const LogitTables& t = logit_tables();
    CHECK(t.probability[LOGIT_END] == 32768 && t.probability[LOGIT_END + 256] == 47910);
    CHECK(t.probability[0] == 1 && t.probability[2 * LOGIT_END] == 65535);
    CHECK(std::is_sorted(t.probability.begin(), t.probability.end()) && std::is_sorted(t.logit.begin(), t.logit.end()));
    uint32_t sum = 0;
    for (uint16_t p : t.probability) sum = sum * 31 + p;
    for (int16_t x : t.logit) sum = sum * 31 + static_cast<uint16_t>(x);
    CHECK(sum == 56754844);
}

}  // namespace

int main() {
    Random random(1);
    single_grids_round_trip<int32_t>(random);
    single_grids_round_trip<int64_t>(random);
    levels_round_trip<int32_t>(random);
    levels_round_trip<int64_t>(random);
    extremes_round_trip<int32_t>();
    extremes_round_trip<int64_t>();
    certainty_costs_next_to_nothing();
    lanes_round_trip<int32_t>(random);
    lanes_round_trip<int64_t>(random);
    each_hostile_string_is_refused(random);
    each_hostile_string_of_symbols_is_refused(random);
    symbols_are_integers();
    logits_are_a_table_of_integers();
}
