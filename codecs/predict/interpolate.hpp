// Multilevel interpolation: a class is predicted from the classes with one odd axis fewer, row by row.
// Compiled once for each instruction set: included by kernels.cpp alone, inside its namespace.

// ---- parity classes ----------------------------------------------------------------------------------------------

template <class T>
static inline void extrapolate(T* row, size_t n) {
    if (n >= 3) {
        row[-1] = T(3) * (row[0] - row[1]) + row[2];
    } else {
        row[-1] = n == 2 ? T(2) * row[0] - row[1] : row[0];
    }
    row[-2] = n >= 2 ? T(2) * row[-1] - row[0] : row[0];
    row[n] = n >= 2 ? T(2) * row[n - 1] - row[n - 2] : row[n - 1];
    row[n + 1] = n >= 2 ? T(2) * row[n] - row[n - 1] : row[n - 1];
}

// Where a row of the full grid goes: its class without the x bit, and its offset there.
struct ClassRow {
    unsigned cls;
    size_t index[3];
};

static inline ClassRow class_row(unsigned active, size_t i0, size_t i1, size_t i2) {
    ClassRow r{0, {i0, i1, i2}};
    for (int a = 0; a < 3; ++a) {
        if (!((active >> a) & 1)) continue;
        r.cls |= static_cast<unsigned>(r.index[a] & 1) << a;
        r.index[a] >>= 1;
    }
    return r;
}

struct ClassLayouts {
    Layout of[CLASSES];

    ClassLayouts(const Dims& full, unsigned active) {
        for (unsigned c = 0; c < CLASSES; ++c) {
            Dims d = full;
            for (int a = 0; a < AXES; ++a)
                if ((active >> a) & 1) d.n[a] = ((c >> a) & 1) ? d.n[a] / 2 : (d.n[a] + 1) / 2;
            of[c] = Layout::padded(d);
        }
    }
};

template <class T>
static void split(const T* full, const Layout& from, const Dims& dims, unsigned active, T* const* classes) {
    const ClassLayouts layouts(dims, active);
    const bool x_active = (active >> X) & 1;
    const size_t even = (dims.n[X] + 1) / 2, odd = dims.n[X] / 2;
    for (size_t i0 = 0; i0 < dims.n[0]; ++i0)
        for (size_t i1 = 0; i1 < dims.n[1]; ++i1)
            for (size_t i2 = 0; i2 < dims.n[2]; ++i2) {
                const T* __restrict in = full + from.row(i0, i1, i2);
                const ClassRow r = class_row(active, i0, i1, i2);
                T* __restrict e = classes[r.cls] + layouts.of[r.cls].row(r.index[0], r.index[1], r.index[2]) + HALO;
                if (!x_active) {
                    for (size_t x = 0; x < dims.n[X]; ++x) e[x] = in[x];
                    continue;
                }
                const unsigned oc = r.cls | (1u << X);
                T* __restrict o = classes[oc] + layouts.of[oc].row(r.index[0], r.index[1], r.index[2]) + HALO;
                in_strips(
                    odd,
                    [=](size_t x) {
                        const V16<T> a = load16(in + 2 * x), b = load16(in + 2 * x + 16);
                        store16(e + x, evens<T>(a, b));
                        store16(o + x, odds<T>(a, b));
                    },
                    [=](size_t x) {
                        e[x] = in[2 * x];
                        o[x] = in[2 * x + 1];
                    });
                if (even > odd) e[odd] = in[2 * odd];
            }
}

