// Integer Lorenzo: differences along the axes of a mask, exact modulo the word, undone by running sums.
// Compiled once for each instruction set: included by kernels.cpp alone, inside its namespace.

template <class Q>
using Word = std::conditional_t<sizeof(Q) == 4, uint32_t, uint64_t>;

// Runs `pair(later, earlier, n)` over neighbouring slabs of an axis, last pair first where `backward`.
template <class Q, class Pair>
static inline void slabs(Q* values, const Dims& d, int axis, bool backward, Pair&& pair) {
    size_t inner = 1, outer = 1;
    for (int a = axis + 1; a < AXES; ++a) inner *= d.n[a];
    for (int a = 0; a < axis; ++a) outer *= d.n[a];
    for (size_t o = 0; o < outer; ++o) {
        Q* base = values + o * d.n[axis] * inner;
        for (size_t k = 1; k < d.n[axis]; ++k) {
            const size_t i = backward ? d.n[axis] - k : k;
            pair(reinterpret_cast<Word<Q>*>(base + i * inner), reinterpret_cast<Word<Q>*>(base + (i - 1) * inner),
                 inner);
        }
    }
}

template <class Q>
static void difference_rows(Q* values, const Dims& d) {
    for (size_t r = 0; r < d.rows(); ++r) {
        Word<Q>* row = reinterpret_cast<Word<Q>*>(values + r * d.n[X]);
        Word<Q> before = 0;
        for (size_t x = 0; x < d.n[X]; ++x) {
            const Word<Q> v = row[x];
            row[x] = v - before;
            before = v;
        }
    }
}

template <class Q>
static void sum_rows(Q* values, const Dims& d) {
    for (size_t r = 0; r < d.rows(); ++r) {
        Word<Q>* row = reinterpret_cast<Word<Q>*>(values + r * d.n[X]);
        Word<Q> sum = 0;
        for (size_t x = 0; x < d.n[X]; ++x) row[x] = sum += row[x];
    }
}

template <class Q>
static void lorenzo_forward(Q* values, const Dims& d, unsigned mask) {
    for (int a = 0; a < X; ++a)
        if ((mask >> a) & 1)
            slabs(values, d, a, true, [](Word<Q>* __restrict later, const Word<Q>* __restrict earlier, size_t n) {
                for (size_t i = 0; i < n; ++i) later[i] -= earlier[i];
            });
    if ((mask >> X) & 1) difference_rows(values, d);
}

template <class Q>
static void lorenzo_inverse(Q* values, const Dims& d, unsigned mask) {
    if ((mask >> X) & 1) sum_rows(values, d);
    for (int a = X - 1; a >= 0; --a)
        if ((mask >> a) & 1)
            slabs(values, d, a, false, [](Word<Q>* __restrict later, const Word<Q>* __restrict earlier, size_t n) {
                for (size_t i = 0; i < n; ++i) later[i] += earlier[i];
            });
}
