// Compiled once for each instruction set (CMakeLists.txt sets SCIFLOW_ISA); dispatch.cpp picks one at run time.
#include "kernels.hpp"

#include <type_traits>

#if defined(__SSSE3__)
#include <immintrin.h>
#endif

#define SCIFLOW_STRING_(x) #x
#define SCIFLOW_STRING(x) SCIFLOW_STRING_(x)

namespace sciflow::SCIFLOW_ISA {

namespace {
#include "strips.hpp"
#include "predict/interpolate.hpp"
#include "predict/least_squares.hpp"
#include "predict/lorenzo.hpp"
#include "predict/weighted.hpp"
#include "predict/quantize.hpp"
#include "predict/strip.hpp"
#include "predict/dense_strip.hpp"
#include "scan.hpp"
#include "pack/lags.hpp"
#include "pack/steps.hpp"
#include "pack/groups.hpp"
#include "entropy/rans.hpp"
#include "entropy/contexts.hpp"
#include "entropy/planes.hpp"
#include "enhance/rows.hpp"
#include "network/stages.hpp"
}  // namespace

extern const Kernels table;
const Kernels table = {
    SCIFLOW_STRING(SCIFLOW_ISA),
    {split<float>, merge<float>, encode_class<float>, decode_class<float>},
    {split<double>, merge<double>, encode_class<double>, decode_class<double>},
    {to_lattice<float>, from_lattice<float>},
    {to_lattice<double>, from_lattice<double>},
    {mark_exact<float>, mark_pattern<float>, clearly_within<float>, pattern_kept<float>},
    {mark_exact<double>, mark_pattern<double>, clearly_within<double>, pattern_kept<double>},
    {to_steps<float>, steps_kept<float>},
    {to_steps<double>, steps_kept<double>},
    {lag_differences, lag_sums, differences_along_x, sums_along_x},
    {pack_groups, unpack_groups, price_groups},
    {lorenzo_forward<int32_t>, lorenzo_inverse<int32_t>},
    {lorenzo_forward<int64_t>, lorenzo_inverse<int64_t>},
    weighted_row,
    {encode_strip<float>, decode_strip<float>, decode_dense_strip<float>},
    {encode_strip<double>, decode_strip<double>, decode_dense_strip<double>},
    {add_products, blend_sums, solve_sums},
    {model_grid<int32_t>, decode_grid<int32_t>, take_low<int32_t>, give_low<int32_t>},
    {model_grid<int64_t>, decode_grid<int64_t>, take_low<int64_t>, give_low<int64_t>},
    rans_encode_row,
    rans_decode_row,
    rans_row_is,
    {enhance_to_fixed<float>, enhance_correct<float>},
    {enhance_to_fixed<double>, enhance_correct<double>},
    {enhance_activity, enhance_sum_of_five, enhance_count_edges, enhance_filter},
    {network_run, network_square},
};

}  // namespace sciflow::SCIFLOW_ISA
