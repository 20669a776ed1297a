// Little-endian bytes in and out. Every read is checked; a failed read leaves the cursor where it was.
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

#include "status.hpp"

namespace sciflow {

static_assert(std::endian::native == std::endian::little, "the engine assumes a little-endian host");

using Bytes = std::vector<uint8_t>;
using View = std::span<const uint8_t>;

class Writer {
  public:
    explicit Writer(Bytes& out) : out_(out) {}

    void u8(uint8_t v) { out_.push_back(v); }

    template <class T>
    void raw(T v) {
        uint8_t b[sizeof(T)];
        std::memcpy(b, &v, sizeof(T));
        out_.insert(out_.end(), b, b + sizeof(T));
    }

    // LEB128: seven bits a byte, least significant first, the high bit says "more".
    void varint(uint64_t v) {
        while (v >= 0x80) {
            out_.push_back(static_cast<uint8_t>(v | 0x80));
            v >>= 7;
        }
        out_.push_back(static_cast<uint8_t>(v));
    }

    void zigzag(int64_t v) { varint((static_cast<uint64_t>(v) << 1) ^ static_cast<uint64_t>(v >> 63)); }

    void bytes(View b) { out_.insert(out_.end(), b.begin(), b.end()); }

    size_t size() const { return out_.size(); }

  private:
    Bytes& out_;
};

class Cursor {
  public:
    explicit Cursor(View in) : in_(in) {}

    size_t offset() const { return at_; }
    size_t left() const { return in_.size() - at_; }

    bool u8(uint8_t& v) { return raw(v); }

    template <class T>
    bool raw(T& v) {
        if (left() < sizeof(T)) return false;
        std::memcpy(&v, in_.data() + at_, sizeof(T));
        at_ += sizeof(T);
        return true;
    }

    // False where the stream ends, and where the number does not fit 64 bits or is not in its shortest form.
    bool varint(uint64_t& v) {
        uint64_t value = 0;
        for (size_t i = 0; i < 10 && at_ + i < in_.size(); ++i) {
            const uint8_t b = in_[at_ + i];
            if (i == 9 && b > 1) return false;
            value |= static_cast<uint64_t>(b & 0x7f) << (7 * i);
            if (b & 0x80) continue;
            if (b == 0 && i > 0) return false;
            v = value;
            at_ += i + 1;
            return true;
        }
        return false;
    }

    bool zigzag(int64_t& v) {
        uint64_t u = 0;
        if (!varint(u)) return false;
        v = static_cast<int64_t>((u >> 1) ^ (~(u & 1) + 1));
        return true;
    }

    bool bytes(uint64_t n, View& v) {
        if (n > left()) return false;
        v = in_.subspan(at_, static_cast<size_t>(n));
        at_ += static_cast<size_t>(n);
        return true;
    }

    // The first n bytes as a cursor of their own.
    bool section(uint64_t n, Cursor& c) {
        View v;
        if (!bytes(n, v)) return false;
        c = Cursor(v);
        return true;
    }

  private:
    View in_;
    size_t at_ = 0;
};

// CRC-32C (Castagnoli, RFC 3720), hardware where there is one, the same value everywhere. `before` is that of what lies
// before the data.
uint32_t crc32c(View data, uint32_t before = 0);

}  // namespace sciflow
