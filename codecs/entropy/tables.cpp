#include "entropy/tables.hpp"

#include <algorithm>
#include <cmath>

namespace sciflow {

namespace {

constexpr uint32_t TOTAL = 1u << PROB_BITS;
constexpr uint32_t SIXTEEN_LANES = 255;  // in the place of a first table's last symbol, which follows
constexpr int FIRST_LENGTH = 8;          // the bit length that the first frequency's is coded against

// Bits that a histogram costs with a table of its own: the symbols, and about seven bits for each that is present.
double cost(const Histogram& h, int used) {
    double bits = 0;
    uint32_t total = 0;
    int present = 0, last = 0;
    for (int s = 0; s < used; ++s) {
        if (h[s] == 0) continue;
        total += h[s];
        bits -= times_log2(h[s]);
        ++present;
        last = s;
    }
    if (present == 0) return 0;
    return bits + times_log2(total) + 7.0 * present + last + 9.0;
}

Histogram sum(const Histogram& a, const Histogram& b) {
    Histogram s;
    for (int i = 0; i < 256; ++i) s[i] = a[i] + b[i];
    return s;
}

struct Group {
    Histogram histogram;
    int used;  // its symbols lie below
    double cost;
    int first;         // fine context
    double with_next;  // cost of the union with the group behind it
};

void price_union(std::vector<Group>& g, size_t i) {
    if (i + 1 >= g.size()) return;
    g[i].with_next = cost(sum(g[i].histogram, g[i + 1].histogram), std::max(g[i].used, g[i + 1].used));
}

// The pair whose union saves most, or g.size() where none should be merged.
size_t best_pair(const std::vector<Group>& g) {
    size_t best = g.size();
    double most = g.size() > MAX_TABLES ? -INFINITY : 0;
    for (size_t i = 0; i + 1 < g.size(); ++i) {
        const double saved = g[i].cost + g[i + 1].cost - g[i].with_next;
        if (saved < most || (best != g.size() && saved <= most)) continue;
        most = saved;
        best = i;
    }
    return best;
}

class BitsOut {
  public:
    explicit BitsOut(Bytes& out) : out_(out) {}
    ~BitsOut() {
        if (held_ > 0) out_.push_back(static_cast<uint8_t>(hold_));
    }
    void put(uint32_t v, int n) {
        hold_ |= static_cast<uint64_t>(v) << held_;
        for (held_ += n; held_ >= 8; held_ -= 8, hold_ >>= 8) out_.push_back(static_cast<uint8_t>(hold_));
    }

  private:
    Bytes& out_;
    uint64_t hold_ = 0;
    int held_ = 0;
};

class BitsIn {
  public:
    explicit BitsIn(Cursor& in) : in_(in) {}
    bool get(int n, uint32_t& v) {
        while (held_ < n) {
            uint8_t b = 0;
            if (!in_.u8(b)) return false;
            hold_ |= static_cast<uint64_t>(b) << held_;
            held_ += 8;
        }
        v = static_cast<uint32_t>(hold_ & ((uint64_t{1} << n) - 1));
        hold_ >>= n;
        held_ -= n;
        return true;
    }

