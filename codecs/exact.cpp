#include "exact.hpp"

#include <algorithm>
#include <unordered_map>

namespace sciflow {

namespace {

constexpr size_t MAX_PALETTE = 62;
constexpr size_t PALETTE_FROM = 3;        // a pattern seen this often is worth an entry
constexpr size_t MAX_PATTERNS = 4096;     // more distinct ones than this are not counted

size_t axis_distance(const Dims& d, int axis) {
    size_t stride = 1;
    for (int a = axis + 1; a < AXES; ++a) stride *= d.n[a];
    return stride;
}

uint8_t changed(const uint8_t* mask, size_t i, size_t distance) {
    return distance != 0 && i >= distance ? mask[i] ^ mask[i - distance] : mask[i];
}

size_t count_runs(const uint8_t* mask, size_t n, size_t distance) {
    size_t runs = 0;
    uint8_t now = 0;
    for (size_t i = 0; i < n; ++i) {
        const uint8_t v = changed(mask, i, distance);
        runs += v != now;
        now = v;
    }
    return runs;
}

// The axis along which the mask repeats best: 0 to 2, or AXES for none.
int best_axis(const uint8_t* mask, const Dims& dims) {
    const size_t n = dims.size();
    int best = AXES;
    size_t least = count_runs(mask, n, 0);
    for (int a = 0; a < X && least > 8; ++a) {
        if (dims.n[a] < 2) continue;
        const size_t runs = count_runs(mask, n, axis_distance(dims, a));
        if (runs < least) {
            least = runs;
            best = a;
        }
    }
    return best;
}

template <class Bits>
std::vector<Bits> frequent_patterns(const Bits* values, const uint8_t* mask, size_t n) {
    std::unordered_map<Bits, size_t> count;
    for (size_t i = 0; i < n; ++i) {
        if (!mask[i]) continue;
        if (auto it = count.find(values[i]); it != count.end()) ++it->second;
        else if (count.size() < MAX_PATTERNS) count.emplace(values[i], 1);
    }
    std::vector<Bits> patterns;
    for (const auto& [bits, times] : count)
        if (times >= PALETTE_FROM) patterns.push_back(bits);
    std::sort(patterns.begin(), patterns.end(), [&](Bits a, Bits b) {
        return count[a] != count[b] ? count[a] > count[b] : a < b;
    });
    if (patterns.size() > MAX_PALETTE) patterns.resize(MAX_PALETTE);
    return patterns;
}

}  // namespace

void write_mask(const uint8_t* mask, const Dims& dims, EntropyScratch& scratch, Bytes& out) {
    const size_t n = dims.size();
    const int axis = best_axis(mask, dims);
    const size_t distance = axis == AXES ? 0 : axis_distance(dims, axis);
    std::vector<uint32_t> runs;
    uint8_t now = 0;
    size_t start = 0;
    for (size_t i = 0; i < n; ++i) {
        const uint8_t v = changed(mask, i, distance);
        if (v == now) continue;
        runs.push_back(static_cast<uint32_t>(i - start));
        start = i;
        now = v;
    }
    Writer(out).u8(static_cast<uint8_t>(axis));
    write_numbers(runs, scratch, out);
}

Status read_mask(Cursor& in, const Dims& dims, EntropyScratch& scratch, uint8_t* mask) {
    const size_t n = dims.size();
    uint8_t axis = 0;
    if (!in.u8(axis)) return Status::truncated;
    if (axis == X || axis > AXES) return Status::corrupt;
    std::vector<uint32_t> runs;
    if (Status s = read_numbers(in, n, scratch, runs); s != Status::ok) return s;
    size_t at = 0;
    uint8_t now = 0;
    for (size_t k = 0; k <= runs.size(); ++k) {  // the last run reaches the end
        const size_t length = k < runs.size() ? runs[k] : n - at;
        if (length > n - at) return Status::corrupt;
        std::fill(mask + at, mask + at + length, now);
        at += length;
        now ^= 1;
    }
    if (axis == AXES) return Status::ok;
    const size_t distance = axis_distance(dims, axis);
    for (size_t i = distance; i < n; ++i) mask[i] ^= mask[i - distance];
    return Status::ok;
}

template <class Bits>
void write_exact(const Bits* values, const uint8_t* mask, size_t n, EntropyScratch& scratch, Bytes& out) {
    const std::vector<Bits> palette = frequent_patterns(values, mask, n);
    std::unordered_map<Bits, uint32_t> id;
    for (size_t i = 0; i < palette.size(); ++i) id[palette[i]] = static_cast<uint32_t>(i);
    const uint32_t kinds = static_cast<uint32_t>(palette.size()) + 1;  // the last kind: literally
    std::vector<uint32_t> runs;
    std::vector<Bits> literal;
    uint32_t now = kinds, length = 0;
    auto close = [&] {
        if (length > 0) runs.push_back((length - 1) * kinds + now);
    };
    for (size_t i = 0; i < n; ++i) {
        if (!mask[i]) continue;
        const auto it = id.find(values[i]);
        const uint32_t k = it == id.end() ? kinds - 1 : it->second;
        if (k == kinds - 1) literal.push_back(values[i]);
        if (k != now || length >= (1u << 24)) {
            close();
            now = k;
            length = 0;
        }
        ++length;
    }
    close();
    Writer w(out);
    w.u8(static_cast<uint8_t>(palette.size()));
    for (Bits b : palette) w.raw(b);
    write_numbers(runs, scratch, out);
    for (Bits b : literal) w.raw(b);
}

template <class Bits>
Status read_exact(Cursor& in, const uint8_t* mask, size_t n, EntropyScratch& scratch, Bits* values) {
    uint8_t entries = 0;
    if (!in.u8(entries)) return Status::truncated;
    if (entries > MAX_PALETTE) return Status::corrupt;
    std::vector<Bits> palette(entries);
    for (Bits& b : palette)
        if (!in.raw(b)) return Status::truncated;
    std::vector<uint32_t> runs;
    if (Status s = read_numbers(in, n, scratch, runs); s != Status::ok) return s;
    const uint32_t kinds = entries + 1u;
    size_t k = 0, left = 0;
    uint32_t kind = 0;
    for (size_t i = 0; i < n; ++i) {
        if (!mask[i]) continue;
        if (left == 0) {
            if (k == runs.size()) return Status::corrupt;
            kind = runs[k] % kinds;
            left = runs[k++] / kinds + 1;
        }
        --left;
        if (kind < entries) values[i] = palette[kind];
        else if (!in.raw(values[i])) return Status::truncated;
    }
    return left == 0 && k == runs.size() ? Status::ok : Status::corrupt;
}

template void write_exact<uint32_t>(const uint32_t*, const uint8_t*, size_t, EntropyScratch&, Bytes&);
template void write_exact<uint64_t>(const uint64_t*, const uint8_t*, size_t, EntropyScratch&, Bytes&);
template Status read_exact<uint32_t>(Cursor&, const uint8_t*, size_t, EntropyScratch&, uint32_t*);
template Status read_exact<uint64_t>(Cursor&, const uint8_t*, size_t, EntropyScratch&, uint64_t*);

}  // namespace sciflow
