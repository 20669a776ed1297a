// One grid through model, tables and rANS, each step by every instruction set's kernels: the same bytes, the same codes.
#include "entropy/coder.hpp"

#include <cstring>

#include "check.hpp"

using namespace sciflow;
using namespace sciflow::tests;

namespace {

constexpr size_t SLACK = 64;  // what the kernels may touch behind a row
constexpr uint8_t FILLER = 0x5a;

// A grid as the kernels see it, with all the memory that they need.
template <class Q>
struct Grid {
    Dims dims;
    bool folded = false;
    std::vector<Q> codes;
    std::vector<uint16_t> magnitudes, zeros;
    std::vector<uint8_t> contexts, symbols, bits;

    Grid(const Dims& d, bool fold) : dims(d), folded(fold), codes(d.size()) {
        magnitudes.resize(d.rows() * (d.n[X] + 2) + SLACK);
        zeros.resize(d.n[X] + SLACK);
        contexts.resize(d.size() + SLACK);
        symbols.resize(d.size() + SLACK);
        bits.resize(sizeof(Q) * d.size() + SLACK);
    }
    GridJob<Q> job() {
        GridJob<Q> j;
        j.codes = codes.data();
        j.dims = dims;
        j.folded = folded;
        j.magnitudes = magnitudes.data();
        j.zeros = zeros.data();
        j.contexts = contexts.data();
        j.symbols = symbols.data();
        return j;
    }
};

struct Coded {
    TableMap map;
    std::vector<std::array<uint16_t, 256>> freqs;
    Bytes words, bits;
    uint32_t lanes = LANES;
    uint32_t state[LANES];

