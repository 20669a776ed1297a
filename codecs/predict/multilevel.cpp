#include "predict/multilevel.hpp"

#include <algorithm>
#include <cmath>

namespace sciflow {

namespace {

constexpr size_t FIT_FROM = 2048;  // values a class must have before its level is fitted
constexpr double MOST_REFINED = 1.75;

// Where each level's classes lie in one arena. The coarsest grid is class 0 of the last level.
struct Arena {
    const Pyramid& pyramid;
    size_t offset[MAX_LEVELS][CLASSES] = {};
    size_t coarsest = 0;
    size_t size = 0;

    explicit Arena(const Pyramid& p) : pyramid(p) {
        for (int l = 0; l < p.levels; ++l) {
            coarsest = size;
            for (unsigned c = 0; c < CLASSES; ++c) {
                if (!p.has(l, c)) continue;
                offset[l][c] = size;
                size += Layout::padded_size(p.class_dims(l, c)) + 4 * HALO;
            }
        }
        if (p.levels == 0) size = Layout::padded_size(p.coarsest);
    }
};

template <class T>
class Levels {
  public:
    Levels(const Dims& dims, const MultilevelPlan& plan, MultilevelScratch<T>& scratch)
        : pyramid_(dims, plan.mask), arena_(pyramid_), plan_(plan), scratch_(scratch) {
        if (scratch.arena.size() < arena_.size) {
            Scratch<T>().swap(scratch.arena);  // first: what it holds is not needed, and it is the largest of all
            scratch.arena.resize(arena_.size);
        }
        if (scratch.row.size() < dims.n[X] + 64) scratch.row.resize(dims.n[X] + 64);
    }

    const Pyramid& pyramid() const { return pyramid_; }
    T* at(int l, unsigned c) { return scratch_.arena.data() + arena_.offset[l][c]; }
    T* coarsest() { return scratch_.arena.data() + arena_.coarsest; }

    void split(int l, const T* full, const Layout& from) {
        T* classes[CLASSES];
        for (unsigned c = 0; c < CLASSES; ++c) classes[c] = at(l, c);
        predict<T>(kernels()).split(full, from, pyramid_.level[l].full, pyramid_.level[l].active, classes);
    }
    // Level l's grid as the next finer level's class 0, with its halo.
    void merge_into_finer(int l) {
        const Dims& d = pyramid_.level[l].full;
        merge(l, at(l - 1, 0) + HALO, Layout::padded(d), true);
    }
    void merge(int l, T* full, const Layout& to, bool halo) {
        const T* classes[CLASSES];
        for (unsigned c = 0; c < CLASSES; ++c) classes[c] = at(l, c);
        predict<T>(kernels()).merge(full, to, pyramid_.level[l].full, pyramid_.level[l].active, classes, halo);
    }

    ClassJob<T> job(int l, unsigned c) {
        ClassJob<T> j;
        j.dims = pyramid_.class_dims(l, c);
        j.layout = Layout::padded(j.dims);
        j.data = at(l, c);
        const ClassWeights w = weights(l, c);
        for (int a = 0; a < AXES; ++a) {
            if (!((c >> a) & 1)) continue;
            Source<T>& s = j.source[j.sources];
            const Dims d = pyramid_.class_dims(l, c ^ (1u << a));
            s.data = at(l, c ^ (1u << a));
            s.count = d.n[a];
            s.layout = Layout::padded(d);
            s.axis = a;
            s.weight = static_cast<T>(w.weight[j.sources]) / T(64);
            s.cubic = w.cubic[j.sources];
            ++j.sources;
        }
        j.halo = ((pyramid_.level[l].active >> X) & 1) && !((c >> X) & 1);
        if (plan_.stencils && plan_.stencils->serves(pyramid_.level[l].active)) learned(j, l, c);
        j.lattice = plan_.lattice;
        j.step = plan_.lattice ? T(1) : static_cast<T>(plan_.step / refined(l));
        j.scratch = scratch_.row.data();
        return j;
    }

