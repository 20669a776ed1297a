// The thin nanobind layer: buffers and plain values in, a status and bytes out. Python owns validation and errors.
#include <nanobind/nanobind.h>
#include <nanobind/stl/pair.h>
#include <nanobind/stl/string.h>
#include <nanobind/stl/tuple.h>
#include <nanobind/stl/vector.h>

#include <memory>

#include "codec.hpp"
#include "kernels.hpp"
#include "module.hpp"

namespace nb = nanobind;
using namespace sciflow;

namespace {

struct Request {
    Header header;
    StreamOptions options;
    std::vector<uint64_t> preserve;
    std::vector<double> region_bounds;
    std::unique_ptr<Buffer> region_of;
    Stencils stencils;
};

// Weights of a linear model, as its file holds them; none where the buffer is empty.
Status read_weights(nb::handle weights, Stencils& stencils) {
    const Buffer bytes(weights, PyBUF_C_CONTIGUOUS);
    return bytes.size() == 0 ? Status::ok : read_stencils(bytes.bytes(), stencils);
}

// "weights": of a linear model, as its file holds them; "weights_set": which of them to try.
Status read_learned(const nb::dict& o, Request& r) {
    if (!o.contains("weights")) return Status::ok;
    if (Status s = read_weights(o["weights"], r.stencils); s != Status::ok) return s;
    r.header.stencil_set = nb::cast<int>(o["weights_set"]);
    if (r.header.stencil_set < 0 || r.header.stencil_set >= r.stencils.sets) return Status::bad_argument;
    r.header.stencils = &r.stencils;
    return Status::ok;
}

// "regions": each value's region as a byte; "region_bounds": of region 0, elsewhere, and of those with a label.
bool read_regions(const nb::dict& o, Request& r) {
    if (!o.contains("regions")) return true;
    Header& h = r.header;
    const auto labels = nb::cast<std::vector<int64_t>>(o["region_labels"]);
    r.region_of = std::make_unique<Buffer>(o["regions"], PyBUF_C_CONTIGUOUS);
    r.region_bounds = nb::cast<std::vector<double>>(o["region_bounds"]);
    if (labels.empty() || labels.size() > MAX_REGIONS || r.region_bounds.size() != labels.size() + 1 || h.pointwise() ||
        h.lattice || r.region_of->size() != h.values())
        return false;
    for (uint8_t k : r.region_of->bytes())
        if (k > labels.size()) return false;
    for (double b : r.region_bounds)
        if (!(b >= 0 && b <= h.bound)) return false;
    h.has_regions = true;
    h.elsewhere = r.region_bounds[0];
    for (size_t i = 0; i < labels.size(); ++i) h.regions.push_back({labels[i], r.region_bounds[i + 1]});
    return true;
}

Request read_request(const std::vector<uint64_t>& shape, const nb::dict& o, size_t item) {
    Request r;
    Header& h = r.header;
    h.dtype = item == 4 ? Dtype::float32 : Dtype::float64;
    h.ndim = static_cast<int>(shape.size());
    std::copy(shape.begin(), shape.end(), h.shape.begin());
    const double pointwise = nb::cast<double>(o["pointwise"]);
    h.order_f = nb::cast<bool>(o["order_f"]);
    h.big_endian = nb::cast<bool>(o["big_endian"]);
    h.lattice = nb::cast<bool>(o["lattice"]);
    h.request = static_cast<BoundKind>(nb::cast<int>(o["request_kind"]) & 3);
    h.request_value = nb::cast<double>(o["request_value"]);
    h.bound = pointwise > 0 ? pointwise : nb::cast<double>(o["eb"]);
    r.preserve = nb::cast<std::vector<uint64_t>>(o["preserve"]);
    r.options.block.bound = h.bound;
    r.options.block.mse = nb::cast<double>(o["mse"]);
    r.options.block.lattice_only = h.lattice;
    r.options.block.level = nb::cast<int>(o["level"]);
    r.options.block.verify = nb::cast<bool>(o["verify"]);
    r.options.block_values = nb::cast<uint64_t>(o["block_values"]);
    r.options.threads = nb::cast<int>(o["threads"]);
    return r;
}

// Written before anyone else sees it.
nb::object joined(const StreamParts& parts, int threads) {
    nb::object stream = nb::steal(PyBytes_FromStringAndSize(nullptr, static_cast<Py_ssize_t>(parts.size())));
    if (!stream.is_valid()) throw nb::python_error();
    char* to = PyBytes_AsString(stream.ptr());
    nb::gil_scoped_release free;
    parts.join(reinterpret_cast<uint8_t*>(to), threads);
    return stream;
}

nb::tuple encode(nb::handle data, const std::vector<uint64_t>& shape, const nb::dict& options) {
    const Buffer in(data, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT);
    if ((in.item() != 4 && in.item() != 8) || shape.size() > MAX_NDIM)
        return nb::make_tuple(static_cast<int>(Status::bad_argument), nb::bytes("", 0));
    Request r = read_request(shape, options, in.item());
    if (r.header.values() * in.item() != in.size() || (r.header.pointwise() && !(r.header.bound > 0)))
        return nb::make_tuple(static_cast<int>(Status::bad_argument), nb::bytes("", 0));
    if (!read_regions(options, r)) return nb::make_tuple(static_cast<int>(Status::bad_argument), nb::bytes("", 0));
    if (Status s = read_learned(options, r); s != Status::ok)
        return nb::make_tuple(static_cast<int>(s), nb::bytes("", 0));
    r.options.block.preserve = r.preserve;
    if (r.region_of) r.options.block.regions = {r.region_of->bytes().data(), r.region_bounds};
    StreamParts parts;
    Status s;
    {
        nb::gil_scoped_release free;
        s = encode_stream(in.data(), r.header, r.options, parts);
    }
    if (s != Status::ok) return nb::make_tuple(static_cast<int>(s), nb::bytes("", 0));
    return nb::make_tuple(static_cast<int>(s), joined(parts, r.options.threads));
}

std::pair<int, size_t> decode_into(nb::handle stream, nb::handle array, int threads, nb::handle weights) {
    const Buffer in(stream, PyBUF_C_CONTIGUOUS);
    const Buffer out(array, PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE);
    Stencils stencils;
    if (Status s = read_weights(weights, stencils); s != Status::ok) return {static_cast<int>(s), 0};
    nb::gil_scoped_release free;
    size_t offset = 0;
    const Stencils* learned = stencils.sets > 0 ? &stencils : nullptr;
    const Status s = decode_stream(in.bytes(), out.data(), out.size(), threads, offset, learned);
    return {static_cast<int>(s), offset};
}

nb::dict describe(const Header& h) {
    nb::dict d;
    nb::list shape, offsets;
    size_t at = h.header_bytes;
    offsets.append(at);
    for (int i = 0; i < h.ndim; ++i) shape.append(h.shape[static_cast<size_t>(i)]);
    for (uint64_t n : h.block_bytes) offsets.append(at += static_cast<size_t>(n));
    d["dtype"] = h.dtype == Dtype::float32 ? "float32" : "float64";
    d["shape"] = nb::tuple(shape);
    d["order_f"] = h.order_f;
    d["big_endian"] = h.big_endian;
    d["lattice"] = h.lattice;
    d["eb"] = h.pointwise() ? 0.0 : h.bound;
    d["pointwise"] = h.pointwise() ? h.bound : 0.0;
    d["request_kind"] = static_cast<int>(h.request);
    d["request_value"] = h.request_value;
    nb::list regions;
    for (const RegionBound& region : h.regions) regions.append(nb::make_tuple(region.label, region.bound));
    d["regions"] = regions;
    d["elsewhere"] = h.has_regions ? h.elsewhere : h.bound;
    d["header_bytes"] = h.header_bytes;
    d["block_axis"] = h.blocking.axis;
    d["block_rows"] = h.blocking.rows;
    d["nblocks"] = h.block_bytes.size();
    d["block_offsets"] = offsets;
    return d;
}

nb::tuple info(nb::handle stream) {
    const Buffer in(stream, PyBUF_C_CONTIGUOUS);
    Header h;
    size_t offset = 0;
    const Status s = read_header(in.bytes(), h, offset);
    return nb::make_tuple(static_cast<int>(s), offset, s == Status::ok ? describe(h) : nb::dict());
}

std::pair<int, size_t> decode_one_block(nb::handle header, nb::handle block, uint64_t index, nb::handle array) {
    const Buffer head(header, PyBUF_C_CONTIGUOUS), in(block, PyBUF_C_CONTIGUOUS);
    const Buffer out(array, PyBUF_C_CONTIGUOUS | PyBUF_WRITABLE);
    nb::gil_scoped_release free;
    Header h;
    size_t offset = 0;
    if (Status s = read_header(head.bytes(), h, offset); s != Status::ok) return {static_cast<int>(s), offset};
    return {static_cast<int>(decode_stream_block(h, in.bytes(), index, out.data(), out.size())), 0};
}

}  // namespace

