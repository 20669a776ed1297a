// Weights of a model: awkward shapes keep the bound, and bytes that no
// model holds are refused or stay inside.
#include <cmath>

#include "check.hpp"

using namespace sciflow;
using namespace sciflow::tests;

namespace {

// Cells at one and three along an axis that is odd, then whatever is known; weights of one in sum.
Bytes model(int axes, int sets, int levels, int taps, Random& random) {
    Bytes bytes = {1, static_cast<uint8_t>(axes), static_cast<uint8_t>(sets), static_cast<uint8_t>(levels),
                   static_cast<uint8_t>(taps)};
    const unsigned mask = ((1u << axes) - 1) << (AXES - axes);
    std::vector<unsigned> known = {0};
    for (unsigned c : CLASS_ORDER) {
        if (c & ~mask) continue;
        std::vector<std::vector<int8_t>> chosen;
        while (chosen.size() < static_cast<size_t>(taps)) {
            std::vector<int8_t> away;
            unsigned source = c;
            for (int a = AXES - axes; a < AXES; ++a) {
                away.push_back(static_cast<int8_t>(static_cast<int>(random.below(7)) - 3));
                source ^= static_cast<unsigned>(away.back() & 1) << a;
            }
            const bool there = std::find(known.begin(), known.end(), source) != known.end();
            if (there && std::find(chosen.begin(), chosen.end(), away) == chosen.end()) chosen.push_back(away);
        }
        for (const auto& away : chosen)
            for (int8_t k : away) bytes.push_back(static_cast<uint8_t>(k));
        known.push_back(c);
    }
    const int classes = (1 << axes) - 1;
    for (int row = 0; row < sets * levels * classes; ++row) {
        int left = 1 << STENCIL_BITS;
        for (int k = 0; k < taps; ++k) {
            const int w = k + 1 == taps ? left : static_cast<int>(random.below(4000)) - 1500;
            left -= w;
            const auto bits = static_cast<uint16_t>(static_cast<int16_t>(std::clamp(w, -32768, 32767)));
            bytes.push_back(static_cast<uint8_t>(bits & 255));
            bytes.push_back(static_cast<uint8_t>(bits >> 8));
        }
    }
    return bytes;
}

Stencils read(const Bytes& bytes) {
    Stencils s;
    CHECK(read_stencils(bytes, s) == Status::ok);
    return s;
}

template <class T>
void within_the_bound(const std::vector<uint64_t>& shape, const Stencils& stencils, Random& random) {
    const std::vector<T> values = smooth<T>(shape, random, 0.1);
    Header h = header_of<T>(shape, 1e-2);
    h.stencils = &stencils;
    h.stencil_set = static_cast<int>(random.below(static_cast<size_t>(stencils.sets)));
    StreamOptions options;
    options.block.bound = h.bound;
    options.block.level = 1 + static_cast<int>(random.below(3));
    Bytes stream;
    CHECK(encode_stream(values.data(), h, options, stream) == Status::ok);
    std::vector<T> out(values.size());
    size_t offset = 0;
    CHECK(decode_stream(stream, out.data(), out.size() * sizeof(T), 1, offset, &stencils) == Status::ok);
    for (size_t i = 0; i < out.size(); ++i)
        CHECK(std::fabs(static_cast<double>(values[i]) - static_cast<double>(out[i])) <= h.bound);
}

void awkward_shapes(Random& random) {
    for (int axes = 1; axes <= 3; ++axes) {
        const Stencils s = read(model(axes, 2, 2, 2 + static_cast<int>(random.below(axes == 1 ? 2 : 12)), random));
        for (uint64_t a : {1, 2, 3, 4, 7, 18})
            for (uint64_t b : {2, 3, 5, 21}) {
                within_the_bound<float>({a, b, 33}, s, random);
                within_the_bound<double>({2, b, a, 6}, s, random);
            }
    }
}

// Codes that no encoder made, by weights that no fit made.
template <class T>
void stays_inside(const Stencils& stencils, const Dims& dims, Random& random) {
    MultilevelPlan plan;
    plan.mask = stencils.mask;
    plan.stencils = &stencils;
    plan.step = 1e-2;
    std::vector<int32_t> codes(dims.size());
    for (int32_t& q : codes) q = static_cast<int32_t>(random.below(9)) - 4;
    MultilevelScratch<T> scratch;
    std::vector<T> out(dims.size());
    multilevel_decode(codes.data(), dims, plan, out.data(), scratch);
    for (T v : out) CHECK(std::isfinite(v));
}

void hostile(Random& random) {
    const Bytes good = model(3, 2, 3, 9, random);
    for (size_t n = 0; n < good.size(); ++n) {
        Stencils s;
        CHECK(read_stencils(View(good).first(n), s) == Status::truncated);
    }
    Bytes more = good;
    more.push_back(0);
    Stencils s;
    CHECK(read_stencils(more, s) == Status::corrupt);
    for (size_t at = 0; at < 5 + 7 * 9 * 3; ++at)
        for (int value : {0, 1, 2, 3, 4, 33, 127, 128, 253, 255}) {
            Bytes bad = good;
            bad[at] = static_cast<uint8_t>(value);
            Stencils found;
            if (read_stencils(bad, found) != Status::ok) continue;
            stays_inside<float>(found, dims_of(1, 5, 6, 7), random);
        }
    for (size_t k = 0; k < 3; ++k) {  // a cell twice
        Bytes twice = good;
        std::copy_n(twice.begin() + 5, 3, twice.begin() + 8);
        CHECK(read_stencils(twice, s) == Status::corrupt);
    }
}

}  // namespace

int main() {
    Random random(1);
    awkward_shapes(random);
    hostile(random);
}