    // The dense position in the block of a dense position in a class.
    size_t position(int l, unsigned c, size_t k) const {
        const Dims d = pyramid_.class_dims(l, c);
        size_t i[AXES] = {k / (d.n[1] * d.n[2] * d.n[X]), k / (d.n[2] * d.n[X]) % d.n[1], k / d.n[X] % d.n[2],
                          k % d.n[X]};
        for (int a = 0; a < AXES; ++a)
            if ((pyramid_.level[l].active >> a) & 1) i[a] = 2 * i[a] + ((c >> a) & 1);
        return upwards(l, i);
    }
    size_t coarsest_position(size_t k) const {
        const Dims& d = pyramid_.coarsest;
        size_t i[AXES] = {k / (d.n[1] * d.n[2] * d.n[X]), k / (d.n[2] * d.n[X]) % d.n[1], k / d.n[X] % d.n[2],
                          k % d.n[X]};
        return upwards(pyramid_.levels, i);
    }

    // Runs over the coarsest grid's values in order, then gives each row its halo.
    template <class Visit>
    void each_coarsest(Visit&& visit) {
        const Dims& d = pyramid_.coarsest;
        const Layout p = Layout::padded(d);
        size_t k = 0;
        for (size_t i0 = 0; i0 < d.n[0]; ++i0)
            for (size_t i1 = 0; i1 < d.n[1]; ++i1)
                for (size_t i2 = 0; i2 < d.n[2]; ++i2) {
                    T* row = coarsest() + p.row(i0, i1, i2) + HALO;
                    for (size_t x = 0; x < d.n[X]; ++x) visit(row[x], k++);
                    // The coarsest grid is one cell long along every halved axis.
                    if (d.n[X] == 1) row[-1] = row[1] = row[2] = row[0];
                }
    }

  private:
    void learned(ClassJob<T>& j, int l, unsigned c) {
        const Stencils& s = *plan_.stencils;
        const int16_t* weights = s.weights_of(plan_.set, l, c);
        for (int k = 0; k < s.taps; ++k) {
            const StencilTap& tap = s.tap[c][static_cast<size_t>(k)];
            StencilSource<T>& source = stencil_[static_cast<size_t>(k)];
            const Dims d = pyramid_.class_dims(l, tap.cls);
            source.data = at(l, tap.cls);
            source.layout = Layout::padded(d);
            std::copy_n(d.n, 3, source.count);
            std::copy_n(tap.shift, AXES, source.shift);
            source.weight = weights[k];
        }
        j.stencil = stencil_.data();
        j.stencil_taps = s.taps;
        j.halo = true;
    }

    size_t upwards(int l, size_t (&i)[AXES]) const {
        const Dims& block = pyramid_.levels ? pyramid_.level[0].full : pyramid_.coarsest;
        for (int k = l - 1; k >= 0; --k)
            for (int a = 0; a < AXES; ++a)
                if ((pyramid_.level[k].active >> a) & 1) i[a] *= 2;
        return ((i[0] * block.n[1] + i[1]) * block.n[2] + i[2]) * block.n[X] + i[X];
    }

    // What the step is divided by at a level: errors of coarse levels spread, so they may be worth some bits.
    double refined(int l) const {
        double f = 1;
        for (int k = 0; k < l; ++k) f = std::min(f * ((16 + plan_.refinement) / 16.0), MOST_REFINED);
        return f;
    }

    ClassWeights weights(int l, unsigned c) const {
        if (plan_.fitted == 0) return default_weights(c);
        const int k = std::min(l, plan_.fitted - 1);
        if (k >= static_cast<int>(plan_.weights.size()) || pyramid_.level[k].active != pyramid_.level[l].active)
            return default_weights(c);
        return plan_.weights[static_cast<size_t>(k)][c];
    }