  private:
    Cursor& in_;
    uint64_t hold_ = 0;
    int held_ = 0;
};

int bit_length(uint32_t v) { return 32 - (v == 0 ? 32 : __builtin_clz(v)); }

void write_table(const std::array<uint16_t, 256>& f, BitsOut& out) {
    int last = SYMBOLS - 1;
    while (last > 0 && f[last] == 0) --last;
    out.put(static_cast<uint32_t>(last), 8);
    int before = FIRST_LENGTH;
    for (int s = 0; s <= last; ++s) {
        const int length = bit_length(f[s]);
        const int d = length - before;
        const int ones = d >= 0 ? 2 * d : -2 * d - 1;
        out.put((uint32_t{1} << ones) - 1, ones + 1);
        if (length > 1) out.put(f[s] & ((1u << (length - 1)) - 1), length - 1);
        before = length;
    }
}

Status read_table(std::array<uint16_t, 256>& f, uint32_t last, BitsIn& in) {
    f.fill(0);
    uint32_t total = 0;
    if (last >= SYMBOLS) return Status::corrupt;
    int before = FIRST_LENGTH;
    for (uint32_t s = 0; s <= last; ++s) {
        int z = 0;
        for (uint32_t bit = 1;; ++z) {
            if (!in.get(1, bit)) return Status::truncated;
            if (bit == 0) break;
            if (z > 2 * PROB_BITS + 2) return Status::corrupt;
        }
        const int length = before + ((z & 1) ? -(z + 1) / 2 : z / 2);
        if (length < 0 || length > PROB_BITS + 1) return Status::corrupt;
        uint32_t low = 0;
        if (length > 1 && !in.get(length - 1, low)) return Status::truncated;
        const uint32_t v = length == 0 ? 0 : (1u << (length - 1)) | low;
        total += v;
        if (total > TOTAL) return Status::corrupt;
        f[s] = static_cast<uint16_t>(v);
        before = length;
    }
    return total == TOTAL ? Status::ok : Status::corrupt;
}

}  // namespace

// A table, because trials ask for the same few thousand again and again.
double times_log2(uint32_t c) {
    constexpr size_t SIZE = 1 << 14;
    static const std::vector<double> table = [] {
        std::vector<double> t(SIZE, 0.0);
        for (size_t k = 2; k < SIZE; ++k) t[k] = static_cast<double>(k) * std::log2(static_cast<double>(k));
        return t;
    }();
    return c < SIZE ? table[c] : c * std::log2(static_cast<double>(c));
}

int symbols_used(const uint32_t (&counts)[2][256]) {
    constexpr int STRIP = 32;
    int end = 256;
    for (; end > 0; end -= STRIP) {
        uint32_t any = 0;
        for (int s = end - STRIP; s < end; ++s) any |= counts[0][s] | counts[1][s];
        if (any != 0) break;
    }
    while (end > 0 && (counts[0][end - 1] | counts[1][end - 1]) == 0) --end;
    return end;
}

std::array<uint8_t, 32> TableMap::table_of() const {
    std::array<uint8_t, 32> t{};
    uint8_t now = 0;
    for (int i = 1; i < FINE_CONTEXTS; ++i) {
        if ((starts >> i) & 1) ++now;
        t[i] = now;
    }
    return t;
}

TableMap merge_contexts(const uint32_t (*histogram)[2][256], std::vector<Histogram>& merged) {
    std::vector<Group> g;
    for (int i = 0; i < FINE_CONTEXTS; ++i) {
        Group one;
        one.used = symbols_used(histogram[i]);
        if (one.used == 0 && !g.empty()) continue;  // an unused context follows its neighbour
        for (int k = 0; k < 256; ++k) one.histogram[k] = histogram[i][0][k] + histogram[i][1][k];
        one.cost = cost(one.histogram, one.used);
        one.first = i;
        one.with_next = 0;
        g.push_back(one);
    }
    for (size_t i = 0; i < g.size(); ++i) price_union(g, i);
    for (size_t i = best_pair(g); i < g.size(); i = best_pair(g)) {
        g[i].histogram = sum(g[i].histogram, g[i + 1].histogram);
        g[i].used = std::max(g[i].used, g[i + 1].used);
        g[i].cost = g[i].with_next;
        g.erase(g.begin() + static_cast<ptrdiff_t>(i) + 1);
        price_union(g, i);
        if (i > 0) price_union(g, i - 1);
    }
    TableMap map;
    merged.clear();
    for (const Group& one : g) {
        map.starts |= 1u << one.first;
        merged.push_back(one.histogram);
    }
    return map;
}

double bits_of_symbols(const std::vector<Histogram>& merged) {
    double bits = 0;
    for (const Histogram& h : merged) {
        uint32_t total = 0;
        for (uint32_t c : h) {
            if (c == 0) continue;
            total += c;
            bits -= times_log2(c);
        }
        bits += times_log2(total);
    }
    return bits;
}

std::array<uint16_t, 256> normalize(const Histogram& h) {
    std::array<uint16_t, 256> f{};
    uint64_t total = 0;
    for (uint32_t c : h) total += c;
    if (total == 0) {
        f[0] = TOTAL;
        return f;
    }
    int64_t left = TOTAL;
    for (int s = 0; s < SYMBOLS; ++s) {
        if (h[s] == 0) continue;
        const double share = static_cast<double>(h[s]) * TOTAL / static_cast<double>(total);
        f[s] = static_cast<uint16_t>(std::max<int64_t>(1, static_cast<int64_t>(share + 0.5)));
        left -= f[s];
    }
    // What rounding left over goes where a step costs least: one at a time from or to the best candidate.
    const int64_t change = left > 0 ? 1 : -1;
    const auto loss_of = [&](int s) -> double {
        if (f[s] == 0 || f[s] + change == 0) return INFINITY;
        return h[s] * std::log2(static_cast<double>(f[s]) / static_cast<double>(f[s] + change));
    };
    std::array<double, SYMBOLS> loss;
    for (int s = 0; s < SYMBOLS && left != 0; ++s) loss[s] = loss_of(s);
    for (; left != 0; left -= change) {
        const auto best = std::min_element(loss.begin(), loss.end()) - loss.begin();
        f[best] = static_cast<uint16_t>(f[best] + change);
        loss[best] = loss_of(static_cast<int>(best));
    }
    return f;
}

void write_tables(const TableMap& map, const std::vector<std::array<uint16_t, 256>>& freqs, Bytes& out) {
    BitsOut bits(out);
    bits.put(map.starts >> 1, FINE_CONTEXTS - 1);
    if (map.sixteen) bits.put(SIXTEEN_LANES, 8);
    for (const auto& f : freqs) write_table(f, bits);
}

Status read_tables(Cursor& in, TableMap& map, std::vector<std::array<uint16_t, 256>>& freqs) {
    BitsIn bits(in);
    uint32_t starts = 0;
    if (!bits.get(FINE_CONTEXTS - 1, starts)) return Status::truncated;
    map = {(starts << 1) | 1, false};
    if (map.tables() > MAX_TABLES) return Status::corrupt;
    freqs.resize(static_cast<size_t>(map.tables()));
    for (auto& f : freqs) {
        uint32_t last = 0;
        if (!bits.get(8, last)) return Status::truncated;
        if (&f == freqs.data() && last == SIXTEEN_LANES) {
            map.sixteen = true;
            if (!bits.get(8, last)) return Status::truncated;
        }
        if (Status s = read_table(f, last, bits); s != Status::ok) return s;
    }
    return Status::ok;
}

void encode_table(const std::array<uint16_t, 256>& freqs, uint32_t* reciprocal, uint32_t* range) {
    uint32_t start = 0;
    for (int s = 0; s < 256; ++s) {
        const uint32_t f = freqs[s];
        if (f == 0) continue;
        uint32_t k = 0;
        while ((1u << k) < f) ++k;
        reciprocal[s] = static_cast<uint32_t>(((uint64_t{1} << (31 + k)) + f - 1) / f);
        range[s] = start | (f << 12) | (k << 25);
        start += f;
    }
}

void decode_table(const std::array<uint16_t, 256>& freqs, uint32_t* out) {
    for (uint32_t s = 0; s < SYMBOLS; ++s)
        for (uint32_t i = 0; i < freqs[s]; ++i) *out++ = s | ((freqs[s] - 1u) << 8) | (i << 20);
}

}  // namespace sciflow
