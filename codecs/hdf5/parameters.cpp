#include "hdf5/parameters.hpp"

#include <bit>
#include <cmath>
#include <limits>

namespace sciflow::hdf5 {

namespace {

constexpr unsigned POINTWISE = 1, REWRITE_SAFE = 2, UNVERIFIED = 4;
constexpr size_t FRONT = 6;  // layout, level, flags, bound (2), number of bit patterns
constexpr unsigned WIDE = 1, BIG_ENDIAN_VALUES = 2;

uint64_t read_pair(std::span<const unsigned> words, size_t at) {
    return uint64_t{words[at]} | uint64_t{words[at + 1]} << 32;
}

void write_pair(std::vector<unsigned>& words, uint64_t value) {
    words.push_back(static_cast<unsigned>(value));
    words.push_back(static_cast<unsigned>(value >> 32));
}

}  // namespace

uint64_t Dataset::bytes() const {
    uint64_t n = itemsize(dtype);
    for (int i = 0; i < ndim; ++i) {
        const uint64_t side = chunk[static_cast<size_t>(i)];
        if (side == 0 || n > std::numeric_limits<uint32_t>::max() / side) return 0;  // HDF5: a chunk is below 4 GiB
        n *= side;
    }
    return n;
}

bool read_asked(std::span<const unsigned> words, Asked& asked, size_t& end) {
    if (words.size() < FRONT || words[0] != LAYOUT || words[1] > 3 || words[5] > MAX_PRESERVED) return false;
    const unsigned flags = words[2];
    if (flags > (POINTWISE | REWRITE_SAFE | UNVERIFIED)) return false;
    asked.level = static_cast<int>(words[1]);
    asked.pointwise = flags & POINTWISE;
    asked.rewrite_safe = flags & REWRITE_SAFE;
    asked.verify = !(flags & UNVERIFIED);
    asked.bound = std::bit_cast<double>(read_pair(words, 3));
    if (!(asked.bound >= 0) || std::isinf(asked.bound) || (asked.pointwise && asked.bound == 0)) return false;
    end = FRONT + 2 * size_t{words[5]};
    if (words.size() < end) return false;
    asked.preserve.clear();
    for (size_t at = FRONT; at < end; at += 2) asked.preserve.push_back(read_pair(words, at));
    return true;
}

bool read_dataset(std::span<const unsigned> words, Dataset& dataset) {
    if (words.size() < 2 || words[0] > (WIDE | BIG_ENDIAN_VALUES) || words[1] < 1 || words[1] > MAX_NDIM ||
        words.size() < 2 + size_t{words[1]})
        return false;
    dataset.dtype = words[0] & WIDE ? Dtype::float64 : Dtype::float32;
    dataset.big_endian = words[0] & BIG_ENDIAN_VALUES;
    dataset.ndim = static_cast<int>(words[1]);
    for (size_t i = 0; i < words[1]; ++i) dataset.chunk[i] = words[2 + i];
    return dataset.bytes() != 0;
}

std::vector<unsigned> write_words(const Asked& asked, const Dataset& dataset) {
    const unsigned flags =
        (asked.pointwise ? POINTWISE : 0) | (asked.rewrite_safe ? REWRITE_SAFE : 0) | (asked.verify ? 0 : UNVERIFIED);
    std::vector<unsigned> words{LAYOUT, static_cast<unsigned>(asked.level), flags};
    write_pair(words, std::bit_cast<uint64_t>(asked.bound));
    words.push_back(static_cast<unsigned>(asked.preserve.size()));
    for (uint64_t bits : asked.preserve) write_pair(words, bits);
    words.push_back((dataset.dtype == Dtype::float64 ? WIDE : 0) | (dataset.big_endian ? BIG_ENDIAN_VALUES : 0));
    words.push_back(static_cast<unsigned>(dataset.ndim));
    for (int i = 0; i < dataset.ndim; ++i)
        words.push_back(static_cast<unsigned>(dataset.chunk[static_cast<size_t>(i)]));
    return words;
}

}  // namespace sciflow::hdf5
