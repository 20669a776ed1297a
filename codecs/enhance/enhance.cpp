#include "enhance/enhance.hpp"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "enhance/apply.hpp"
#include "enhance/aux.hpp"
#include "enhance/gram.hpp"
#include "enhance/marks.hpp"
#include "values.hpp"

namespace sciflow::enhance {

namespace {

constexpr size_t SAMPLES = size_t{1} << 17;
constexpr double STEPS_A_BOUND = 16;  // units in the largest error, or in four times the usual one
constexpr int32_t LIMITS[] = {4, 8, 12, 16, 24, 32767};

template <class T>
bool is_data(T x, std::span<const uint64_t> patterns) {
    return std::isfinite(x) && !listed(x, patterns);
}

// A value that must come back with every bit.
template <class T>
bool is_special(T x, std::span<const uint64_t> patterns) {
    return !is_data(x, patterns) || (x == 0 && std::signbit(x));
}

template <class T>
bool same_bits(T a, T b) {
    return std::bit_cast<BitsOf<T>>(a) == std::bit_cast<BitsOf<T>>(b);
}

struct Errors {
    double squares = 0, most = 0, low = HUGE_VAL, high = -HUGE_VAL;
    size_t cells = 0;
};

template <class T>
Errors errors_of(const T* x, const T* y, size_t n, std::span<const uint64_t> patterns) {
    Errors e;
    for (size_t i = 0; i < n; ++i) {
        if (!is_data(x[i], patterns) || !std::isfinite(y[i])) continue;
        const double d = static_cast<double>(x[i]) - static_cast<double>(y[i]);
        e.squares += d * d;
        e.most = std::max(e.most, std::fabs(d));
        e.low = std::min(e.low, static_cast<double>(y[i]));
        e.high = std::max(e.high, static_cast<double>(y[i]));
        ++e.cells;
    }
    return e;
}

// The integers' scale; unit 0 where an array leaves nothing to correct.
Scale scale_of(const Errors& e) {
    Scale s{0, 0};
    if (e.cells == 0 || !(e.most > 0) || !std::isfinite(e.squares)) return s;
    const double usual = std::sqrt(e.squares / static_cast<double>(e.cells));
    const float unit = static_cast<float>(std::min(e.most, 4 * usual) / STEPS_A_BOUND);
    const float origin = static_cast<float>(e.low / 2 + e.high / 2);
    if (!std::isnormal(unit) || !std::isfinite(origin)) return s;
    return {unit, origin};
}

// What a limit of the corrections comes to, on a part of the rows.
struct Judged {
    int32_t limit = 0;
    double cost = 0;
};

template <class T>
Judged judge(const T* x, const T* y, const std::vector<int16_t>& h, const Volume& v, const Request& r, double unit,
             double base_squares) {
    const size_t rows = v.size() / v.nx, every = v.size() > SAMPLES ? (v.size() / SAMPLES) | 1 : 1;
    double before = 0;
    std::array<double, std::size(LIMITS)> squares{}, back{};
    for (size_t row = 0; row < rows; row += every)
        for (size_t i = row * v.nx; i < (row + 1) * v.nx; ++i) {
            if (!is_data(x[i], r.patterns) || !std::isfinite(y[i])) continue;
            const double e = static_cast<double>(x[i]) - static_cast<double>(y[i]);
            before += e * e;
            for (size_t k = 0; k < std::size(LIMITS); ++k) {
                const double d = e - std::clamp<int32_t>(h[i], -LIMITS[k], LIMITS[k]) * unit;
                const bool over = r.bound > 0 && std::fabs(d) > r.bound;
                back[k] += over;
                squares[k] += over ? e * e : d * d;
            }
        }
    Judged best;
    if (!(before > 0) || !(base_squares > 0)) return best;
    for (size_t k = 0; k < std::size(LIMITS); ++k) {
        const double n = static_cast<double>(v.size() / every + 1);
        const double bits = back[k] > 0 ? back[k] * (2 + 1.443 * steady_log(n / back[k])) : 0;
        const double cost = r.fit.worth * steady_log(std::max(squares[k], before * 1e-9) / before) +
                            bits / 8 * static_cast<double>(every);
        if (k == 0 || cost < best.cost) best = {LIMITS[k], cost};
    }
    return best;
}

struct Candidate {
    Kind kind = Kind::none;
    Bytes bytes;  // of the model
    Model model;
    std::vector<int16_t> h;
    Judged judged;
};

template <class T>
void consider(Candidate next, const T* x, const T* y, const Volume& v, const Request& r, double base_squares,
              Candidate& best) {
    next.h = corrections<T>(next.model, v, {y, r.patterns}, r.aux);
    next.judged = judge(x, y, next.h, v, r, next.model.unit, base_squares);
    next.judged.cost += next.kind == Kind::own ? static_cast<double>(next.bytes.size()) : sizeof(uint32_t);
    if (next.judged.cost < best.judged.cost) best = std::move(next);
}

template <class T>
Candidate choose(const T* x, const T* y, const Volume& v, const Request& r, const Errors& base) {
    Candidate best;
    if (!r.shared.empty()) {
        Candidate shared{Kind::shared, Bytes(r.shared.begin(), r.shared.end()), {}, {}, {}};
        if (read_model(r.shared, shared.model) == Status::ok && suits(shared.model, v, r.aux.size()))
            consider(std::move(shared), x, y, v, r, base.squares, best);
    }
    const Scale scale = scale_of(base);
    if (!r.own || !(scale.unit > 0)) return best;
    const auto attempt = [&](const std::vector<AuxScale>& beside) {
        Samples samples(v.axes, beside);
        add_samples<T>(v, {x, r.patterns}, {y, r.patterns}, scale, r.aux, SAMPLES, samples);
        Fit found = fit(samples, scale, r.fit);
        if (found.found)
            consider({Kind::own, write_model(found.model), found.model, {}, {}}, x, y, v, r, base.squares, best);
    };
    attempt({});
    const std::vector<AuxScale> beside = scales_beside(v, y, scale.unit, r.aux);
    if (!beside.empty()) attempt(beside);
    return best;
}

// Marks what the bound wants back, and lists what even the decoded value does not satisfy.
template <class T>
std::vector<uint64_t> repair(const T* x, const T* y, const Request& r, std::vector<uint8_t>& mark, T* out, size_t n) {
    std::vector<uint64_t> exact;
    for (size_t i = 0; i < n; ++i) {
        const auto holds = [&](T value) {
            if (same_bits(x[i], value)) return true;
            if (is_special(x[i], r.patterns) || listed(value, r.patterns) || !std::isfinite(value)) return false;
            return !(r.bound > 0) || within(static_cast<double>(x[i]), static_cast<double>(value), r.bound);
        };
        if (holds(out[i])) continue;
        if (!mark.empty() && !same_bits(out[i], y[i])) mark[i] = 1, out[i] = y[i];
        if (holds(out[i])) continue;
        exact.push_back(i);
        out[i] = x[i];
    }
    return exact;
}

template <class T>
void write_exact(const std::vector<uint64_t>& exact, const T* x, Bytes& body) {
    Writer w(body);
    w.varint(exact.size());
    uint64_t next = 0;
    for (uint64_t i : exact) w.varint(i - next), next = i + 1;
    for (uint64_t i : exact) w.raw(x[i]);
}

template <class T>
Status read_exact(Cursor& in, size_t n, T* out) {
    uint64_t count = 0, at = 0, gap = 0;
    if (!in.varint(count)) return Status::truncated;
    if (count > n) return Status::corrupt;
    if (count > in.left()) return Status::truncated;
    std::vector<uint64_t> where;
    for (uint64_t i = 0; i < count; ++i) {
        if (!in.varint(gap)) return Status::truncated;
        if (gap >= n - at) return Status::corrupt;
        where.push_back(at + gap);
        at += gap + 1;
        if (at == n && i + 1 < count) return Status::corrupt;
    }
    for (uint64_t i : where)
        if (!in.raw(out[i])) return Status::truncated;
    return Status::ok;
}

template <class T>
void write_patterns(std::span<const uint64_t> patterns, Bytes& body) {
    Writer w(body);
    w.varint(patterns.size());
    for (uint64_t p : patterns) w.raw(static_cast<BitsOf<T>>(p));
}

template <class T>
Status read_patterns(Cursor& in, std::vector<uint64_t>& patterns) {
    uint64_t count = 0;
    if (!in.varint(count)) return Status::truncated;
    if (count > MAX_PATTERNS) return Status::corrupt;
    for (uint64_t i = 0; i < count; ++i) {
        BitsOf<T> p{};
        if (!in.raw(p)) return Status::truncated;
        patterns.push_back(p);
    }
    return Status::ok;
}

Status read_either_model(Cursor& in, Kind kind, View shared, Model& model) {
    if (kind == Kind::shared) {
        uint32_t crc = 0;
        if (!in.raw(crc)) return Status::truncated;
        if (shared.empty() || crc32c(shared) != crc) return Status::other_model;
        return read_model(shared, model);
    }
    uint64_t size = 0;
    View bytes;
    if (!in.varint(size) || !in.bytes(size, bytes)) return Status::truncated;
    return read_model(bytes, model);
}

}  // namespace

template <class T>
Status encode(const T* original, const T* decoded, std::span<const uint64_t> shape, const Request& request, T* out,
              Outcome& outcome) {
    const Volume v = Volume::of(shape);
    const size_t n = v.size();
    if (request.patterns.size() > MAX_PATTERNS) return Status::bad_argument;
    const Errors base = errors_of(original, decoded, n, request.patterns);
    Candidate best = n > 0 ? choose(original, decoded, v, request, base) : Candidate();
    std::vector<uint8_t> mark;
    if (best.kind != Kind::none) {
        correct(decoded, best.h, best.judged.limit, best.model.unit, out);
        mark.assign(n, 0);
    } else {
        std::copy_n(decoded, n, out);
    }
    const std::vector<uint64_t> exact = repair(original, decoded, request, mark, out, n);
    outcome = Outcome();
    outcome.kind = best.kind;
    Writer w(outcome.body);
    w.u8(static_cast<uint8_t>(best.kind));
    if (best.kind != Kind::none) {
        if (best.kind == Kind::own) w.varint(best.bytes.size()), w.bytes(best.bytes);
        else w.raw(crc32c(best.bytes));
        w.varint(static_cast<uint64_t>(best.judged.limit));
        write_patterns<T>(request.patterns, outcome.body);
        const size_t before = outcome.body.size();
        write_marks({best.h.data(), best.judged.limit, n / v.nx, v.nx}, mark, outcome.body);
        outcome.mark_bytes = outcome.body.size() - before;
        outcome.reach = best.judged.limit * static_cast<double>(best.model.unit);
        outcome.aux = best.model.aux.size();
    }
    write_exact(exact, original, outcome.body);
    const Errors after = errors_of(original, out, n, request.patterns);
    outcome.base_squares = base.squares, outcome.squares = after.squares;
    outcome.base_most = base.most, outcome.most = after.most;
    outcome.cells = after.cells;
    outcome.exact = exact.size();
    return Status::ok;
}

template <class T>
Status decode(View body, const Beside& beside, const T* decoded, std::span<const uint64_t> shape, T* out) {
    const Volume v = Volume::of(shape);
    Cursor in(body);
    uint8_t kind = 0;
    if (!in.u8(kind)) return Status::truncated;
    if (kind > 2) return Status::corrupt;
    std::copy_n(decoded, v.size(), out);
    if (kind != 0) {
        Model model;
        std::vector<uint64_t> patterns;
        uint64_t limit = 0;
        if (Status s = read_either_model(in, static_cast<Kind>(kind), beside.shared, model); s != Status::ok) return s;
        if (!in.varint(limit)) return Status::truncated;
        if (limit < 1 || limit > 32767 || !suits(model, v, beside.aux.size()) || v.size() == 0) return Status::corrupt;
        if (Status s = read_patterns<T>(in, patterns); s != Status::ok) return s;
        const std::vector<int16_t> h = corrections<T>(model, v, {decoded, patterns}, beside.aux);
        correct(decoded, h, static_cast<int32_t>(limit), model.unit, out);
        std::vector<uint8_t> mark;
        if (Status s = read_marks(in, {h.data(), static_cast<int32_t>(limit), v.size() / v.nx, v.nx}, mark);
            s != Status::ok)
            return s;
        for (size_t i = 0; i < mark.size(); ++i)
            if (mark[i]) out[i] = decoded[i];
    }
    if (Status s = read_exact(in, v.size(), out); s != Status::ok) return s;
    return in.left() == 0 ? Status::ok : Status::corrupt;
}

template <class T>
Bytes fit_shared(std::span<const Pair<T>> pairs, std::span<const uint64_t> patterns, const FitOptions& options) {
    Errors all;
    size_t used = 0;
    int axes = 0;
    for (const Pair<T>& p : pairs) {
        const Volume v = Volume::of(p.shape);
        if (axes != 0 && v.axes != axes) continue;
        const Errors e = errors_of(p.original, p.decoded, v.size(), patterns);
        axes = v.axes, ++used;
        all.squares += e.squares, all.cells += e.cells, all.most = std::max(all.most, e.most);
        all.low = std::min(all.low, e.low), all.high = std::max(all.high, e.high);
    }
    const Scale scale = scale_of(all);
    if (!(scale.unit > 0)) return {};
    Samples samples(axes);
    for (const Pair<T>& p : pairs) {
        const Volume v = Volume::of(p.shape);
        if (v.axes == axes)
            add_samples<T>(v, {p.original, patterns}, {p.decoded, patterns}, scale, {}, 2 * SAMPLES / used, samples);
    }
    const Fit found = fit(samples, scale, options);
    return found.found ? write_model(found.model) : Bytes();
}

#define SCIFLOW_ENHANCE(T)                                                                                  \
    template Status encode<T>(const T*, const T*, std::span<const uint64_t>, const Request&, T*, Outcome&); \
    template Status decode<T>(View, const Beside&, const T*, std::span<const uint64_t>, T*);                \
    template Bytes fit_shared<T>(std::span<const Pair<T>>, std::span<const uint64_t>, const FitOptions&);
SCIFLOW_ENHANCE(float)
SCIFLOW_ENHANCE(double)
#undef SCIFLOW_ENHANCE

}  // namespace sciflow::enhance
