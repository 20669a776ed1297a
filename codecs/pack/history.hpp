// What encoder and decoder of packed blocks share: the distances of differences, and the values they reach back to.
#pragma once

#include <algorithm>

#include "pack/packed.hpp"

namespace sciflow {

// Distances of the differences along the axes before x.
struct LagList {
    size_t of[MOST_LAGS] = {0, 0, 0};
    int count = 0;

    LagList() = default;
    LagList(const Orders& orders, const Dims& d) {
        const size_t distance[X] = {d.n[1] * d.n[2] * d.n[X], d.n[2] * d.n[X], d.n[X]};
        for (int a = 0; a < X; ++a)
            for (int k = 0; k < orders.of[a]; ++k) of[count++] = distance[a];
    }
    size_t reach() const { return of[0] + of[1] + of[2]; }
};

// A strip of values and, before it, as many as differences reach back to: zeros at first. When the memory is used up,
// what is still needed moves to its front.
class History {
  public:
    History() = default;
    History(std::vector<uint32_t>& memory, size_t reach, size_t n) : memory_(&memory), reach_(reach), at_(reach) {
        end_ = reach + std::min(n, std::max(4 * reach, 8 * STRIP)) + STRIP;
        if (memory.size() < end_) memory.resize(end_);
        std::fill_n(memory.begin(), reach, 0u);
    }

    uint32_t* strip() {
        if (at_ + STRIP > end_) {
            uint32_t* front = memory_->data();
            std::copy_n(front + at_ - reach_, reach_, front);
            at_ = reach_;
        }
        return memory_->data() + at_;
    }
    void advance(size_t n) { at_ += n; }

  private:
    std::vector<uint32_t>* memory_ = nullptr;
    size_t reach_ = 0, at_ = 0, end_ = 0;
};

}  // namespace sciflow
