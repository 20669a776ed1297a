// What both decoder targets do with a stream, and where their first streams come from.
#pragma once

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>

#include "../tests/built.hpp"
#include "../tests/repair.hpp"

namespace sciflow::fuzz {

[[noreturn]] inline void fail(const char* what) {
    std::fprintf(stderr, "%s\n", what);
    std::abort();
}

// Whole, on one thread and on two, and block by block: the same values, or no values, from each.
inline void decode_all_ways(View stream, uint64_t most_values) {
    Header h;
    size_t offset = 0;
    if (read_header(stream, h, offset) != Status::ok || h.values() > most_values) return;
    const size_t item = itemsize(h.dtype);
    Bytes out(static_cast<size_t>(h.values()) * item), again(out.size());
    const Status whole = decode_stream(stream, out.data(), out.size(), 1, offset);
    if (whole != Status::ok && offset > stream.size()) fail("the offset lies outside the stream");
    if (h.values() < 4096 && decode_stream(stream, again.data(), again.size(), 2, offset) != whole)
        fail("two threads disagree");
    if (h.values() < 4096 && whole == Status::ok && out != again) fail("two threads decode other values");
    size_t at = h.header_bytes;
    for (uint64_t b = 0; b < h.block_bytes.size() && h.block_bytes[b] <= stream.size() - at; ++b) {
        const size_t n = static_cast<size_t>(h.block_bytes[b]);
        Bytes block(static_cast<size_t>(h.blocking.values_of(b)) * item);
        const Status s = decode_stream_block(h, stream.subspan(at, n), b, block.data(), block.size());
        if (whole == Status::ok) {
            const uint8_t* expected = out.data() + h.blocking.first_value(b) * item;
            if (s != Status::ok || std::memcmp(block.data(), expected, block.size()) != 0)
                fail("a block decodes to other values on its own");
        }
        at += n;
    }
}

// Small streams of every kind of array, written into the first corpus folder of the command line if that is empty.
template <class Seed>
void plant_seeds(int argc, char** argv, Seed&& seed) {
    namespace fs = std::filesystem;
    for (int i = 1; i < argc; ++i) {
        if (argv[i][0] == '-' || !fs::is_directory(argv[i])) continue;
        if (!fs::is_empty(argv[i])) return;
        for (uint64_t k = 0; k < 150; ++k) {
            const Bytes bytes = seed(k);
            std::ofstream(fs::path(argv[i]) / ("seed-" + std::to_string(k)), std::ios::binary)
                .write(reinterpret_cast<const char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
        }
        return;
    }
}

template <class T>
Bytes small_stream(uint64_t k) {
    for (uint64_t seed = 1000 * k;; ++seed) {
        tests::Random random(seed);
        const tests::Sample<T> s = tests::random_sample<T>(random);
        Bytes stream;
        if (s.values.size() < 3000 && s.encode(stream) == Status::ok && stream.size() < 3000) return stream;
    }
}

// Half of them as the encoder writes them.
inline Bytes stream_seed(uint64_t k) {
    tests::Random random(k);
    if (k % 4 == 0) return tests::built_stream<float>(random, 400);
    if (k % 4 == 1) return tests::built_stream<double>(random, 400);
    return k % 4 == 2 ? small_stream<float>(k) : small_stream<double>(k);
}

}  // namespace sciflow::fuzz
