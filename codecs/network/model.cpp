#include "network/model.hpp"

#include <algorithm>
#include <cstdlib>

namespace sciflow::network {

namespace {

constexpr uint8_t VERSION = 1;
constexpr uint8_t MAX_SHIFT = 30, MAX_NORM_SHIFT = 29, MAX_SQUARE = 30;

class Reader {
  public:
    Reader(View bytes, Network& network) : in_(bytes), network_(network) {}

    Status all() {
        uint8_t version = 0, axes = 0, stages = 0;
        if (!in_.u8(version)) return Status::truncated;
        if (version != VERSION) return version > VERSION ? Status::unsupported : Status::corrupt;
        if (!in_.u8(axes) || !require(axes >= 1 && axes <= 3)) return fault();
        network_.axes = axes;
        if (!number(network_.channels, MAX_CHANNELS) || !most(network_.most) || !in_.u8(stages)) return fault();
        if (stages < 1 || stages > MAX_STAGES) return Status::corrupt;
        channels_ = network_.channels;
        reach_ = network_.most;
        for (uint8_t i = 0; i < stages; ++i) {
            Stage& s = network_.stages.emplace_back();
            if (!stage(s)) return fault();
            channels_ = s.channels;
            reach_ = s.reach;
        }
        return in_.left() == 0 ? Status::ok : Status::corrupt;
    }

  private:
    // A read that fails met the end, unless a value was refused.
    Status fault() const { return refused_ ? Status::corrupt : Status::truncated; }
    bool require(bool good) {
        refused_ = refused_ || !good;
        return good;
    }

    // A varint that fails with ten bytes left is none; else it met the end.
    bool whole(bool read, size_t left) { return read || (require(left < 10) && false); }

    bool number(uint64_t& v, uint64_t largest) {
        const size_t left = in_.left();
        return whole(in_.varint(v), left) && require(v >= 1 && v <= largest);
    }
    bool small(int& v, uint8_t largest) {
        uint8_t b = 0;
        if (!in_.u8(b) || !require(b <= largest)) return false;
        v = b;
        return true;
    }
    bool most(int32_t& v) {
        uint16_t m = 0;
        if (!in_.raw(m) || !require(m >= 1 && m <= MOST)) return false;
        v = m;
        return true;
    }

    bool stage(Stage& s) {
        uint8_t kind = 0;
        if (!in_.u8(kind) || !require(kind <= static_cast<uint8_t>(Kind::inverse_gdn))) return false;
        s.kind = static_cast<Kind>(kind);
        s.in = s.outputs = s.channels = channels_;
        s.reach = reach_;
        switch (s.kind) {
            case Kind::conv: return conv(s) && sums(s);
            case Kind::transposed: return number(s.outputs, MAX_CHANNELS) && three(s) && sums(s);
            case Kind::upsample: return true;
            case Kind::dense: return dense(s) && sums(s);
            default: return norm(s);
        }
    }

    bool three(Stage& s) {
        s.kernel = 3;
        s.channels = s.outputs;
        return true;
    }

    bool conv(Stage& s) {
        int padded = 0;
        if (!number(s.outputs, MAX_CHANNELS) || !small(s.kernel, 3) || !small(s.stride, 2) || !small(padded, 1) ||
            !number(s.groups, MAX_CHANNELS))
            return false;
        s.padded = padded == 1;
        s.channels = s.outputs;
        return require((s.kernel == 1 || s.kernel == 3) && s.stride >= 1 && s.in % s.groups == 0 &&
                       s.outputs % s.groups == 0 && !(s.kernel == 1 && s.padded));
    }

    bool dense(Stage& s) {
        if (!number(s.in, MAX_DENSE) || !number(s.channels, MAX_CHANNELS)) return false;
        s.outputs = s.channels;
        for (int a = 3 - network_.axes; a < 3; ++a) {
            if (!number(s.lengths[static_cast<size_t>(a)], MAX_LENGTH)) return false;
            s.outputs *= s.lengths[static_cast<size_t>(a)];
        }
        return require(s.in % channels_ == 0 && s.outputs <= MAX_DENSE);
    }

