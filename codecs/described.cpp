#include "described.hpp"

#include <algorithm>

namespace sciflow {

namespace {

constexpr size_t LEAST_SLICE = 16;  // values in a slice: its origin and step must not outweigh them

template <class T>
constexpr BitsOf<T> SIGN = BitsOf<T>(1) << (8 * sizeof(T) - 1);

// Bit patterns as unsigned integers in the order of their values.
template <class T>
BitsOf<T> rank_of(T v) {
    const auto b = std::bit_cast<BitsOf<T>>(v);
    return b & SIGN<T> ? ~b : b | SIGN<T>;
}

template <class T>
T value_of(BitsOf<T> rank) {
    return std::bit_cast<T>(rank & SIGN<T> ? rank ^ SIGN<T> : ~rank);
}

uint64_t zigzag(int64_t v) { return (static_cast<uint64_t>(v) << 1) ^ static_cast<uint64_t>(v >> 63); }
int64_t unzigzag(uint64_t u) { return static_cast<int64_t>((u >> 1) ^ (~(u & 1) + 1)); }

std::vector<GridSpec> list_of(size_t n) {
    GridSpec g;
    g.dims.n[X] = n;
    return {g};
}

template <class T>
T stepped(T from, uint64_t gap, double step) {
    return static_cast<T>(static_cast<double>(from) + static_cast<double>(gap) * step);
}

template <class T>
int64_t signed_difference(BitsOf<T> a, BitsOf<T> b) {
    return static_cast<std::make_signed_t<BitsOf<T>>>(static_cast<BitsOf<T>>(a - b));
}

// What follows a table's first entry: whole steps and how far off they are, or bare distances, their shift left out.
template <class T>
struct TableCodes {
    std::vector<int64_t> gaps, rest;
    int shift = 0;

