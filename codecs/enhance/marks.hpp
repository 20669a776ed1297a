// Cells whose correction is taken back: a mask, coded with the size of the correction as context.
#pragma once

#include "bytes.hpp"
#include "status.hpp"

namespace sciflow::enhance {

// Corrections as they are applied; `rows` of `nx` cells.
struct Corrections {
    const int16_t* h = nullptr;
    int32_t limit = 0;
    size_t rows = 0, nx = 0;
};

// `mark` has 1 where a correction is taken back; corrections of 0 are never marked.
void write_marks(const Corrections& c, const std::vector<uint8_t>& mark, Bytes& out);
Status read_marks(Cursor& in, const Corrections& c, std::vector<uint8_t>& mark);

}  // namespace sciflow::enhance
