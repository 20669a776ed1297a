#include "enhance/merge.hpp"

#include <cmath>
#include <limits>

namespace sciflow::enhance {

namespace {

constexpr double NEVER = std::numeric_limits<double>::infinity();

// Groups under way: which touch, what merging two would add to the error.
class Merging {
  public:
    Merging(const std::vector<Gram>& classes, const ClassGrid& grid)
        : grams_(classes), n_(classes.size()), error_(n_), rise_(n_ * n_, NEVER), touch_(n_ * n_) {
        for (size_t i = 0; i < n_; ++i) {
            owner_.push_back(i);
            error_[i] = least_error(grams_[i]);
        }
        for (size_t i = 0; i < n_; ++i)
            for (size_t j = 0; j < i; ++j)
                if (grid.touch(i, j)) touch_[i * n_ + j] = touch_[j * n_ + i] = 1, price(i, j);
    }

    size_t groups() const { return n_ - merged_; }

    double error() const {
        double sum = 0;
        for (size_t i = 0; i < n_; ++i)
            if (owner_[i] == i) sum += error_[i];
        return sum;
    }

    // Merges the pair that adds least. False where none is left.
    bool step() {
        size_t best_i = 0, best_j = 0;
        double best = NEVER;
        for (size_t i = 0; i < n_; ++i)
            for (size_t j = 0; j < i; ++j)
                if (touch_[i * n_ + j] && rise_[i * n_ + j] < best) best = rise_[i * n_ + j], best_i = i, best_j = j;
        if (best == NEVER) return false;
        join(best_j, best_i);
        return true;
    }

    std::vector<size_t> owners() const { return owner_; }

  private:
    void price(size_t i, size_t j) {
        Gram both = grams_[i];
        both.add(grams_[j]);
        rise_[i * n_ + j] = rise_[j * n_ + i] = least_error(both) - error_[i] - error_[j];
    }

    void join(size_t into, size_t from) {
        ++merged_;
        grams_[into].add(grams_[from]);
        error_[into] = least_error(grams_[into]);
        for (size_t& o : owner_)
            if (o == from) o = into;
        for (size_t k = 0; k < n_; ++k) {
            const bool touches = touch_[from * n_ + k];
            touch_[from * n_ + k] = touch_[k * n_ + from] = 0;
            if (touches && k != into) touch_[into * n_ + k] = touch_[k * n_ + into] = 1;
        }
        for (size_t k = 0; k < n_; ++k)
            if (touch_[into * n_ + k]) price(into, k);
    }

    std::vector<Gram> grams_;
    size_t n_, merged_ = 0;
    std::vector<size_t> owner_;
    std::vector<double> error_, rise_;
    std::vector<uint8_t> touch_;
};

Groupings numbered(const std::vector<Gram>& classes, const std::vector<size_t>& owner) {
    Groupings g;
    std::vector<size_t> number(owner.size(), owner.size());
    for (size_t i = 0; i < owner.size(); ++i) {
        size_t& k = number[owner[i]];
        if (k == owner.size()) k = g.grams.size(), g.grams.emplace_back(classes[i].features());
        g.grams[k].add(classes[i]);
        g.group_of.push_back(static_cast<uint8_t>(k));
    }
    return g;
}

}  // namespace

bool ClassGrid::touch(size_t a, size_t b) const {
    const size_t ra = a / columns, rb = b / columns, ca = a % columns, cb = b % columns;
    if (ca == cb) return ra + 1 == rb || rb + 1 == ra;
    if (ra != rb) return false;
    return cube ? ((ca ^ cb) & ((ca ^ cb) - 1)) == 0 : ca + 1 == cb || cb + 1 == ca;
}

Groupings merge(const std::vector<Gram>& classes, const ClassGrid& grid, size_t most, double worth, double price) {
    Merging merging(classes, grid);
    double cells = 0;
    for (const Gram& g : classes) cells += g.cells;
    std::vector<size_t> best = merging.owners();
    double least = NEVER;
    for (;;) {
        const double groups = static_cast<double>(merging.groups());
        // Weights fit the samples better than they will fit the rest: as much as they are in number.
        const double unseen = 1 + 2 * groups * classes[0].features() / cells;
        const double cost = worth * steady_log(merging.error() * unseen + 1) + price * groups;
        if (merging.groups() <= most && cost < least) least = cost, best = merging.owners();
        if (!merging.step()) break;
    }
    return numbered(classes, best);
}

}  // namespace sciflow::enhance