template <class T>
static void merge(T* full, const Layout& to, const Dims& dims, unsigned active, const T* const* classes, bool halo) {
    const ClassLayouts layouts(dims, active);
    const bool x_active = (active >> X) & 1;
    const size_t even = (dims.n[X] + 1) / 2, odd = dims.n[X] / 2;
    for (size_t i0 = 0; i0 < dims.n[0]; ++i0)
        for (size_t i1 = 0; i1 < dims.n[1]; ++i1)
            for (size_t i2 = 0; i2 < dims.n[2]; ++i2) {
                T* __restrict out = full + to.row(i0, i1, i2);
                const ClassRow r = class_row(active, i0, i1, i2);
                const T* __restrict e =
                    classes[r.cls] + layouts.of[r.cls].row(r.index[0], r.index[1], r.index[2]) + HALO;
                if (!x_active) {
                    for (size_t x = 0; x < dims.n[X]; ++x) out[x] = e[x];
                } else {
                    const unsigned oc = r.cls | (1u << X);
                    const T* __restrict o = classes[oc] + layouts.of[oc].row(r.index[0], r.index[1], r.index[2]) + HALO;
                    in_strips(
                        odd,
                        [=](size_t x) {
                            const V16<T> a = load16(e + x), b = load16(o + x);
                            store16(out + 2 * x, interleaved_low<T>(a, b));
                            store16(out + 2 * x + 16, interleaved_high<T>(a, b));
                        },
                        [=](size_t x) {
                            out[2 * x] = e[x];
                            out[2 * x + 1] = o[x];
                        });
                    if (even > odd) out[2 * odd] = e[odd];
                }
                if (halo) extrapolate(out, dims.n[X]);
            }
}

// ---- a row's prediction: a sum of rows, each with its coefficient -------------------------------------------------

// Most rows that a learned class's prediction can read: one that is not there stands for two along its axis.
static constexpr int MOST_TAPS = 4 * MAX_STENCIL_TAPS;

template <class T>
struct Taps {
    const T* row[MOST_TAPS];
    T weight[MOST_TAPS];
    int count = 0;

    void add(const T* r, T w) {
        row[count] = r;
        weight[count] = w;
        ++count;
    }
    void pad_to(int n) {
        while (count < n) add(row[0], T(0));
    }
};

// Along x the neighbours lie in one row and its halo.
template <class T>
static inline void x_taps(Taps<T>& taps, const T* row, T w, bool cubic) {
    if (!cubic) {
        taps.add(row, w * T(0.5));
        taps.add(row + 1, w * T(0.5));
        return;
    }
    taps.add(row - 1, w * T(-0.0625));
    taps.add(row, w * T(0.5625));
    taps.add(row + 1, w * T(0.5625));
    taps.add(row + 2, w * T(-0.0625));
}

// Along the other axes they are rows i-1, i, i+1, i+2 of the source; near its ends fewer of them exist.
template <class T>
static inline void row_taps(Taps<T>& taps, const T* at, size_t stride, size_t i, size_t count, T w, bool cubic) {
    const bool right = i + 1 < count;
    if (!right) {
        if (cubic && i > 0) {
            taps.add(at - stride, w * T(-0.5));
            taps.add(at, w * T(1.5));
        } else {
            taps.add(at, w);
        }
        return;
    }
    const bool left2 = i > 0, right2 = i + 2 < count;
    if (!cubic || (!left2 && !right2)) {
        taps.add(at, w * T(0.5));
        taps.add(at + stride, w * T(0.5));
    } else if (left2 && right2) {
        taps.add(at - stride, w * T(-0.0625));
        taps.add(at, w * T(0.5625));
        taps.add(at + stride, w * T(0.5625));
        taps.add(at + 2 * stride, w * T(-0.0625));
    } else if (left2) {
        taps.add(at - stride, w * T(-0.125));
        taps.add(at, w * T(0.75));
        taps.add(at + stride, w * T(0.375));
    } else {
        taps.add(at, w * T(0.375));
        taps.add(at + stride, w * T(0.75));
        taps.add(at + 2 * stride, w * T(-0.125));
    }
}

// A position along an axis as one that is there, or as two: beyond the ends goes the line through the last two.
struct Folded {
    size_t at[2] = {0, 0};
    int32_t factor[2] = {1, 0};

