// Static frequency tables: fitted to the data, merged where a table of its own does not pay, sent in a few bytes.
#pragma once

#include <array>

#include "bytes.hpp"
#include "kernels.hpp"

namespace sciflow {

using Histogram = std::array<uint32_t, 256>;

// c log2 c.
double times_log2(uint32_t c);

// One more than the last symbol that was counted.
int symbols_used(const uint32_t (&counts)[2][256]);

// Which table each fine context uses; neighbours share. `starts` has bit i set where context i opens a new table.
struct TableMap {
    uint32_t starts = 1;
    bool sixteen = false;  // lanes: announced in front of the first table

    int tables() const { return __builtin_popcount(starts); }
    std::array<uint8_t, 32> table_of() const;  // of each fine context; as long as kernels want it
};

// Merges neighbouring contexts greedily while the bits saved on tables exceed the bits lost on symbols.
TableMap merge_contexts(const uint32_t (*histogram)[2][256], std::vector<Histogram>& merged);

// About the bits that symbols of these histograms take, each by a table of its own.
double bits_of_symbols(const std::vector<Histogram>& merged);

// Frequencies that sum to 1 << PROB_BITS, none of a present symbol zero. An empty histogram gets symbol 0.
std::array<uint16_t, 256> normalize(const Histogram& histogram);

void write_tables(const TableMap& map, const std::vector<std::array<uint16_t, 256>>& freqs, Bytes& out);
Status read_tables(Cursor& in, TableMap& map, std::vector<std::array<uint16_t, 256>>& freqs);

void encode_table(const std::array<uint16_t, 256>& freqs, uint32_t* reciprocal, uint32_t* range);
void decode_table(const std::array<uint16_t, 256>& freqs, uint32_t* out);

}  // namespace sciflow
