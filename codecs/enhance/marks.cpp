#include "enhance/marks.hpp"

#include <algorithm>
#include <cstdlib>

#include "enhance/bits.hpp"

namespace sciflow::enhance {

namespace {

constexpr size_t SIZES = 32;  // of corrections, larger ones count as the last
constexpr size_t NEAR = 3;    // marks before it in its row and above it

struct Contexts {
    std::array<Chance, SIZES * NEAR> chance;
    Contexts() {
        for (Chance& c : chance) c.zero = (1u << CHANCE_BITS) - 512;  // marks are rare
    }
};

int32_t size_of(const Corrections& c, size_t i) { return std::min(std::abs(int32_t{c.h[i]}), c.limit); }

// Visits every cell that may be marked, in order, with its context.
template <class Visit>
void visit(const Corrections& c, int32_t least, const std::vector<uint8_t>& mark, Visit&& each) {
    for (size_t r = 0; r < c.rows; ++r)
        for (size_t x = 0; x < c.nx; ++x) {
            const size_t i = r * c.nx + x;
            const int32_t size = size_of(c, i);
            if (size < least) continue;
            const size_t near = (x > 0 ? mark[i - 1] : 0) + (r > 0 ? mark[i - c.nx] : 0);
            each(i, static_cast<size_t>(std::min<int32_t>(size, SIZES - 1)) * NEAR + near);
        }
}

}  // namespace

void write_marks(const Corrections& c, const std::vector<uint8_t>& mark, Bytes& out) {
    int32_t least = 0;
    for (size_t i = 0; i < mark.size(); ++i)
        if (mark[i]) least = least == 0 ? size_of(c, i) : std::min(least, size_of(c, i));
    Writer w(out);
    w.varint(static_cast<uint64_t>(least));
    if (least == 0) return;
    Contexts contexts;
    BitEncoder bits;
    visit(c, least, mark, [&](size_t i, size_t context) { bits.bit(contexts.chance[context], mark[i] != 0); });
    const Bytes coded = bits.finish();
    w.varint(coded.size());
    w.bytes(coded);
}

Status read_marks(Cursor& in, const Corrections& c, std::vector<uint8_t>& mark) {
    mark.assign(c.rows * c.nx, 0);
    uint64_t least = 0, size = 0;
    View coded;
    if (!in.varint(least)) return Status::truncated;
    if (least == 0) return Status::ok;
    if (least > 32767) return Status::corrupt;
    if (!in.varint(size) || !in.bytes(size, coded)) return Status::truncated;
    Contexts contexts;
    BitDecoder bits(coded);
    visit(c, static_cast<int32_t>(least), mark,
          [&](size_t i, size_t context) { mark[i] = bits.bit(contexts.chance[context]) ? 1 : 0; });
    if (bits.over()) return Status::truncated;
    return bits.used_up() ? Status::ok : Status::corrupt;
}

}  // namespace sciflow::enhance
