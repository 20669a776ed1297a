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
                for (size_t x = 0; x < odd; ++x) {
                    e[x] = in[2 * x];
                    o[x] = in[2 * x + 1];
                }
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
                    for (size_t x = 0; x < odd; ++x) {
                        out[2 * x] = e[x];
                        out[2 * x + 1] = o[x];
                    }
                    if (even > odd) out[2 * odd] = e[odd];
                }
                if (halo) extrapolate(out, dims.n[X]);
            }
}

// ---- a row's prediction: a sum of rows, each with its coefficient -------------------------------------------------

template <class T>
struct Taps {
    const T* row[4 * AXES];
    T weight[4 * AXES];
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

template <class T>
static inline void gather_taps(Taps<T>& taps, const ClassJob<T>& job, const size_t (&i)[3]) {
    taps.count = 0;
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
static inline void take(const Taps<T>& taps, const T* (&row)[N], T (&weight)[N]) {
    for (int k = 0; k < N; ++k) {
        row[k] = taps.row[k];
        weight[k] = taps.weight[k];
    }
}

static inline float round_even(float v) { return __builtin_rintf(v); }
static inline double round_even(double v) { return __builtin_rint(v); }
static inline float magnitude(float v) { return __builtin_fabsf(v); }
static inline double magnitude(double v) { return __builtin_fabs(v); }

// A code is trusted below this magnitude; beyond it the value is stored exactly and the prediction stands.
static constexpr float CODE_LIMIT = 1073741824.0f;

template <int N, class T>
static size_t quantize_row(const Taps<T>& taps, const ClassJob<T>& job, const T* __restrict in, T* __restrict rec,
                           int32_t* __restrict codes) {
    const T* row[N];
    T weight[N];
    take<N>(taps, row, weight);
    const T step = job.step, inverse = job.inverse, limit = job.limit;
    const size_t n = job.dims.n[X];
    int bad = 0;
#pragma GCC ivdep
    for (size_t x = 0; x < n; ++x) {
        const T p = predicted<N>(row, weight, x);
        T t = round_even((in[x] - p) * inverse);
        t = magnitude(t) < T(CODE_LIMIT) ? t : T(0);  // also where the value is a hole (NaN)
        const T r = p + t * step;
        codes[x] = static_cast<int32_t>(t);
        rec[x] = r;
        bad |= magnitude(in[x] - r) >= limit ? 1 : 0;
    }
    return static_cast<size_t>(bad);
}

template <int N, class T>
static size_t quantize_lattice_row(const Taps<T>& taps, const ClassJob<T>& job, const T* __restrict in,
                                   T* __restrict rec, int32_t* __restrict codes) {
    const T* row[N];
    T weight[N];
    take<N>(taps, row, weight);
    const size_t n = job.dims.n[X];
    int bad = 0;
#pragma GCC ivdep
    for (size_t x = 0; x < n; ++x) {
        const T p = round_even(predicted<N>(row, weight, x));
        T t = in[x] - p;
        t = magnitude(t) < T(CODE_LIMIT) ? t : T(0);
        const T r = p + t;
        codes[x] = static_cast<int32_t>(t);
        rec[x] = r;
        bad |= magnitude(in[x] - r) >= T(0.5) ? 1 : 0;  // a wild extrapolation left the range of exact integers
    }
    return static_cast<size_t>(bad);
}

template <int N, class T>
static size_t restore_row(const Taps<T>& taps, const ClassJob<T>& job, T* __restrict rec,
                          const int32_t* __restrict codes) {
    const T* row[N];
    T weight[N];
    take<N>(taps, row, weight);
    const T step = job.step;
    const size_t n = job.dims.n[X];
#pragma GCC ivdep
    for (size_t x = 0; x < n; ++x) rec[x] = predicted<N>(row, weight, x) + static_cast<T>(codes[x]) * step;
    return 0;
}

template <int N, class T>
static size_t restore_lattice_row(const Taps<T>& taps, const ClassJob<T>& job, T* __restrict rec,
                                  const int32_t* __restrict codes) {
    const T* row[N];
    T weight[N];
    take<N>(taps, row, weight);
    const size_t n = job.dims.n[X];
#pragma GCC ivdep
    for (size_t x = 0; x < n; ++x) rec[x] = round_even(predicted<N>(row, weight, x)) + static_cast<T>(codes[x]);
    return 0;
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

template <class T>
static void encode_class(ClassJob<T>& job) {
    each_row(job, [&job](const Taps<T>& taps, T* values, size_t dense) {
        size_t bad = 0;
        int32_t* codes = job.codes + dense;
        T* rec = job.scratch;
#define SCIFLOW_ROW(N)                                                             \
    case N:                                                                        \
        bad = job.lattice ? quantize_lattice_row<N>(taps, job, values, rec, codes) \
                          : quantize_row<N>(taps, job, values, rec, codes);        \
        break;
        switch (taps.count) {
            SCIFLOW_ROW(2)
            SCIFLOW_ROW(4)
            SCIFLOW_ROW(8)
            SCIFLOW_ROW(12)
            SCIFLOW_ROW(16)
        }
#undef SCIFLOW_ROW
        if (bad || job.avoided) note_failures(job, values, rec, dense);
        for (size_t x = 0; x < job.dims.n[X]; ++x) values[x] = rec[x];
        if (job.halo) extrapolate(values, job.dims.n[X]);
    });
}

template <class T>
static void decode_class(ClassJob<T>& job) {
    each_row(job, [&job](const Taps<T>& taps, T* values, size_t dense) {
        const int32_t* codes = job.codes + dense;
#define SCIFLOW_ROW(N)                                                     \
    case N:                                                                \
        if (job.lattice) restore_lattice_row<N>(taps, job, values, codes); \
        else restore_row<N>(taps, job, values, codes);                     \
        break;
        switch (taps.count) {
            SCIFLOW_ROW(2)
            SCIFLOW_ROW(4)
            SCIFLOW_ROW(8)
            SCIFLOW_ROW(12)
            SCIFLOW_ROW(16)
        }
#undef SCIFLOW_ROW
        if (job.halo) extrapolate(values, job.dims.n[X]);
    });
}
