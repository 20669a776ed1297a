// Runs a network on blocks: integers in, integers out, the same on every machine, for any number of threads and blocks.
#pragma once

#include <span>

#include "network/plan.hpp"

namespace sciflow::network {

// `in` holds `count` blocks of `lengths`, channels last; so does `out`, of what `trace` says. Values of `in` beyond
// what the network takes are held to that.
Status run(const Network& network, const Lengths& lengths, uint64_t count, std::span<const int16_t> in, int threads,
           std::span<int16_t> out);

}  // namespace sciflow::network
