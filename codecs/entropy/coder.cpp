#include "entropy/coder.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

namespace sciflow {

namespace {

constexpr size_t FOLD_LANES = 64;
constexpr size_t FOLD_FROM = 2048;
constexpr size_t WIDE_FROM = 1u << 16;
constexpr double SIXTEEN_FROM = 8 * 6000;  // bits: below, 48 more bytes of states are not worth the time
constexpr size_t PLAIN_NUMBERS = 48;

uint32_t lanes_for(size_t symbols, const TableMap& map) { return map.sixteen ? 16 : symbols >= WIDE_FROM ? LANES : 4; }

// A grid with few rows, or with very short ones, is coded as 64 segments of one series, step by step.
bool folds(const Dims& d) { return d.size() >= FOLD_FROM && (d.rows() < 16 || d.n[X] < 16); }

Dims coded_dims(const Dims& d) {
    if (!folds(d)) return d;
    Dims f;
    f.n[2] = (d.size() + FOLD_LANES - 1) / FOLD_LANES;
    f.n[X] = FOLD_LANES;
    return f;
}

size_t padded(const Dims& d) { return d.rows() * (d.n[X] + 2); }

template <class Q>
void fold(const Q* from, size_t n, size_t steps, Q* to) {
    for (size_t lane = 0; lane < FOLD_LANES; ++lane)
        for (size_t t = 0; t < steps; ++t) {
            const size_t i = lane * steps + t;
            to[t * FOLD_LANES + lane] = i < n ? from[i] : Q(0);
        }
}

template <class Q>
void unfold(const Q* from, size_t n, size_t steps, Q* to) {
    for (size_t lane = 0; lane < FOLD_LANES; ++lane)
        for (size_t t = 0; t < steps && lane * steps + t < n; ++t) to[lane * steps + t] = from[t * FOLD_LANES + lane];
}

// Walks the grids with everything a kernel needs laid out; the codes of folded ones pass through scratch.
template <class Q, class Visit>
bool walk(const std::vector<GridSpec>& grids, Q* codes, EntropyScratch& s, Visit&& visit) {
    size_t largest = 0, longest = 0, widest = 0;
    for (const GridSpec& g : grids) {
        const Dims d = coded_dims(g.dims);
        largest = std::max(largest, padded(d));
        longest = std::max(longest, d.n[X]);
        if (folds(g.dims)) widest = std::max(widest, d.size());
    }
    for (auto& m : s.magnitudes)
        if (m.size() < largest + 64) m.resize(largest + 64);
    s.zeros.assign(longest + 64, 0);
    if (s.folded.size() < widest * sizeof(Q)) s.folded.resize(widest * sizeof(Q));
    int now = 0;
    Dims before;
    for (size_t k = 0; k < grids.size(); ++k) {
        const GridSpec& g = grids[k];
        GridJob<Q> job;
        job.folded = folds(g.dims);
        job.dims = coded_dims(g.dims);
        job.codes = job.folded ? reinterpret_cast<Q*>(s.folded.data()) : codes;
        job.magnitudes = s.magnitudes[now].data();
        job.zeros = s.zeros.data();
        job.magnitudes[padded(job.dims)] = 0;  // a row is zero beyond its ends, also the last one for a longer row
        const bool usable = g.reference >= 0 && static_cast<size_t>(g.reference) + 1 == k && !job.folded &&
                            !folds(grids[k - 1].dims) && before.n[X] + 1 >= job.dims.n[X];
        if (usable) {
            job.reference = s.magnitudes[1 - now].data();
            job.reference_dims = before;
        }
        if (!visit(job, codes, g.dims.size())) return false;
        codes += g.dims.size();
        before = job.dims;
        now = 1 - now;
    }
    return true;
}

size_t coded_symbols(const std::vector<GridSpec>& grids) {
    size_t n = 0;
    for (const GridSpec& g : grids) n += coded_dims(g.dims).size();
    return n;
}

using Freqs = std::array<uint16_t, 256>;

// rANS runs backwards: the last row of the last grid first.
void encode_symbols(const std::vector<GridSpec>& grids, const TableMap& map, const std::vector<Freqs>& freqs,
                    size_t count, EntropyScratch& s, Bytes& out) {
    s.tables.assign(2 * 256 * freqs.size(), 0);
    const EncodeTables tables{s.tables.data(), s.tables.data() + 256 * freqs.size()};
    for (size_t t = 0; t < freqs.size(); ++t)
        encode_table(freqs[t], s.tables.data() + 256 * t, s.tables.data() + 256 * (freqs.size() + t));
    const auto table_of = map.table_of();
    const uint32_t lanes = lanes_for(count, map);
    uint32_t state[LANES];
    std::fill(state, state + LANES, RANS_LOW);
    if (s.words.size() < 2 * count + 128) s.words.resize(2 * count + 128);
    uint8_t* const end = s.words.data() + s.words.size();
    uint8_t* words = end;
    size_t at = count;
    for (size_t k = grids.size(); k-- > 0;) {
        const Dims d = coded_dims(grids[k].dims);
        for (size_t r = d.rows(); r-- > 0;) {
            at -= d.n[X];
            words = kernels().rans_encode_row(s.symbols.data() + at, s.contexts.data() + at, table_of.data(), d.n[X],
                                              tables, state, lanes, words);
        }
    }
    Writer w(out);
    w.varint(static_cast<uint64_t>(end - words) / 2);
    for (uint32_t l = 0; l < lanes; ++l) w.raw(state[l]);
    w.bytes(View(words, static_cast<size_t>(end - words)));
}

Status open_rans(Cursor& in, size_t count, const TableMap& map, RansDecoder& r) {
    uint64_t words = 0;
    if (!in.varint(words)) return Status::truncated;
    r.lanes = lanes_for(count, map);
    std::fill(r.state, r.state + LANES, RANS_LOW);
    for (uint32_t l = 0; l < r.lanes; ++l) {
        if (!in.raw(r.state[l])) return Status::truncated;
        if (r.state[l] < RANS_LOW || r.state[l] >= (RANS_LOW << 16)) return Status::corrupt;
    }
    View v;
    if (words > in.left() / 2 || !in.bytes(2 * words, v)) return Status::truncated;
    r.words = v.data();
    r.end = v.data() + v.size();
    return Status::ok;
}

// Every word used and every state back where the encoder began: a cheap proof that all of it was decoded.
bool closed(const RansDecoder& r) {
    for (uint32_t l = 0; l < r.lanes; ++l)
        if (r.state[l] != RANS_LOW) return false;
    return !r.over && r.words == r.end;
}

void build_decode_tables(const std::vector<Freqs>& freqs, std::vector<uint32_t>& out) {
    out.resize(freqs.size() << PROB_BITS);
    for (size_t t = 0; t < freqs.size(); ++t) decode_table(freqs[t], out.data() + (t << PROB_BITS));
}

using FineHistogram = uint32_t[FINE_CONTEXTS][2][256];

// Symbols, contexts, raw bits and their counts, into scratch and `histogram`. Returns how many raw bytes there are.
template <class Q>
size_t model(const std::vector<GridSpec>& grids, Q* codes, EntropyScratch& s, FineHistogram& histogram) {
    const size_t count = coded_symbols(grids);
    if (s.symbols.size() < count + 64) s.symbols.resize(count + 64);
    if (s.contexts.size() < count + 64) s.contexts.resize(count + 64);
    if (s.bits.size() < sizeof(Q) * count + 64) s.bits.resize(sizeof(Q) * count + 64);
    BitWriter bits;
    bits.out = s.bits.data();
    size_t at = 0;
    walk(grids, codes, s, [&](GridJob<Q>& job, Q* from, size_t n) {
        if (job.folded) fold(from, n, job.dims.n[2], job.codes);
        job.contexts = s.contexts.data() + at;
        job.symbols = s.symbols.data() + at;
        job.histogram = histogram;
        entropy<Q>(kernels()).model_grid(job, bits);
        at += job.dims.size();
        return true;
    });
    if (bits.held > 0) *bits.out++ = static_cast<uint8_t>(bits.hold);
    return static_cast<size_t>(bits.out - s.bits.data());
}

}  // namespace

template <class Q>
double price_grids(const std::vector<GridSpec>& grids, Q* codes, EntropyScratch& s) {
    FineHistogram histogram = {};
    double bits = 8.0 * static_cast<double>(model(grids, codes, s, histogram));
    for (const auto& context : histogram) {
        uint32_t total = 0;
        for (int k = 0, end = symbols_used(context); k < end; ++k) {
            const uint32_t c = context[0][k] + context[1][k];
            if (c == 0) continue;
            total += c;
            bits -= times_log2(c);
        }
        bits += times_log2(total);
    }
    return bits;
}

template <class Q>
void encode_grids(const std::vector<GridSpec>& grids, Q* codes, EntropyScratch& s, Bytes& out) {
    FineHistogram histogram = {};
    const size_t raw_bytes = model(grids, codes, s, histogram);
    std::vector<Histogram> merged;
    TableMap map = merge_contexts(histogram, merged);
    const size_t count = coded_symbols(grids);
    map.sixteen = count < WIDE_FROM && bits_of_symbols(merged) >= SIXTEEN_FROM;
    std::vector<Freqs> freqs;
    for (const Histogram& h : merged) freqs.push_back(normalize(h));
    write_tables(map, freqs, out);
    encode_symbols(grids, map, freqs, count, s, out);
    Writer w(out);
    w.varint(raw_bytes);
    w.bytes(View(s.bits.data(), raw_bytes));
}

template <class Q>
Status decode_grids(Cursor& in, const std::vector<GridSpec>& grids, Q* codes, EntropyScratch& s) {
    TableMap map;
    std::vector<Freqs> freqs;
    if (Status st = read_tables(in, map, freqs); st != Status::ok) return st;
    RansDecoder rans;
    if (Status st = open_rans(in, coded_symbols(grids), map, rans); st != Status::ok) return st;
    uint64_t raw_bytes = 0;
    View raw;
    if (!in.varint(raw_bytes) || !in.bytes(raw_bytes, raw)) return Status::truncated;
    BitReader bits;
    bits.in = raw.data();
    bits.end = raw.data() + raw.size();
    build_decode_tables(freqs, s.tables);
    rans.table = s.tables.data();
    const auto table_of = map.table_of();
    size_t longest = 0;
    for (const GridSpec& g : grids) longest = std::max(longest, coded_dims(g.dims).n[X]);
    if (s.symbols.size() < longest + 64) s.symbols.resize(longest + 64);
    if (s.contexts.size() < longest + 64) s.contexts.resize(longest + 64);
    const bool walked = walk(grids, codes, s, [&](GridJob<Q>& job, Q* to, size_t n) {
        job.contexts = s.contexts.data();
        job.symbols = s.symbols.data();
        entropy<Q>(kernels()).decode_grid(job, rans, table_of.data(), bits);
        if (job.folded) unfold(job.codes, n, job.dims.n[2], to);
        return !rans.over && !bits.over;
    });
    return walked && closed(rans) && bits.in - bits.held / 8 == bits.end ? Status::ok : Status::corrupt;
}

bool grids_as_meant(View bytes, const std::vector<GridSpec>& grids, EntropyScratch& s) {
    Cursor in(bytes);
    TableMap map;
    std::vector<Freqs> freqs;
    RansDecoder rans;
    uint64_t raw_bytes = 0;
    View raw;
    if (read_tables(in, map, freqs) != Status::ok || open_rans(in, coded_symbols(grids), map, rans) != Status::ok ||
        !in.varint(raw_bytes) || !in.bytes(raw_bytes, raw) || in.left() > 0 ||
        std::memcmp(raw.data(), s.bits.data(), raw.size()) != 0)
        return false;
    build_decode_tables(freqs, s.tables);
    rans.table = s.tables.data();
    const auto table_of = map.table_of();
    std::vector<uint8_t> rows;
    size_t at = 0;
    for (const GridSpec& g : grids) {
        const Dims d = coded_dims(g.dims);
        rows.resize(std::max(rows.size(), 2 * (d.n[X] + 64)));
        for (size_t r = d.rows(); r-- > 0; at += d.n[X])
            if (!kernels().rans_row_is(rans, s.symbols.data() + at, s.contexts.data() + at, table_of.data(), d.n[X],
                                       rows.data()))
                return false;
    }
    return closed(rans);
}

void write_numbers(const std::vector<uint32_t>& numbers, EntropyScratch& s, Bytes& out) {
    Writer w(out);
    w.varint(numbers.size());
    if (numbers.size() < PLAIN_NUMBERS) {
        for (uint32_t v : numbers) w.varint(v);
        return;
    }
    std::vector<int32_t> codes(numbers.begin(), numbers.end());
    GridSpec g;
    g.dims.n[X] = codes.size();
    encode_grids<int32_t>({g}, codes.data(), s, out);
}

Status read_numbers(Cursor& in, size_t most, EntropyScratch& s, std::vector<uint32_t>& numbers) {
    uint64_t count = 0;
    if (!in.varint(count)) return Status::truncated;
    if (count > most) return Status::corrupt;
    numbers.clear();
    if (count < PLAIN_NUMBERS) {
        for (uint64_t i = 0; i < count; ++i) {
            uint64_t v = 0;
            if (!in.varint(v)) return Status::truncated;
            if (v > INT32_MAX) return Status::corrupt;
            numbers.push_back(static_cast<uint32_t>(v));
        }
        return Status::ok;
    }
    std::vector<int32_t> codes(static_cast<size_t>(count));
    GridSpec g;
    g.dims.n[X] = codes.size();
    if (Status st = decode_grids<int32_t>(in, {g}, codes.data(), s); st != Status::ok) return st;
    for (int32_t v : codes)
        if (v < 0) return Status::corrupt;
    numbers.assign(codes.begin(), codes.end());
    return Status::ok;
}

template void encode_grids<int32_t>(const std::vector<GridSpec>&, int32_t*, EntropyScratch&, Bytes&);
template void encode_grids<int64_t>(const std::vector<GridSpec>&, int64_t*, EntropyScratch&, Bytes&);
template double price_grids<int32_t>(const std::vector<GridSpec>&, int32_t*, EntropyScratch&);
template double price_grids<int64_t>(const std::vector<GridSpec>&, int64_t*, EntropyScratch&);
template Status decode_grids<int32_t>(Cursor&, const std::vector<GridSpec>&, int32_t*, EntropyScratch&);
template Status decode_grids<int64_t>(Cursor&, const std::vector<GridSpec>&, int64_t*, EntropyScratch&);

}  // namespace sciflow
