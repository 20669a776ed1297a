#include "recipe.hpp"

#include <algorithm>
#include <limits>

#include "values.hpp"

namespace sciflow {

namespace {

constexpr size_t SAMPLE = 4096;
constexpr double BYTES_OF_ENTRY = 0.5;  // at least
constexpr double SAVED = 0.35;          // of the bits of a value, what counting distinct ones has to promise
constexpr double GAIN = 0.03;           // of the bits of a value, what a coarser step has to save
constexpr size_t REPEATED = 16;   // at least one in so many of the first sample is there again, where there are few
constexpr double COARSER = 1.01;  // than a step that is known
constexpr size_t FEW = 64;
constexpr size_t FIRST_SAMPLE = 512;  // what tells whether anything is worth a look
constexpr size_t LEAST_SLICE = 64;
constexpr double STRAY = 1e14;    // larger values are fill values, most likely: no step is sought for them
constexpr size_t MISSES = 64;     // at most one value in so many may be one that the map does not reproduce
constexpr double LEAST_GAIN = 1;  // octaves of a step above the floats' own mean spacing

constexpr double LARGEST_INTEGER = 0x1p48;

// Exponents of the spacing of floats at x (at 0 as if it were huge), and of the last bit that x sets.
template <class T>
int spacing_exponent(T x) {
    return x == 0 ? std::numeric_limits<int>::max() / 2 : std::ilogb(x) - (sizeof(T) == 4 ? 23 : 52);
}
template <class T>
int last_bit_exponent(T x) {
    constexpr int digits = sizeof(T) == 4 ? 24 : 53;
    int e = 0;
    const double m = std::ldexp(std::frexp(static_cast<double>(x), &e), digits);
    return e - digits + std::countr_zero(static_cast<uint64_t>(std::fabs(m)));
}

template <class T, class Skip>
std::vector<T> usual_sample(const T* in, Skip&& skip, size_t first, size_t end, size_t most) {
    std::vector<T> s;
    const size_t every = std::max<size_t>(1, (end - first) / most);
    for (size_t i = first; i < end; i += every)
        if (std::fabs(static_cast<double>(in[i])) < STRAY && !skip(i)) s.push_back(in[i]);
    return s;
}

// The mean exponent of the spacing of floats at these values.
template <class T>
double mean_spacing(const std::vector<T>& sample) {
    double sum = 0;
    size_t counted = 0;
    for (T x : sample) {
        if (x == 0) continue;
        sum += spacing_exponent(x);
        ++counted;
    }
    return counted > 0 ? sum / static_cast<double>(counted) : INFINITY;
}

template <class T>
struct Line {
    MapKind kind = MapKind::steps;
    double origin = 0, step = 0;

