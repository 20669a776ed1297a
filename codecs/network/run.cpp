#include "network/run.hpp"

#include <algorithm>
#include <atomic>
#include <new>
#include <system_error>
#include <thread>

#include "kernels.hpp"

namespace sciflow::network {

namespace {

using Values = std::vector<int16_t>;

// The values between the stages, for one thread. What is around blocks is zero and never written.
class Runner {
  public:
    Runner(const Network& network, const Plan& plan) : network_(network), plan_(plan) {
        values_.emplace_back(plan.blocks * plan.steps.front().in.block());
        size_t gathered = 0, squares = 0;
        for (const Step& s : plan.steps) {
            values_.emplace_back(plan.blocks * s.out.block());
            for (const Pass& p : s.passes) gathered = std::max(gathered, p.taps.size() * p.job.pairs * 2);
            if (is_norm(s)) squares = std::max(squares, values_.back().size());
        }
        gathered_.resize(gathered);
        squares_.resize(squares);
    }

    void run(const int16_t* in, size_t blocks, int16_t* out) {
        take(in, blocks);
        for (size_t i = 0; i < plan_.steps.size(); ++i) {
            const Step& step = plan_.steps[i];
            if (step.stage->kind == Kind::upsample) upsample(step, values_[i], values_[i + 1]);
            else
                for (const Pass& pass : step.passes) products(step, pass, values_[i], values_[i + 1]);
        }
        give(blocks, out);
    }

  private:
    static bool is_norm(const Step& s) { return s.stage->kind == Kind::gdn || s.stage->kind == Kind::inverse_gdn; }

    void take(const int16_t* in, size_t blocks) {
        const Cells& c = plan_.steps.front().in;
        const auto most = static_cast<int16_t>(network_.most);
        for_cells(c, blocks, [&](int32_t at) {
            for (uint64_t i = 0; i < c.channels; ++i)
                values_[0][static_cast<size_t>(at) + i] = std::clamp<int16_t>(*in++, static_cast<int16_t>(-most), most);
        });
    }

    void give(size_t blocks, int16_t* out) {
        const Cells& c = plan_.steps.back().out;
        for_cells(c, blocks, [&](int32_t at) { out = std::copy_n(values_.back().data() + at, c.channels, out); });
    }

    template <class Visit>
    static void for_cells(const Cells& c, size_t blocks, Visit&& visit) {
        for (uint64_t b = 0; b < blocks; ++b)
            for (uint64_t z = 0; z < c.lengths[0]; ++z)
                for (uint64_t y = 0; y < c.lengths[1]; ++y)
                    for (uint64_t x = 0; x < c.lengths[2]; ++x) visit(c.at(b, z, y, x));
    }

    void products(const Step& step, const Pass& pass, const Values& in, Values& out) {
        StageJob job = pass.job;
        job.count = pass.from.size();
        job.in = job.scaled = in.data();
        if (is_norm(step)) {
            kernels().network.square(in.data(), in.size(), step.stage->square, squares_.data());
            job.in = squares_.data();
        }
        job.out = out.data();
        job.gathered = gathered_.data();
        kernels().network.run(job);
    }

    void upsample(const Step& step, const Values& in, Values& out) const {
        const Cells &from = step.in, &to = step.out;
        for (uint64_t b = 0; b < plan_.blocks; ++b)
            for (uint64_t z = 0; z < to.lengths[0]; ++z)
                for (uint64_t y = 0; y < to.lengths[1]; ++y)
                    for (uint64_t x = 0; x < to.lengths[2]; ++x) {
                        const int32_t at = from.at(b, z >> from.halo[0], y >> from.halo[1], x >> from.halo[2]);
                        std::copy_n(in.data() + at, from.width, out.data() + to.at(b, z, y, x));
                    }
    }

    const Network& network_;
    const Plan& plan_;
    std::vector<Values> values_;
    Values gathered_, squares_;
};

}  // namespace

Status run(const Network& network, const Lengths& lengths, uint64_t count, std::span<const int16_t> in, int threads,
           std::span<int16_t> out) try {
    std::vector<Cells> cells;
    if (const Status s = trace(network, lengths, cells); s != Status::ok) return s;
    const uint64_t taken = cells.front().values(), given = cells.back().values();
    if (count > in.size() || count > out.size() || in.size() != count * taken || out.size() != count * given)
        return Status::bad_argument;
    if (count == 0) return Status::ok;
    const Plan plan = make_plan(network, cells, count);
    std::atomic<uint64_t> next{0};
    std::atomic<bool> full{false};
    const auto work = [&] {
        try {
            Runner runner(network, plan);
            for (uint64_t b; (b = next.fetch_add(plan.blocks)) < count;)
                runner.run(in.data() + b * taken, std::min(plan.blocks, count - b), out.data() + b * given);
        } catch (const std::bad_alloc&) { full = true; }
    };
    std::vector<std::thread> pool;
    const uint64_t groups = (count + plan.blocks - 1) / plan.blocks;
    for (uint64_t t = 1; t < groups && threads > 0 && t < static_cast<uint64_t>(threads); ++t) try {
            pool.emplace_back(work);
        } catch (const std::system_error&) {
            break;  // the system grants no more threads: those there are share the work
        }
    work();
    for (std::thread& t : pool) t.join();
    return full ? Status::no_memory : Status::ok;
} catch (const std::bad_alloc&) { return Status::no_memory; }

}  // namespace sciflow::network
