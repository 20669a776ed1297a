// Damaged streams whose checksums are right: what stands behind them. The mutator keeps header and index in order, so
// that most inputs reach the inside of a block.
#include "decoding.hpp"

using namespace sciflow;

extern "C" size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t max_size);

namespace {

Bytes mutated(View bytes, size_t max_size) {
    Bytes b(bytes.begin(), bytes.end());
    b.resize(std::max(max_size, b.size()));
    b.resize(LLVMFuzzerMutate(b.data(), bytes.size(), max_size));
    return b;
}

Bytes built_body(const Header& h, size_t block, tests::Random& random) {
    const Dims d = block_dims(h, block);
    return h.dtype == Dtype::float32 ? tests::built_body<float>(d, random) : tests::built_body<double>(d, random);
}

// The stream with one of its blocks mutated, now and then built anew; the stream itself where that block is not whole.
Bytes with_mutated_body(const Bytes& stream, const Header& h, tests::Random& random, size_t max_size) {
    const size_t block = random.below(h.block_bytes.size());
    size_t at = h.header_bytes;
    for (size_t b = 0; b < block; ++b) {
        if (h.block_bytes[b] > stream.size() - at) return stream;
        at += static_cast<size_t>(h.block_bytes[b]);
    }
    if (h.block_bytes[block] > stream.size() - at) return stream;
    const View body = View(stream).subspan(at, static_cast<size_t>(h.block_bytes[block]) - BLOCK_OVERHEAD);
    if (random.once_in(8)) return tests::with_body(stream, h, block, built_body(h, block, random));
    const size_t room = max_size > stream.size() + 16 ? max_size - stream.size() - 16 : 0;
    return tests::with_body(stream, h, block, mutated(body, body.size() + room));
}

}  // namespace

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
    fuzz::plant_seeds(*argc, *argv, fuzz::stream_seed);
    return 0;
}

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t max_size, unsigned seed) {
    Bytes stream(data, data + size);
    Header h;
    tests::Random random(seed);
    const bool inside =
        !random.once_in(8) && tests::repair_header(stream, h) && !h.block_bytes.empty() && h.values() < 5000;
    stream = inside ? with_mutated_body(stream, h, random, max_size) : mutated(stream, max_size);
    tests::repair(stream);
    if (stream.size() > max_size) return size;
    std::copy(stream.begin(), stream.end(), data);
    return stream.size();
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    fuzz::decode_all_ways(View(data, size), uint64_t{1} << 18);
    return 0;
}
