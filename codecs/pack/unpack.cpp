#include "pack/unpack.hpp"

namespace sciflow {

namespace {

constexpr size_t READ_SLACK = 64;
constexpr size_t ENDS = 1024;  // bytes
constexpr uint32_t WIDEST = 32;
constexpr unsigned PLACE_BITS = 6;

const uint8_t* padded(View v, std::vector<uint8_t>& memory) {
    if (memory.size() < v.size() + READ_SLACK) memory.resize(v.size() + READ_SLACK);
    std::copy(v.begin(), v.end(), memory.begin());
    return memory.data();
}

}  // namespace

// Numbers up to `most`, one a group.
Status Unpacker::read_bytes(Cursor& in, EntropyScratch& entropy, std::vector<uint8_t>& to, uint32_t most) {
    const size_t groups = (n_ + GROUP - 1) / GROUP;
    if (Status s = read_numbers(in, groups, entropy, s_.numbers); s != Status::ok) return s;
    if (s_.numbers.size() != groups) return Status::corrupt;
    to.resize(groups);
    uint32_t largest = 0;
    for (size_t g = 0; g < groups; ++g) {
        largest = std::max(largest, s_.numbers[g]);
        to[g] = static_cast<uint8_t>(s_.numbers[g]);
    }
    return largest <= most ? Status::ok : Status::corrupt;
}

// Numbers of the groups that are patched.
Status Unpacker::read_highs(Cursor& in, EntropyScratch& entropy) {
    const size_t groups = s_.count.size();
    if (Status s = read_numbers(in, groups, entropy, s_.numbers); s != Status::ok) return s;
    s_.high.assign(groups, 0);
    size_t k = 0;
    for (size_t g = 0; g < groups; ++g) {
        if (s_.count[g] == 0) continue;
        if (k == s_.numbers.size() || s_.numbers[k] > WIDEST) return Status::corrupt;
        s_.high[g] = static_cast<uint8_t>(s_.numbers[k++]);
    }
    return k == s_.numbers.size() ? Status::ok : Status::corrupt;
}

Status Unpacker::open(Cursor& in, EntropyScratch& entropy) {
    uint8_t byte = 0;
    Orders orders;
    if (!in.u8(byte)) return Status::truncated;
    if (!Orders::read(byte, orders)) return Status::corrupt;
    if (Status s = read_bytes(in, entropy, s_.width, WIDEST); s != Status::ok) return s;
    if (Status s = read_bytes(in, entropy, s_.count, GROUP); s != Status::ok) return s;
    if (Status s = read_highs(in, entropy); s != Status::ok) return s;
    uint64_t bytes = 0, bits = 0;
    for (uint8_t w : s_.width) bytes += GROUP / 8 * w;
    for (size_t g = 0; g < s_.count.size(); ++g) bits += uint64_t{s_.count[g]} * (PLACE_BITS + s_.high[g]);
    if (!in.bytes(bytes, payload_) || !in.bytes((bits + 7) / 8, patches_)) return Status::truncated;
    begin(orders);
    const uint8_t* payload = patches_.size() >= READ_SLACK ? payload_.data() : padded(payload_, s_.payload);
    set({s_.width.data(), s_.count.data(), s_.high.data(), payload, padded(patches_, s_.patches)});
    return Status::ok;
}

void Unpacker::begin(const Orders& orders) {
    orders_ = orders;
    lags_ = LagList(orders, dims_);
    history_ = History(s_.history, lags_.reach(), n_);
    if (s_.strip.size() < STRIPS_HELD) s_.strip.resize(STRIPS_HELD);
}

size_t Unpacker::next(const int32_t*& codes) {
    const size_t n = std::min(STRIP, n_ - at_), group = at_ / GROUP;
    if (n == 0) return 0;
    uint32_t* values = history_.strip();
    UnpackJob job;
    job.groups = (n + GROUP - 1) / GROUP;
    job.width = parts_.width + group;
    job.count = parts_.count + group;
    job.high = parts_.high + group;
    job.payload = parts_.payload + payload_at_;
    job.patches = parts_.patches;
    job.patch_bit = patch_bit_;
    job.words = values;
    kernels().groups.unpack(job);
    payload_at_ = static_cast<size_t>(job.payload - parts_.payload);
    patch_bit_ = job.patch_bit;
    kernels().lags.sums(values, n, lags_.of, lags_.count);
    history_.advance(n);
    at_ += n;
    const int order = orders_.of[X];
    uint32_t* sums = order == 0 ? values : s_.strip.data();
    if (order > 0) kernels().lags.sums_along_x(values, n, order, carry_, sums);
    codes = reinterpret_cast<const int32_t*>(sums);
    return n;
}

bool Unpacker::same_as(const Orders& orders, const PackScratch& packed) const {
    const auto same = [](View a, const std::vector<uint8_t>& b, size_t n) {
        const size_t some =
            std::min(n, ENDS);  // it was copied in one piece: its ends tell that it lies where it should
        return a.size() == n && std::memcmp(a.data(), b.data(), some) == 0 &&
               std::memcmp(a.data() + n - some, b.data() + n - some, some) == 0;
    };
    for (size_t g = 0; g < s_.count.size(); ++g)
        if (s_.count[g] > 0 && s_.high[g] != packed.high[g]) return false;
    return orders_.byte() == orders.byte() && s_.width == packed.width && s_.count == packed.count &&
           same(payload_, packed.payload, packed.payload_bytes) && same(patches_, packed.patches, packed.patch_bytes);
}

}  // namespace sciflow
