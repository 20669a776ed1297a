// The client data of the filter, 32-bit words that lie in the file: what is asked, then what the dataset is. docs/hdf5.md.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "status.hpp"

namespace sciflow::hdf5 {

inline constexpr int FILTER_NUMBER = 33070;  // of the range that needs no registration
inline constexpr unsigned LAYOUT = 1;        // word 0
inline constexpr size_t MAX_PRESERVED = 16;

struct Asked {
    int level = 2;
    bool pointwise = false, rewrite_safe = false, verify = true;
    double bound = 0;
    std::vector<uint64_t> preserve;  // bit patterns of the dataset's type
};

struct Dataset {
    Dtype dtype = Dtype::float32;
    bool big_endian = false;
    int ndim = 0;
    std::array<uint64_t, MAX_NDIM> chunk{};

    // 0 where the product does not fit.
    uint64_t bytes() const;
};

// Reads what is asked, and where it ends; false where no release of this layout wrote it.
bool read_asked(std::span<const unsigned> words, Asked& asked, size_t& end);
// The dataset behind it, as settled when it was created.
bool read_dataset(std::span<const unsigned> words, Dataset& dataset);

std::vector<unsigned> write_words(const Asked& asked, const Dataset& dataset);

}  // namespace sciflow::hdf5
