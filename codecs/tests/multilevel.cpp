// Multilevel interpolation of every awkward shape along every choice of axes: what is not reported as failed is within
// the bound, integers come back as they were, and the plan survives its stream.
#include <cmath>

#include "check.hpp"

using namespace sciflow;
using namespace sciflow::tests;

namespace {

template <class T>
struct Field {
    Dims dims;
    std::vector<T> values;
};

template <class T>
Field<T> field_of(const Dims& dims, Random& random) {
    std::vector<T> v = smooth<T>({dims.n[0], dims.n[1], dims.n[2], dims.n[X]}, random, random.once_in(3) ? 3.0 : 1e-3);
    const size_t holes = random.once_in(2) ? 0 : 1 + random.below(20);
    for (T& x : v)
        if (holes && random.once_in(holes)) x = std::numeric_limits<T>::quiet_NaN();
    return {dims, std::move(v)};
}

// Through the stream and back, in memory that an earlier block has left behind.
template <class T>
std::vector<T> decoded(const Field<T>& f, const MultilevelPlan& plan, const std::vector<int32_t>& codes) {
    Bytes bytes;
    write_plan(f.dims, plan, bytes);
    MultilevelPlan found;
    found.lattice = plan.lattice;
    Cursor c(bytes);
    CHECK(read_plan(c, f.dims, found) == Status::ok && c.left() == 0);
    for (size_t n = 0; n < bytes.size(); ++n) {
        MultilevelPlan prefix;
        prefix.lattice = plan.lattice;
        Cursor p(View(bytes).first(n));
        CHECK(read_plan(p, f.dims, prefix) != Status::ok);
    }
    MultilevelScratch<T> scratch;
    scratch.arena.assign(20 * f.values.size() + 999, std::numeric_limits<T>::quiet_NaN());
    std::vector<T> out(f.values.size());
    multilevel_decode(codes.data(), f.dims, found, out.data(), scratch);
    return out;
}

template <class T>
void within_the_bound(const Field<T>& f, unsigned mask, double bound) {
    MultilevelPlan plan;
    plan.mask = mask;
    plan.step = 2 * bound;
    for (T v : f.values)
        if (v == v) plan.start = static_cast<double>(v);
    MultilevelScratch<T> scratch;
    std::vector<int32_t> codes(f.values.size());
    std::vector<uint32_t> failed;
    multilevel_encode<T>(f.values.data(), f.dims, {bound, {}}, plan, codes.data(), failed, scratch);
    const std::vector<T> out = decoded(f, plan, codes);
    std::vector<uint8_t> exact(f.values.size());
    for (uint32_t i : failed) exact.at(i) = 1;
    for (size_t i = 0; i < out.size(); ++i) {
        if (f.values[i] != f.values[i] || exact[i]) continue;
        CHECK(std::fabs(static_cast<long double>(f.values[i]) - static_cast<long double>(out[i])) <= bound);
    }
}

template <class T>
void integers_come_back(Field<T> f, unsigned mask) {
    for (T& v : f.values) v = std::fmod(std::rint(v * T(50)), T(1 << 21));
    MultilevelPlan plan;
    plan.mask = mask;
    plan.lattice = true;
    MultilevelScratch<T> scratch;
    std::vector<int32_t> codes(f.values.size());
    std::vector<uint32_t> failed;
    multilevel_encode<T>(f.values.data(), f.dims, {0.5, {}}, plan, codes.data(), failed, scratch);
    const std::vector<T> out = decoded(f, plan, codes);
    for (size_t i = 0; i < out.size(); ++i) CHECK(f.values[i] != f.values[i] || out[i] == f.values[i]);
}

template <class T>
void shape(const Dims& dims, Random& random) {
    const Field<T> f = field_of<T>(dims, random);
    for (unsigned mask = 0; mask < 16; ++mask) {
        size_t total = 0;
        for (const GridSpec& g : multilevel_grids(dims, mask)) total += g.dims.size();
        CHECK(total == dims.size());
        within_the_bound(f, mask, 1e-2);
        integers_come_back(f, mask);
    }
}

template <class T>
void awkward_shapes(Random& random) {
    for (size_t n = 1; n <= 35; ++n) shape<T>(dims_of(1, 1, 1, n), random);
    for (size_t n2 : {2, 3, 5, 8})
        for (size_t n3 : {1, 2, 3, 5, 17}) shape<T>(dims_of(1, 1, n2, n3), random);
    for (size_t a : {1, 2, 3, 5})
        for (size_t b : {1, 2, 3, 5})
            for (size_t c : {1, 2, 3, 5})
                for (size_t d : {1, 2, 3, 5}) shape<T>(dims_of(a, b, c, d), random);
    shape<T>(dims_of(1, 1, 1, 5000), random);  // large enough for fitted weights
    shape<T>(dims_of(1, 1, 130, 131), random);
    shape<T>(dims_of(1, 23, 29, 31), random);
    shape<T>(dims_of(7, 11, 13, 17), random);
}

// Weights, steps and codes that no encoder makes: any values may come out, but out of their own memory only.
template <class T>
void hostile_plans_stay_inside(Random& random) {
    for (int i = 0; i < 2000; ++i) {
        const Dims d = dims_of(1 + random.below(6), 1 + random.below(6), 1 + random.below(6), 1 + random.below(20));
        Bytes bytes(4 + random.below(80));
        for (uint8_t& b : bytes) b = static_cast<uint8_t>(random.bits());
        MultilevelPlan plan;
        plan.lattice = random.once_in(2);
        if (random.once_in(4)) bytes[0] = static_cast<uint8_t>(bytes[0] & 15);
        Cursor c(bytes);
        if (read_plan(c, d, plan) != Status::ok) continue;
        std::vector<int32_t> codes(d.size());
        for (int32_t& q : codes) q = static_cast<int32_t>(random.bits());
        MultilevelScratch<T> scratch;
        std::vector<T> out(d.size());
        multilevel_decode(codes.data(), d, plan, out.data(), scratch);
    }
}

}  // namespace

int main() {
    Random random(1);
    awkward_shapes<float>(random);
    awkward_shapes<double>(random);
    hostile_plans_stay_inside<float>(random);
    hostile_plans_stay_inside<double>(random);
}
