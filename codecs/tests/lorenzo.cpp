// Differences and running sums: inverse to each other for every word, also where they wrap around.
#include "check.hpp"

using namespace sciflow;
using namespace sciflow::tests;

namespace {

// The definition, one cell at a time: sums along an axis, modulo the word.
template <class Q>
void sum_along(std::vector<Q>& v, const Dims& d, int axis) {
    size_t distance = 1;
    for (int a = axis + 1; a < AXES; ++a) distance *= d.n[a];
    for (size_t i = 0; i < v.size(); ++i)
        if (i / distance % d.n[axis] > 0)
            v[i] = static_cast<Q>(static_cast<uint64_t>(v[i]) + static_cast<uint64_t>(v[i - distance]));
}

template <class Q>
void every_mask_and_kernel(const Dims& d, Random& random, int shift) {
    std::vector<Q> values(d.size());
    for (Q& q : values) q = static_cast<Q>(random.bits() >> shift);
    values[0] = std::numeric_limits<Q>::min();
    values.back() = std::numeric_limits<Q>::max();
    for (unsigned mask = 0; mask < 16; ++mask) {
        std::vector<Q> sums = values;
        for (int a = 0; a < AXES; ++a)
            if ((mask >> a) & 1) sum_along(sums, d, a);
        for (const Kernels* k : all_kernels()) {
            std::vector<Q> v = values;
            lorenzo<Q>(*k).inverse(v.data(), d, mask);
            CHECK(v == sums);
            lorenzo<Q>(*k).forward(v.data(), d, mask);
            CHECK(v == values);
            lorenzo<Q>(*k).forward(v.data(), d, mask);
            lorenzo<Q>(*k).inverse(v.data(), d, mask);
            CHECK(v == values);
        }
    }
}

}  // namespace

int main() {
    Random random(1);
    for (const Dims& d : {dims_of(1, 1, 1, 1), dims_of(1, 1, 1, 200), dims_of(1, 1, 7, 33), dims_of(1, 5, 6, 17),
                          dims_of(3, 4, 5, 6), dims_of(2, 1, 1, 2), dims_of(5, 1, 40, 1)})
        for (int shift : {0, 33, 60}) {
            every_mask_and_kernel<int32_t>(d, random, shift);
            every_mask_and_kernel<int64_t>(d, random, shift);
        }
}
