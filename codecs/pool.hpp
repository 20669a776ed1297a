// Memory that one call leaves to the next, whichever threads they run on: pages fresh from the system cost more time than
// much of what is done in them.
#pragma once

#include <array>
#include <atomic>
#include <memory>
#include <utility>

#include "scratch.hpp"

namespace sciflow {

// Objects that nobody uses, at most `objects` of them and `bytes` in all. A slot changes hands in one atomic step: there
// is no lock that a fork could find taken, and what other threads had lent is merely missing in the child.
template <class T>
class Pool {
  public:
    static constexpr size_t SLOTS = 64;

    Pool(size_t objects, size_t bytes) : objects_(objects < SLOTS ? objects : SLOTS), most_bytes_(bytes) {}
    ~Pool() {
        for (std::atomic<T*>& slot : slots_) delete slot.load();
    }
    Pool(const Pool&) = delete;
    Pool& operator=(const Pool&) = delete;

    std::unique_ptr<T> take() {
        for (size_t k = 0; k < objects_; ++k) {
            if (!slots_[k].load(std::memory_order_relaxed)) continue;
            if (T* held = slots_[k].exchange(nullptr, std::memory_order_acquire)) {
                bytes_ -= bytes_held(*held);
                return std::unique_ptr<T>(held);
            }
        }
        return std::make_unique<T>();
    }

    // Frees what there is no room for.
    void give(std::unique_ptr<T> object) {
        const size_t bytes = bytes_held(*object);
        if (bytes_.fetch_add(bytes) + bytes <= most_bytes_)
            for (size_t k = 0; k < objects_; ++k) {
                T* empty = nullptr;
                if (!slots_[k].compare_exchange_strong(empty, object.get(), std::memory_order_release)) continue;
                object.release();
                return;
            }
        bytes_ -= bytes;
    }

  private:
    const size_t objects_, most_bytes_;
    std::atomic<size_t> bytes_{0};
    std::array<std::atomic<T*>, SLOTS> slots_{};
};

// An object of a pool for as long as this lives.
template <class T>
class Lent {
  public:
    explicit Lent(Pool<T>& pool) : pool_(&pool), object_(pool.take()) {}
    ~Lent() {
        if (object_) pool_->give(std::move(object_));
    }
    Lent(Lent&&) = default;
    Lent(const Lent&) = delete;
    Lent& operator=(const Lent&) = delete;

    T& operator*() const { return *object_; }
    T* operator->() const { return object_.get(); }

  private:
    Pool<T>* pool_;
    std::unique_ptr<T> object_;
};

}  // namespace sciflow
