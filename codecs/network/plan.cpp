#include "network/plan.hpp"

#include <algorithm>

namespace sciflow::network {

namespace {

constexpr uint64_t WISHED_CELLS = 1024;  // of the last stage, in blocks that run together
constexpr uint64_t MOST_TOGETHER = 16;

Cells cells_of(int axes, uint64_t channels, const Lengths& lengths) {
    Cells c;
    c.lengths = lengths;
    c.channels = channels;
    c.width = channels + (channels & 1);
    for (size_t a = 0; a < 3; ++a) c.halo[a] = a + static_cast<size_t>(axes) >= 3 ? 1 : 0;
    return c;
}

// Lengths after a stage; 0 where it does not take such blocks.
uint64_t length_after(const Stage& s, uint64_t n) {
    switch (s.kind) {
        case Kind::transposed:
        case Kind::upsample: return 2 * n;
        case Kind::conv: {
            const uint64_t lost = s.kernel == 3 && !s.padded ? 2 : 0;
            return n <= lost ? 0 : (n - lost - 1) / static_cast<uint64_t>(s.stride) + 1;
        }
        default: return n;
    }
}

bool after(const Stage& s, int axes, const Cells& in, Cells& out) {
    Lengths lengths = in.lengths;
    if (s.kind == Kind::dense) {
        if (in.values() != s.in) return false;
        lengths = s.lengths;
    } else {
        for (size_t a = 0; a < 3; ++a)
            if (in.halo[a] != 0) lengths[a] = length_after(s, lengths[a]);
    }
    out = cells_of(axes, s.channels, lengths);
    return *std::min_element(lengths.begin(), lengths.end()) > 0 &&
           *std::max_element(lengths.begin(), lengths.end()) <= MAX_VALUES;
}

uint64_t products_of(const Stage& s, int axes, const Cells& in, const Cells& out) {
    switch (s.kind) {
        case Kind::upsample: return 0;
        case Kind::dense: return s.in * s.outputs;
        case Kind::transposed: return in.cells() * s.in * s.outputs * taps_of(s, axes);
        default: return out.cells() * s.in * s.outputs * taps_of(s, axes);
    }
}

// Offsets of the cells of one axis that a position reads, and the places of the kernel that meet them.
struct Reach {
    std::vector<int> away, tap;
};

Reach reach_of(const Stage& s, bool used, int phase) {
    if (!used || s.kernel == 1) return {{0}, {0}};
    if (s.kind == Kind::conv) return s.padded ? Reach{{-1, 0, 1}, {0, 1, 2}} : Reach{{0, 1, 2}, {0, 1, 2}};
    return phase == 0 ? Reach{{0}, {1}} : Reach{{0, 1}, {2, 0}};
}

class PassMaker {
  public:
    PassMaker(const Stage& stage, const Step& step, uint64_t blocks) : stage_(stage), step_(step), blocks_(blocks) {}

    // `phase`: of a transposed stage, a bit an axis.
    Pass make(unsigned phase) {
        if (stage_.kind == Kind::dense) find_all_cells();
        else find_reach(phase);
        place(phase);
        pack();
        for (uint64_t o = 0; o < padded_outputs(); ++o) {
            const bool real = o < stage_.outputs;
            pass_.bias.push_back(real ? stage_.bias[o] : 0);
            pass_.pre.push_back(real ? stage_.pre[o] : 0);
            pass_.multiplier.push_back(real ? stage_.multiplier[o] : 0);
        }
        return std::move(pass_);
    }

  private:
    uint64_t padded_outputs() const { return (stage_.outputs + TILE - 1) / TILE * TILE; }