    Pyramid pyramid_;
    Arena arena_;
    const MultilevelPlan& plan_;
    MultilevelScratch<T>& scratch_;
    std::array<StencilSource<T>, MAX_STENCIL_TAPS> stencil_;  // of the job that was asked for last
};

// The largest T that is not above the bound.
template <class T>
T limit_below(double bound) {
    T t = static_cast<T>(bound);
    if (static_cast<double>(t) > bound) t = std::nextafter(t, T(0));
    return t;
}

template <class T>
void fit_level(Levels<T>& levels, int l, double bound, MultilevelPlan& plan) {
    const Pyramid& p = levels.pyramid();
    if (plan.stencils || l >= plan.most_fitted || p.class_dims(l, 0).size() < FIT_FROM || plan.fitted != l) return;
    std::array<ClassWeights, CLASSES> w{};
    for (unsigned c : CLASS_ORDER)
        if (p.has(l, c)) w[c] = fit_class<T>(levels.job(l, c), bound);
    plan.weights.push_back(w);
    plan.fitted = l + 1;
}

}  // namespace

std::vector<GridSpec> multilevel_grids(const Dims& dims, unsigned mask) {
    const Pyramid p(dims, mask);
    std::vector<GridSpec> grids;
    GridSpec coarsest;
    coarsest.dims.n[X] = p.coarsest.size();
    grids.push_back(coarsest);
    for (int l = p.levels; l-- > 0;) {
        bool first = true;
        for (unsigned c : CLASS_ORDER) {
            if (!p.has(l, c)) continue;
            GridSpec g;
            g.dims = p.class_dims(l, c);
            g.reference = first ? -1 : static_cast<int>(grids.size()) - 1;
            grids.push_back(g);
            first = false;
        }
    }
    return grids;
}

template <class T>
void multilevel_encode(const T* values, const Dims& dims, const Promise<T>& promise, MultilevelPlan& plan,
                       int32_t* codes, std::vector<uint32_t>& failed, MultilevelScratch<T>& scratch) {
    const double bound = promise.bound;
    plan.weights.clear();
    plan.fitted = 0;
    Levels<T> levels(dims, plan, scratch);
    const Pyramid& p = levels.pyramid();
    const Layout dense = Layout::dense(dims);
    for (int l = 0; l < p.levels; ++l) {
        if (l == 0) levels.split(0, values, dense);
        else levels.split(l, levels.at(l - 1, 0) + HALO, Layout::padded(p.level[l].full));
        fit_level(levels, l, bound, plan);
    }
    if (p.levels == 0) {
        const Layout to = Layout::padded(dims);
        for (size_t r = 0; r < dims.rows(); ++r)
            std::copy_n(values + r * dims.n[X], dims.n[X], levels.coarsest() + r * to.stride[2] + HALO);
    }
    const T step = static_cast<T>(plan.step);
    T before = static_cast<T>(plan.start);
    levels.each_coarsest([&](T& v, size_t k) {
        const T x = v;
        T t = std::rint((x - before) / step);
        if (!(std::fabs(t) < T(1 << 30))) t = 0;
        v = before + t * step;
        codes[k] = static_cast<int32_t>(t);
        const bool taken = std::find(promise.avoid.begin(), promise.avoid.end(), v) != promise.avoid.end();
        if (x == x && (taken || !(std::fabs(static_cast<double>(x) - static_cast<double>(v)) < bound * 0.999999)))
            failed.push_back(static_cast<uint32_t>(levels.coarsest_position(k)));
        before = v;
    });
    codes += p.coarsest.size();
    for (int l = p.levels; l-- > 0;) {
        if (l + 1 < p.levels) levels.merge_into_finer(l + 1);
        for (unsigned c : CLASS_ORDER) {
            if (!p.has(l, c)) continue;
            ClassJob<T> job = levels.job(l, c);
            if (scratch.failed.size() < job.dims.size()) scratch.failed.resize(job.dims.size());
            job.codes = codes;
            job.inverse = T(1) / job.step;
            job.limit = limit_below<T>(bound);
            job.bound = bound;
            job.avoid = promise.avoid.data();
            job.avoided = promise.avoid.size();
            job.failed = scratch.failed.data();
            predict<T>(kernels()).encode_class(job);
            for (size_t k = 0; k < job.failures; ++k)
                failed.push_back(static_cast<uint32_t>(levels.position(l, c, job.failed[k])));
            codes += job.dims.size();
        }
    }
}

template <class T>
void multilevel_decode(const int32_t* codes, const Dims& dims, const MultilevelPlan& plan, T* values,
                       MultilevelScratch<T>& scratch) {
    Levels<T> levels(dims, plan, scratch);
    const Pyramid& p = levels.pyramid();
    const T step = static_cast<T>(plan.step);
    T before = static_cast<T>(plan.start);
    levels.each_coarsest([&](T& v, size_t k) { before = v = before + static_cast<T>(codes[k]) * step; });
    codes += p.coarsest.size();
    for (int l = p.levels; l-- > 0;) {
        if (l + 1 < p.levels) levels.merge_into_finer(l + 1);
        for (unsigned c : CLASS_ORDER) {
            if (!p.has(l, c)) continue;
            ClassJob<T> job = levels.job(l, c);
            job.codes = const_cast<int32_t*>(codes);
            predict<T>(kernels()).decode_class(job);
            codes += job.dims.size();
        }
    }
    if (p.levels > 0) {
        levels.merge(0, values, Layout::dense(dims), false);
        return;
    }
    const Layout from = Layout::padded(dims);
    for (size_t r = 0; r < dims.rows(); ++r)
        std::copy_n(levels.coarsest() + r * from.stride[2] + HALO, dims.n[X], values + r * dims.n[X]);
}

// ---- the plan in the stream ----------------------------------------------------------------------------------------

void write_plan(const Dims& dims, const MultilevelPlan& plan, Bytes& out) {
    const Pyramid p(dims, plan.mask);
    Writer w(out);
    w.u8(static_cast<uint8_t>(plan.mask | (static_cast<unsigned>(plan.fitted) << 4) | (plan.refinement << 6)));
    if (!plan.lattice) {
        w.raw(plan.step);
        w.raw(plan.start);
    }
    for (int l = 0; l < plan.fitted; ++l)
        for (unsigned c : CLASS_ORDER) {
            if (!p.has(l, c)) continue;
            const ClassWeights& k = plan.weights[static_cast<size_t>(l)][c];
            for (int s = 0; s < __builtin_popcount(c); ++s)
                w.u8(static_cast<uint8_t>(((k.weight[s] + 63) << 1) | (k.cubic[s] ? 1 : 0)));
        }
}

Status read_plan(Cursor& in, const Dims& dims, MultilevelPlan& plan) {
    uint8_t head = 0;
    if (!in.u8(head)) return Status::truncated;
    if (!plan.lattice && (!in.raw(plan.step) || !in.raw(plan.start))) return Status::truncated;
    plan.mask = head & 15;
    plan.fitted = (head >> 4) & 3;
    plan.refinement = head >> 6;
    const Pyramid p(dims, plan.mask);
    if (!(plan.step > 0) || !std::isfinite(plan.step) || !std::isfinite(plan.start) || plan.fitted > p.levels)
        return Status::corrupt;
    plan.weights.assign(static_cast<size_t>(plan.fitted), {});
    for (int l = 0; l < plan.fitted; ++l)
        for (unsigned c : CLASS_ORDER) {
            if (!p.has(l, c)) continue;
            ClassWeights& k = plan.weights[static_cast<size_t>(l)][c];
            for (int s = 0; s < __builtin_popcount(c); ++s) {
                uint8_t b = 0;
                if (!in.u8(b)) return Status::truncated;
                k.weight[s] = static_cast<int8_t>((b >> 1) - 63);
                k.cubic[s] = b & 1;
            }
        }
    return Status::ok;
}

template void multilevel_encode<float>(const float*, const Dims&, const Promise<float>&, MultilevelPlan&, int32_t*,
                                       std::vector<uint32_t>&, MultilevelScratch<float>&);
template void multilevel_encode<double>(const double*, const Dims&, const Promise<double>&, MultilevelPlan&, int32_t*,
                                        std::vector<uint32_t>&, MultilevelScratch<double>&);
template void multilevel_decode<float>(const int32_t*, const Dims&, const MultilevelPlan&, float*,
                                       MultilevelScratch<float>&);
template void multilevel_decode<double>(const int32_t*, const Dims&, const MultilevelPlan&, double*,
                                        MultilevelScratch<double>&);

}  // namespace sciflow
