// Adaptive binary range coding, for what is too small or too sparse for tables. docs/gwlz-format.md section 5.
#pragma once

#include <array>
#include <utility>

#include "bytes.hpp"

namespace sciflow::enhance {

inline constexpr int CHANCE_BITS = 15;
inline constexpr uint32_t RANGE_LOW = 1u << 24;
inline constexpr size_t FREE_BYTES = 4;  // zeros that a reader may take from behind the end

// The chance of a zero, in 2^-15; it follows what it sees.
struct Chance {
    uint16_t zero = 1u << (CHANCE_BITS - 1);

    void see(bool bit) {
        constexpr int RATE = 5;
        if (bit) zero = static_cast<uint16_t>(zero - (zero >> RATE));
        else zero = static_cast<uint16_t>(zero + (((1u << CHANCE_BITS) - zero) >> RATE));
    }
};

class BitEncoder {
  public:
    void bit(Chance& chance, bool value) {
        const uint32_t split = (range_ >> CHANCE_BITS) * chance.zero;
        if (value) low_ += split, range_ -= split;
        else range_ = split;
        chance.see(value);
        shift();
    }

    void raw(uint32_t value, int count) {
        while (count-- > 0) {
            range_ >>= 1;
            if ((value >> count) & 1) low_ += range_;
            shift();
        }
    }

    // The bytes. Of the numbers that would do the one with most zeros at its end, and those are left out.
    Bytes finish() {
        for (int k = 31; k >= 0; --k) {
            const uint64_t step = uint64_t{1} << k, rounded = (low_ + step - 1) & ~(step - 1);
            if (rounded - low_ >= range_) continue;
            low_ = rounded;
            break;
        }
        for (int i = 0; i < 4; ++i) push();
        for (size_t i = 0; i < FREE_BYTES && !bytes_.empty() && bytes_.back() == 0; ++i) bytes_.pop_back();
        return std::move(bytes_);
    }

  private:
    void shift() {
        while (range_ < RANGE_LOW) range_ <<= 8, push();
    }

    void push() {
        if (low_ >> 32)
            for (size_t i = bytes_.size(); i-- > 0 && ++bytes_[i] == 0;) {}
        bytes_.push_back(static_cast<uint8_t>(low_ >> 24));
        low_ = (low_ & 0x00ffffff) << 8;
    }

    Bytes bytes_;  // a carry never reaches beyond the first
    uint64_t low_ = 0;
    uint32_t range_ = 0xffffffff;
};

class BitDecoder {
  public:
    explicit BitDecoder(View in) : in_(in) {
        for (int i = 0; i < 4; ++i) code_ = code_ << 8 | next();
    }

    bool bit(Chance& chance) {
        const uint32_t split = (range_ >> CHANCE_BITS) * chance.zero;
        const bool value = code_ >= split;
        if (value) code_ -= split, range_ -= split;
        else range_ = split;
        chance.see(value);
        shift();
        return value;
    }

    uint32_t raw(int count) {
        uint32_t value = 0;
        while (count-- > 0) {
            range_ >>= 1;
            const bool one = code_ >= range_;
            if (one) code_ -= range_;
            value = value << 1 | static_cast<uint32_t>(one);
            shift();
        }
        return value;
    }

    bool over() const { return at_ > in_.size() + FREE_BYTES; }  // more was read than there is
    bool used_up() const { return at_ >= in_.size(); }

  private:
    void shift() {
        while (range_ < RANGE_LOW) range_ <<= 8, code_ = code_ << 8 | next();
    }
    uint8_t next() {
        const uint8_t b = at_ < in_.size() ? in_[at_] : uint8_t{0};
        ++at_;
        return b;
    }

    View in_;
    size_t at_ = 0;
    uint32_t code_ = 0, range_ = 0xffffffff;
};

inline constexpr int NUMBER_BITS = 30;

// Numbers up to 2^31 - 2: the length of 1 + n in unary, its bits behind the first, the highest of them modelled.
struct NumberModel {
    std::array<Chance, NUMBER_BITS + 1> length;
    std::array<Chance, NUMBER_BITS + 1> second;
};

inline void put_number(BitEncoder& out, NumberModel& m, uint32_t n) {
    const uint32_t v = n + 1;
    const int bits = 31 - __builtin_clz(v);
    for (int i = 0; i < bits; ++i) out.bit(m.length[static_cast<size_t>(i)], true);
    if (bits < NUMBER_BITS) out.bit(m.length[static_cast<size_t>(bits)], false);
    if (bits == 0) return;
    out.bit(m.second[static_cast<size_t>(bits)], (v >> (bits - 1)) & 1);
    out.raw(v & ((1u << (bits - 1)) - 1), bits - 1);
}

inline uint32_t get_number(BitDecoder& in, NumberModel& m) {
    int bits = 0;
    while (bits < NUMBER_BITS && in.bit(m.length[static_cast<size_t>(bits)])) ++bits;
    if (bits == 0) return 0;
    const uint32_t second = in.bit(m.second[static_cast<size_t>(bits)]) ? 1 : 0;
    return ((2u | second) << (bits - 1) | in.raw(bits - 1)) - 1;
}

// Signed: the number of the magnitude, then a plain sign.
inline void put_signed(BitEncoder& out, NumberModel& m, int32_t v) {
    put_number(out, m, static_cast<uint32_t>(v < 0 ? -v : v));
    if (v != 0) out.raw(v < 0 ? 1 : 0, 1);
}

inline int32_t get_signed(BitDecoder& in, NumberModel& m) {
    const int32_t v = static_cast<int32_t>(get_number(in, m));
    return v != 0 && in.raw(1) ? -v : v;
}

}  // namespace sciflow::enhance
