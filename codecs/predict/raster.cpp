#include "predict/raster.hpp"

#include <algorithm>
#include <cmath>

namespace sciflow {

namespace {

constexpr size_t MOST_TILES = 64;    // of a row
constexpr size_t SERIES_BELOW = 16;  // rows: fewer of them are series, whose statistics run along them
constexpr size_t GROUP = 4;          // rows that share their weights where there is more than one plane
constexpr size_t MOST_KEPT = 1024;   // groups times tiles of a plane
constexpr double GLOBAL_VALUES = 2;  // that the statistics of all values count as
constexpr double SERIES_KEEP = 15.0 / 16, ROWS_KEEP = 29.0 / 32, GROUP_KEEP = 1.0 / 2, PLANE_KEEP = 3.0 / 8;

// Where few values count they count for longer, and weights last longer.
constexpr size_t FAR_APART = 4, TALL_GROUP = 8, MANY_ROWS = 64;
constexpr double FEW_GROUP_KEEP = 7.0 / 8, FEW_PLANE_KEEP = 3.0 / 4;
constexpr size_t LARGE_BLOCK = size_t{1} << 19, MIDDLING_BLOCK = size_t{1} << 17;  // values

struct Tap {
    int8_t d0, d1, d2, dx;
};

struct Stencil {
    std::vector<Tap> taps;  // the first is what others are compared with; those in the row itself come last
    int serial = 0;
    std::array<int, BIAS_TAPS> bias{};

    void row(int d0, int d1, int d2, int from, int to) {
        for (int x = from; x <= to; ++x)
            taps.push_back(
                {static_cast<int8_t>(d0), static_cast<int8_t>(d1), static_cast<int8_t>(d2), static_cast<int8_t>(x)});
    }
    void this_row(int n) {
        for (int x = n; x > 0; --x) row(0, 0, 0, -x, -x);
        serial = n;
    }
    int find(int d2, int dx) const {
        for (size_t k = 0; k < taps.size(); ++k)
            if (taps[k].d0 == 0 && taps[k].d1 == 0 && taps[k].d2 == d2 && taps[k].dx == dx) return static_cast<int>(k);
        return 0;
    }
};

Stencil series_stencil() {
    Stencil s;
    for (int x = 1; x <= 14; ++x) s.row(0, 0, 0, -x, -x);
    s.serial = 14;
    s.bias = {0, 1, 2, 3, 4};
    return s;
}

Stencil stencil_of(const Dims& d) {
    if (d.n[2] == 1) return series_stencil();
    Stencil s;
    s.row(0, 0, -1, 0, 0);
    if (d.n[1] == 1) {
        s.row(0, 0, -1, -3, -1);
        s.row(0, 0, -1, 1, 4);
        s.row(0, 0, -2, -3, 3);
        s.row(0, 0, -3, -1, 1);
        s.this_row(4);
    } else {
        s.row(0, 0, -1, -2, -1);
        s.row(0, 0, -1, 1, 2);
        s.row(0, 0, -2, -2, 2);
        for (int y = -2; y <= 2; ++y) s.row(0, -1, y, y * y == 4 ? -1 : -2, y * y == 4 ? 1 : 2);
        for (int y = -1; y <= 1; ++y) s.row(0, -2, y, y ? 0 : -1, y ? 0 : 1);
        if (d.n[0] > 1) {
            s.row(-1, -1, 0, 0, 0);
            for (int y = -1; y <= 1; ++y) s.row(-1, 0, y, y ? 0 : -1, y ? 0 : 1);
            s.row(-1, 1, 0, 0, 0);
            s.row(-2, 0, 0, 0, 0);
        }
        s.this_row(2);
    }
    s.bias = {0, s.find(-1, -1), s.find(-1, 1), s.find(0, -2), s.find(0, -1)};
    return s;
}

bool is_plane(const Dims& d) { return d.n[0] == 1 && d.n[1] == 1; }
bool is_series(const Dims& d) { return is_plane(d) && d.n[2] < SERIES_BELOW; }

// How many values apart those are that weights are fitted to.
uint8_t spacing_of(const Dims& d) {
    if (is_series(d) || d.size() < MIDDLING_BLOCK) return 1;
    if (d.size() < LARGE_BLOCK) return 2;
    return is_plane(d) ? 4 : 6;
}

// How a block's statistics are cut: tiles of a row, groups of rows.
struct Tiling {
    bool plane, series;
    size_t width = RASTER_STRIP, tiles = 1, groups = 1, height = 1;
    size_t rows_a_fit = 1;
    double keep, keep_of_plane;

