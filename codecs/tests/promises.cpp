// Whole streams: every value keeps its promise, on any number of threads, block by block, within the published size.
#include "streams.hpp"

using namespace sciflow;
using namespace sciflow::tests;

namespace {

template <class T>
void blocks_decode_on_their_own(const Bytes& stream, const std::vector<T>& whole) {
    Header h;
    size_t offset = 0;
    CHECK(read_header(stream, h, offset) == Status::ok);
    size_t at = h.header_bytes;
    for (uint64_t b = 0; b < h.blocking.count(); ++b) {
        const size_t bytes = static_cast<size_t>(h.block_bytes[b]), n = static_cast<size_t>(h.blocking.values_of(b));
        std::vector<T> out(n);
        CHECK(decode_stream_block(h, View(stream).subspan(at, bytes), b, out.data(), n * sizeof(T)) == Status::ok);
        CHECK(std::memcmp(out.data(), whole.data() + h.blocking.first_value(b), n * sizeof(T)) == 0);
        at += bytes;
    }
}

[[noreturn]] void fail(uint64_t seed, const char* what) {
    std::fprintf(stderr, "seed %llu: %s\n", static_cast<unsigned long long>(seed), what);
    std::exit(1);
}

template <class T>
void values_are_kept(uint64_t seed, const Sample<T>& s, const std::vector<T>& out) {
    for (size_t i = 0; i < out.size(); ++i) {
        if (kept(s.values[i], out[i], s)) continue;
        std::fprintf(stderr, "value %zu, %.17g came back as %.17g, bound %.17g\n", i, static_cast<double>(s.values[i]),
                     static_cast<double>(out[i]), s.header.bound);
        fail(seed, "a value breaks its promise");
    }
    const double mse = s.options.block.mse;
    if (mse > 0 && mean_squared_error(s, out) > mse * (1 + 1e-9)) fail(seed, "the mean squared error is too large");
}

// Rewrite-safe: what was decoded is encoded to the very same values again, also in blocks cut otherwise.
template <class T>
void rewriting_changes_nothing(uint64_t seed, Sample<T> s, const std::vector<T>& out) {
    s.values = out;
    for (uint64_t block_values : {s.options.block_values, uint64_t{500}}) {
        s.options.block_values = block_values;
        Bytes stream;
        if (s.encode(stream) != Status::ok) fail(seed, "what was decoded cannot be encoded again");
        if (!same_bits(decoded<T>(stream, out.size(), 1), out)) fail(seed, "encoding again changes values");
    }
}

template <class T>
void every_promise_is_kept(uint64_t seed) {
    Random random(seed);
    Sample<T> s = random_sample<T>(random);
    Bytes stream, threaded;
    if (s.encode(stream) != Status::ok) fail(seed, "the encoder failed");
    const std::vector<T> out = decoded<T>(stream, s.values.size(), 1);
    values_are_kept(seed, s, out);
    if (s.header.lattice) rewriting_changes_nothing(seed, s, out);
    if (s.options.block_values == 0)
        CHECK(stream.size() <= encoded_size_bound(s.values.size() * sizeof(T), s.header.ndim));
    s.options.threads = 1 + static_cast<int>(seed % 8);
    CHECK(s.encode(threaded) == Status::ok && threaded == stream);
    CHECK(same_bits(decoded<T>(stream, out.size(), s.options.threads), out));
    blocks_decode_on_their_own(stream, out);
}

template <class T>
void incompressible_bits_stay_below_the_size_bound() {
    Random random(1);
    for (const std::vector<uint64_t>& shape :
         std::vector<std::vector<uint64_t>>{{}, {1}, {2}, {70000}, {3, 5, 7}, {1, 1, 1, 1, 1, 1, 1, 9}}) {
        Sample<T> s;
        for (const double bound : {0.0, 1e-30, 1.0}) {
            s.header = header_of<T>(shape, bound);
            s.options.block.bound = bound;
            s.values.resize(static_cast<size_t>(s.header.values()));
            for (T& x : s.values) x = std::bit_cast<T>(static_cast<BitsOf<T>>(random.bits()));
            Bytes stream;
            CHECK(s.encode(stream) == Status::ok);
            CHECK(stream.size() <= encoded_size_bound(s.values.size() * sizeof(T), s.header.ndim));
        }
    }
}

// The block index alone, for shapes too large to encode here.
void the_size_bound_covers_every_cut() {
    Random random(2);
    for (int i = 0; i < 2000; ++i) {
        std::vector<uint64_t> shape(1 + random.below(MAX_NDIM));
        for (uint64_t& n : shape) n = 1 + (random.bits() >> (40 + random.below(24))) % 5000000;
        const double values = [&] {
            double n = 1;
            for (uint64_t s : shape) n *= static_cast<double>(s);
            return n;
        }();
        if (values > 1e13) continue;
        const Header h = header_of<float>(shape, 1);
        const Blocking cut = plan_blocks(h, 0);
        const uint64_t header = 46 + 10 * shape.size(), each = 1 + BLOCK_OVERHEAD + 4;
        CHECK(header + 4 * h.values() + cut.count() * each <= encoded_size_bound(4 * h.values(), h.ndim));
    }
}

void a_wrong_buffer_is_refused() {
    Sample<float> s;
    s.header = header_of<float>({10}, 1);
    s.options.block.bound = 1;
    s.values.assign(10, 3.5f);
    Bytes stream;
    CHECK(s.encode(stream) == Status::ok);
    std::vector<float> out(11);
    size_t offset = 0;
    for (size_t bytes : {0, 36, 41, 44})
        CHECK(decode_stream(stream, out.data(), bytes, 1, offset) == Status::bad_argument);
    Header h;
    CHECK(read_header(stream, h, offset) == Status::ok);
    const View block = View(stream).subspan(h.header_bytes);
    CHECK(decode_stream_block(h, block, 0, out.data(), 40) == Status::ok);
    CHECK(decode_stream_block(h, block, 1, out.data(), 40) == Status::bad_argument);
    CHECK(decode_stream_block(h, block, 0, out.data(), 44) == Status::bad_argument);
    CHECK(decode_stream_block(h, block.first(block.size() - 1), 0, out.data(), 40) == Status::bad_argument);
}

}  // namespace

int main(int argc, char** argv) {
    const uint64_t first = argc > 1 ? std::strtoull(argv[1], nullptr, 10) : 1;  // promises FIRST COUNT: other seeds
    const uint64_t count = argc > 2 ? std::strtoull(argv[2], nullptr, 10) : 200;
    for (uint64_t seed = first; seed < first + count; ++seed) {
        every_promise_is_kept<float>(seed);
        every_promise_is_kept<double>(seed);
    }
    incompressible_bits_stay_below_the_size_bound<float>();
    incompressible_bits_stay_below_the_size_bound<double>();
    the_size_bound_covers_every_cut();
    a_wrong_buffer_is_refused();
}