    void find_reach(unsigned phase) {
        const Cells& in = step_.in;
        Reach r[3];
        for (size_t a = 0; a < 3; ++a) r[a] = reach_of(stage_, in.halo[a] != 0, static_cast<int>(phase >> (2 - a) & 1));
        const int64_t row = static_cast<int64_t>(in.row()), plane = static_cast<int64_t>(in.plane());
        for (size_t z = 0; z < r[0].away.size(); ++z)
            for (size_t y = 0; y < r[1].away.size(); ++y)
                for (size_t x = 0; x < r[2].away.size(); ++x) {
                    const int64_t cells = r[0].away[z] * plane + r[1].away[y] * row + r[2].away[x];
                    pass_.taps.push_back(static_cast<int32_t>(cells * static_cast<int64_t>(in.width)));
                    int tap = in.halo[0] != 0 ? r[0].tap[z] : 0;
                    tap = tap * (in.halo[1] != 0 && stage_.kernel == 3 ? 3 : 1) + r[1].tap[y];
                    tap = tap * (stage_.kernel == 3 ? 3 : 1) + r[2].tap[x];
                    tap_.push_back(static_cast<size_t>(tap));
                }
    }

    void find_all_cells() {
        const Cells& in = step_.in;
        for (uint64_t z = 0; z < in.lengths[0]; ++z)
            for (uint64_t y = 0; y < in.lengths[1]; ++y)
                for (uint64_t x = 0; x < in.lengths[2]; ++x) {
                    tap_.push_back(pass_.taps.size());
                    pass_.taps.push_back(in.at(0, z, y, x) - in.at(0, 0, 0, 0));
                }
    }

    void place(unsigned phase) {
        const Cells &in = step_.in, &out = step_.out;
        const bool dense = stage_.kind == Kind::dense, spread = stage_.kind == Kind::transposed;
        const Lengths n = dense ? Lengths{1, 1, 1} : spread ? in.lengths : out.lengths;
        const auto from = [&](size_t a, uint64_t i) { return in.halo[a] && !spread ? i * uint64_t(stage_.stride) : i; };
        const auto to = [&](size_t a, uint64_t i) { return in.halo[a] && spread ? 2 * i + (phase >> (2 - a) & 1) : i; };
        for (uint64_t b = 0; b < blocks_; ++b)
            for (uint64_t z = 0; z < n[0]; ++z)
                for (uint64_t y = 0; y < n[1]; ++y)
                    for (uint64_t x = 0; x < n[2]; ++x) {
                        pass_.from.push_back(in.at(b, from(0, z), from(1, y), from(2, x)));
                        pass_.to.push_back(out.at(b, to(0, z), to(1, y), to(2, x)));
                    }
        if (!dense) return;
        for (uint64_t i = 0; i < stage_.outputs; ++i) {
            const uint64_t cell = i / stage_.channels, x = cell % out.lengths[2], y = cell / out.lengths[2];
            const int32_t at = out.at(0, y / out.lengths[1], y % out.lengths[1], x);
            pass_.place.push_back(at - out.at(0, 0, 0, 0) + static_cast<int32_t>(i % stage_.channels));
        }
    }

    // The weight of an output for a channel of a tap; 0 where groups keep them apart and behind the last channel.
    int16_t weight(uint64_t output, size_t tap, uint64_t channel) const {
        const uint64_t channels = step_.in.channels;
        if (output >= stage_.outputs || channel >= channels) return 0;
        if (stage_.kind == Kind::dense) return stage_.weights[output * stage_.in + tap_[tap] * channels + channel];
        const uint64_t each = channels / stage_.groups, group = output / (stage_.outputs / stage_.groups);
        if (channel / each != group) return 0;
        const size_t taps = taps_of(stage_, axes());
        return stage_.weights[(output * each + channel % each) * taps + tap_[tap]];
    }
    int axes() const { return static_cast<int>(step_.in.halo[0] + step_.in.halo[1] + step_.in.halo[2]); }

    void pack() {
        const bool few = stage_.outputs <= FEW_OUTPUTS;
        const uint64_t tile = few ? 1 : TILE, end = few ? stage_.outputs : padded_outputs();
        pass_.weights.reserve(end * pass_.taps.size() * step_.in.width);
        for (uint64_t first = 0; first < end; first += tile)
            for (size_t t = 0; t < pass_.taps.size(); ++t)
                for (uint64_t c = 0; c < step_.in.width; c += 2)
                    for (uint64_t o = first; o < first + tile; ++o)
                        for (uint64_t half = 0; half < 2; ++half) pass_.weights.push_back(weight(o, t, c + half));
    }

