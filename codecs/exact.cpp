#include "exact.hpp"

#include <algorithm>
#include <bit>
#include <unordered_map>

namespace sciflow {

namespace {

constexpr size_t MAX_PALETTE = 62;
constexpr int IMAGE = 5;               // in place of an axis
constexpr size_t PALETTE_FROM = 3;     // a pattern seen this often is worth an entry
constexpr size_t WORTH_AN_AXIS = 256;  // fewer marks are not searched for a repetition
constexpr size_t MAX_PATTERNS = 4096;  // more distinct ones than this are not counted

size_t axis_distance(const Dims& d, int axis) {
    size_t stride = 1;
    for (int a = axis + 1; a < AXES; ++a) stride *= d.n[a];
    return stride;
}

uint8_t changed(const uint8_t* mask, size_t i, size_t distance) {
    return distance != 0 && i >= distance ? mask[i] ^ mask[i - distance] : mask[i];
}

// changed() of eight positions from i on, a byte each; i is at least `distance`.
uint64_t eight_changed(const uint8_t* mask, size_t i, size_t distance) {
    uint64_t here, there;
    std::memcpy(&here, mask + i, 8);
    std::memcpy(&there, mask + i - distance, 8);
    return distance != 0 ? here ^ there : here;
}

size_t count_runs(const uint8_t* mask, size_t n, size_t distance) {
    size_t runs = changed(mask, 0, distance), i = 1;
    const auto turns = [&] { return changed(mask, i, distance) != changed(mask, i - 1, distance) ? 1u : 0u; };
    for (; i < std::min(n, distance + 1); ++i) runs += turns();
    for (; i + 8 <= n; i += 8) {
        const uint64_t turned = eight_changed(mask, i, distance) ^ eight_changed(mask, i - 1, distance);
        runs += static_cast<size_t>(std::popcount(turned));
    }
    for (; i < n; ++i) runs += turns();
    return runs;
}

// The axis along which the mask repeats best: 0 to 2, or AXES for none.
int best_axis(const uint8_t* mask, const Dims& dims) {
    const size_t n = dims.size();
    int best = AXES;
    size_t least = count_runs(mask, n, 0);
    for (int a = 0; a < X; ++a) {
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
std::vector<Bits> frequent_patterns(const std::vector<Bits>& values) {
    std::unordered_map<Bits, size_t> count;
    for (size_t i = 0; i < values.size();) {
        size_t run = i + 1;
        while (run < values.size() && values[run] == values[i]) ++run;
        if (auto it = count.find(values[i]); it != count.end()) it->second += run - i;
        else if (count.size() < MAX_PATTERNS) count.emplace(values[i], run - i);
        i = run;
    }
    std::vector<Bits> patterns;
    for (const auto& [bits, times] : count)
        if (times >= PALETTE_FROM) patterns.push_back(bits);
    std::sort(patterns.begin(), patterns.end(),
              [&](Bits a, Bits b) { return count[a] != count[b] ? count[a] > count[b] : a < b; });
    if (patterns.size() > MAX_PALETTE) patterns.resize(MAX_PALETTE);
    return patterns;
}

}  // namespace

void write_mask(const uint8_t* mask, size_t count, const Dims& dims, EntropyScratch& scratch, Bytes& out) {
    const size_t n = dims.size();
    const int axis = count < WORTH_AN_AXIS ? AXES : best_axis(mask, dims);
    const size_t distance = axis == AXES ? 0 : axis_distance(dims, axis);
    std::vector<uint32_t> runs;
    size_t start = 0;
    uint8_t now = 0;
    auto turn = [&](size_t i) {
        runs.push_back(static_cast<uint32_t>(i - start));
        start = i;
        now ^= 1;
    };
    if (axis == AXES) {
        size_t next = 0;  // one past the last marked position
        each_marked(mask, n, [&](size_t i) {
            if (now && i > next) turn(next);
            if (!now) turn(i);
            next = i + 1;
        });
        if (now && next < n) turn(next);
    } else {
        size_t i = 0;
        const auto look = [&](size_t to) {
            for (; i < to; ++i)
                if (changed(mask, i, distance) != now) turn(i);
        };
        look(std::min(n, distance));
        while (i + 8 <= n)
            if (eight_changed(mask, i, distance) == now * 0x0101010101010101u) i += 8;
            else look(i + 8);
        look(n);
    }
    Writer(out).u8(static_cast<uint8_t>(axis));
    write_numbers(runs, scratch, out);
}

namespace {

GridSpec whole(const Dims& dims) {
    GridSpec g;
    g.dims = dims;
    return g;
}

// One code a position, 0 to `most`.
Status read_image(Cursor& in, const Dims& dims, int32_t most, MixingScratch& mixing, uint8_t* image) {
    std::vector<int32_t> codes(dims.size());
    if (Status s = unmix_grids<int32_t>(in, {whole(dims)}, codes.data(), mixing); s != Status::ok) return s;
    for (size_t i = 0; i < codes.size(); ++i) {
        if (codes[i] < 0 || codes[i] > most) return Status::corrupt;
        image[i] = static_cast<uint8_t>(codes[i]);
    }
    return Status::ok;
}

Status read_runs(Cursor& in, const Dims& dims, int axis, EntropyScratch& scratch, uint8_t* mask) {
    const size_t n = dims.size();
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

}  // namespace

Status read_mask(Cursor& in, const Dims& dims, EntropyScratch& scratch, MixingScratch* mixing, uint8_t* mask) {
    uint8_t axis = 0;
    if (!in.u8(axis)) return Status::truncated;
    return axis == IMAGE && mixing ? read_image(in, dims, 1, *mixing, mask) : read_runs(in, dims, axis, scratch, mask);
}

namespace {

template <class Bits>
struct Palette {
    std::vector<Bits> entries;
    std::unordered_map<Bits, uint32_t> id;

    explicit Palette(const std::vector<Bits>& values) : entries(frequent_patterns(values)) {
        for (size_t i = 0; i < entries.size(); ++i) id[entries[i]] = static_cast<uint32_t>(i);
    }

    uint32_t literal() const { return static_cast<uint32_t>(entries.size()); }  // the last kind

    uint32_t kind_of(Bits v) const {
        const auto it = id.find(v);
        return it == id.end() ? literal() : it->second;
    }

    void write(Writer& w) const {
        w.u8(static_cast<uint8_t>(entries.size()));
        for (Bits b : entries) w.raw(b);
    }
};

template <class Bits>
Status read_palette(Cursor& in, std::vector<Bits>& palette) {
    uint8_t entries = 0;
    if (!in.u8(entries)) return Status::truncated;
    if (entries > MAX_PALETTE) return Status::corrupt;
    palette.resize(entries);
    for (Bits& b : palette)
        if (!in.raw(b)) return Status::truncated;
    return Status::ok;
}

}  // namespace

template <class Bits>
void write_exact(const std::vector<Bits>& values, EntropyScratch& scratch, Bytes& out) {
    const Palette<Bits> palette(values);
    const uint32_t kinds = palette.literal() + 1;
    const auto kind_of = [&](Bits v) { return palette.kind_of(v); };
    std::vector<uint32_t> runs;
    std::vector<Bits> literal;
    for (size_t i = 0; i < values.size();) {
        const uint32_t kind = kind_of(values[i]);
        const size_t first = i;
        do {
            if (kind == kinds - 1) literal.push_back(values[i]);
            ++i;
        } while (i < values.size() && (values[i] == values[i - 1] || kind_of(values[i]) == kind));
        runs.push_back(static_cast<uint32_t>((i - first - 1) * kinds) + kind);
    }
    Writer w(out);
    palette.write(w);
    write_numbers(runs, scratch, out);
    for (Bits b : literal) w.raw(b);
}

template <class Bits>
void write_exact_image(const uint8_t* mask, const std::vector<Bits>& values, const Dims& dims, MixingScratch& mixing,
                       Bytes& out) {
    const Palette<Bits> palette(values);
    std::vector<int32_t> codes(dims.size());
    std::vector<Bits> literal;
    size_t k = 0;
    each_marked(mask, codes.size(), [&](size_t i) {
        const Bits v = values[k++];
        const uint32_t kind = palette.kind_of(v);
        codes[i] = static_cast<int32_t>(kind) + 1;
        if (kind == palette.literal()) literal.push_back(v);
    });
    Writer w(out);
    w.u8(IMAGE);
    mix_grids<int32_t>({whole(dims)}, codes.data(), mixing, out);
    palette.write(w);
    for (Bits b : literal) w.raw(b);
}

namespace {

template <class Bits>
Status read_exact_image(Cursor& in, const Dims& dims, MixingScratch& mixing, uint8_t* mask, std::vector<Bits>& values) {
    if (Status s = read_image(in, dims, MAX_PALETTE + 1, mixing, mask); s != Status::ok) return s;
    std::vector<Bits> palette;
    if (Status s = read_palette(in, palette); s != Status::ok) return s;
    Status s = Status::ok;
    each_marked(mask, dims.size(), [&](size_t i) {
        const size_t kind = mask[i] - size_t{1};
        Bits v = 0;
        if (kind > palette.size() && s == Status::ok) s = Status::corrupt;
        if (kind < palette.size()) v = palette[kind];
        else if (s == Status::ok && !in.raw(v)) s = Status::truncated;
        values.push_back(v);
    });
    return s;
}

}  // namespace

template <class Bits>
Status read_exact(Cursor& in, size_t count, EntropyScratch& scratch, std::vector<Bits>& values) {
    std::vector<Bits> palette;
    if (Status s = read_palette(in, palette); s != Status::ok) return s;
    const uint32_t entries = static_cast<uint32_t>(palette.size());
    std::vector<uint32_t> runs;
    if (Status s = read_numbers(in, count, scratch, runs); s != Status::ok) return s;
    const uint32_t kinds = entries + 1u;
    values.reserve(count);
    for (uint32_t run : runs) {
        const uint32_t kind = run % kinds;
        const size_t length = size_t{run / kinds} + 1;
        if (length > count - values.size()) return Status::corrupt;
        if (kind < entries) {
            values.insert(values.end(), length, palette[kind]);
            continue;
        }
        for (size_t i = 0; i < length; ++i) {
            Bits b;
            if (!in.raw(b)) return Status::truncated;
            values.push_back(b);
        }
    }
    return values.size() == count ? Status::ok : Status::corrupt;
}

template <class Bits>
Status read_exact_set(Cursor& in, const Dims& dims, EntropyScratch& scratch, MixingScratch& mixing, uint8_t* mask,
                      std::vector<Bits>& values) {
    values.clear();
    uint8_t axis = 0;
    if (!in.u8(axis)) return Status::truncated;
    if (axis == IMAGE) return read_exact_image(in, dims, mixing, mask, values);
    if (Status s = read_runs(in, dims, axis, scratch, mask); s != Status::ok) return s;
    size_t count = 0;
    each_marked(mask, dims.size(), [&](size_t) { ++count; });
    return read_exact(in, count, scratch, values);
}

template void write_exact<uint32_t>(const std::vector<uint32_t>&, EntropyScratch&, Bytes&);
template void write_exact<uint64_t>(const std::vector<uint64_t>&, EntropyScratch&, Bytes&);
template Status read_exact<uint32_t>(Cursor&, size_t, EntropyScratch&, std::vector<uint32_t>&);
template Status read_exact<uint64_t>(Cursor&, size_t, EntropyScratch&, std::vector<uint64_t>&);
template void write_exact_image<uint32_t>(const uint8_t*, const std::vector<uint32_t>&, const Dims&, MixingScratch&,
                                          Bytes&);
template void write_exact_image<uint64_t>(const uint8_t*, const std::vector<uint64_t>&, const Dims&, MixingScratch&,
                                          Bytes&);
template Status read_exact_set<uint32_t>(Cursor&, const Dims&, EntropyScratch&, MixingScratch&, uint8_t*,
                                         std::vector<uint32_t>&);
template Status read_exact_set<uint64_t>(Cursor&, const Dims&, EntropyScratch&, MixingScratch&, uint8_t*,
                                         std::vector<uint64_t>&);

}  // namespace sciflow