    Tiling(const Dims& d, size_t every) : plane(is_plane(d)), series(is_series(d)) {
        const bool far_apart = every >= FAR_APART;
        keep = far_apart ? FEW_GROUP_KEEP : GROUP_KEEP;
        keep_of_plane = far_apart ? FEW_PLANE_KEEP : PLANE_KEEP;
        rows_a_fit = std::max<size_t>(1, RASTER_STRIP / d.n[X]);
        if (plane) keep = series ? SERIES_KEEP : ROWS_KEEP;
        if (series) return;
        const size_t strips = (d.n[X] + RASTER_STRIP - 1) / RASTER_STRIP;
        width = RASTER_STRIP * ((strips + MOST_TILES - 1) / MOST_TILES);
        tiles = (d.n[X] + width - 1) / width;
        if (plane) return;
        height = std::max(far_apart && d.n[2] >= MANY_ROWS ? TALL_GROUP : GROUP,
                          (d.n[2] * tiles + MOST_KEPT - 1) / MOST_KEPT);
        groups = (d.n[2] + height - 1) / height;
    }
};

// Sums of products: of all values, of each tile of the groups before, of each group and tile of the plane before.
class Statistics {
  public:
    Statistics(const Tiling& t, int taps, std::vector<double>& memory) : t_(t), taps_(taps) {
        const size_t width = static_cast<size_t>(statistics_width(taps));
        cell_ = width * width;
        count_ = (static_cast<size_t>(taps) + 1) * (width + 1);
        memory.assign(cell_ * (2 + (2 + (t.plane ? 0 : t.groups)) * t.tiles), 0.0);
        at_ = memory.data();
    }

    double* fresh(size_t tile) { return cell(2 + tile); }

    // Weights for a tile of a group.
    void fit(size_t tile, size_t group, double* weights) {
        double* a = cell(0);
        const double seen = all()[count_];
        std::fill_n(a, cell_, 0.0);
        blend(a, 1, all(), GLOBAL_VALUES / std::max(seen, 1.0));
        const size_t from = tile > 0 ? tile - 1 : 0, to = std::min(tile + 2, t_.tiles);
        for (size_t t = from; t < to; ++t) blend(a, 1, column(t), 1);
        if (!t_.plane)
            for (size_t g = group; g < std::min(group + 2, t_.groups); ++g)
                for (size_t t = from; t < to; ++t) blend(a, 1, kept(g, t), 1);
        kernels().least_squares.solve_sums(a, taps_, weights);
    }

    // A tile of a group is complete.
    void fold(size_t tile, size_t group) {
        blend(column(tile), t_.keep, fresh(tile), 1);
        blend(all(), 1, fresh(tile), 1);
        if (!t_.plane) {
            blend(kept(group, tile), t_.keep_of_plane, fresh(tile), 1);
            if (group + 1 == t_.groups) std::fill_n(column(tile), cell_, 0.0);
        }
        std::fill_n(fresh(tile), cell_, 0.0);
    }

  private:
    double* cell(size_t k) { return at_ + k * cell_; }
    double* all() { return cell(1); }
    double* column(size_t tile) { return cell(2 + t_.tiles + tile); }
    double* kept(size_t group, size_t tile) { return cell(2 + (2 + group) * t_.tiles + tile); }
    void blend(double* to, double keep, const double* from, double factor) {
        kernels().least_squares.blend_sums(to, keep, from, factor, taps_);
    }

    const Tiling& t_;
    int taps_;
    size_t cell_, count_;
    double* at_;
};

template <class T>
class Walk {
  public:
    Walk(const Dims& dims, const RasterPlan<T>& plan, RasterScratch<T>& scratch)
        : dims_(dims),
          stencil_(stencil_of(dims)),
          tiling_(dims, plan.every),
          margin_(std::max<size_t>(4, static_cast<size_t>(stencil_.serial))),
          stride_(dims.n[X] + 2 * margin_),
          scratch_(scratch),
          taps_(static_cast<int>(stencil_.taps.size())),
          statistics_(tiling_, taps_, scratch.statistics),
          weights_(tiling_.tiles * stencil_.taps.size()),
          rounded_(weights_.size()),
          bias_(BIAS_CONTEXTS),
          exact_bias_(BIAS_CONTEXTS),
          first_(stride_ + RASTER_STRIP, plan.centre),
          nothing_exact_(RASTER_STRIP) {
        const size_t cells = dims.rows() * stride_ + RASTER_STRIP;
        if (scratch.rows.size() < cells) scratch.rows.resize(cells);
        scratch.strip.resize(2 * RASTER_STRIP * MAX_WIDTH);
        job_.every = plan.every;
        job_.taps = taps_;
        job_.serial = stencil_.serial;
        std::copy(stencil_.bias.begin(), stencil_.bias.end(), job_.bias_tap);
        job_.lessons = scratch.strip.data();
        job_.features = job_.lessons + RASTER_STRIP * MAX_WIDTH;
        job_.bias = bias_.data();
        job_.exact_bias = exact_bias_.data();
        job_.centre = static_cast<double>(plan.centre);
        job_.step = plan.step;
        job_.inverse = 1 / plan.step;
        job_.low = static_cast<double>(plan.low);
        job_.high = static_cast<double>(plan.high);
        job_.rounded_step = static_cast<T>(plan.step);
    }

