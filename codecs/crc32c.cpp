#include <array>

#include "bytes.hpp"

#if defined(__SSE4_2__)
#include <nmmintrin.h>
#endif

namespace sciflow {

namespace {

#if !defined(__SSE4_2__)
constexpr std::array<uint32_t, 256> table = [] {
    std::array<uint32_t, 256> t{};
    for (uint32_t i = 0; i < 256; ++i) {
        uint32_t c = i;
        for (int k = 0; k < 8; ++k) c = (c >> 1) ^ ((c & 1) ? 0x82f63b78u : 0u);
        t[i] = c;
    }
    return t;
}();
#endif

#if defined(__SSE4_2__)

constexpr size_t LANE = 2048;  // bytes; three lanes at a time, because an instruction waits for the one before it

uint64_t eight(const uint8_t* at) {
    uint64_t w;
    std::memcpy(&w, at, 8);
    return w;
}

// What a checksum becomes when LANE zero bytes follow: linear in its bits, so by a table for each of its bytes.
struct Follow {
    std::array<std::array<uint32_t, 256>, 4> of{};

    Follow() {
        for (size_t bit = 0; bit < 32; ++bit) {
            uint64_t crc = uint64_t{1} << bit;
            for (size_t i = 0; i < LANE; i += 8) crc = _mm_crc32_u64(crc, 0);
            for (size_t v = 0; v < 256; ++v)
                if (v >> (bit % 8) & 1) of[bit / 8][v] ^= static_cast<uint32_t>(crc);
        }
    }
    uint64_t operator()(uint64_t crc) const {
        return of[0][crc & 255] ^ of[1][crc >> 8 & 255] ^ of[2][crc >> 16 & 255] ^ of[3][crc >> 24 & 255];
    }
};

#endif

}  // namespace

uint32_t crc32c(View data, uint32_t before) {
    uint32_t crc = ~before;
    size_t i = 0;
#if defined(__SSE4_2__)
    if (data.size() >= 3 * LANE) {
        static const Follow follow;
        for (; i + 3 * LANE <= data.size(); i += 3 * LANE) {
            const uint8_t* at = data.data() + i;
            uint64_t a = crc, b = 0, c = 0;
            for (size_t k = 0; k < LANE; k += 8) {
                a = _mm_crc32_u64(a, eight(at + k));
                b = _mm_crc32_u64(b, eight(at + LANE + k));
                c = _mm_crc32_u64(c, eight(at + 2 * LANE + k));
            }
            crc = static_cast<uint32_t>(follow(follow(a) ^ b) ^ c);
        }
    }
    for (; i + 8 <= data.size(); i += 8) crc = static_cast<uint32_t>(_mm_crc32_u64(crc, eight(data.data() + i)));
    for (; i < data.size(); ++i) crc = _mm_crc32_u8(crc, data[i]);
#else
    for (; i < data.size(); ++i) crc = (crc >> 8) ^ table[(crc ^ data[i]) & 0xff];
#endif
    return ~crc;
}

}  // namespace sciflow
