// A body's bytes: its head with the exact set, maps, and codes by static tables or by mixing.
#include "encoder.hpp"
#include "entropy/low_bits.hpp"

namespace sciflow {

namespace {

constexpr size_t FEW_DECISIONS = 4;  // of so many codes one is not 0: symbols are no faster where fewer are

template <class Q>
bool worth_pairing(const Q* codes, size_t n) {
    return n >= PAIR_FROM && FEW_DECISIONS * (n - static_cast<size_t>(std::count(codes, codes + n, Q(0)))) >= n;
}

}  // namespace

template <class T>
void Encoder<T>::write_map(const LinearMap& map) {
    if (plain(map)) return;
    writer_.raw(map.origin);
    writer_.raw(map.step);
}

template <class T>
void Encoder<T>::head(Mode mode, uint8_t flags) {
    writer_.u8(static_cast<uint8_t>(mode));
    flags_at_ = out_.size();
    writer_.u8(static_cast<uint8_t>(flags | (exact_count_ ? HAS_EXACT : 0)));
    head_ = 2;
    if (exact_count_ == 0) return;
    std::vector<BitsOf<T>> bits;
    bits.reserve(exact_count_);
    each_marked(s_.exact.data(), n_, [&](size_t i) { bits.push_back(std::bit_cast<BitsOf<T>>(in_[i])); });
    const size_t from = out_.size();
    write_mask(s_.exact.data(), exact_count_, dims_, s_.entropy, out_);
    write_exact(bits, s_.entropy, out_);
    head_ += out_.size() - from;
    if (n_ < MIXING_FROM || options_.level < 3 || !mixing_) return;
    Bytes image;
    write_exact_image(s_.exact.data(), bits, dims_, s_.mixing, image);
    if (image.size() >= out_.size() - from) return;
    out_.resize(from);
    writer_.bytes(image);
}

template <class T>
template <class Q>
void Encoder<T>::write_codes(const std::vector<GridSpec>& grids, std::vector<Q>& codes) {
    if (options_.level < 3 || !mixing_ || n_ < MIXING_FROM) return write_symbols(grids, codes);
    Bytes mixed;
    if (whole_ && worth_pairing(codes.data(), n_)) pair_grids<Q>(grids, codes.data(), s_.mixing, mixed);
    else mix_grids<Q>(grids, codes.data(), s_.mixing, mixed);
    const size_t from = out_.size();
    const uint8_t flags = out_[flags_at_];
    write_symbols(grids, codes);
    if (mixed.size() >= out_.size() - from) return;
    out_.resize(from);
    out_[flags_at_] = flags | MIXED;
    writer_.bytes(mixed);
}

template <class T>
template <class Q>
void Encoder<T>::write_symbols(const std::vector<GridSpec>& grids, std::vector<Q>& codes) {
    const double most_zeros = options_.bound > 0 && !options_.lattice_only ? 0.05 : 0.005;
    if (const unsigned low = count_low_bits(codes.data(), n_, most_zeros); low > 0) {
        out_[flags_at_] |= LOW_BITS;
        write_low_bits(codes.data(), n_, low, out_);
    }
    const size_t from = out_.size();
    encode_grids<Q>(grids, codes.data(), s_.entropy, out_);
    if (options_.level == 1 && options_.verify && options_.mse == 0 && !options_.regions.of) check_symbols(from, grids);
}

template <class T>
void Encoder<T>::check_symbols(size_t from, const std::vector<GridSpec>& grids) {
    const auto mode = static_cast<Mode>(out_[flags_at_ - 1]);
    const uint8_t flags = out_[flags_at_];
    if ((mode != Mode::multilevel && mode != Mode::lorenzo) || (flags & (WIDE | MAGNITUDES))) return;
    was_checked_ = true;
    checked_.holds =
        grids_as_meant(View(out_).subspan(from), grids, s_.entropy) && (!(flags & HAS_EXACT) || exact_set_is_meant());
}

template <class T>
bool Encoder<T>::exact_set_is_meant() {
    grow(s_.was_exact);
    Cursor set(View(out_).subspan(flags_at_ + 1));
    std::vector<BitsOf<T>> bits;
    if (read_exact_set(set, dims_, s_.entropy, s_.mixing, s_.was_exact.data(), bits) != Status::ok ||
        bits.size() != exact_count_)
        return false;
    size_t k = 0;
    bool same = true;
    each_marked(s_.exact.data(), n_, [&](size_t i) {
        same &= k < bits.size() && s_.was_exact[i] && bits[k] == std::bit_cast<BitsOf<T>>(in_[i]);
        ++k;
    });
    return same && k == bits.size();
}

template void Encoder<float>::write_map(const LinearMap&);
template void Encoder<double>::write_map(const LinearMap&);
template void Encoder<float>::head(Mode, uint8_t);
template void Encoder<double>::head(Mode, uint8_t);
template void Encoder<float>::write_codes(const std::vector<GridSpec>&, std::vector<int32_t>&);
template void Encoder<double>::write_codes(const std::vector<GridSpec>&, std::vector<int32_t>&);
template void Encoder<float>::write_codes(const std::vector<GridSpec>&, std::vector<int64_t>&);
template void Encoder<double>::write_codes(const std::vector<GridSpec>&, std::vector<int64_t>&);

}  // namespace sciflow
