// Binary arithmetic coding with 16-bit probabilities. docs/format.md, "Binary decisions".
#pragma once

#include <algorithm>

#include "bytes.hpp"

namespace sciflow {

inline constexpr int SHARE_BITS = 15;

class BinaryEncoder {
  public:
    static constexpr bool DECODES = false;

    // `one`: the probability of a 1, in 65536ths, 1 to 65535.
    int code(int bit, uint32_t one) {
        const uint64_t bound = (range_ >> 16) * one;
        if (bit) {
            range_ = bound;
        } else {
            low_ += bound;
            if (low_ < bound) carry();
            range_ -= bound;
        }
        if (range_ >> 32 == 0) shift();
        return bit;
    }

    // `count` even bits, at most 16.
    uint64_t code_bits(uint64_t bits, int count) {
        range_ >>= count;
        const uint64_t add = range_ * bits;
        low_ += add;
        if (low_ < add) carry();
        if (range_ >> 32 == 0) shift();
        return bits;
    }

    // One of several outcomes, which has the shares of 2^15 from `low` to `end`.
    uint32_t find() const { return 0; }
    void take(uint32_t low, uint32_t end) {
        const uint64_t r = range_ >> SHARE_BITS, add = r * low;
        low_ += add;
        if (low_ < add) carry();
        range_ = end == 1u << SHARE_BITS ? range_ - add : r * (end - low);
        if (range_ >> 32 == 0) shift();
    }

    bool over() const { return false; }

    // The shortest number inside the last interval; its zeros at the end are not written. `kind` is added to their number.
    void finish(Bytes& out, uint64_t kind = 0) {
        for (int s = 63; s >= 32; --s) {
            const uint64_t below = (uint64_t{1} << s) - 1, v = (low_ + below) & ~below;
            if (v - low_ >= range_) continue;
            if (v < low_) carry();
            low_ = v;
            break;
        }
        for (; low_ != 0; low_ <<= 8) bytes_.push_back(static_cast<uint8_t>(low_ >> 56));
        Writer w(out);
        w.varint(kind + bytes_.size());
        w.bytes(bytes_);
    }

  private:
    void shift() {
        for (int s = 56; s >= 32; s -= 8) bytes_.push_back(static_cast<uint8_t>(low_ >> s));
        low_ <<= 32;
        range_ <<= 32;
    }

    void carry() {
        for (size_t i = bytes_.size(); i > 0 && ++bytes_[i - 1] == 0; --i) {}
    }

    Bytes bytes_;
    uint64_t low_ = 0, range_ = ~uint64_t{0};
};

class BinaryDecoder {
  public:
    static constexpr bool DECODES = true;

    // `kind` is what the writer added to the number of bytes, or 0.
    Status open(Cursor& in, uint64_t& kind) {
        uint64_t length = 0;
        if (!in.varint(length)) return Status::truncated;
        if (length < kind) kind = 0;
        if (!in.bytes(length - kind, in_)) return Status::truncated;
        fetch();
        fetch();
        return Status::ok;
    }

    int code(int, uint32_t one) {
        const uint64_t bound = (range_ >> 16) * one;
        const int bit = value_ < bound;
        const uint64_t zero = static_cast<uint64_t>(bit) - 1;  // all ones for a 0
        value_ -= bound & zero;
        range_ = bit ? bound : range_ - bound;
        if (range_ >> 32 == 0) {
            range_ <<= 32;
            fetch();
        }
        return bit;
    }

    uint64_t code_bits(uint64_t, int count) {
        range_ >>= count;
        const uint64_t bits = std::min(value_ / range_, (uint64_t{1} << count) - 1);
        value_ -= bits * range_;
        if (range_ >> 32 == 0) {
            range_ <<= 32;
            fetch();
        }
        return bits;
    }

    // The share that is next.
    uint32_t find() const {
        return static_cast<uint32_t>(std::min<uint64_t>(value_ / (range_ >> SHARE_BITS), (1u << SHARE_BITS) - 1));
    }
    void take(uint32_t low, uint32_t end) {
        const uint64_t r = range_ >> SHARE_BITS, add = r * low;
        value_ -= add;
        range_ = end == 1u << SHARE_BITS ? range_ - add : r * (end - low);
        if (range_ >> 32 == 0) {
            range_ <<= 32;
            fetch();
        }
    }

    // More bytes were asked for than any encoder leaves out.
    bool over() const { return at_ > in_.size() + 8; }

    bool closed() const { return !over() && at_ >= in_.size(); }

  private:
    void fetch() {
        for (int k = 0; k < 4; ++k, ++at_) value_ = (value_ << 8) | (at_ < in_.size() ? in_[at_] : 0);
    }

    View in_;
    size_t at_ = 0;
    uint64_t value_ = 0, range_ = ~uint64_t{0};
};

}  // namespace sciflow