NB_MODULE(_native, m) {
    m.doc() = "The engine: float arrays to streams that keep a bound, and back.";
    m.attr("STREAM_MAJOR") = static_cast<int>(STREAM_MAJOR);
    m.attr("STREAM_MINOR") = static_cast<int>(STREAM_MINOR);
    m.attr("MAX_BLOCK_VALUES") = MAX_BLOCK_VALUES;
    m.def("encode", &encode, nb::arg("data"), nb::arg("shape"), nb::arg("opts"));
    m.def("decode_into", &decode_into, nb::arg("stream"), nb::arg("out"), nb::arg("threads"),
          nb::arg("weights") = nb::bytes("", 0));
    m.def(
        "check_weights",
        [](nb::handle weights) {
            Stencils stencils;
            return static_cast<int>(read_stencils(Buffer(weights, PyBUF_C_CONTIGUOUS).bytes(), stencils));
        },
        nb::arg("weights"));
    m.def("info", &info, nb::arg("stream"));
    m.def("decode_block", &decode_one_block, nb::arg("header"), nb::arg("block"), nb::arg("index"), nb::arg("out"));
    m.def("encoded_size_bound", &encoded_size_bound, nb::arg("nbytes"), nb::arg("ndim"));
    m.def("crc32c", [](nb::handle data) { return crc32c(Buffer(data, PyBUF_C_CONTIGUOUS).bytes()); }, nb::arg("data"));
    register_enhance(m);
    register_network(m);
    m.def("simd", [] { return std::string(kernels().name); });
}
