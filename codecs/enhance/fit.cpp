#include "enhance/fit.hpp"

#include <algorithm>
#include <cmath>

#include "enhance/merge.hpp"

namespace sciflow::enhance {

namespace {

constexpr size_t FEWEST = 512;  // samples
constexpr int BINS = 8;         // along each axis of classes
constexpr double BYTES_A_WEIGHT =
    0.55;  // when filters are many: a guess that merging goes by; what is kept is measured
constexpr int LEAST_SHIFT = 4, USUAL_SHIFT = 8;

struct Layout {
    int activity_bins = 1;
    Second second = Second::none;
    int value_bins = 1;
    bool equal_width = false;
};

std::vector<Layout> layouts(const FitOptions& o) {
    switch (o.groups) {
        case Groups::value: return {{1, Second::value, o.most, true}};
        case Groups::quantile: return {{1, Second::value, o.most, false}};
        case Groups::activity: return {{o.most, Second::none, 1, false}};
        case Groups::automatic: break;
    }
    return {{BINS, Second::value, BINS, false}, {BINS, Second::parity, 1, false}};
}

// Edges between `bins` bins of as many samples each, or of the same width; fewer where they would coincide.
std::vector<int32_t> edges_of(const std::vector<int32_t>& samples, int bins, bool equal_width) {
    constexpr size_t ENOUGH = 1 << 14;
    const size_t every = std::max<size_t>(1, samples.size() / ENOUGH) | 1;
    std::vector<int32_t> v;
    for (size_t i = 0; i < samples.size(); i += every) v.push_back(samples[i]);
    std::sort(v.begin(), v.end());
    std::vector<int32_t> edges;
    for (int k = 1; k < bins; ++k) {
        const int64_t width = int64_t{v.back()} - v.front();
        const int32_t edge = equal_width ? static_cast<int32_t>(v.front() + width * k / bins)
                                         : v[v.size() * static_cast<size_t>(k) / static_cast<size_t>(bins)];
        if (edge > (edges.empty() ? v.front() : edges.back())) edges.push_back(edge);
    }
    return edges;
}

size_t bin_of(const std::vector<int32_t>& edges, int32_t v) {
    return static_cast<size_t>(std::upper_bound(edges.begin(), edges.end(), v) - edges.begin());
}

std::vector<uint8_t> classes_of(const Samples& s, const Model& m) {
    std::vector<uint8_t> c(s.size());
    for (size_t i = 0; i < s.size(); ++i) {
        const size_t second = m.second == Second::value    ? bin_of(m.value, s.value[i])
                              : m.second == Second::parity ? s.parity[i]
                                                           : 0;
        c[i] = static_cast<uint8_t>(bin_of(m.activity, s.activity[i]) * m.second_bins() + second);
    }
    return c;
}

// Weights in integers; what is rounded away is found again in the error.
double quantise(const std::vector<Gram>& grams, const std::vector<Weights>& weights, Model& model) {
    double error = 0;
    model.filter.assign(grams.size(), {});
    for (size_t k = 0; k < grams.size(); ++k) {
        Weights w = {};
        for (int j = 0; j < model.features(); ++j) {
            const size_t i = static_cast<size_t>(j);
            const double step = std::ldexp(1.0, (model.is_linear(j) ? 0 : model.coarse) - model.shift);
            const double q = std::clamp(std::rint(weights[k][i] / step), -double{MAX_WEIGHT}, double{MAX_WEIGHT});
            model.filter[k][i] = static_cast<int16_t>(q);
            w[i] = q * step;
        }
        error += error_with(grams[k], w);
    }
    return error;
}

// The cheapest precision of the linear weights and of the others.
void choose_precision(const std::vector<Gram>& grams, double energy, double worth, Fit& out, double& cost) {
    std::vector<Weights> weights(grams.size());
    for (size_t k = 0; k < grams.size(); ++k) solve(grams[k], weights[k]);
    const auto attempt = [&](int shift, int coarse) {
        Model tried = out.model;
        tried.shift = shift, tried.coarse = coarse;
        const double left = std::max(quantise(grams, weights, tried), 1.0) / std::max(energy, 1.0);
        const double total = worth * steady_log(left) + static_cast<double>(write_model(tried).size());
        if (total >= cost || !stays_in_range(tried)) return;
        cost = total, out = {true, tried, left};
    };
    for (int shift = MAX_SHIFT; shift >= LEAST_SHIFT; --shift) attempt(shift, std::max(shift - USUAL_SHIFT, 0));
    const int shift = out.model.shift;
    for (int coarse = 0; coarse <= shift - LEAST_SHIFT; ++coarse) attempt(shift, coarse);
}

Fit fit_layout(const Samples& samples, const Scale& scale, const FitOptions& o, const Layout& layout, double& cost) {
    Fit out;
    Model& m = out.model;
    m.axes = samples.axes;
    m.second = layout.second;
    m.unit = static_cast<float>(scale.unit);
    m.origin = static_cast<float>(scale.origin);
    m.aux = samples.aux;
    m.activity = edges_of(samples.activity, layout.activity_bins, false);
    if (m.second == Second::value) m.value = edges_of(samples.value, layout.value_bins, layout.equal_width);
    const std::vector<Gram> grams = moments(samples, classes_of(samples, m), m.classes());
    const ClassGrid grid{m.activity.size() + 1, m.second_bins(), m.second == Second::parity};
    const Groupings groups = merge(grams, grid, static_cast<size_t>(o.most), o.worth, BYTES_A_WEIGHT * m.features());
    m.filter_of = groups.group_of;
    double energy = 0;
    for (const Gram& g : grams) energy += g.energy;
    cost = 0;
    choose_precision(groups.grams, energy, o.worth, out, cost);
    return out;
}

// An edge that no filter tells apart costs its bytes for nothing.
void drop_idle_edges(Model& m) {
    const size_t columns = m.second_bins();
    std::vector<uint8_t> kept(m.filter_of.begin(), m.filter_of.begin() + static_cast<ptrdiff_t>(columns));
    std::vector<int32_t> edges;
    for (size_t r = 1; r <= m.activity.size(); ++r) {
        const auto row = m.filter_of.begin() + static_cast<ptrdiff_t>(r * columns);
        if (std::equal(row, row + static_cast<ptrdiff_t>(columns), kept.end() - static_cast<ptrdiff_t>(columns)))
            continue;
        kept.insert(kept.end(), row, row + static_cast<ptrdiff_t>(columns));
        edges.push_back(m.activity[r - 1]);
    }
    m.activity = edges;
    m.filter_of = kept;
}

// The same with rows and columns exchanged.
Model turned(const Model& m) {
    Model t = m;
    const size_t columns = m.second_bins(), rows = m.activity.size() + 1;
    for (size_t i = 0; i < m.filter_of.size(); ++i) t.filter_of[i % columns * rows + i / columns] = m.filter_of[i];
    std::swap(t.activity, t.value);
    return t;
}

void compact(Model& m) {
    drop_idle_edges(m);
    if (m.second == Second::value) {
        Model t = turned(m);
        drop_idle_edges(t);
        m = turned(t);
        if (m.value.empty()) m.second = Second::none;
    }
    if (m.filter.size() == 1) m.second = Second::none, m.filter_of = {0};
}

}  // namespace

Fit fit(const Samples& samples, const Scale& scale, const FitOptions& options) {
    Fit best;
    if (samples.size() < FEWEST) return best;
    double least = 0;
    for (const Layout& layout : layouts(options)) {
        double cost = 0;
        Fit tried = fit_layout(samples, scale, options, layout, cost);
        if (tried.found && cost < least) least = cost, best = std::move(tried);
    }
    if (best.found) compact(best.model);
    return best;
}

}  // namespace sciflow::enhance
