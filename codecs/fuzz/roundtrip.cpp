// Bytes read as an array and how to compress it: what comes back must keep the promise.
#include "decoding.hpp"

using namespace sciflow;

namespace {

// Fields of this size in front, then the values; what is missing at the end of the input is zero.
struct Request {
    uint8_t kind = 0;    // bit 0: double; bits 1-2: abs, lattice, pointwise, with a mean squared error; bits 3-4: level
    uint8_t blocks = 0;  // bits 0-1: block_values, in steps of 500; bit 7: preserve the sentinel
    uint8_t shape[3] = {};
    int8_t exponent = 0;
    uint16_t mantissa = 0;
    uint64_t sentinel = 0;
};

double bound_of(const Request& r, bool pointwise) {
    const double bound = std::ldexp(1 + r.mantissa * 0x1p-16, pointwise ? -1 - (r.exponent & 63) : r.exponent);
    return r.exponent == -128 && !pointwise ? 0 : bound;
}

template <class T>
void round_trip(const Request& r, View bytes) {
    tests::Sample<T> s;
    const int way = (r.kind >> 1) & 3;
    const bool pointwise = way == 2;
    const std::vector<uint64_t> shape = {1u + r.shape[0] % 3, r.shape[1] < 240 ? 1u + r.shape[1] % 6 : 40u,
                                         1u + r.shape[2]};
    s.header =
        tests::header_of<T>(shape, bound_of(r, pointwise), pointwise ? BoundKind::pointwise_rel : BoundKind::abs);
    s.header.lattice = way == 1;
    s.options.block.bound = s.header.bound;
    s.options.block.lattice_only = s.header.lattice;
    s.options.block.mse = way == 3 ? s.header.bound * s.header.bound / 5 : 0;
    s.options.block.level = (r.kind >> 3) & 3;
    s.options.block.verify = r.kind & 32;
    s.options.block_values = 500u * (r.blocks & 3);
    if (r.blocks & 128) s.preserve = {r.sentinel};
    // The values given, over and over with a slow drift: an input of a few bytes may be a large array.
    s.values.resize(static_cast<size_t>(s.header.values()));
    const size_t given = std::max<size_t>(1, bytes.size() / sizeof(T));
    std::vector<T> values(given);
    if (bytes.size() >= sizeof(T)) std::memcpy(values.data(), bytes.data(), given * sizeof(T));
    for (size_t i = 0; i < s.values.size(); ++i) {
        const T x = values[i % given];
        s.values[i] = i < given ? x : x + static_cast<T>(i / given) * static_cast<T>(s.header.bound);
    }
    Bytes stream;
    if (s.encode(stream) != Status::ok) fuzz::fail("the encoder failed");
    if (s.options.block_values == 0 && stream.size() > encoded_size_bound(s.values.size() * sizeof(T), 3))
        fuzz::fail("too long a stream");
    std::vector<T> out(s.values.size());
    size_t offset = 0;
    if (decode_stream(stream, out.data(), out.size() * sizeof(T), 1, offset) != Status::ok)
        fuzz::fail("the stream does not decode");
    for (size_t i = 0; i < out.size(); ++i) {
        if (tests::kept(s.values[i], out[i], s)) continue;
        std::fprintf(stderr, "value %zu: %.17g came back as %.17g, bound %.17g\n", i, static_cast<double>(s.values[i]),
                     static_cast<double>(out[i]), s.header.bound);
        fuzz::fail("the bound is violated");
    }
}

// Requests of every kind with a smooth series behind them.
Bytes request_seed(uint64_t k) {
    tests::Random random(k);
    Bytes b;
    Writer w(b);
    w.u8(static_cast<uint8_t>(k));
    w.u8(static_cast<uint8_t>(random.once_in(2) ? 0 : random.bits()));
    for (int a = 0; a < 3; ++a) w.u8(static_cast<uint8_t>(random.bits()));
    w.u8(static_cast<uint8_t>(random.below(40)) ^ 0xf0);
    w.raw(static_cast<uint16_t>(random.bits()));
    w.raw(random.bits());
    const std::vector<uint64_t> shape = {20 + random.below(200)};
    if (k % 2)
        for (double v : tests::random_values<double>(shape, random)) w.raw(v);
    else
        for (float v : tests::random_values<float>(shape, random)) w.raw(v);
    return b;
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
    fuzz::plant_seeds(*argc, *argv, request_seed);
    return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    Cursor c(View(data, size));
    Request r;
    c.raw(r.kind) && c.raw(r.blocks) && c.raw(r.shape) && c.raw(r.exponent) && c.raw(r.mantissa) && c.raw(r.sentinel);
    View values;
    c.bytes(c.left(), values);
    if (r.kind & 1) round_trip<double>(r, values);
    else round_trip<float>(r, values);
    return 0;
}