    StripJob<T>& job() { return job_; }

    // Calls visit(position) for each strip in order, its job filled in but for what belongs to the caller.
    template <class Visit>
    void run(Visit&& visit) {
        size_t r = 0;
        for (size_t i0 = 0; i0 < dims_.n[0]; ++i0)
            for (size_t i1 = 0; i1 < dims_.n[1]; ++i1)
                for (size_t i2 = 0; i2 < dims_.n[2]; ++i2, ++r) row(r, i0, i1, i2, visit);
    }

    const T* row_at(size_t r) const { return scratch_.rows.data() + r * stride_ + margin_; }

  private:
    T* mutable_row(size_t r) { return scratch_.rows.data() + r * stride_ + margin_; }

    // What stands for a row that is not there.
    const T* substitute(size_t i0, size_t i1, size_t i2) const {
        if (i2 > 0) return row_at(index(i0, i1, i2 - 1));
        if (i1 > 0) return row_at(index(i0, i1 - 1, i2));
        return i0 > 0 ? row_at(index(i0 - 1, i1, i2)) : first_.data() + margin_;
    }

    size_t index(size_t i0, size_t i1, size_t i2) const { return (i0 * dims_.n[1] + i1) * dims_.n[2] + i2; }

    static size_t moved(size_t i, int by, size_t n) {
        if (by < 0) return i >= static_cast<size_t>(-by) ? i - static_cast<size_t>(-by) : 0;
        return std::min(i + static_cast<size_t>(by), n - 1);
    }

    void find_taps(size_t r, size_t i0, size_t i1, size_t i2) {
        const T* const missing = substitute(i0, i1, i2);
        for (size_t k = 0; k < stencil_.taps.size(); ++k) {
            const Tap& t = stencil_.taps[k];
            const size_t at =
                index(moved(i0, t.d0, dims_.n[0]), moved(i1, t.d1, dims_.n[1]), moved(i2, t.d2, dims_.n[2]));
            const bool here = t.d0 == 0 && t.d1 == 0 && t.d2 == 0;
            at_[k] = (here || at < r ? row_at(at) : missing) + t.dx;
        }
    }

    template <class Visit>
    void row(size_t r, size_t i0, size_t i1, size_t i2, Visit&& visit) {
        T* const values = mutable_row(r);
        const size_t n = dims_.n[X];
        std::fill_n(values - margin_, margin_, substitute(i0, i1, i2)[0]);
        find_taps(r, i0, i1, i2);
        const size_t group = i2 / tiling_.height;
        const bool fits = i2 % tiling_.height == 0 && r >= due_;
        const bool folds = (i2 + 1) % tiling_.height == 0 || i2 + 1 == dims_.n[2];
        if (fits) due_ = r + tiling_.rows_a_fit;
        for (size_t x = 0; x < n; x += RASTER_STRIP) {
            const size_t tile = tiling_.series ? 0 : x / tiling_.width;
            const size_t of_tile = tile * stencil_.taps.size();
            if (x % tiling_.width == 0 && fits) fit(tile, group, of_tile);
            for (size_t k = 0; k < stencil_.taps.size(); ++k) moved_[k] = at_[k] + x;
            job_.tap = moved_;
            job_.count = std::min(RASTER_STRIP, n - x);
            job_.weights = rounded_.data() + of_tile;
            job_.exact_weights = weights_.data() + of_tile;
            job_.first = job_.every > 0 ? (job_.every - (r + x) % job_.every) % job_.every : 0;
            job_.out = values + x;
            job_.exact = nothing_exact_.data();
            visit(r * n + x);
            kernels().least_squares.add_products(job_.lessons, job_.learned, taps_, statistics_.fresh(tile));
            const bool last = x + RASTER_STRIP >= n || (x + RASTER_STRIP) % tiling_.width == 0;
            if (last && folds) statistics_.fold(tile, group);
        }
        std::fill_n(values + n, margin_, values[n - 1]);
    }

    void fit(size_t tile, size_t group, size_t at) {
        statistics_.fit(tile, group, weights_.data() + at);
        for (size_t k = at; k < at + stencil_.taps.size(); ++k) rounded_[k] = static_cast<T>(weights_[k]);
    }

