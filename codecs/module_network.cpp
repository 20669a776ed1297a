// The integer networks' part of the binding.
#include <nanobind/stl/array.h>

#include "module.hpp"
#include "network/run.hpp"

namespace nb = nanobind;
using namespace sciflow;

namespace {

// What comes out of blocks of these lengths: z, y, x and channels.
nb::tuple network_shape(nb::handle model, const network::Lengths& lengths) {
    const Buffer bytes(model, PyBUF_C_CONTIGUOUS);
    network::Network n;
    Status s = network::read_network(bytes.bytes(), n);
    std::vector<network::Cells> cells(1);
    if (s == Status::ok) s = network::trace(n, lengths, cells);
    const network::Cells& last = cells.back();
    return nb::make_tuple(static_cast<int>(s),
                          nb::make_tuple(last.lengths[0], last.lengths[1], last.lengths[2], last.channels));
}

// Blocks (count, z, y, x, channels) of int16 through a network.
int run_network(nb::handle model, nb::handle blocks, uint64_t count, const network::Lengths& lengths, int threads,
                nb::handle out) {
    const Buffer bytes(model, PyBUF_C_CONTIGUOUS), in(blocks, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT);
    const Buffer to(out, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | PyBUF_WRITABLE);
    if (in.item() != sizeof(int16_t) || to.item() != sizeof(int16_t)) return static_cast<int>(Status::bad_argument);
    nb::gil_scoped_release free;
    network::Network n;
    const Status s = network::read_network(bytes.bytes(), n);
    if (s != Status::ok) return static_cast<int>(s);
    return static_cast<int>(network::run(n, lengths, count, {static_cast<const int16_t*>(in.data()), in.size() / 2},
                                         threads, {static_cast<int16_t*>(to.data()), to.size() / 2}));
}

}  // namespace

void sciflow::register_network(nb::module_& m) {
    m.def("network_shape", &network_shape, nb::arg("network"), nb::arg("lengths"));
    m.def("run_network", &run_network, nb::arg("network"), nb::arg("blocks"), nb::arg("count"), nb::arg("lengths"),
          nb::arg("threads"), nb::arg("out"));
}