    bool sums(Stage& s) {
        if (!most(s.most) || !activation(s)) return false;
        const uint64_t each = s.in / s.groups * taps_of(s, network_.axes);
        weights_ += s.in * taps_of(s, network_.axes) * s.outputs;
        if (!require(weights_ <= MAX_WEIGHTS) || !scales(s, /*positive=*/false) || !weights(s, each)) return false;
        return require(fits(s, each, reach_));
    }

    bool activation(Stage& s) {
        int kind = 0;
        if (!small(kind, 3)) return false;
        s.activation = static_cast<Activation>(kind);
        s.reach = s.most;
        if (s.activation == Activation::leaky) return small(s.slope, 255);
        if (s.activation != Activation::table) return true;
        s.reach = 1;
        s.table.resize(TABLE);
        for (int16_t& v : s.table) {
            if (!in_.raw(v) || !require(v >= -MOST)) return false;
            s.reach = std::max(s.reach, std::abs(int32_t{v}));
        }
        return true;
    }

    // Bias, shift and multiplier of each output.
    bool scales(Stage& s, bool positive) {
        if (s.outputs > in_.left()) return false;
        for (uint64_t i = 0; i < s.outputs; ++i) {
            int64_t bias = 0;
            const size_t left = in_.left();
            if (!whole(in_.zigzag(bias), left) ||
                !require(bias <= INT32_MAX && bias >= (positive ? 1 : -int64_t{INT32_MAX})))
                return false;
            int pre = 0;
            int32_t multiplier = 0;
            if (!small(pre, MAX_SHIFT) || !most(multiplier)) return false;
            s.bias.push_back(static_cast<int32_t>(bias));
            s.pre.push_back(static_cast<uint8_t>(pre));
            s.multiplier.push_back(static_cast<uint16_t>(multiplier));
        }
        return true;
    }

    bool weights(Stage& s, uint64_t each) {
        View raw;
        if (!in_.bytes(each * s.outputs, raw)) return false;
        s.weights.resize(raw.size());
        std::memcpy(s.weights.data(), raw.data(), raw.size());
        return true;
    }

    // Whether no order of summation leaves 32 bits, inputs being within `reach`.
    static bool fits(const Stage& s, uint64_t each, int32_t reach) {
        for (uint64_t o = 0; o < s.outputs; ++o) {
            int64_t total = std::abs(int64_t{s.bias[o]}) + ((int64_t{1} << s.pre[o]) >> 1);
            for (uint64_t i = 0; i < each; ++i) total += int64_t{std::abs(s.weights[o * each + i])} * reach;
            if (total > INT32_MAX) return false;
        }
        return true;
    }

    bool norm(Stage& s) {
        weights_ += s.in * s.in;
        if (!most(s.most) || !small(s.square, MAX_SQUARE) || !small(s.shift, MAX_NORM_SHIFT)) return false;
        s.reach = s.most;
        if (!require(weights_ <= MAX_WEIGHTS) || !scales(s, /*positive=*/true) || !weights(s, s.in)) return false;
        const bool positive = std::all_of(s.weights.begin(), s.weights.end(), [](int8_t w) { return w >= 0; });
        return require(positive && fits(s, s.in, MOST));
    }

    Cursor in_;
    Network& network_;
    uint64_t channels_ = 0, weights_ = 0;
    int32_t reach_ = MOST;
    bool refused_ = false;
};

}  // namespace

size_t taps_of(const Stage& stage, int axes) {
    size_t n = 1;
    for (int a = 0; a < axes && stage.kernel == 3; ++a) n *= 3;
    return n;
}

Status read_network(View bytes, Network& network) {
    network = Network();
    return Reader(bytes, network).all();
}

}  // namespace sciflow::network
