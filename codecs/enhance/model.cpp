#include "enhance/model.hpp"

#include <bit>
#include <cmath>

#include "enhance/bits.hpp"

namespace sciflow::enhance {

namespace {

constexpr size_t FIXED_BYTES = 9;  // axes, second and aux; unit, origin
constexpr int KINDS = 9;
constexpr int32_t MOST_EDGE = 1 << 30;

struct Models {
    NumberModel count, edge, filter;
    std::array<NumberModel, KINDS> weight;
    Chance difference;
    NumberModel shift;
};

// Pairs are in the lexicographic order of their steps (model.hpp): these are the direct neighbours.
bool is_near(int pair, int axes) {
    static constexpr int NEAR[4][3] = {{}, {0, -1, -1}, {0, 3, -1}, {0, 3, 8}};
    for (int i = 0; i < axes; ++i)
        if (NEAR[axes][i] == pair) return true;
    return false;
}

// Which numbers are alike: taps of direct neighbours and of others, each linear or clipped; the bias; the same taps of
// other arrays.
size_t kind_of(const Model& m, int feature) {
    if (m.is_bias(feature)) return 4;
    const bool near = is_near(feature % m.pairs(), m.axes), own = feature < 2 * m.pairs();
    return (own ? 0u : 5u) + (m.is_linear(feature) ? 0u : 2u) + (near ? 0u : 1u);
}

bool is_scale(float unit, float origin) { return std::isfinite(unit) && unit > 0 && std::isfinite(origin); }

void put_edges(BitEncoder& out, Models& m, const std::vector<int32_t>& edges) {
    put_number(out, m.count, static_cast<uint32_t>(edges.size()));
    int32_t before = 0;
    for (size_t i = 0; i < edges.size(); ++i) {
        if (i == 0) put_signed(out, m.edge, edges[0]);
        else put_number(out, m.edge, static_cast<uint32_t>(edges[i] - before));
        before = edges[i];
    }
}

bool get_edges(BitDecoder& in, Models& m, std::vector<int32_t>& edges) {
    const uint32_t n = get_number(in, m.count);
    if (n >= MAX_CLASSES) return false;
    int64_t at = 0;
    for (uint32_t i = 0; i < n; ++i) {
        at = i == 0 ? get_signed(in, m.edge) : at + get_number(in, m.edge);
        if (at > MOST_EDGE || at < -MOST_EDGE) return false;
        edges.push_back(static_cast<int32_t>(at));
    }
    return true;
}

// Filters of neighbouring classes are alike: the difference to the one before may be the smaller list.
bool smaller_as_difference(const Model& model, size_t k) {
    double plain = 0, less = 0;
    for (int j = 0; j < model.features(); ++j) {
        const size_t i = static_cast<size_t>(j);
        plain += std::bit_width(static_cast<unsigned>(std::abs(model.filter[k][i])));
        less += std::bit_width(static_cast<unsigned>(std::abs(model.filter[k][i] - model.filter[k - 1][i])));
    }
    return less < plain;
}

void put_filters(BitEncoder& out, Models& m, const Model& model) {
    for (size_t k = 0; k < model.filter.size(); ++k) {
        const bool difference = k > 0 && smaller_as_difference(model, k);
        if (k > 0) out.bit(m.difference, difference);
        for (int j = 0; j < model.features(); ++j) {
            const size_t i = static_cast<size_t>(j);
            const int32_t base = difference ? model.filter[k - 1][i] : 0;
            put_signed(out, m.weight[kind_of(model, j)], model.filter[k][i] - base);
        }
    }
}

bool get_filters(BitDecoder& in, Models& m, Model& model, uint32_t count) {
    for (uint32_t k = 0; k < count; ++k) {
        const bool difference = k > 0 && in.bit(m.difference);
        model.filter.emplace_back();
        for (int j = 0; j < model.features(); ++j) {
            const size_t i = static_cast<size_t>(j);
            const int64_t base = difference ? model.filter[k - 1][i] : 0;
            const int64_t v = base + get_signed(in, m.weight[kind_of(model, j)]);
            if (v > MAX_WEIGHT || v < -MAX_WEIGHT) return false;
            model.filter[k][i] = static_cast<int16_t>(v);
        }
    }
    return true;
}

bool get_classes(BitDecoder& in, Models& m, Model& model, uint32_t& count) {
    if (!get_edges(in, m, model.activity)) return false;
    if (model.second == Second::value && !get_edges(in, m, model.value)) return false;
    if (model.classes() > MAX_CLASSES) return false;
    count = get_number(in, m.count);
    if (count < 1 || count > model.classes()) return false;
    for (size_t i = 0; i < model.classes(); ++i) {
        const uint32_t f = count == 1 ? 0 : get_number(in, m.filter);
        if (f >= count) return false;
        model.filter_of.push_back(static_cast<uint8_t>(f));
    }
    return true;
}

}  // namespace

bool stays_in_range(const Model& model) {
    const int64_t rounding = int64_t{1} << MAX_SHIFT;
    for (size_t k = 0; k < model.filter.size(); ++k) {
        int64_t sum = rounding;
        for (int j = 0; j < model.features(); ++j) {
            const int64_t w = std::abs(model.weight(k, j));
            if (w > MAX_WEIGHT) return false;
            sum += w * (model.is_bias(j) ? BIAS : model.is_linear(j) ? 2 * LINEAR_CUT : 2 * CLIPPED_CUT);
        }
        if (sum > INT32_MAX) return false;
    }
    return true;
}

Bytes write_model(const Model& model) {
    Bytes bytes;
    bytes.reserve(512);
    Writer out(bytes);
    out.u8(static_cast<uint8_t>(model.axes | static_cast<int>(model.second) << 2 |
                                static_cast<int>(model.aux.size()) << 4));
    out.raw(model.unit);
    out.raw(model.origin);
    for (const AuxScale& a : model.aux) out.raw(a.unit), out.raw(a.origin);
    Models m;
    BitEncoder bits;
    put_number(bits, m.shift, static_cast<uint32_t>(model.shift));
    put_number(bits, m.shift, static_cast<uint32_t>(model.coarse));
    put_edges(bits, m, model.activity);
    if (model.second == Second::value) put_edges(bits, m, model.value);
    put_number(bits, m.count, static_cast<uint32_t>(model.filter.size()));
    if (model.filter.size() > 1)
        for (uint8_t f : model.filter_of) put_number(bits, m.filter, f);
    put_filters(bits, m, model);
    out.bytes(bits.finish());
    return bytes;
}

Status read_model(View bytes, Model& model) {
    model = Model();
    Cursor in(bytes);
    uint8_t head = 0;
    if (bytes.size() < FIXED_BYTES || !in.u8(head) || !in.raw(model.unit) || !in.raw(model.origin))
        return Status::truncated;
    model.axes = head & 3;
    model.second = static_cast<Second>(head >> 2 & 3);
    if (model.axes == 0 || (head >> 2 & 3) > 2 || head >> 6 != 0) return Status::corrupt;
    if (!is_scale(model.unit, model.origin)) return Status::corrupt;
    model.aux.resize(static_cast<size_t>(head >> 4));
    for (AuxScale& a : model.aux) {
        if (!in.raw(a.unit) || !in.raw(a.origin)) return Status::truncated;
        if (!is_scale(a.unit, a.origin)) return Status::corrupt;
    }
    Models m;
    BitDecoder bits(bytes.subspan(FIXED_BYTES + model.aux.size() * 2 * sizeof(float)));
    const uint32_t shift = get_number(bits, m.shift), coarse = get_number(bits, m.shift);
    if (shift > MAX_SHIFT || coarse > shift) return Status::corrupt;
    model.shift = static_cast<int>(shift);
    model.coarse = static_cast<int>(coarse);
    uint32_t count = 0;
    if (!get_classes(bits, m, model, count) || !get_filters(bits, m, model, count)) return Status::corrupt;
    if (bits.over()) return Status::truncated;
    return bits.used_up() && stays_in_range(model) ? Status::ok : Status::corrupt;
}

}  // namespace sciflow::enhance