    double spacing() const { return kind == MapKind::steps ? step : 1 / step; }
    double integer(T x) const {
        const double d = static_cast<double>(x) - origin;
        return std::rint(kind == MapKind::steps ? d / step : d * step);
    }
    T value(double q) const { return static_cast<T>(origin + (kind == MapKind::steps ? q * step : q / step)); }
    double misses(T x) const { return std::fabs(static_cast<double>(value(integer(x))) - static_cast<double>(x)); }
    bool makes(T x) const {
        const double q = integer(x);
        return std::fabs(q) < LARGEST_INTEGER && value(q) == x;
    }
};

template <class T>
bool makes_all(const Line<T>& line, const std::vector<T>& values) {
    return std::all_of(values.begin(), values.end(), [&](T x) { return line.makes(x); });
}

template <class T>
bool makes_most(const Line<T>& line, const std::vector<T>& values) {
    size_t left = values.size() / MISSES;
    return std::all_of(values.begin(), values.end(), [&](T x) { return line.makes(x) || left-- > 0; });
}

// Multiples of a power of two or of a power of ten. Step 0 where there is no such.
template <class T>
Line<T> multiples(const std::vector<T>& sample, double least_step) {
    const double spacing = mean_spacing(sample);
    int last = INT32_MAX;
    for (T x : sample)
        if (x != 0) last = std::min(last, last_bit_exponent(x));
    Line<T> line{MapKind::steps, 0, std::ldexp(1.0, last == INT32_MAX ? 0 : last)};
    if (last != INT32_MAX && last >= spacing + LEAST_GAIN && line.step > least_step && makes_all(line, sample))
        return line;
    double power = 1;
    for (int digits = 0; digits < 16; ++digits, power *= 10) {
        if (!(1 / power > least_step) || -std::log2(power) < spacing + LEAST_GAIN) break;
        if (line = {MapKind::quotients, 0, power}; makes_most(line, sample)) return line;
        if (line = {MapKind::steps, 0, 1 / power}; makes_most(line, sample)) return line;
    }
    return {};
}

template <class T>
double closest_to_zero(const std::vector<T>& values) {
    const auto closer = [](T a, T b) { return std::fabs(a) < std::fabs(b); };
    return static_cast<double>(*std::min_element(values.begin(), values.end(), closer));
}

// The largest power of two of which all values are multiples, counted from the origin, but for `slack` of their own
// spacings; 0 where there is none from `finest` on. `few` of them are looked at first.
template <class T>
double coarsest_step(const std::vector<T>& all, double origin, const std::vector<T>& few, double finest, double slack) {
    const auto [least, most] = std::minmax_element(all.begin(), all.end());
    const double range = static_cast<double>(*most) - static_cast<double>(*least);
    if (range == 0) return 1;
    for (double step = std::exp2(std::ilogb(range)); step >= finest; step /= 2) {
        const Line<T> line{MapKind::steps, origin, step};
        const auto fits = [&](T x) {
            return slack == 0 ? line.makes(x) : line.misses(x) <= std::ldexp(slack, spacing_exponent(x));
        };
        if (std::all_of(few.begin(), few.end(), fits) && std::all_of(all.begin(), all.end(), fits)) return step;
    }
    return 0;
}

// The finest step worth having for such values.
template <class T>
double finest_step(const std::vector<T>& few, double least_step) {
    return std::max(std::exp2(mean_spacing(few) + LEAST_GAIN), least_step);
}

// A step for few values that rounding may have moved, as the value closest to zero is not among them; 0: none.
template <class T>
double likely_step(const std::vector<T>& few, double least_step) {
    if (few.empty()) return 1;
    return coarsest_step(few, closest_to_zero(few), few, finest_step(few, least_step), 1);
}

// The value closest to zero, of which most bits are known, and above it multiples of a power of two: so are the fields
// of a GRIB file made, each with an origin of its own.
template <class T>
Line<T> stepped_from_origin(const T* in, const std::vector<uint8_t>& missed, size_t first, size_t end,
                            double least_step) {
    const auto skip = [&](size_t i) { return missed[i] != 0; };
    const std::vector<T> few = usual_sample(in, skip, first, end, FEW);
    if (few.empty()) return {MapKind::steps, 0, 1};
    if (likely_step(few, least_step) == 0) return {};
    const std::vector<T> all = usual_sample(in, skip, first, end, end - first);
    const double origin = closest_to_zero(all);
    return {MapKind::steps, origin, coarsest_step(all, origin, few, finest_step(few, least_step), 0)};
}

template <class T>
std::vector<Line<T>> slice_lines(const T* in, const std::vector<uint8_t>& missed, size_t n, size_t slices,
                                 double least_step) {
    const size_t length = n / slices;
    const auto line_of = [&](size_t s) {
        return stepped_from_origin(in, missed, s * length, (s + 1) * length, least_step);
    };
    for (size_t s : {slices - 1, slices / 2})
        if (line_of(s).step == 0) return {};
    std::vector<Line<T>> lines;
    for (size_t s = 0; s < slices; ++s) {
        lines.push_back(line_of(s));
        if (lines.back().step == 0) return {};
        // Integers of all slices count from about the same value, so that they can be compared.
        Line<T>& line = lines.back();
        line.origin -= std::rint((line.origin - lines[0].origin) / line.step) * line.step;
    }
    return lines;
}

// The integers of every value by these lines, one a slice.
template <class T>
Recipe<T> along(const std::vector<Line<T>>& lines, int axes, const T* in, const std::vector<uint8_t>& missed,
                size_t n) {
    Recipe<T> s;
    s.map.kind = lines[0].kind;
    s.map.axes = axes;
    for (const Line<T>& line : lines) {
        s.map.origin.push_back(line.origin);
        s.map.step.push_back(line.step);
    }
    s.missed = missed;
    s.integers.resize(n);
    double held = 0;
    for (size_t i = 0; i < n; ++i) {
        const Line<T>& line = lines[i / (n / lines.size())];
        if (!missed[i] && line.makes(in[i])) {
            held = line.integer(in[i]) + 0.0;  // never -0.0
        } else {
            s.missed[i] = 1;
            ++s.misses;
        }
        s.integers[i] = held;
    }
    return s;
}

// Distinct bit patterns in the order they came, up to a limit.
template <class T>
class Distinct {
  public:
    explicit Distinct(size_t most) : most_(most) {
        size_t slots = 64;
        while (slots < 2 * most) slots *= 2;
        slots_.assign(slots, 0);
    }

