// The enhancer: its coder gives back what it took, every kernel gives the same corrections, hostile models and bodies
// are refused, and what decodes is what the encoder saw.
#include "enhance/apply.hpp"
#include "enhance/bits.hpp"
#include "enhance/enhance.hpp"
#include "check.hpp"

using namespace sciflow;
using namespace sciflow::tests;
using namespace sciflow::enhance;

namespace {

void numbers_come_back() {
    Random random(1);
    std::vector<uint32_t> numbers = {0, 1, 2, 0x7ffffffe};
    for (int i = 0; i < 3000; ++i) numbers.push_back(static_cast<uint32_t>(random.bits() >> (33 + random.below(31))));
    BitEncoder out;
    NumberModel write, read;
    for (uint32_t n : numbers) put_number(out, write, std::min(n, 0x7ffffffeu));
    const Bytes bytes = out.finish();
    BitDecoder in(bytes);
    for (uint32_t n : numbers) CHECK(get_number(in, read) == std::min(n, 0x7ffffffeu));
    CHECK(!in.over() && in.used_up());
}

// Ridges of the third degree whose decoded form is rounded: something for a filter to learn.
template <class T>
struct Rounded {
    std::vector<uint64_t> shape;
    std::vector<T> original, decoded;

    Rounded(const std::vector<uint64_t>& s, double step) : shape(s) {
        Random random(7);
        size_t n = 1;
        for (uint64_t length : s) n *= static_cast<size_t>(length);
        for (size_t i = 0; i < n; ++i) {
            double sum = 0.1 * step * random.unit();
            size_t rest = i;
            for (size_t a = s.size(); a-- > 0; rest /= static_cast<size_t>(s[a])) {
                const double at = static_cast<double>(rest % static_cast<size_t>(s[a]) % 24) - 12;
                sum += at * (144 - at * at) / 512;
            }
            original.push_back(static_cast<T>(sum));
        }
        for (T v : original) decoded.push_back(static_cast<T>(std::rint(v / step) * step));
    }
};

Request request_of(double worth, double bound, std::span<const AuxArray> aux) {
    Request r;
    r.aux = aux;
    r.fit.worth = worth;
    r.bound = bound;
    return r;
}

template <class T>
void what_decodes_is_what_was_seen(const std::vector<uint64_t>& shape, double bound, size_t others = 0) {
    const Rounded<T> field(shape, 0.5);
    const Rounded<double> other(shape, 0.01);
    const std::vector<AuxArray> aux(others, {other.original.data(), true});
    const Beside beside{{}, aux};
    std::vector<T> seen(field.original.size()), out(seen.size());
    Outcome outcome;
    CHECK(enhance::encode(field.original.data(), field.decoded.data(), shape, request_of(1e5, bound, aux), seen.data(),
                          outcome) == Status::ok);
    CHECK(outcome.kind == Kind::own && outcome.squares < 0.9 * outcome.base_squares);
    CHECK(outcome.aux == others);
    if (others > 0) {
        CHECK(outcome.squares < 0.2 * outcome.base_squares);  // it tells next to all that was lost
        CHECK(enhance::decode(outcome.body, {}, field.decoded.data(), shape, out.data()) == Status::corrupt);
    }
    CHECK(enhance::decode(outcome.body, beside, field.decoded.data(), shape, out.data()) == Status::ok);
    CHECK(out == seen);
    if (bound > 0)
        for (size_t i = 0; i < out.size(); ++i) CHECK(std::fabs(out[i] - field.original[i]) <= bound);
    for (size_t cut = 0; cut < outcome.body.size(); ++cut)
        CHECK(enhance::decode(View(outcome.body).first(cut), beside, field.decoded.data(), shape, out.data()) !=
              Status::ok);
    Random random(3);
    for (int i = 0; i < 400; ++i) {  // whatever comes of it, it comes back, and reads nothing that is not there
        Bytes bad = outcome.body;
        bad[random.below(bad.size())] = static_cast<uint8_t>(random.bits());
        enhance::decode(bad, beside, field.decoded.data(), shape, out.data());
    }
}

int32_t cut(int64_t v, int64_t most) { return static_cast<int32_t>(std::clamp(v, -most, most)); }

// Every kernel against the definition, for integers of all sizes.
void kernels_agree() {
    Random random(5);
    constexpr size_t N = 77, PAD = 9;
    std::vector<int32_t> t(N + 2 * PAD), classes(N), weights(size_t{MAX_PAIRS} * MAX_CLASSES), bias(MAX_CLASSES);
    for (int round = 0; round < 20; ++round) {
        for (int32_t& v : t) v = static_cast<int32_t>(random.bits() >> (34 + random.below(28))) - 1000;
        for (int32_t& c : classes) c = static_cast<int32_t>(random.below(MAX_CLASSES));
        for (int32_t& w : weights)
            w = static_cast<int32_t>((random.bits() % 2001 - 1000) << 16 | (random.bits() % 2001 + 64536) % 65536);
        for (int32_t& b : bias) b = static_cast<int32_t>(random.below(4096));
        FilterRow job;
        job.sources = 1 + static_cast<int>(random.below(2));
        job.t[0] = t.data() + PAD, job.t[1] = t.data() + PAD + 1;
        job.classes = classes.data();
        job.pairs = 6;
        for (int p = 0; p < job.pairs; ++p) job.step[p] = p + 1;
        job.weights = weights.data();
        job.bias = bias.data();
        job.shift = static_cast<int>(random.below(15));
        job.n = N;
        std::vector<int16_t> expected(N), found(N);
        for (size_t i = 0; i < N; ++i) {
            int64_t sum = bias[static_cast<size_t>(classes[i])];
            for (int k = 0; k < job.sources * job.pairs; ++k) {
                const int32_t* const at = job.t[k / job.pairs] + i;
                const int p = k % job.pairs;
                const int64_t here = *at, u = at[p + 1] - here, v = at[-p - 1] - here;
                const int32_t w = weights[static_cast<size_t>(k * MAX_CLASSES + classes[i])];
                sum += int64_t{cut(u, 16383) + cut(v, 16383)} * static_cast<int16_t>(w & 0xffff);
                sum += int64_t{cut(u, 24) + cut(v, 24)} * (w >> 16);
            }
            expected[i] = static_cast<int16_t>(cut(sum >> job.shift, 32767));
        }
        job.out = found.data();
        for (const Kernels* k : all_kernels()) {
            k->enhance.filter(job);
            CHECK(found == expected);
        }
    }
}

void models_are_checked(size_t others) {
    Model model;
    for (size_t i = 0; i < others; ++i) model.aux.push_back({0.5f + static_cast<float>(i), -3});
    model.axes = 3;
    model.second = Second::value;
    model.shift = 9, model.coarse = 2;
    model.activity = {5, 9};
    model.value = {-100, 0, 3000};
    for (int i = 0; i < 12; ++i) model.filter_of.push_back(static_cast<uint8_t>(i % 3));
    Random random(2);
    model.filter.resize(3);
    for (auto& f : model.filter)
        for (int j = 0; j < model.features(); ++j)
            f[static_cast<size_t>(j)] = static_cast<int16_t>(random.below(40)) - 20;
    const Bytes bytes = write_model(model);
    Model back;
    CHECK(read_model(bytes, back) == Status::ok);
    CHECK(back.filter == model.filter && back.filter_of == model.filter_of && back.value == model.value);
    CHECK(back.activity == model.activity && back.shift == 9 && back.coarse == 2);
    CHECK(back.aux.size() == others && (others == 0 || back.aux.back().unit == model.aux.back().unit));
    for (size_t cut = 0; cut < 9 + 8 * others; ++cut)
        CHECK(read_model(View(bytes).first(cut), back) == Status::truncated);
    Model wide = model;
    wide.filter[1].fill(16000);
    CHECK(!stays_in_range(wide));
    CHECK(read_model(write_model(wide), back) == Status::corrupt);
    for (size_t i = 0; i < bytes.size(); ++i)
        for (uint8_t v : {uint8_t{0}, uint8_t{255}, static_cast<uint8_t>(bytes[i] ^ 16)}) {
            Bytes bad = bytes;
            bad[i] = v;
            if (read_model(bad, back) != Status::ok) continue;
            CHECK(back.classes() <= MAX_CLASSES && back.filter_of.size() == back.classes() && stays_in_range(back));
            for (uint8_t f : back.filter_of) CHECK(f < back.filter.size());
        }
}

}  // namespace

int main() {
    numbers_come_back();
    kernels_agree();
    models_are_checked(0);
    models_are_checked(3);
    what_decodes_is_what_was_seen<float>({40, 60}, 0);
    what_decodes_is_what_was_seen<float>({10, 24, 33}, 0.25);
    what_decodes_is_what_was_seen<double>({2, 9, 20, 31}, 0.25);
    what_decodes_is_what_was_seen<double>({5000}, 0);
    what_decodes_is_what_was_seen<float>({10, 24, 33}, 0.25, 1);
    what_decodes_is_what_was_seen<double>({40, 60}, 0, 3);
}
