// Arbitrary weights with arbitrary streams: two bytes say how long the weights are, a stream follows them.
#include "decoding.hpp"

using namespace sciflow;

namespace {

struct Input {
    View weights, stream;

    explicit Input(View data) {
        Cursor in(data);
        uint16_t size = 0;
        if (!in.raw(size)) return;
        in.bytes(std::min<size_t>(size, in.left()), weights);
        in.bytes(in.left(), stream);
    }
};

// Four cells along each axis, and the weights of cubic interpolation.
Bytes weights_of(int axes) {
    Bytes bytes = {1, static_cast<uint8_t>(axes), 1, 1, 4};
    const unsigned mask = ((1u << axes) - 1) << (AXES - axes);
    int classes = 0;
    for (unsigned c : CLASS_ORDER) {
        if (c & ~mask) continue;
        ++classes;
        for (int away : {-1, 1, -3, 3}) {
            const int odd = 31 - __builtin_clz(c);
            for (int a = AXES - axes; a < AXES; ++a) bytes.push_back(static_cast<uint8_t>(a == odd ? away : 0));
        }
    }
    for (int row = 0; row < classes; ++row)
        for (int w : {4608, 4608, -512, -512}) {
            bytes.push_back(static_cast<uint8_t>(w & 255));
            bytes.push_back(static_cast<uint8_t>(w >> 8 & 255));
        }
    return bytes;
}

Bytes seed(uint64_t k) {
    const int axes = 1 + static_cast<int>(k % 3);
    const Bytes weights = weights_of(axes);
    Stencils stencils;
    if (read_stencils(weights, stencils) != Status::ok) fuzz::fail("weights that are not read");
    tests::Random random(k);
    const std::vector<uint64_t> shape = {5, 6, 7 + k % 20};
    const std::vector<float> values = tests::smooth<float>(shape, random, 1);
    Header h = tests::header_of<float>(shape, 0.02);
    h.stencils = &stencils;
    StreamOptions options;
    options.block.bound = h.bound;
    options.block.level = static_cast<int>(1 + k % 3);
    Bytes stream, bytes = {static_cast<uint8_t>(weights.size() & 255), static_cast<uint8_t>(weights.size() >> 8)};
    if (encode_stream(values.data(), h, options, stream) != Status::ok) fuzz::fail("a stream that is not made");
    bytes.insert(bytes.end(), weights.begin(), weights.end());
    bytes.insert(bytes.end(), stream.begin(), stream.end());
    return bytes;
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
    fuzz::plant_seeds(*argc, *argv, seed);
    return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    const Input in(View(data, size));
    Stencils stencils;
    if (read_stencils(in.weights, stencils) != Status::ok) return 0;
    Bytes stream(in.stream.begin(), in.stream.end());
    Header h;
    tests::repair(stream);
    size_t offset = 0;
    if (read_header(stream, h, offset) != Status::ok || h.values() > (uint64_t{1} << 16)) return 0;
    Bytes out(static_cast<size_t>(h.values()) * itemsize(h.dtype)), again(out.size());
    const Status s = decode_stream(stream, out.data(), out.size(), 1, offset, &stencils);
    if (s != decode_stream(stream, again.data(), again.size(), 2, offset, &stencils))
        fuzz::fail("two threads disagree");
    if (s == Status::ok && out != again) fuzz::fail("two threads decode other values");
    return 0;
}