    const Stage& stage_;
    const Step& step_;
    uint64_t blocks_;
    std::vector<size_t> tap_;  // of the kernel, for each cell that is read
    Pass pass_;
};

// Points the job at the tables, which do not move any more.
void bind(Pass& pass, const Step& step) {
    const Stage& s = *step.stage;
    StageJob& j = pass.job;
    j.from = pass.from.data();
    j.to = pass.to.data();
    j.taps = pass.taps.data();
    j.tap_count = pass.taps.size();
    j.pairs = step.in.width / 2;
    j.weights = pass.weights.data();
    j.outputs = s.outputs;
    j.bias = pass.bias.data();
    j.pre = pass.pre.data();
    j.multiplier = pass.multiplier.data();
    j.most = s.most;
    j.activation = s.activation;
    j.slope = s.slope;
    j.table = s.table.data();
    j.norm = s.kind == Kind::gdn ? Norm::divide : s.kind == Kind::inverse_gdn ? Norm::multiply : Norm::none;
    j.shift = s.shift;
    j.place = pass.place.empty() ? nullptr : pass.place.data();
}

}  // namespace

Status trace(const Network& network, const Lengths& lengths, std::vector<Cells>& cells) {
    for (size_t a = 0; a < 3; ++a) {
        const bool used = a + static_cast<size_t>(network.axes) >= 3;
        if (lengths[a] < 1 || lengths[a] > MAX_VALUES || (!used && lengths[a] != 1)) return Status::bad_argument;
    }
    cells.assign(1, cells_of(network.axes, network.channels, lengths));
    uint64_t products = 0, values = 0;
    for (size_t i = 0;; ++i) {
        // Lengths are below 2^27 and their product below 2^26 before the next one is looked at: nothing overflows.
        const Cells& last = cells.back();
        if (last.lengths[0] * last.lengths[1] > MAX_VALUES || last.cells() > MAX_VALUES) return Status::corrupt;
        values += last.block();
        if (values > MAX_VALUES || products >> 60 != 0) return Status::corrupt;
        if (i == network.stages.size()) break;
        Cells next;
        if (!after(network.stages[i], network.axes, last, next)) return Status::corrupt;
        if (next.lengths[0] * next.lengths[1] > MAX_VALUES || next.cells() > MAX_VALUES) return Status::corrupt;
        products += products_of(network.stages[i], network.axes, last, next);
        cells.push_back(next);
    }
    return products <= MAX_PRODUCTS * cells.back().values() ? Status::ok : Status::corrupt;
}

Plan make_plan(const Network& network, const std::vector<Cells>& cells, uint64_t count) {
    Plan plan;
    plan.blocks = std::clamp<uint64_t>(WISHED_CELLS / cells.back().cells(), 1, MOST_TOGETHER);
    plan.blocks = std::min(plan.blocks, std::max<uint64_t>(count, 1));
    uint64_t values = 0;
    for (const Cells& c : cells) values += c.block();
    plan.blocks = std::max<uint64_t>(1, std::min(plan.blocks, MAX_VALUES / values));
    for (size_t i = 0; i < network.stages.size(); ++i) {
        Step& step = plan.steps.emplace_back();
        const Stage& stage = network.stages[i];
        step.stage = &stage;
        step.in = cells[i];
        step.out = cells[i + 1];
        if (stage.kind == Kind::upsample) continue;
        const unsigned phases = stage.kind == Kind::transposed ? 1u << network.axes : 1u;
        for (unsigned p = 0; p < phases; ++p) step.passes.push_back(PassMaker(stage, step, plan.blocks).make(p));
    }
    for (Step& step : plan.steps)
        for (Pass& pass : step.passes) bind(pass, step);
    return plan;
}

}  // namespace sciflow::network