    const Dims dims_;
    const Stencil stencil_;
    const Tiling tiling_;
    size_t due_ = 0;                // the row from which on weights are fitted again
    const size_t margin_, stride_;  // cells that a row is extended by at either end; of a row
    RasterScratch<T>& scratch_;
    const int taps_;
    Statistics statistics_;
    std::vector<double> weights_;
    std::vector<T> rounded_;
    std::vector<Bias<T>> bias_;
    std::vector<Bias<double>> exact_bias_;
    std::vector<T> first_;
    std::vector<uint8_t> nothing_exact_;
    const T* at_[MAX_WIDTH];
    const T* moved_[MAX_WIDTH];
    StripJob<T> job_;
};

}  // namespace

template <class T>
RasterPlan<T> plan_raster(const T* values, const uint8_t* exact, const Dims& dims, double step) {
    RasterPlan<T> plan;
    plan.every = spacing_of(dims);
    plan.step = step;
    bool first = true;
    for (size_t i = 0; i < dims.size(); ++i) {
        if (exact[i]) continue;
        if (first) plan.centre = plan.low = plan.high = values[i];
        plan.low = std::min(plan.low, values[i]);
        plan.high = std::max(plan.high, values[i]);
        first = false;
    }
    return plan;
}

template <class T>
size_t raster_encode(const T* values, const Dims& dims, const Promise<T>& promise, const RasterPlan<T>& plan,
                     uint8_t* exact, int32_t* codes, RasterScratch<T>& scratch) {
    Walk<T> walk(dims, plan, scratch);
    StripJob<T>& job = walk.job();
    job.bound = promise.bound;
    job.avoid = promise.avoid.data();
    job.avoided = promise.avoid.size();
    walk.run([&](size_t at) {
        job.in = values + at;
        job.codes = codes + at;
        job.exact = exact + at;
        raster<T>(kernels()).encode_strip(job);
    });
    return job.failures;
}

template <class T>
void raster_decode(const int32_t* codes, const uint8_t* exact, const Dims& dims, const RasterPlan<T>& plan, T* values,
                   RasterScratch<T>& scratch) {
    Walk<T> walk(dims, plan, scratch);
    StripJob<T>& job = walk.job();
    const auto decode = plan.every > 0 ? raster<T>(kernels()).decode_strip : raster<T>(kernels()).decode_dense_strip;
    walk.run([&](size_t at) {
        job.codes = const_cast<int32_t*>(codes) + at;
        if (exact) job.exact = const_cast<uint8_t*>(exact) + at;
        decode(job);
        std::copy_n(job.out, job.count, values + at);
    });
}

template <class T>
void write_raster_plan(const RasterPlan<T>& plan, Bytes& out) {
    Writer w(out);
    w.u8(plan.every);
    w.raw(plan.step);
    w.raw(plan.centre);
    w.raw(plan.low);
    w.raw(plan.high);
}

template <class T>
Status read_raster_plan(Cursor& in, bool dense, RasterPlan<T>& plan) {
    plan.every = 0;
    if (!dense && !in.u8(plan.every)) return Status::truncated;
    if (!dense && (plan.every == 0 || plan.every > RASTER_STRIP)) return Status::corrupt;
    if (!in.raw(plan.step) || !in.raw(plan.centre) || !in.raw(plan.low) || !in.raw(plan.high)) return Status::truncated;
    const T step = static_cast<T>(plan.step);
    const bool finite = std::isfinite(plan.step) && std::isfinite(step) && std::isfinite(1 / plan.step) &&
                        std::isfinite(plan.centre) && std::isfinite(plan.low) && std::isfinite(plan.high);
    return finite && step > 0 ? Status::ok : Status::corrupt;
}

#define SCIFLOW_RASTER(T)                                                                                      \
    template RasterPlan<T> plan_raster<T>(const T*, const uint8_t*, const Dims&, double);                      \
    template size_t raster_encode<T>(const T*, const Dims&, const Promise<T>&, const RasterPlan<T>&, uint8_t*, \
                                     int32_t*, RasterScratch<T>&);                                             \
    template void raster_decode<T>(const int32_t*, const uint8_t*, const Dims&, const RasterPlan<T>&, T*,      \
                                   RasterScratch<T>&);                                                         \
    template void write_raster_plan<T>(const RasterPlan<T>&, Bytes&);                                          \
    template Status read_raster_plan<T>(Cursor&, bool, RasterPlan<T>&);
SCIFLOW_RASTER(float)
SCIFLOW_RASTER(double)
#undef SCIFLOW_RASTER

}  // namespace sciflow
