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

}  // namespace

uint32_t crc32c(View data) {
    uint32_t crc = 0xffffffffu;
    size_t i = 0;
#if defined(__SSE4_2__)
    for (; i + 8 <= data.size(); i += 8) {
        uint64_t w;
        std::memcpy(&w, data.data() + i, 8);
        crc = static_cast<uint32_t>(_mm_crc32_u64(crc, w));
    }
    for (; i < data.size(); ++i) crc = _mm_crc32_u8(crc, data[i]);
#else
    for (; i < data.size(); ++i) crc = (crc >> 8) ^ table[(crc ^ data[i]) & 0xff];
#endif
    return ~crc;
}

}  // namespace sciflow
