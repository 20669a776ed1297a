// The lowest bits of codes, apart from the rest: docs/format.md section 8.
// Compiled once for each instruction set: included by kernels.cpp alone, inside its namespace.

// Calls visit(plane's width, bits below it, first byte) for the planes that `low` bits make up; a reader walks alike.
template <class Visit>
static inline void each_plane(unsigned low, size_t n, Visit&& visit) {
    size_t at = 0;
    unsigned below = 0;
    for (unsigned width = 32; width > 0; width /= 2) {
        if (!(low & width)) continue;
        visit(width, below, at);
        at += width >= 8 ? n * (width / 8) : (n + 8 / width - 1) / (8 / width);
        below += width;
    }
}

// Planes narrower than a byte share it among parts of the codes: calls visit(shift, from, to), `from` being byte 0's code.
template <class Visit>
static inline void each_part(unsigned width, size_t n, Visit&& visit) {
    const size_t parts = 8 / width, length = (n + parts - 1) / parts;
    for (size_t i = 0; i < parts; ++i) {
        const size_t from = i * length < n ? i * length : n, to = from + length < n ? from + length : n;
        visit(static_cast<unsigned>(i) * width, from, to);
    }
}

template <class Q>
static void take_low(Q* __restrict codes, size_t n, unsigned low, uint8_t* __restrict out) {
    using U = Word<Q>;
    const U half = U(1) << (low - 1);
    each_plane(low, n, [&](unsigned width, unsigned below, size_t at) {
        uint8_t* __restrict plane = out + at;
        if (width >= 8) {
            const size_t bytes = width / 8;
            for (size_t b = 0; b < bytes; ++b)
                for (size_t x = 0; x < n; ++x)
                    plane[b * n + x] = static_cast<uint8_t>((static_cast<U>(codes[x]) + half) >> (below + 8 * b));
            return;
        }
        const unsigned mask = (1u << width) - 1;
        each_part(width, n, [&](unsigned shift, size_t from, size_t to) {
            for (size_t x = from; x < to; ++x) {
                const unsigned part = static_cast<unsigned>((static_cast<U>(codes[x]) + half) >> below) & mask;
                plane[x - from] = static_cast<uint8_t>((shift ? plane[x - from] : 0) | (part << shift));
            }
        });
    });
    for (size_t x = 0; x < n; ++x) codes[x] = static_cast<Q>(static_cast<U>(codes[x]) + half) >> low;
}

template <class Q>
static void give_low(Q* __restrict codes, size_t n, unsigned low, const uint8_t* __restrict in) {
    using U = Word<Q>;
    const U half = U(1) << (low - 1);
    for (size_t x = 0; x < n; ++x) codes[x] = static_cast<Q>((static_cast<U>(codes[x]) << low) - half);
    each_plane(low, n, [&](unsigned width, unsigned below, size_t at) {
        const uint8_t* __restrict plane = in + at;
        if (width >= 8) {
            for (size_t b = 0; b < width / 8; ++b)
                for (size_t x = 0; x < n; ++x)
                    codes[x] = static_cast<Q>(static_cast<U>(codes[x]) + (U(plane[b * n + x]) << (below + 8 * b)));
            return;
        }
        const unsigned mask = (1u << width) - 1;
        each_part(width, n, [&](unsigned shift, size_t from, size_t to) {
            for (size_t x = from; x < to; ++x)
                codes[x] = static_cast<Q>(static_cast<U>(codes[x]) +
                                          (U((unsigned{plane[x - from]} >> shift) & mask) << below));
        });
    });
}
