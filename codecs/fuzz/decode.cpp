// Arbitrary bytes into the decoder.
#include "decoding.hpp"

using namespace sciflow;

extern "C" int LLVMFuzzerInitialize(int* argc, char*** argv) {
    fuzz::plant_seeds(*argc, *argv, fuzz::stream_seed);
    return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
    fuzz::decode_all_ways(View(data, size), uint64_t{1} << 22);
    return 0;
}
