#include "entropy/low_bits.hpp"

#include <algorithm>
#include <bit>

namespace sciflow {

namespace {

constexpr size_t LEAST_SAMPLES = 1024, MOST_SAMPLES = 4096;
constexpr double MOST_SMALL = 0.27;  // share of codes that may lie below the bits taken away

template <class Q>
constexpr unsigned most_low_bits() {
    return 8 * sizeof(Q) - 8;
}

// A plane narrower than a byte rounds up.
size_t planes_bytes(size_t n, unsigned low) {
    size_t bytes = n * (low / 8);
    for (unsigned width : {4u, 2u, 1u})
        if (low & width) bytes += (n + 8 / width - 1) / (8 / width);
    return bytes;
}

}  // namespace

// With a mean of m the codes left are about m / 2^low, four to eight: large enough for hardly anything to be lost (their
// density is flat over 2^low), small enough for symbols of their own. Where many codes are small the mean misleads.
template <class Q>
unsigned count_low_bits(const Q* codes, size_t n, double most_zeros) {
    const size_t every = std::max<size_t>(1, n / std::clamp(n / 64, LEAST_SAMPLES, MOST_SAMPLES)) | 1;
    size_t by_length[65] = {}, seen = 0;
    double sum = 0;
    for (size_t i = every / 2; i < n; i += every, ++seen) {
        const auto v = static_cast<uint64_t>(static_cast<int64_t>(codes[i]));
        const uint64_t a = codes[i] < 0 ? uint64_t{0} - v : v;
        ++by_length[std::bit_width(a)];
        sum += static_cast<double>(a);
    }
    if (seen == 0 || sum < 16.0 * static_cast<double>(seen)) return 0;
    // More zeros than such a mean explains repeat something, and would cost their low bits each.
    const double count = static_cast<double>(seen);
    if (static_cast<double>(by_length[0]) > count * (count / sum + most_zeros)) return 0;
    unsigned low = 0;
    for (double mean = sum / static_cast<double>(seen); mean >= 8; mean /= 2) ++low;
    low = std::min(low, most_low_bits<Q>());
    size_t small = 0;
    for (unsigned bits = 0; bits <= low; ++bits) small += by_length[bits];
    while (low > 0 && static_cast<double>(small) > MOST_SMALL * static_cast<double>(seen)) small -= by_length[low--];
    return low;
}

template <class Q>
void write_low_bits(Q* codes, size_t n, unsigned low, Bytes& out) {
    out.push_back(static_cast<uint8_t>(low));
    const size_t at = out.size();
    out.resize(at + planes_bytes(n, low));
    entropy<Q>(kernels()).take_low(codes, n, low, out.data() + at);
}

template <class Q>
Status read_low_bits(Cursor& in, size_t n, LowBits& low) {
    uint8_t count = 0;
    if (!in.u8(count)) return Status::truncated;
    if (count == 0 || count > most_low_bits<Q>()) return Status::corrupt;
    low.count = count;
    return in.bytes(planes_bytes(n, count), low.planes) ? Status::ok : Status::truncated;
}

template <class Q>
void join_low_bits(const LowBits& low, size_t n, Q* codes) {
    if (low.count > 0) entropy<Q>(kernels()).give_low(codes, n, low.count, low.planes.data());
}

template unsigned count_low_bits<int32_t>(const int32_t*, size_t, double);
template unsigned count_low_bits<int64_t>(const int64_t*, size_t, double);
template void write_low_bits<int32_t>(int32_t*, size_t, unsigned, Bytes&);
template void write_low_bits<int64_t>(int64_t*, size_t, unsigned, Bytes&);
template Status read_low_bits<int32_t>(Cursor&, size_t, LowBits&);
template Status read_low_bits<int64_t>(Cursor&, size_t, LowBits&);
template void join_low_bits<int32_t>(const LowBits&, size_t, int32_t*);
template void join_low_bits<int64_t>(const LowBits&, size_t, int64_t*);

}  // namespace sciflow
