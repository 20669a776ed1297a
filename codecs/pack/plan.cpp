// Which map and which differences a packed block takes, found on samples.
#include <algorithm>
#include <cmath>

#include "pack/history.hpp"
#include "pack/pack.hpp"

namespace sciflow {

namespace {

constexpr size_t LEAST_GROUPS = 16, MOST_GROUPS = 64;
constexpr size_t GROUPS_A_VALUE = 8192;  // a group is looked at for so many values
constexpr double WORTH_A_PASS = 0.98;    // a further difference must save this much

// The spacing of floats at the sample's largest magnitude.
template <class T>
double spacing(const std::vector<T>& sample) {
    double largest = 0;
    for (T v : sample) largest = std::max(largest, std::fabs(static_cast<double>(v)));
    return largest > 0 ? std::exp2(std::floor(std::log2(largest)) - (sizeof(T) == 4 ? 23 : 52)) : 0;
}

template <class T>
size_t misses(const std::vector<T>& sample, const LinearMap& map, double bound) {
    size_t count = 0;
    for (T v : sample) {
        int64_t q = 0;
        count += !map.forward(v, q) ||
                 !(std::fabs(static_cast<double>(v) - static_cast<double>(map.inverse<T>(q))) <= bound);
    }
    return count;
}

// Codes at sampled groups and at the places before them that differences reach; each place is coded once.
template <class T>
class OrderTrials {
  public:
    OrderTrials(const PackInput<T>& input, std::vector<uint32_t>& memory) : i_(input), memory_(memory) {
        const Dims& dims = input.dims;
        const size_t n = dims.size();
        distance_[0] = dims.n[1] * dims.n[2] * dims.n[X];
        distance_[1] = dims.n[2] * dims.n[X];
        distance_[2] = dims.n[X];
        distance_[X] = 1;
        const size_t count = std::clamp(n / GROUPS_A_VALUE, LEAST_GROUPS, MOST_GROUPS);
        for (size_t k = 0; k < count; ++k) {
            const size_t at = static_cast<size_t>(spread(k + 1) * static_cast<double>(n - GROUP));
            first_.push_back(at);
        }
        words_ = count * GROUP;
        memory_.resize((PLACES + 2) * words_);
    }

    uint64_t price(const Orders& o) {
        uint32_t* sum = memory_.data() + PLACES * words_;
        uint32_t* zigzagged = sum + words_;
        std::fill_n(sum, words_, 0u);
        for (size_t place = 0; place < PLACES; ++place) {
            uint32_t times = 1;
            size_t rest = place;
            for (int a = 0; a < AXES; ++a, rest /= 3) times *= SHIFTED[o.of[a]][rest % 3];
            if (times == 0) continue;
            const uint32_t* codes = codes_at(place);
            for (size_t i = 0; i < words_; ++i) sum[i] += times * codes[i];
        }
        const size_t none[MOST_LAGS] = {0, 0, 0};
        kernels().lags.differences(sum, words_, none, 0, zigzagged);
        return kernels().groups.price(zigzagged, words_ / GROUP);
    }

  private:
    static constexpr size_t PLACES = 81;  // 0 to 2 steps back along each axis
    static constexpr uint32_t MINUS = ~0u;
    static constexpr uint32_t SHIFTED[3][3] = {{1, 0, 0}, {1, MINUS, 0}, {1, 2 * MINUS, 1}};  // of (1 - S)^order

    // Even over the interval, however many are taken.
    static double spread(size_t k) {
        double v = 0, f = 1;
        for (; k > 0; k /= 2) v += static_cast<double>(k % 2) * (f /= 2);
        return v;
    }

    const uint32_t* codes_at(size_t place) {
        uint32_t* codes = memory_.data() + place * words_;
        if (known_[place]) return codes;
        known_[place] = true;
        size_t back = 0, rest = place;
        for (int a = 0; a < AXES; ++a, rest /= 3) back += rest % 3 * distance_[a];
        uint32_t doubt[GROUP];
        for (size_t k = 0; k < first_.size(); ++k) {
            const size_t skipped = back > first_[k] ? std::min<size_t>(GROUP, back - first_[k]) : 0;
            std::fill_n(codes + k * GROUP, skipped, 0u);
            steps<T>(kernels()).to_steps(i_.in + first_[k] + skipped - back, GROUP - skipped, i_.job, T(0),
                                         codes + k * GROUP + skipped, doubt);
        }
        return codes;
    }

    const PackInput<T>& i_;
    std::vector<uint32_t>& memory_;
    size_t distance_[AXES] = {0, 0, 0, 0};
    std::vector<size_t> first_;
    size_t words_ = 0;
    bool known_[PLACES] = {};
};

}  // namespace

template <class T>
std::vector<LinearMap> packed_maps(const std::vector<T>& sample, size_t n, double bound) {
    const LinearMap plain{0, 2 * bound};
    std::vector<LinearMap> maps;
    if (const LinearMap source = find_lattice(sample, bound);
        source.step > 0 && misses(sample, source, bound) * 256 <= sample.size())
        maps.push_back(source);
    // Rounding to T adds to the error: the step leaves room for it, or is an odd number of half spacings.
    const double ulp = spacing(sample);
    if (static_cast<double>(n) * ulp < bound || bound > 4 * ulp) {
        maps.push_back({0, static_cast<double>(n) * ulp < bound ? 2 * bound : 2 * (bound - ulp)});
        return maps;
    }
    std::vector<LinearMap> narrow = {plain};
    if (bound > 2 * ulp) narrow.push_back({0, 2 * (bound - ulp)});
    if (bound >= ulp) narrow.push_back({0, 2 * (std::floor(bound / ulp) + 0.5) * ulp});
    maps.push_back(*std::min_element(narrow.begin(), narrow.end(), [&](const LinearMap& a, const LinearMap& b) {
        return misses(sample, a, bound) < misses(sample, b, bound);
    }));
    return maps;
}

template <class T>
Orders choose_orders(const PackInput<T>& input, PackScratch& scratch) {
    const Dims& dims = input.dims;
    Orders best;
    if (dims.size() < GROUP) return best;
    OrderTrials<T> trials(input, scratch.sample);
    uint64_t least = trials.price(best);
    for (bool better = true; better;) {
        better = false;
        const Orders from = best;
        uint64_t limit = static_cast<uint64_t>(static_cast<double>(least) * WORTH_A_PASS);
        for (int a = 0; a < AXES; ++a) {
            Orders o = from;
            if (dims.n[a] < 2 || ++o.of[a] > 2 || o.lags() > MOST_LAGS || LagList(o, dims).reach() > dims.size())
                continue;
            const uint64_t price = trials.price(o);
            if (price >= limit) continue;
            best = o;
            least = limit = price;
            better = true;
        }
    }
    return best;
}

template std::vector<LinearMap> packed_maps<float>(const std::vector<float>&, size_t, double);
template std::vector<LinearMap> packed_maps<double>(const std::vector<double>&, size_t, double);
template Orders choose_orders<float>(const PackInput<float>&, PackScratch&);
template Orders choose_orders<double>(const PackInput<double>&, PackScratch&);

}  // namespace sciflow
