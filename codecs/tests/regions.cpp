// Bounds of regions: every value keeps that of its own region, whatever the others ask; no damaged refinement passes.
#include <algorithm>

#include "refine.hpp"
#include "streams.hpp"
#include "values.hpp"

using namespace sciflow;
using namespace sciflow::tests;

namespace {

template <class T>
struct Regional {
    Sample<T> sample;
    std::vector<uint8_t> of;
    std::vector<double> bounds;

    Status encode(Bytes& out, int threads = 1) {
        sample.options.block.regions = {of.data(), bounds};
        sample.options.threads = threads;
        return sample.encode(out);
    }
};

// Cells at random, a run of them, all or none.
std::vector<uint8_t> random_regions(size_t n, size_t kinds, Random& random) {
    std::vector<uint8_t> of(n, 0);
    const size_t way = random.below(4), first = random.below(n + 1), last = first + random.below(n - first + 1);
    for (size_t i = 0; i < n; ++i)
        if (way == 0 || (way == 1 && random.once_in(3)) || (way == 2 && i >= first && i < last))
            of[i] = static_cast<uint8_t>(way == 0 ? kinds - 1 : random.below(kinds));
    return of;
}

template <class T>
Regional<T> random_regional(Random& random) {
    Regional<T> r;
    do r.sample = random_sample<T>(random);
    while (r.sample.header.pointwise() || r.sample.header.lattice || r.sample.header.bound == 0);
    Header& h = r.sample.header;
    const size_t kinds = 2 + random.below(3);
    for (size_t k = 0; k < kinds; ++k)
        r.bounds.push_back(random.once_in(6) ? 0 : h.bound * std::ldexp(1.0, -static_cast<int>(random.below(40))));
    r.bounds[random.below(kinds)] = h.bound;
    r.of = random_regions(r.sample.values.size(), kinds, random);
    h.has_regions = true;
    h.elsewhere = r.bounds[0];
    for (size_t k = 1; k < kinds; ++k) h.regions.push_back({static_cast<int64_t>(k) - 2, r.bounds[k]});
    return r;
}

template <class T>
void each_region_keeps_its_bound(uint64_t seed) {
    Random random(seed);
    Regional<T> r = random_regional<T>(random);
    Bytes stream, threaded;
    CHECK(r.encode(stream) == Status::ok);
    CHECK(r.encode(threaded, 3) == Status::ok && threaded == stream);
    const std::vector<T> out = decoded<T>(stream, r.of.size(), 2);
    Sample<T> one = r.sample;
    for (size_t i = 0; i < out.size(); ++i) {
        one.header.bound = r.bounds[r.of[i]];
        CHECK(kept(r.sample.values[i], out[i], one));
    }
    Header h;
    size_t offset = 0;
    CHECK(read_header(stream, h, offset) == Status::ok && h.has_regions && h.elsewhere == r.bounds[0]);
    CHECK(h.regions.size() + 1 == r.bounds.size());
    for (size_t k = 1; k < r.bounds.size(); ++k)
        CHECK(h.regions[k - 1].label == static_cast<int64_t>(k) - 2 && h.regions[k - 1].bound == r.bounds[k]);
}

template <class T>
Regional<T> a_square_in_a_plane() {
    Random random(5);
    Regional<T> r;
    r.sample.values = smooth<T>({40, 50}, random, 1e-2);
    r.sample.header = header_of<T>({40, 50}, 0.5);
    r.sample.options.block.bound = 0.5;
    r.of.assign(2000, 0);
    for (size_t y = 10; y < 18; ++y)
        for (size_t x = 20; x < 31; ++x) r.of[50 * y + x] = 1;
    r.bounds = {0.5, 1e-3};
    return r;
}

// A region costs about what it holds, not what a tight bound for the whole block would.
template <class T>
void a_small_region_is_a_small_part() {
    Regional<T> r = a_square_in_a_plane<T>();
    Bytes regional, loose, tight;
    CHECK(r.encode(regional) == Status::ok);
    r.bounds = {0.5, 0.5};
    CHECK(r.encode(loose) == Status::ok);
    r.bounds = {1e-3, 1e-3};
    CHECK(r.encode(tight) == Status::ok);
    CHECK(loose.size() < regional.size() && 2 * regional.size() < tight.size());
}

// Every byte of a refined body, changed to every value, behind a checksum that fits.
template <class T>
void no_change_of_a_refinement_does_harm() {
    Regional<T> r = a_square_in_a_plane<T>();
    Bytes stream;
    CHECK(r.encode(stream) == Status::ok);
    Header h;
    size_t offset = 0;
    CHECK(read_header(stream, h, offset) == Status::ok);
    Bytes body(stream.begin() + static_cast<ptrdiff_t>(h.header_bytes), stream.end() - BLOCK_OVERHEAD);
    CHECK(body[1] & REFINED);
    BlockScratch<T> scratch;
    std::vector<T> out(2000);
    const Dims dims = block_dims(h, 0);
    size_t refused = 0;
    for (size_t i = 0; i < body.size(); ++i)
        for (int change : {1, 2, 4, 8, 16, 32, 64, 128, 255}) {
            Bytes broken = body;
            broken[i] ^= static_cast<uint8_t>(change);
            refused += decode_block(broken, dims, h, scratch, out.data()) != Status::ok;
        }
    CHECK(refused > body.size());
    for (size_t n = 0; n < body.size(); ++n)
        CHECK(decode_block(View(body).first(n), dims, h, scratch, out.data()) != Status::ok);
}

// What stands behind the codes of a block of four values.
Status refinement(std::initializer_list<int> bytes) {
    Bytes b;
    for (int v : bytes) b.push_back(static_cast<uint8_t>(v));
    BlockScratch<float> scratch;
    std::vector<float> values(4, 1.0f);
    Cursor c(b);
    return read_refinement<float>(c, dims_of(1, 1, 1, 4), nullptr, scratch, values.data());
}

void each_hostile_refinement_is_refused() {
    CHECK(refinement({}) == Status::truncated);
    CHECK(refinement({0}) == Status::corrupt);                                            // no region
    CHECK(refinement({1, 4, 1, 5}) == Status::corrupt);                                   // a run beyond the end
    CHECK(refinement({1, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}) == Status::corrupt);        // a region of nothing
    CHECK(refinement({1, 4, 1, 0, 2, 0, 0, 0, 0, 0, 0, 0, 0}) == Status::corrupt);        // no such layout
    CHECK(refinement({1, 4, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0xf0, 0xbf}) == Status::corrupt);  // a step of -1
    CHECK(refinement({1, 4, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0xf0, 0x7f}) == Status::corrupt);  // an infinite one
    CHECK(refinement({1, 4, 1, 0, 0, 0, 0, 0}) == Status::truncated);
}

}  // namespace

int main() {
    for (uint64_t seed = 1; seed <= 200; ++seed) {
        each_region_keeps_its_bound<float>(seed);
        each_region_keeps_its_bound<double>(seed);
    }
    a_small_region_is_a_small_part<float>();
    a_small_region_is_a_small_part<double>();
    no_change_of_a_refinement_does_harm<float>();
    no_change_of_a_refinement_does_harm<double>();
    each_hostile_refinement_is_refused();
}