    TableCodes(const std::vector<T>& table, double step) {
        for (size_t i = 1; i < table.size(); ++i) {
            const T before = table[i - 1];
            if (step > 0) {
                const double gap = std::rint((static_cast<double>(table[i]) - static_cast<double>(before)) / step);
                gaps.push_back(unzigzag(gap < 0x1p50 ? static_cast<uint64_t>(gap) : 0));
                const T about = stepped(before, zigzag(gaps.back()), step);
                rest.push_back(signed_difference<T>(rank_of(table[i]), rank_of(about)));
            } else {
                rest.push_back(static_cast<int64_t>(rank_of(table[i]) - rank_of(before)));
            }
        }
        if (step > 0) return;
        uint64_t all = 0;
        for (int64_t d : rest) all |= static_cast<uint64_t>(d);
        shift = all == 0 ? 0 : std::countr_zero(all);
        for (int64_t& d : rest) d = unzigzag(static_cast<uint64_t>(d) >> shift);
    }
};

template <class T>
void write_table(const DescribedMap<T>& map, EntropyScratch& scratch, Bytes& out) {
    Writer w(out);
    TableCodes<T> codes(map.table, map.table_step);
    w.varint(map.table.size());
    w.raw(map.table[0]);
    w.raw(map.table_step);
    w.u8(static_cast<uint8_t>(codes.shift));
    if (map.table.size() == 1) return;
    if (map.table_step > 0) encode_grids<int64_t>(list_of(codes.gaps.size()), codes.gaps.data(), scratch, out);
    encode_grids<int64_t>(list_of(codes.rest.size()), codes.rest.data(), scratch, out);
}

template <class T>
Status read_table(Cursor& in, size_t most, EntropyScratch& scratch, DescribedMap<T>& map) {
    uint64_t count = 0;
    T first = 0;
    uint8_t shift = 0;
    if (!in.varint(count)) return Status::truncated;
    if (count == 0 || count > most) return Status::corrupt;
    if (!in.raw(first) || !in.raw(map.table_step) || !in.u8(shift)) return Status::truncated;
    if (!std::isfinite(map.table_step) || map.table_step < 0 || shift >= 8 * sizeof(T)) return Status::corrupt;
    map.table.assign(1, first);
    if (count == 1) return Status::ok;
    const std::vector<GridSpec> list = list_of(static_cast<size_t>(count - 1));
    std::vector<int64_t> gaps, rest(static_cast<size_t>(count - 1));
    if (map.table_step > 0) {
        gaps.resize(rest.size());
        if (Status s = decode_grids<int64_t>(in, list, gaps.data(), scratch); s != Status::ok) return s;
    }
    if (Status s = decode_grids<int64_t>(in, list, rest.data(), scratch); s != Status::ok) return s;
    map.table.reserve(static_cast<size_t>(count));
    for (size_t i = 0; i < rest.size(); ++i) {
        T about = map.table.back();
        if (map.table_step > 0) about = stepped(about, zigzag(gaps[i]), map.table_step);
        if (map.table_step > 0 && !std::isfinite(about)) return Status::corrupt;
        const uint64_t off = map.table_step > 0 ? static_cast<uint64_t>(rest[i]) : zigzag(rest[i]) << shift;
        map.table.push_back(value_of<T>(static_cast<BitsOf<T>>(rank_of(about) + off)));
    }
    return Status::ok;
}

std::vector<uint64_t> patterns_of(const std::vector<double>& v) {
    std::vector<uint64_t> bits;
    for (double d : v) bits.push_back(std::bit_cast<uint64_t>(d));
    return bits;
}

Status read_doubles(Cursor& in, size_t count, EntropyScratch& scratch, std::vector<double>& v) {
    std::vector<uint64_t> bits;
    if (Status s = read_exact(in, count, scratch, bits); s != Status::ok) return s;
    v.clear();
    for (uint64_t b : bits) v.push_back(std::bit_cast<double>(b));
    return std::all_of(v.begin(), v.end(), [](double d) { return std::isfinite(d); }) ? Status::ok : Status::corrupt;
}

}  // namespace

size_t slices_of(const Dims& dims, int axes) {
    size_t n = 1;
    for (int a = 0; a < axes; ++a) n *= dims.n[a];
    return n;
}

template <class T>
void write_described(const DescribedMap<T>& map, EntropyScratch& scratch, Bytes& out) {
    Writer w(out);
    w.u8(static_cast<uint8_t>(map.kind));
    if (map.kind == MapKind::table) return write_table(map, scratch, out);
    w.u8(static_cast<uint8_t>(map.axes));
    write_exact(patterns_of(map.origin), scratch, out);
    write_exact(patterns_of(map.step), scratch, out);
}

template <class T>
Status read_described(Cursor& in, const Dims& dims, EntropyScratch& scratch, DescribedMap<T>& map) {
    uint8_t kind = 0, axes = 0;
    if (!in.u8(kind)) return Status::truncated;
    if (kind > static_cast<uint8_t>(MapKind::quotients)) return Status::corrupt;
    map.kind = static_cast<MapKind>(kind);
    if (map.kind == MapKind::table) return read_table(in, dims.size(), scratch, map);
    if (!in.u8(axes)) return Status::truncated;
    if (axes > X) return Status::corrupt;
    const size_t slices = slices_of(dims, axes);
    if (slices > 1 && dims.size() / slices < LEAST_SLICE) return Status::corrupt;
    map.axes = axes;
    if (Status s = read_doubles(in, slices, scratch, map.origin); s != Status::ok) return s;
    if (Status s = read_doubles(in, slices, scratch, map.step); s != Status::ok) return s;
    return std::all_of(map.step.begin(), map.step.end(), [](double d) { return d > 0; }) ? Status::ok : Status::corrupt;
}

template void write_described<float>(const DescribedMap<float>&, EntropyScratch&, Bytes&);
template void write_described<double>(const DescribedMap<double>&, EntropyScratch&, Bytes&);
template Status read_described<float>(Cursor&, const Dims&, EntropyScratch&, DescribedMap<float>&);
template Status read_described<double>(Cursor&, const Dims&, EntropyScratch&, DescribedMap<double>&);

}  // namespace sciflow
