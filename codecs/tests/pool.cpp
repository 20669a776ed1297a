// What calls leave to each other: never in two hands at once, and no more of it than the pool may keep.
#include "pool.hpp"

#include <thread>
#include <vector>

#include "check.hpp"

using namespace sciflow;

namespace {

std::atomic<int> alive{0};

struct Counted {
    size_t bytes = 10;
    std::atomic<bool> held{false};

    Counted() { ++alive; }
    ~Counted() { --alive; }
};

size_t bytes_held(const Counted& c) { return c.bytes; }

void what_was_given_is_taken_again() {
    Pool<Counted> pool(3, 1000);
    const Counted* first = nullptr;
    {
        const Lent<Counted> lent(pool);
        first = &*lent;
    }
    const Lent<Counted> again(pool);
    CHECK(&*again == first);
}

void no_more_objects_are_kept_than_allowed() {
    Pool<Counted> pool(3, 1000);
    const int before = alive;
    std::vector<Lent<Counted>> lent;
    for (int i = 0; i < 8; ++i) lent.emplace_back(pool);
    CHECK(alive == before + 8);
    lent.clear();
    CHECK(alive == before + 3);
}

void no_more_bytes_are_kept_than_allowed() {
    Pool<Counted> pool(8, 25);
    const int before = alive;
    for (int round = 0; round < 3; ++round) {
        std::vector<Lent<Counted>> lent;
        for (int i = 0; i < 4; ++i) lent.emplace_back(pool);
        lent.clear();
        CHECK(alive == before + 2);
    }
    {
        const Lent<Counted> grown(pool);
        grown->bytes = 26;
    }
    CHECK(alive == before + 1);
}

void nothing_is_in_two_hands() {
    Pool<Counted> pool(4, 1000);
    std::atomic<int> twice{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 8; ++t)
        threads.emplace_back([&] {
            for (int i = 0; i < 20000; ++i) {
                const Lent<Counted> lent(pool);
                if (lent->held.exchange(true)) ++twice;
                lent->held = false;
            }
        });
    for (std::thread& t : threads) t.join();
    CHECK(twice == 0);
}

}  // namespace

int main() {
    what_was_given_is_taken_again();
    no_more_objects_are_kept_than_allowed();
    no_more_bytes_are_kept_than_allowed();
    nothing_is_in_two_hands();
}