    Folded(ptrdiff_t i, size_t count) {
        const auto n = static_cast<ptrdiff_t>(count);
        if (i >= 0 && i < n) {
            at[0] = static_cast<size_t>(i);
        } else if (n > 1) {
            const bool low = i < 0;
            const auto beyond = static_cast<int32_t>(low ? -i : i - n + 1);
            at[0] = low ? 0 : count - 1;
            at[1] = low ? 1 : count - 2;
            factor[0] = 1 + beyond;
            factor[1] = -beyond;
        }
    }
};

// Weights of rows, in units of 2^-STENCIL_BITS: those of the same row together, in the order in which rows first came.
template <class T>
struct RowSums {
    const T* row[MOST_TAPS];
    int32_t weight[MOST_TAPS];
    int count = 0;

    void add(const T* r, int32_t w) {
        int k = 0;
        while (k < count && row[k] != r) ++k;
        if (k == count) {
            row[count] = r;
            weight[count++] = 0;
        }
        weight[k] += w;
    }
};

template <class T>
static inline void gather_folded(RowSums<T>& g, const StencilSource<T>& s, const size_t (&i)[3]) {
    const Folded z(static_cast<ptrdiff_t>(i[0]) + s.shift[0], s.count[0]);
    const Folded y(static_cast<ptrdiff_t>(i[1]) + s.shift[1], s.count[1]);
    const Folded x(static_cast<ptrdiff_t>(i[2]) + s.shift[2], s.count[2]);
    for (int a = 0; a < 2; ++a)
        for (int b = 0; b < 2; ++b)
            for (int c = 0; c < 2; ++c) {
                const int32_t w = z.factor[a] * y.factor[b] * x.factor[c] * s.weight;
                if (z.factor[a] == 0 || y.factor[b] == 0 || x.factor[c] == 0) continue;
                g.add(s.data + s.layout.row(z.at[a], y.at[b], x.at[c]) + HALO + s.shift[X], w);
            }
}

template <class T>
static inline bool inside(const StencilSource<T>& s, const size_t (&i)[3]) {
    for (int a = 0; a < 3; ++a)
        if (i[a] + static_cast<size_t>(static_cast<ptrdiff_t>(s.shift[a])) >= s.count[a]) return false;
    return true;
}

template <class T>
static inline void gather_stencil(Taps<T>& taps, const ClassJob<T>& job, const size_t (&i)[3]) {
    constexpr T unit = T(1) / T(1 << STENCIL_BITS);
    bool all = true;
    for (int k = 0; k < job.stencil_taps; ++k) all = all && inside(job.stencil[k], i);
    if (all) {
        for (int k = 0; k < job.stencil_taps; ++k) {
            const StencilSource<T>& s = job.stencil[k];
            const ptrdiff_t away = s.shift[0] * static_cast<ptrdiff_t>(s.layout.stride[0]) +
                                   s.shift[1] * static_cast<ptrdiff_t>(s.layout.stride[1]) +
                                   s.shift[2] * static_cast<ptrdiff_t>(s.layout.stride[2]) + s.shift[X];
            taps.add(s.data + s.layout.row(i[0], i[1], i[2]) + HALO + away, T(s.weight) * unit);
        }
    } else {
        RowSums<T> g;
        for (int k = 0; k < job.stencil_taps; ++k) gather_folded(g, job.stencil[k], i);
        for (int k = 0; k < g.count; ++k) taps.add(g.row[k], T(g.weight[k]) * unit);
    }
    const int n = taps.count;
    taps.pad_to(n <= 8 ? 8 : n <= 16 ? 16 : n <= 24 ? 24 : n <= 32 ? 32 : n <= 64 ? 64 : MOST_TAPS);
}

