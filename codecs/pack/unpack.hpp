// A packed block's bytes to its codes, strip by strip.
#pragma once

#include "entropy/coder.hpp"
#include "pack/history.hpp"

namespace sciflow {

class Unpacker {
  public:
    Unpacker(const Dims& dims, PackScratch& scratch) : dims_(dims), n_(dims.size()), s_(scratch) {}

    // Reads all there is; `in` is then at the end of the body. Everything read here may be hostile.
    Status open(Cursor& in, EntropyScratch& entropy);

    // Without open: the differences, and where the parts lie.
    void begin(const Orders& orders);
    void set(const PackedParts& parts) { parts_ = parts; }

    // The next codes, at most STRIP of them, 0 at the end; they lie there until the next call.
    size_t next(const int32_t*& codes);

    // Whether what was opened is what was packed, bit for bit.
    bool same_as(const Orders& orders, const PackScratch& packed) const;

  private:
    Status read_bytes(Cursor& in, EntropyScratch& entropy, std::vector<uint8_t>& to, uint32_t most);
    Status read_highs(Cursor& in, EntropyScratch& entropy);

    const Dims dims_;
    const size_t n_;
    PackScratch& s_;
    Orders orders_;
    LagList lags_;
    History history_;
    View payload_, patches_;  // as opened
    PackedParts parts_;
    size_t at_ = 0, payload_at_ = 0;
    uint64_t patch_bit_ = 0;
    uint32_t carry_[2] = {0, 0};
};

}  // namespace sciflow