    bool operator==(const Coded& o) const {
        return map.starts == o.map.starts && freqs == o.freqs && words == o.words && bits == o.bits &&
               std::memcmp(state, o.state, sizeof state) == 0;
    }
};

// Small codes, now and then one of any size: every octave and every count of raw bits.
template <class Q>
Q random_code(Random& random, int spread) {
    if (!random.once_in(20))
        return static_cast<Q>(random.below(2 * static_cast<size_t>(spread) + 1)) - static_cast<Q>(spread);
    const Q large = static_cast<Q>(random.bits() >> random.below(64));
    return random.once_in(50) ? std::numeric_limits<Q>::min() : large;
}

template <class Q>
Coded encode(const Kernels& k, Grid<Q> g, uint32_t lanes) {
    Coded c;
    std::vector<uint32_t> histogram(FINE_CONTEXTS * 2 * 256);
    auto* of = reinterpret_cast<uint32_t(*)[2][256]>(histogram.data());
    GridJob<Q> job = g.job();
    job.histogram = of;
    BitWriter bits;
    bits.out = g.bits.data();
    entropy<Q>(k).model_grid(job, bits);
    if (bits.held > 0) *bits.out++ = static_cast<uint8_t>(bits.hold);
    c.bits.assign(g.bits.data(), bits.out);
    std::vector<Histogram> merged;
    c.map = merge_contexts(of, merged);
    for (const Histogram& h : merged) c.freqs.push_back(normalize(h));
    std::vector<uint32_t> tables(2 * 256 * c.freqs.size());
    const EncodeTables t{tables.data(), tables.data() + 256 * c.freqs.size()};
    for (size_t i = 0; i < c.freqs.size(); ++i)
        encode_table(c.freqs[i], tables.data() + 256 * i, tables.data() + 256 * (c.freqs.size() + i));
    c.lanes = lanes;
    std::fill(c.state, c.state + LANES, RANS_LOW);
    const auto table_of = c.map.table_of();
    Bytes words(2 * g.dims.size() + 2 * SLACK);
    uint8_t* const end = words.data() + words.size();
    uint8_t* at = end;
    const size_t n = g.dims.n[X];
    for (size_t r = g.dims.rows(); r-- > 0;)
        at = k.rans_encode_row(g.symbols.data() + r * n, g.contexts.data() + r * n, table_of.data(), n, t, c.state,
                               lanes, at);
    c.words.assign(at, end);
    return c;
}

// The words lie at the very end of their allocation: AddressSanitizer sees whoever reads past them.
template <class Q>
bool decode(const Kernels& k, const Coded& c, Grid<Q>& g) {
    std::vector<uint32_t> table(c.freqs.size() << PROB_BITS);
    for (size_t i = 0; i < c.freqs.size(); ++i) decode_table(c.freqs[i], table.data() + (i << PROB_BITS));
    const Bytes words(c.words), raw(c.bits);
    RansDecoder rans;
    std::memcpy(rans.state, c.state, sizeof rans.state);
    rans.lanes = c.lanes;
    rans.words = words.data();
    rans.end = words.data() + words.size();
    rans.table = table.data();
    BitReader bits;
    bits.in = raw.data();
    bits.end = raw.data() + raw.size();
    std::fill(g.codes.begin(), g.codes.end(), Q(77));
    std::fill(g.symbols.begin(), g.symbols.end(), FILLER);
    GridJob<Q> job = g.job();
    const auto table_of = c.map.table_of();
    entropy<Q>(k).decode_grid(job, rans, table_of.data(), bits);
    for (size_t i = g.dims.n[X]; i < g.symbols.size(); ++i) CHECK(g.symbols[i] == FILLER);  // no symbol behind the row
    for (uint32_t l = 0; l < c.lanes; ++l)
        if (rans.state[l] != RANS_LOW) return false;
    return !rans.over && rans.words == rans.end && !bits.over && bits.in - bits.held / 8 == bits.end;
}

template <class Q>
void every_kernel_agrees(const Dims& dims, bool folded, uint32_t lanes, int spread, Random& random) {
    Grid<Q> grid(dims, folded);
    for (Q& q : grid.codes) q = random_code<Q>(random, spread);
    const Coded expected = encode(*all_kernels().front(), grid, lanes);
    for (const Kernels* k : all_kernels()) {
        CHECK(encode(*k, grid, lanes) == expected);
        Grid<Q> found(dims, folded);
        CHECK(decode(*k, expected, found));
        CHECK(found.codes == grid.codes);
    }
}

template <class Q>
void rows_of_every_length(Random& random) {
    for (size_t n = 1; n <= 131; ++n)
        for (uint32_t lanes : {4u, 16u, 32u}) every_kernel_agrees<Q>(dims_of(1, 1, 3, n), false, lanes, 5, random);
    for (int spread : {0, 1, 31, 32, 5000}) {
        every_kernel_agrees<Q>(dims_of(2, 3, 5, 70), false, LANES, spread, random);
        every_kernel_agrees<Q>(dims_of(1, 1, 40, 64), true, LANES, spread, random);
    }
}

// What is missing is noticed, wherever it is missing and whoever decodes.
template <class Q>
void shortened_words_and_bits_are_noticed(uint32_t lanes, Random& random) {
    Grid<Q> grid(dims_of(1, 1, 4, 90), false);
    for (Q& q : grid.codes) q = random_code<Q>(random, 3);
    const Coded whole = encode(*all_kernels().front(), grid, lanes);
    for (const Kernels* k : all_kernels()) {
        for (size_t n = 0; n < whole.words.size(); n += 2) {
            Coded c = whole;
            c.words.resize(n);
            CHECK(!decode(*k, c, grid));
        }
        for (size_t n = 0; n < whole.bits.size(); ++n) {
            Coded c = whole;
            c.bits.resize(n);
            CHECK(!decode(*k, c, grid));
        }
        Coded longer = whole;
        longer.words.resize(longer.words.size() + 2);
        CHECK(!decode(*k, longer, grid));
        longer = whole;
        longer.bits.push_back(0);
        CHECK(!decode(*k, longer, grid));
    }
}

// States and words that no encoder wrote: whatever comes out, it is the same everywhere, and inside the arrays.
template <class Q>
void garbage_decodes_alike(uint32_t lanes, Random& random) {
    Grid<Q> grid(dims_of(1, 2, 4, 200), false);
    for (Q& q : grid.codes) q = random_code<Q>(random, 40);
    Coded c = encode(*all_kernels().front(), grid, lanes);
    for (int i = 0; i < 50; ++i) {
        for (uint32_t& s : c.state) s = RANS_LOW + static_cast<uint32_t>(random.below((uint64_t{1} << 31) - RANS_LOW));
        c.words.resize(2 * random.below(1200));
        for (uint8_t& b : c.words) b = random.once_in(3) ? 0 : static_cast<uint8_t>(random.bits());
        c.bits.resize(random.below(3000));
        for (uint8_t& b : c.bits) b = static_cast<uint8_t>(random.bits());
        std::vector<Q> expected;
        for (const Kernels* k : all_kernels()) {
            decode(*k, c, grid);
            if (expected.empty()) expected = grid.codes;
            CHECK(grid.codes == expected);
        }
    }
}

// What the encoder left in scratch is what its bytes say; no other bytes say it.
template <class Q>
void a_changed_byte_is_not_what_was_meant(const Dims& dims, Random& random) {
    GridSpec grid;
    grid.dims = dims;
    std::vector<Q> codes(dims.size());
    for (Q& q : codes) q = random_code<Q>(random, 4);
    EntropyScratch scratch;
    const auto meant = [&](auto&& change) {
        Bytes bytes;
        encode_grids<Q>({grid}, codes.data(), scratch, bytes);
        change(bytes);
        return grids_as_meant(bytes, {grid}, scratch);
    };
    CHECK(meant([](Bytes&) {}));
    CHECK(!meant([](Bytes& b) { b.push_back(0); }));
    CHECK(!meant([](Bytes& b) { b.pop_back(); }));
    for (int i = 0; i < 200; ++i)
        CHECK(!meant(
            [&](Bytes& b) { b[40 + random.below(b.size() - 40)] ^= static_cast<uint8_t>(1u << random.below(8)); }));
}

}  // namespace

int main() {
    Random random(1);
    rows_of_every_length<int32_t>(random);
    rows_of_every_length<int64_t>(random);
    for (uint32_t lanes : {16u, 32u}) shortened_words_and_bits_are_noticed<int32_t>(lanes, random);
    for (uint32_t lanes : {16u, 32u}) shortened_words_and_bits_are_noticed<int64_t>(lanes, random);
    for (uint32_t lanes : {16u, 32u}) garbage_decodes_alike<int32_t>(lanes, random);
    for (uint32_t lanes : {16u, 32u}) garbage_decodes_alike<int64_t>(lanes, random);
    for (const Dims& d : {dims_of(1, 1, 30, 50), dims_of(1, 1, 1, 5000), dims_of(2, 33, 40, 26)}) {
        a_changed_byte_is_not_what_was_meant<int32_t>(d, random);
        a_changed_byte_is_not_what_was_meant<int64_t>(d, random);
    }
}
