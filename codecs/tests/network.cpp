// Integer networks: every kernel gives what plain sums give, blocks and threads change nothing, hostile bytes are refused
// or run within their bounds.
#include "kernels.hpp"
#include "network/run.hpp"
#include "check.hpp"

using namespace sciflow;
using namespace sciflow::tests;
using namespace sciflow::network;

namespace {

int64_t cut(int64_t v, int64_t most) { return std::clamp(v, -most, most); }

int64_t scaled(int64_t a, int pre, int64_t times, int64_t most) {
    const int64_t held = cut((a + ((int64_t{1} << pre) >> 1)) >> pre, 65535);
    return cut((held * times + 8192) >> 14, most);
}

// A stage of random numbers, and what docs/network-format.md says of it.
void kernels_agree(Norm norm, Activation activation, size_t outputs) {
    constexpr size_t COUNT = 21, TAPS = 5, CHANNELS = 6;
    Random random(outputs + static_cast<size_t>(activation));
    const auto number = [&](int low, int high) { return low + static_cast<int>(random.below(size_t(high - low + 1))); };
    const size_t padded = (outputs + TILE - 1) / TILE * TILE, taps_used = norm == Norm::none ? TAPS : 1;
    std::vector<int16_t> in(400), out(COUNT * outputs), gathered(TAPS * CHANNELS), table(TABLE);
    std::vector<int32_t> from, to, bias(padded), pre(padded), times(padded), taps = {0, 6, 12, 40, 46};
    for (int16_t& v : in) v = static_cast<int16_t>(norm == Norm::none ? number(-3000, 3000) : number(0, 3000));
    for (int16_t& v : table) v = static_cast<int16_t>(number(-32767, 32767));
    for (size_t i = 0; i < COUNT; ++i) from.push_back(static_cast<int32_t>(6 * i)), to.push_back(int32_t(i * outputs));
    std::vector<int> raw(outputs * TAPS * CHANNELS);
    for (int& w : raw) w = norm == Norm::none ? number(-127, 127) : number(0, 127);
    for (size_t o = 0; o < outputs; ++o)
        bias[o] = number(1, 90000), pre[o] = number(0, 12), times[o] = number(1, 32767);
    std::vector<int16_t> weights;
    const bool few = outputs <= FEW_OUTPUTS;
    const size_t tile = few ? 1 : TILE;
    for (size_t first = 0; first < (few ? outputs : padded); first += tile)
        for (size_t t = 0; t < taps_used; ++t)
            for (size_t c = 0; c < CHANNELS; c += 2)
                for (size_t o = first; o < first + tile; ++o)
                    for (size_t h = 0; h < 2; ++h)
                        weights.push_back(o < outputs ? static_cast<int16_t>(raw[(o * TAPS + t) * CHANNELS + c + h])
                                                      : int16_t{0});
    StageJob job;
    job.in = job.scaled = in.data();
    job.from = from.data(), job.to = to.data(), job.taps = taps.data();
    job.tap_count = taps_used, job.pairs = CHANNELS / 2, job.count = COUNT, job.outputs = outputs;
    job.weights = weights.data(), job.bias = bias.data(), job.pre = pre.data(), job.multiplier = times.data();
    job.most = 20000, job.activation = activation, job.slope = 77, job.table = table.data();
    job.norm = norm, job.shift = 13, job.out = out.data(), job.gathered = gathered.data();
    std::vector<int16_t> expected;
    for (size_t i = 0; i < COUNT; ++i)
        for (size_t o = 0; o < outputs; ++o) {
            int64_t a = bias[o];
            for (size_t t = 0; t < taps_used; ++t)
                for (size_t c = 0; c < CHANNELS; ++c)
                    a += int64_t{raw[(o * TAPS + t) * CHANNELS + c]} * in[6 * i + static_cast<size_t>(taps[t]) + c];
            if (norm != Norm::none) {
                int64_t r = 0;
                for (int64_t step = int64_t{1} << 24; step > 0; step >>= 1)
                    if ((r + step) * (r + step) <= a << 16) r += step;
                a = norm == Norm::divide ? (int64_t{1} << 38) / r : r;
            }
            int64_t v = scaled(a, pre[o], times[o], norm == Norm::none ? 20000 : 32767);
            if (norm != Norm::none) v = cut((in[6 * i + o] * v + 4096) >> 13, 20000);
            if (activation == Activation::relu) v = std::max<int64_t>(v, 0);
            if (activation == Activation::leaky && v < 0) v = (v * 77 + 128) >> 8;
            const size_t u = static_cast<size_t>(v + 32768);
            const int64_t part = static_cast<int64_t>(u & 255);
            if (activation == Activation::table)
                v = (table[u >> 8] * (256 - part) + table[(u >> 8) + 1] * part + 128) >> 8;
            expected.push_back(static_cast<int16_t>(v));
        }
    for (const Kernels* k : all_kernels()) {
        std::fill(out.begin(), out.end(), int16_t{0});
        k->network.run(job);
        CHECK(out == expected);
    }
}

void put_scales(Writer& w, uint64_t n, int32_t bias) {
    for (uint64_t i = 0; i < n; ++i) w.zigzag(bias), w.u8(7), w.raw(uint16_t{9000});
}

void put_weights(Writer& w, uint64_t n, Random& random) {
    for (uint64_t i = 0; i < n; ++i) w.u8(static_cast<uint8_t>(random.below(60)));
}

// Latents of two axes to blocks of 4 x 4: dense, transposed, inverse GDN, upsampling with a table behind, convolution.
Bytes decoder() {
    Random random(3);
    Bytes bytes;
    Writer w(bytes);
    w.u8(1), w.u8(2), w.varint(3), w.raw(uint16_t{500}), w.u8(4);
    w.u8(3), w.varint(3), w.varint(5), w.varint(2), w.varint(1), w.raw(uint16_t{2000}), w.u8(2), w.u8(20);
    put_scales(w, 10, -3), put_weights(w, 30, random);
    w.u8(1), w.varint(4), w.raw(uint16_t{2000}), w.u8(0), put_scales(w, 4, 9), put_weights(w, 180, random);
    w.u8(5), w.raw(uint16_t{2000}), w.u8(8), w.u8(12), put_scales(w, 4, 800), put_weights(w, 16, random);
    w.u8(0), w.varint(2), w.u8(3), w.u8(1), w.u8(1), w.varint(2), w.raw(uint16_t{900}), w.u8(1);
    put_scales(w, 2, 1), put_weights(w, 36, random);
    return bytes;
}

constexpr Lengths ONE = {1, 1, 1};

void blocks_and_threads_change_nothing() {
    const Bytes bytes = decoder();
    Network network;
    CHECK(read_network(bytes, network) == Status::ok);
    std::vector<Cells> cells;
    CHECK(trace(network, ONE, cells) == Status::ok);
    CHECK((cells.back().lengths == Lengths{1, 4, 2}) && cells.back().channels == 2);
    constexpr size_t COUNT = 71, GIVEN = 16;
    Random random(4);
    std::vector<int16_t> in(3 * COUNT), all(GIVEN * COUNT), again(GIVEN * COUNT);
    for (int16_t& v : in) v = static_cast<int16_t>(random.below(1200)) - 600;
    CHECK(run(network, ONE, COUNT, in, 1, all) == Status::ok);
    CHECK(run(network, ONE, COUNT, in, 3, again) == Status::ok && again == all);
    for (size_t i = 0; i < COUNT; ++i) {
        std::vector<int16_t> one(GIVEN);
        CHECK(run(network, ONE, 1, std::span(in).subspan(3 * i, 3), 1, one) == Status::ok);
        CHECK(std::equal(one.begin(), one.end(), all.begin() + static_cast<ptrdiff_t>(GIVEN * i)));
    }
    CHECK(std::any_of(all.begin(), all.end(), [](int16_t v) { return v != 0; }));
    CHECK(run(network, ONE, COUNT - 1, in, 1, all) == Status::bad_argument);
    CHECK(run(network, {1, 0, 1}, 0, {}, 1, {}) == Status::bad_argument);
    CHECK(trace(network, {1, 2, 1}, cells) == Status::corrupt);  // the dense stage takes one cell
}

void hostile_bytes_are_refused() {
    const Bytes bytes = decoder();
    Network network;
    for (size_t n = 0; n < bytes.size(); ++n) CHECK(read_network(View(bytes).first(n), network) == Status::truncated);
    Bytes longer = bytes;
    longer.push_back(0);
    CHECK(read_network(longer, network) == Status::corrupt);
    size_t read = 0;
    for (size_t i = 0; i < bytes.size(); ++i)
        for (int v : {0, 1, 127, 255, bytes[i] ^ 1, bytes[i] ^ 128}) {
            Bytes bad = bytes;
            bad[i] = static_cast<uint8_t>(v);
            std::vector<Cells> cells;
            if (read_network(bad, network) != Status::ok || trace(network, ONE, cells) != Status::ok) continue;
            ++read;
            std::vector<int16_t> in(cells.front().values() * 3, 499), out(cells.back().values() * 3);
            CHECK(run(network, ONE, 3, in, 1, out) == Status::ok);
        }
    CHECK(read > 100);
}

void work_is_bounded() {
    Bytes bytes;
    Writer w(bytes);
    w.u8(1), w.u8(3), w.varint(1), w.raw(uint16_t{1}), w.u8(20);
    for (int i = 0; i < 20; ++i) w.u8(2);
    Network network;
    std::vector<Cells> cells;
    CHECK(read_network(bytes, network) == Status::ok);
    CHECK(trace(network, ONE, cells) == Status::corrupt);  // 2^60 cells
    CHECK(trace(network, {MAX_VALUES, MAX_VALUES, MAX_VALUES}, cells) == Status::corrupt);
}

}  // namespace

int main() {
    for (size_t outputs : {size_t{3}, size_t{5}, size_t{20}})
        for (Activation a : {Activation::none, Activation::relu, Activation::leaky, Activation::table})
            kernels_agree(Norm::none, a, outputs);
    kernels_agree(Norm::divide, Activation::none, 6);
    kernels_agree(Norm::multiply, Activation::none, 6);
    blocks_and_threads_change_nothing();
    hostile_bytes_are_refused();
    work_is_bounded();
}
