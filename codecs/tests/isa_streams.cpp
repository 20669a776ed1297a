// The same streams and the same reconstructions on every instruction set: this program runs itself once for each
// (SCIFLOW_SIMD holds the choice down) and compares what they say.
#include <cstdio>
#include <string>

#include "streams.hpp"

using namespace sciflow;
using namespace sciflow::tests;

namespace {

template <class T>
void digest(uint64_t seed) {
    Random random(seed);
    const Sample<T> s = random_sample<T>(random);
    Bytes stream;
    const Status status = s.encode(stream);
    const std::vector<T> out = status == Status::ok ? decoded<T>(stream, s.values.size(), 1) : s.values;
    std::printf("%llu %d %08x %08x\n", static_cast<unsigned long long>(seed), static_cast<int>(status), crc32c(stream),
                crc32c(View(reinterpret_cast<const uint8_t*>(out.data()), out.size() * sizeof(T))));
}

std::string output_of(const std::string& command) {
    std::string text;
    FILE* pipe = popen(command.c_str(), "r");
    CHECK(pipe != nullptr);
    char buffer[4096];
    for (size_t n; (n = std::fread(buffer, 1, sizeof buffer, pipe)) > 0;) text.append(buffer, n);
    CHECK(pclose(pipe) == 0);
    return text;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc > 1) {
        std::printf("%s\n", kernels().name);
        for (uint64_t seed = 1000; seed < 1080; ++seed) {
            digest<float>(seed);
            digest<double>(seed);
        }
        return 0;
    }
    std::string expected;
    for (const Kernels* k : all_kernels()) {
        const std::string name = k->name;
        const std::string text = output_of("SCIFLOW_SIMD=" + name + " '" + argv[0] + "' digest");
        CHECK(text.starts_with(name + "\n"));
        const std::string digests = text.substr(name.size());
        if (expected.empty()) expected = digests;
        CHECK(digests == expected);
    }
}
