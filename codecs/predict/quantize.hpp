// Values to multiples of a step and back, in double whatever their type.
// Compiled once for each instruction set: included by kernels.cpp alone, inside its namespace.

// Positive where |x - y| > bound. What the subtraction rounds away is told by Knuth's two-difference, and the sign of
// the sum below is right: near the bound size - bound is exact, elsewhere it dwarfs the rest.
static inline double excess(double x, double y, double bound) {
    const double d = x - y, b = d - x, rest = (x - (d - b)) - (y + b);
    return (__builtin_fabs(d) - bound) + __builtin_copysign(1.0, d) * rest;
}

// Codes relative to `base`; where one misses the bound, or is not a fixed point although it must be, the value is
// marked exact. Returns how many codes of values not yet marked need more than 31 bits: the caller then takes wider ones.
template <class T>
static size_t to_lattice(const T* __restrict in, size_t n, const LatticeJob& job, int32_t* __restrict codes,
                         uint8_t* __restrict exact) {
    const double origin = job.origin, step = job.step, inverse = job.inverse, base = job.base, bound = job.bound;
    const double again_matters = job.fixed_point ? 1.0 : 0.0;
    constexpr size_t STRIP = 512;
    uint8_t missed[STRIP], far[STRIP];
    size_t too_far = 0;
    for (size_t from = 0; from < n; from += STRIP) {
        const size_t m = n - from < STRIP ? n - from : STRIP;
        const T* __restrict v = in + from;
        int32_t* __restrict out = codes + from;
        uint8_t* __restrict mark = exact + from;
        for (size_t i = 0; i < m; ++i) {
            const double x = static_cast<double>(v[i]);
            const double q = round_even((x - origin) * inverse);
            const double t = q - base;
            const double back = static_cast<double>(static_cast<T>(origin + q * step));
            const double moved = again_matters * (round_even((back - origin) * inverse) - q);
            const bool narrow = __builtin_fabs(t) < 0x1p30;
            const double gone = excess(x, back, bound) > 0.0 ? 1.0 : moved;
            out[i] = static_cast<int32_t>(narrow ? t : 0.0);
            far[i] = narrow ? 0 : 1;
            missed[i] = gone == 0.0 ? 0 : 1;
        }
        for (size_t i = 0; i < m; ++i) {
            too_far += far[i] & (mark[i] ^ 1);
            mark[i] = mark[i] | missed[i] | far[i];
        }
    }
    return too_far;
}

template <class T>
static void from_lattice(const int32_t* __restrict codes, size_t n, const LatticeJob& job, T* __restrict out) {
    const double origin = job.origin, step = job.step, base = job.base;
    for (size_t i = 0; i < n; ++i) out[i] = static_cast<T>(origin + (static_cast<double>(codes[i]) + base) * step);
}
