// Blocks that are well formed to the last bit and yet no encoder's: any plan, map, base, stride, exact set and codes.
// Damage seldom gets past the entropy coder's own checks; these do, so what follows it meets numbers of every size.
#pragma once

#include "block.hpp"
#include "described.hpp"
#include "exact.hpp"
#include "predict/autoregress.hpp"
#include "streams.hpp"
#include "values.hpp"

namespace sciflow::tests {

// Any double, or one of a usual size.
inline double any_double(Random& random) {
    return random.once_in(2) ? std::bit_cast<double>(random.bits())
                             : std::ldexp(random.unit(), static_cast<int>(random.below(80)) - 40);
}

template <class Q>
void append_codes(const std::vector<GridSpec>& grids, size_t n, Random& random, Bytes& out) {
    const size_t spread = 1 + (random.bits() >> (40 + random.below(24))),
                 wild = random.once_in(2) ? n : 1 + random.below(n);
    std::vector<Q> codes(n);
    for (Q& q : codes) q = static_cast<Q>(random.once_in(wild) ? random.bits() : random.below(spread) - spread / 2);
    EntropyScratch scratch;
    encode_grids<Q>(grids, codes.data(), scratch, out);
}

inline void append_mask(std::vector<uint8_t>& mask, const Dims& d, Random& random, Bytes& out) {
    const size_t every = 1 + random.below(d.size());
    size_t count = 0;
    for (uint8_t& m : mask) count += m = random.once_in(every);
    EntropyScratch scratch;
    write_mask(mask.data(), count, d, scratch, out);
}

template <class T>
void append_exact_set(const Dims& d, Random& random, Bytes& out) {
    std::vector<uint8_t> mask(d.size());
    append_mask(mask, d, random, out);
    std::vector<BitsOf<T>> bits;
    for (uint8_t m : mask)
        if (m) bits.push_back(static_cast<BitsOf<T>>(random.once_in(2) ? 7 : random.bits()));
    EntropyScratch scratch;
    write_exact(bits, scratch, out);
}

inline void append_plan_and_codes(const Dims& d, bool lattice, Random& random, Bytes& out) {
    MultilevelPlan plan;
    plan.lattice = lattice;
    plan.mask = static_cast<unsigned>(random.below(16));
    plan.step = std::fabs(any_double(random));
    plan.start = any_double(random);
    plan.fitted = static_cast<int>(random.below(4));
    if (plan.fitted > Pyramid(d, plan.mask).levels) plan.fitted = 0;
    plan.weights.resize(static_cast<size_t>(plan.fitted));
    for (auto& level : plan.weights)
        for (ClassWeights& c : level)
            for (int s = 0; s < AXES; ++s) {
                c.weight[s] = static_cast<int8_t>(static_cast<int>(random.below(128)) - 63);
                c.cubic[s] = random.once_in(2);
            }
    write_plan(d, plan, out);
    append_codes<int32_t>(multilevel_grids(d, plan.mask), d.size(), random, out);
}

inline void append_numbers(size_t count, size_t most, Random& random, std::vector<uint32_t>& numbers, Bytes& out) {
    numbers.resize(count);
    for (uint32_t& v : numbers) v = static_cast<uint32_t>(random.below(most + 1));
    EntropyScratch scratch;
    write_numbers(numbers, scratch, out);
}

// Widths, counts and highs as large as they may be, patches anywhere.
inline void append_packed_codes(size_t n, Random& random, Bytes& out) {
    Orders orders;
    do {
        for (int& o : orders.of) o = static_cast<int>(random.below(3));
    } while (orders.lags() > MOST_LAGS);
    out.push_back(orders.byte());
    const size_t groups = (n + GROUP - 1) / GROUP, widest = random.below(33), most = random.once_in(2) ? 64 : 3;
    std::vector<uint32_t> widths, counts, highs;
    append_numbers(groups, widest, random, widths, out);
    append_numbers(groups, random.below(most + 1), random, counts, out);
    const size_t patched = groups - static_cast<size_t>(std::count(counts.begin(), counts.end(), 0u));
    append_numbers(patched, random.below(33), random, highs, out);
    size_t bytes = 0, bits = 0, k = 0;
    for (uint32_t w : widths) bytes += GROUP / 8 * w;
    for (uint32_t c : counts)
        if (c > 0) bits += c * (6 + highs[k++]);
    for (size_t i = 0; i < bytes + (bits + 7) / 8; ++i) out.push_back(static_cast<uint8_t>(random.bits()));
}

template <class T>
void append_description(const Dims& d, Random& random, Bytes& out) {
    DescribedMap<T> map;
    map.kind = static_cast<MapKind>(random.below(3));
    map.axes = static_cast<int>(random.below(4));
    for (size_t s = slices_of(d, map.axes); s > 0; --s) {
        map.origin.push_back(any_double(random));
        map.step.push_back(std::fabs(any_double(random)));
    }
    for (size_t k = 1 + random.below(d.size()); k > 0; --k)
        map.table.push_back(std::bit_cast<T>(static_cast<BitsOf<T>>(random.bits() >> random.below(60))));
    map.table_step = random.once_in(2) ? 0 : std::fabs(any_double(random));
    EntropyScratch scratch;
    write_described(map, scratch, out);
}

inline void append_weights(Random& random, Bytes& out) {
    Autoregression a;
    a.axis = static_cast<int>(random.below(AXES));
    a.shift = static_cast<int>(random.below(MAX_SHIFT + 1));
    a.weight.resize(1 + random.below(MAX_ORDER));
    for (int32_t& w : a.weight) w = static_cast<int32_t>(random.bits() % MAX_WEIGHT);
    write_autoregression(a, out);
}

template <class T>
void append_raster_plan(bool dense, Random& random, Bytes& out) {
    const auto any = [&] { return static_cast<T>(any_double(random)); };
    const auto every = static_cast<uint8_t>(random.below(RASTER_STRIP + 2));
    const size_t start = out.size();
    write_raster_plan<T>({every, std::fabs(any_double(random)), any(), any(), any()}, out);
    if (dense) out.erase(out.begin() + static_cast<ptrdiff_t>(start));
}

// Regions of any size, now and then more of them than a block may have.
template <class T>
void append_refinement(const Dims& d, Random& random, Bytes& out) {
    const unsigned regions = random.once_in(5) ? static_cast<unsigned>(random.below(256)) : 1;
    std::vector<uint8_t> mask(d.size());
    Writer w(out);
    w.u8(static_cast<uint8_t>(regions));
    for (unsigned k = 0; k < regions; ++k) {
        append_mask(mask, d, random, out);
        const bool predicted = random.once_in(2);
        w.u8(predicted);
        w.raw(random.once_in(3) ? 0 : std::fabs(any_double(random)));
        const size_t count = static_cast<size_t>(std::count(mask.begin(), mask.end(), uint8_t{1}));
        GridSpec list;
        list.dims.n[X] = std::max<size_t>(1, count);
        if (predicted) append_plan_and_codes(d, true, random, out);
        else if (sizeof(T) == 4) append_codes<int32_t>({list}, list.dims.size(), random, out);
        else append_codes<int64_t>({list}, list.dims.size(), random, out);
    }
    append_exact_set<T>(d, random, out);
}

template <class T>
Bytes built_codes(const Dims& d, Random& random) {
    const Mode mode = random.once_in(5)   ? Mode::packed
                      : random.once_in(3) ? Mode::multilevel
                      : random.once_in(6) ? Mode::raster
                      : random.once_in(3) ? Mode::thinned
                      : random.once_in(2) ? Mode::lattice
                                          : Mode::lorenzo;
    const unsigned of_lorenzo = mode == Mode::lorenzo ? 14 : 0;
    const unsigned flags = static_cast<unsigned>(random.bits()) & (17 | of_lorenzo);
    const bool exact = flags & 1, signs = flags & 2, wide = flags & 4, magnitudes = flags & 8, plain = flags & 16;
    Bytes out = {static_cast<uint8_t>(mode), static_cast<uint8_t>(flags)};
    Writer w(out);
    if (exact) append_exact_set<T>(d, random, out);
    if (mode == Mode::multilevel) {
        append_plan_and_codes(d, false, random, out);
        return out;
    }
    if (mode == Mode::raster || mode == Mode::thinned) {
        append_raster_plan<T>(mode == Mode::raster, random, out);
        GridSpec grid;
        grid.dims = d;
        append_codes<int32_t>({grid}, d.size(), random, out);
        return out;
    }
    std::vector<uint8_t> mask(d.size());
    if (signs) append_mask(mask, d, random, out);
    if (magnitudes) w.varint(random.bits() >> random.below(64));
    if (!magnitudes && !plain) w.raw(any_double(random)), w.raw(std::fabs(any_double(random)));
    w.zigzag(static_cast<int64_t>(random.bits()) >> random.below(64));
    if (mode == Mode::packed) {
        append_packed_codes(d.size(), random, out);
        return out;
    }
    if (mode == Mode::lattice) {
        append_plan_and_codes(d, true, random, out);
        return out;
    }
    const bool weighted = random.once_in(3);
    w.u8(static_cast<uint8_t>(random.below(16) + (weighted ? 16 : 0)));
    if (weighted) append_weights(random, out);
    GridSpec grid;
    grid.dims = d;
    if (wide) append_codes<int64_t>({grid}, d.size(), random, out);
    else append_codes<int32_t>({grid}, d.size(), random, out);
    return out;
}

template <class T>
Bytes built_body(const Dims& d, Random& random, bool may_describe = true) {
    if (may_describe && random.once_in(4)) {
        const bool exact = random.once_in(2), wider = sizeof(T) == 4 && random.once_in(2);
        Bytes out = {static_cast<uint8_t>(Mode::described), static_cast<uint8_t>((exact ? 1 : 0) | (wider ? 2 : 0))};
        if (exact) append_exact_set<T>(d, random, out);
        append_description<T>(d, random, out);
        Writer(out).bytes(wider ? built_body<double>(d, random, false) : built_body<T>(d, random, false));
        return out;
    }
    const bool refined = random.once_in(3);
    Bytes out = built_codes<T>(d, random);
    if (refined) out[1] |= REFINED;
    if (refined) append_refinement<T>(d, random, out);
    return out;
}

template <class T>
Bytes built_stream(Random& random, size_t most_values) {
    for (;;) {
        std::vector<uint64_t> shape(1 + random.below(4));
        for (uint64_t& n : shape) n = 1 + random.below(random.once_in(2) ? 4 : 60);
        Header h = header_of<T>(shape, std::fabs(any_double(random)), static_cast<BoundKind>(random.below(4)));
        if (h.values() < 2 || h.values() > most_values || !std::isfinite(h.bound)) continue;
        h.lattice = random.once_in(4);
        h.blocking = plan_blocks(h, h.values() / (1 + random.below(3)));
        std::vector<Bytes> bodies;
        for (uint64_t b = 0; b < h.blocking.count(); ++b) bodies.push_back(built_body<T>(block_dims(h, b), random));
        for (Bytes& b : bodies) {
            Writer(b).raw(crc32c(b));
            h.block_bytes.push_back(b.size());
        }
        Bytes out;
        write_header(h, out);
        for (const Bytes& b : bodies) Writer(out).bytes(b);
        return out;
    }
}

}  // namespace sciflow::tests