    // The place of x in values(), or SIZE_MAX where it is one too many.
    size_t place(T x) {
        const auto bits = std::bit_cast<BitsOf<T>>(x);
        for (size_t i = (static_cast<uint64_t>(bits) * 0x9E3779B97F4A7C15u) >> 20;; ++i) {
            uint32_t& slot = slots_[i & (slots_.size() - 1)];
            if (slot != 0) {
                if (std::bit_cast<BitsOf<T>>(values_[slot - 1]) == bits) return slot - 1;
                continue;
            }
            if (values_.size() == most_) return SIZE_MAX;
            values_.push_back(x);
            slot = static_cast<uint32_t>(values_.size());
            return values_.size() - 1;
        }
    }

    const std::vector<T>& values() const { return values_; }

  private:
    size_t most_;
    std::vector<uint32_t> slots_;
    std::vector<T> values_;
};

// Whether a quarter of the block or less may be distinct values, and the bound leaves most of them apart; or so few
// values are distinct, over a range so wide for the bound, that trying costs little and a step may be a poor map.
template <class T>
bool few_distinct(std::vector<T> sample, size_t n, double bound) {
    std::sort(sample.begin(), sample.end());
    const size_t drawn = sample.size();
    sample.erase(std::unique(sample.begin(), sample.end()), sample.end());
    size_t apart = sample.empty() ? 0 : 1;
    for (size_t i = 1; i < sample.size(); ++i)
        apart += static_cast<double>(sample[i]) - static_cast<double>(sample[i - 1]) > 2 * bound;
    const double range = sample.empty() ? 0 : static_cast<double>(sample.back()) - static_cast<double>(sample.front());
    if (apart * 10 < sample.size() * 9 && (sample.size() * 4 > drawn || range < bound * 0x1p15)) return false;
    const double m = static_cast<double>(drawn), same = m - static_cast<double>(sample.size());
    return n <= 2 * drawn || m * m / 2 < same * static_cast<double>(n) / 2;
}

// A step that most distances of an ascending table are multiples of, but for rounding; 0: none.
template <class T>
double table_step(const std::vector<T>& table) {
    if (table.size() < 64 || std::max(std::fabs(table.front()), std::fabs(table.back())) > STRAY) return 0;
    double least = INFINITY;
    for (size_t i = 1; i < table.size(); ++i)
        least = std::min(least, static_cast<double>(table[i]) - static_cast<double>(table[i - 1]));
    double step = least, from = static_cast<double>(table[0]), steps = 0;
    for (size_t i = 1; i < table.size(); ++i) {
        const double ahead = (static_cast<double>(table[i]) - from) / step;
        const double whole = std::rint(ahead - steps);
        if (std::fabs(ahead - steps - whole) > 0.25 || steps > 0x1p30) continue;
        steps += whole;
        if (steps > 0) step = (static_cast<double>(table[i]) - from) / steps;
    }
    return step;
}

template <class T>
Recipe<T> tabulated(const T* in, const std::vector<uint8_t>& missed, size_t n) {
    Recipe<T> s;
    Distinct<T> distinct(n / 4 + 1);
    std::vector<uint32_t> places(n);
    uint32_t held = 0;
    for (size_t i = 0; i < n; ++i) {
        if (!missed[i] &&
            (i == 0 || missed[i - 1] || std::bit_cast<BitsOf<T>>(in[i]) != std::bit_cast<BitsOf<T>>(in[i - 1]))) {
            const size_t place = distinct.place(in[i]);
            if (place == SIZE_MAX) return s;
            held = static_cast<uint32_t>(place);
        }
        places[i] = held;
        s.misses += missed[i];
    }
    s.missed = missed;
    const std::vector<T>& values = distinct.values();
    std::vector<uint32_t> order(values.size());
    for (size_t k = 0; k < order.size(); ++k) order[k] = static_cast<uint32_t>(k);
    std::sort(order.begin(), order.end(), [&](uint32_t a, uint32_t b) { return values[a] < values[b]; });
    std::vector<double> rank(values.size());
    for (size_t k = 0; k < order.size(); ++k) {
        rank[order[k]] = static_cast<double>(k);
        s.map.table.push_back(values[order[k]]);
    }
    s.integers.resize(n);
    for (size_t i = 0; i < n; ++i) s.integers[i] = rank[places[i]];
    s.map.table_step = table_step(s.map.table);
    return s;
}

template <class T>
void add(Recipe<T>&& s, size_t excepted, size_t n, std::vector<Recipe<T>>& found) {
    if (!s.integers.empty() && (s.misses - excepted) * MISSES <= n) found.push_back(std::move(s));
}

template <class T>
size_t count_distinct(std::vector<T> sample) {
    std::sort(sample.begin(), sample.end());
    return static_cast<size_t>(std::unique(sample.begin(), sample.end()) - sample.begin());
}

// Whether a table of as many values as a sample has repetitions for takes less than what is there.
template <class T>
bool table_is_likely(const std::vector<T>& sample, size_t n, double bound, size_t bytes) {
    if (!few_distinct(sample, n, bound)) return false;
    const auto distinct = static_cast<double>(count_distinct(sample)), drawn = static_cast<double>(sample.size());
    const double entries = drawn > distinct ? std::max(distinct, drawn * drawn / 2 / (drawn - distinct)) : distinct;
    return entries * BYTES_OF_ENTRY < static_cast<double>(bytes);
}

// Octaves a value, at most `most` of each, by which distinct values lie further apart than a step: what counting them
// saves. Where hardly one of the sample is there once, the table has little that the sample has not.
template <class T>
double octaves_saved(std::vector<T> sample, double step, double most) {
    std::sort(sample.begin(), sample.end());
    const auto distinct = static_cast<double>(count_distinct(sample)), drawn = static_cast<double>(sample.size());
    const double entries = distinct * REPEATED > drawn ? drawn * drawn / 2 / (drawn - distinct) : distinct;
    const double share = distinct / std::max(entries, distinct);
    double sum = 0, gap = 0;
    for (size_t i = sample.size() - 1; i-- > 0;) {
        if (sample[i] != sample[i + 1]) gap = static_cast<double>(sample[i + 1]) - static_cast<double>(sample[i]);
        if (gap * share > step) sum += std::min(most, std::log2(gap * share / step));
    }
    return sum / drawn;
}

// Calls use(axes, slices) for every way to cut a block into slices, until one is true.
template <class Use>
bool any_slicing(const Dims& dims, Use&& use) {
    for (int axes = 0; axes <= X; ++axes) {
        const size_t slices = slices_of(dims, axes);
        if (axes > 0 && slices == slices_of(dims, axes - 1)) continue;
        if (dims.size() / slices < LEAST_SLICE) break;
        if (use(axes, slices)) return true;
    }
    return false;
}

// Whether a step serves all of a few slices, and shows in one at least.
template <class T, class Skip>
bool slices_are_likely(const T* in, Skip&& skip, size_t n, size_t slices, double least_step) {
    const size_t length = n / slices;
    bool shown = false;
    for (size_t part : {4, 2, 3, 1}) {
        const size_t first = (slices * part + 3) / 4 * length - length;
        const std::vector<T> few = usual_sample(in, skip, first, first + length, FEW);
        if (likely_step(few, least_step) == 0) return false;
        shown |= !few.empty() && std::any_of(few.begin(), few.end(), [&](T x) { return x != few[0]; });
    }
    return shown;
}

template <class T, class Skip>
bool lines_are_likely(const T* in, Skip&& skip, const std::vector<T>& sample, const Dims& dims, double least_step) {
    return multiples(sample, least_step).step > 0 || any_slicing(dims, [&](int, size_t slices) {
               return slices_are_likely(in, skip, dims.size(), slices, least_step);
           });
}

}  // namespace

template <class T>
Sought likely_ways(const T* in, const Dims& dims, double bound, std::span<const uint64_t> preserve, int level,
                   size_t bytes) {
    const auto skip = [&](size_t i) { return listed(in[i], preserve); };
    std::vector<T> sample = usual_sample(in, skip, 0, dims.size(), FIRST_SAMPLE);
    const double rate = 8 * static_cast<double>(bytes) / static_cast<double>(dims.size());
    Sought sought{false, false, 2 * bound * std::exp2(GAIN * rate)};
    if (sample.empty()) return sought;
    const size_t distinct = count_distinct(sample);
    sought.table = level > 1 ? sample.size() > distinct + distinct / REPEATED : distinct <= FEW;
    const double packed = find_lattice(sample, bound).step;
    if (sought.table) {
        const std::vector<T> more = usual_sample(in, skip, 0, dims.size(), SAMPLE);
        sought.table = table_is_likely(more, dims.size(), bound, bytes) &&
                       octaves_saved(more, std::max(2 * bound, packed), rate) > SAVED * rate;
    }
    if (level <= 1) return sought;
    sought.lines = lines_are_likely(in, skip, sample, dims, sought.least_step);
    if (!sought.lines && !sought.table) return sought;
    if (packed == 0) return sought;
    // Other modes know this step too, unless they took more bits than its multiples need: of use are coarser ones, and
    // tables of few of its multiples.
    const auto [least, most] = std::minmax_element(sample.begin(), sample.end());
    const double range = static_cast<double>(*most) - static_cast<double>(*least);
    if (rate > std::log2(range / packed) + 1) return sought;
    sought.table = sought.table && static_cast<double>(distinct) < range / packed / 8;
    sought.least_step = std::max(sought.least_step, packed * COARSER);
    sought.lines = sought.lines && lines_are_likely(in, skip, sample, dims, sought.least_step);
    return sought;
}

template <class T>
std::vector<Recipe<T>> find_recipes(const T* in, const std::vector<uint8_t>& missed, const Dims& dims, double bound,
                                    Sought sought) {
    const size_t n = dims.size();
    size_t excepted = 0;
    for (size_t i = 0; i < n; ++i) excepted += missed[i];
    std::vector<Recipe<T>> found;
    const std::vector<T> sample = usual_sample(in, [&](size_t i) { return missed[i] != 0; }, 0, n, SAMPLE);
    if (sample.empty()) return found;
    double coarsest = -INFINITY;  // octaves
    const auto consider = [&](const std::vector<Line<T>>& lines, int axes) {
        double octaves = 0;
        for (const Line<T>& line : lines) octaves += std::log2(line.spacing()) / static_cast<double>(lines.size());
        if (lines.empty() || octaves < coarsest + LEAST_GAIN) return;
        coarsest = octaves;
        add(along<T>(lines, axes, in, missed, n), excepted, n, found);
    };
    if (sought.lines) {
        if (const Line<T> line = multiples(sample, sought.least_step); line.step > 0) consider({line}, 0);
        any_slicing(dims, [&](int axes, size_t slices) {
            consider(slice_lines(in, missed, n, slices, sought.least_step), axes);
            return false;
        });
    }
    if (sought.table && few_distinct(sample, n, bound)) add(tabulated(in, missed, n), excepted, n, found);
    return found;
}

template Sought likely_ways<float>(const float*, const Dims&, double, std::span<const uint64_t>, int, size_t);
template Sought likely_ways<double>(const double*, const Dims&, double, std::span<const uint64_t>, int, size_t);
template std::vector<Recipe<float>> find_recipes<float>(const float*, const std::vector<uint8_t>&, const Dims&, double,
                                                        Sought);
template std::vector<Recipe<double>> find_recipes<double>(const double*, const std::vector<uint8_t>&, const Dims&,
                                                          double, Sought);

}  // namespace sciflow