template <class T>
static inline void gather_taps(Taps<T>& taps, const ClassJob<T>& job, const size_t (&i)[3]) {
    taps.count = 0;
    if (job.stencil) return gather_stencil(taps, job, i);
    for (int s = 0; s < job.sources; ++s) {
        const Source<T>& src = job.source[s];
        const T* row = src.data + src.layout.row(i[0], i[1], i[2]) + HALO;
        if (src.axis == X) {
            x_taps(taps, row, src.weight, src.cubic);
        } else {
            row_taps(taps, row, src.layout.stride[src.axis], i[src.axis], src.count, src.weight, src.cubic);
        }
    }
    const int n = taps.count;
    taps.pad_to(n <= 2 ? 2 : n <= 4 ? 4 : n <= 8 ? 8 : n <= 12 ? 12 : 16);
}

template <int N, class T>
static inline T predicted(const T* const (&row)[N], const T (&weight)[N], size_t x) {
    T p = T(0);
    for (int k = 0; k < N; ++k) p = p + weight[k] * row[k][x];
    return p;
}

template <int N, class T>
static inline V16<T> predicted16(const T* const (&row)[N], const T (&weight)[N], size_t x) {
    V16<T> p{};
    for (int k = 0; k < N; ++k) p = p + weight[k] * load16(row[k] + x);
    return p;
}

template <int N, class T>
static inline void take(const Taps<T>& taps, const T* (&row)[N], T (&weight)[N]) {
    for (int k = 0; k < N; ++k) {
        row[k] = taps.row[k];
        weight[k] = taps.weight[k];
    }
}

// A code is trusted below this magnitude; beyond it the value is stored exactly and the prediction stands.
static constexpr float CODE_LIMIT = 1073741824.0f;

template <class T>
struct QuantizedRow {
    const T* in;
    T* rec;
    int32_t* codes;
};

// Codes and reconstructions of a row; whether some value came close to the limit. A hole (NaN) has code 0.
template <int N, bool LATTICE, class T>
static bool quantize_row(const Taps<T>& taps, const ClassJob<T>& job, const QuantizedRow<T>& q) {
    const T* row[N];
    T weight[N];
    take<N>(taps, row, weight);
    const T step = job.step, inverse = job.inverse;
    const T limit = LATTICE ? T(0.5) : job.limit;  // of integers: a wild extrapolation left the range of exact ones
    V16<Mask<T>> close{};
    bool bad = false;
    in_strips(
        job.dims.n[X],
        [&](size_t x) {
            const V16<T> v = load16(q.in + x);
            V16<T> p = predicted16<N>(row, weight, x);
            if constexpr (LATTICE) p = round16<T>(p);
            V16<T> t = LATTICE ? v - p : round16<T>((v - p) * inverse);
            t = where<T>(magnitude16<T>(t) < T(CODE_LIMIT), t);
            const V16<T> r = LATTICE ? p + t : p + t * step;
            store16(q.codes + x, convert16<int32_t>(t));
            store16(q.rec + x, r);
            close |= magnitude16<T>(v - r) >= limit;
        },
        [&](size_t x) {
            T p = predicted<N>(row, weight, x);
            if constexpr (LATTICE) p = round_even(p);
            T t = LATTICE ? q.in[x] - p : round_even((q.in[x] - p) * inverse);
            t = magnitude(t) < T(CODE_LIMIT) ? t : T(0);
            q.rec[x] = LATTICE ? p + t : p + t * step;
            q.codes[x] = static_cast<int32_t>(t);
            bad |= magnitude(q.in[x] - q.rec[x]) >= limit;
        });
    return bad || any16<Mask<T>>(close);
}

template <int N, bool LATTICE, class T>
static void restore_row(const Taps<T>& taps, const ClassJob<T>& job, T* rec, const int32_t* codes) {
    const T* row[N];
    T weight[N];
    take<N>(taps, row, weight);
    const T step = LATTICE ? T(1) : job.step;
    in_strips(
        job.dims.n[X],
        [&](size_t x) {
            V16<T> p = predicted16<N>(row, weight, x);
            if constexpr (LATTICE) p = round16<T>(p);
            store16(rec + x, p + convert16<T>(load16(codes + x)) * step);
        },
        [&](size_t x) {
            T p = predicted<N>(row, weight, x);
            if constexpr (LATTICE) p = round_even(p);
            rec[x] = p + static_cast<T>(codes[x]) * step;
        });
}

// ---- exact second look at a row in which a value came close to the bound ------------------------------------------

// |x - r| <= bound, decided as if without rounding: Knuth's two-difference tells what the subtraction lost.
static inline bool within(double x, double r, double bound) {
    const double d = x - r;
    const double b = d - x;  // x - r == d + rest, exactly
    const double rest = (x - (d - b)) - (r + b);
    const double size = __builtin_fabs(d);
    if (size != bound) return size < bound;
    return d < 0 ? rest >= 0 : rest <= 0;
}

template <class T>
static inline bool avoids(const ClassJob<T>& job, T r) {
    for (size_t k = 0; k < job.avoided; ++k)
        if (r == job.avoid[k]) return false;
    return true;
}

template <class T>
static void note_failures(ClassJob<T>& job, const T* in, const T* rec, size_t first) {
    for (size_t x = 0; x < job.dims.n[X]; ++x) {
        if (in[x] != in[x]) continue;
        if (within(static_cast<double>(in[x]), static_cast<double>(rec[x]), job.bound) && avoids(job, rec[x])) continue;
        job.failed[job.failures++] = static_cast<uint32_t>(first + x);
    }
}

// ---- a class -----------------------------------------------------------------------------------------------------

template <class T, class Row>
static inline void each_row(const ClassJob<T>& job, Row&& row) {
    Taps<T> taps;
    size_t dense = 0;
    for (size_t i0 = 0; i0 < job.dims.n[0]; ++i0)
        for (size_t i1 = 0; i1 < job.dims.n[1]; ++i1)
            for (size_t i2 = 0; i2 < job.dims.n[2]; ++i2) {
                const size_t i[3] = {i0, i1, i2};
                gather_taps(taps, job, i);
                row(taps, job.data + job.layout.row(i0, i1, i2) + HALO, dense);
                dense += job.dims.n[X];
            }
}

// Calls the row function for as many taps as there are.
template <class Call>
static inline void with_taps(int count, Call&& call) {
    switch (count) {
        case 2: return call(std::integral_constant<int, 2>{});
        case 4: return call(std::integral_constant<int, 4>{});
        case 8: return call(std::integral_constant<int, 8>{});
        case 12: return call(std::integral_constant<int, 12>{});
        case 16: return call(std::integral_constant<int, 16>{});
        case 24: return call(std::integral_constant<int, 24>{});
        case 32: return call(std::integral_constant<int, 32>{});
        case 64: return call(std::integral_constant<int, 64>{});
        default: return call(std::integral_constant<int, MOST_TAPS>{});
    }
}

template <bool LATTICE, class T>
static void encode_rows(ClassJob<T>& job) {
    each_row(job, [&job](const Taps<T>& taps, T* values, size_t dense) {
        const QuantizedRow<T> q{values, job.scratch, job.codes + dense};
        bool bad = false;
        with_taps(taps.count, [&](auto n) { bad = quantize_row<n, LATTICE>(taps, job, q); });
        if (bad || job.avoided) note_failures(job, values, q.rec, dense);
        __builtin_memcpy(values, q.rec, job.dims.n[X] * sizeof(T));
        if (job.halo) extrapolate(values, job.dims.n[X]);
    });
}

template <bool LATTICE, class T>
static void decode_rows(ClassJob<T>& job) {
    each_row(job, [&job](const Taps<T>& taps, T* values, size_t dense) {
        with_taps(taps.count, [&](auto n) { restore_row<n, LATTICE>(taps, job, values, job.codes + dense); });
        if (job.halo) extrapolate(values, job.dims.n[X]);
    });
}

template <class T>
static void encode_class(ClassJob<T>& job) {
    if (job.lattice) encode_rows<true>(job);
    else encode_rows<false>(job);
}

template <class T>
static void decode_class(ClassJob<T>& job) {
    if (job.lattice) decode_rows<true>(job);
    else decode_rows<false>(job);
}
