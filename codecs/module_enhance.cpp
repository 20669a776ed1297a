// The enhancer's part of the binding.
#include <nanobind/stl/vector.h>

#include <memory>

#include "enhance/enhance.hpp"
#include "module.hpp"

namespace nb = nanobind;
using namespace sciflow;

namespace {

using Shape = std::vector<uint64_t>;

bool fits(const Buffer& array, const Shape& shape, size_t item) {
    size_t n = item;
    for (uint64_t s : shape) n *= static_cast<size_t>(s);
    return array.size() == n && array.item() == item && (item == 4 || item == 8);
}

enhance::FitOptions read_fit(const nb::dict& o) {
    enhance::FitOptions f;
    f.groups = static_cast<enhance::Groups>(nb::cast<int>(o["groups"]) & 3);
    f.most = nb::cast<int>(o["n_groups"]);
    f.worth = nb::cast<double>(o["worth"]);
    return f;
}

// Arrays that are read beside another one; `good` becomes false where one is of another shape.
struct AuxBuffers {
    std::vector<std::unique_ptr<Buffer>> held;
    std::vector<enhance::AuxArray> arrays;
    bool good = true;

    AuxBuffers(const nb::list& list, const Shape& shape) : good(list.size() <= enhance::MAX_AUX) {
        for (nb::handle a : list) {
            held.push_back(std::make_unique<Buffer>(a, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT));
            good = good && fits(*held.back(), shape, held.back()->item());
            arrays.push_back({held.back()->data(), held.back()->item() == 8});
        }
    }
};

nb::dict describe(const enhance::Outcome& o) {
    nb::dict d;
    d["kind"] = static_cast<int>(o.kind);
    d["base_squares"] = o.base_squares;
    d["squares"] = o.squares;
    d["base_most"] = o.base_most;
    d["most"] = o.most;
    d["cells"] = o.cells;
    d["exact"] = o.exact;
    d["mark_bytes"] = o.mark_bytes;
    d["reach"] = o.reach;
    d["aux"] = o.aux;
    return d;
}

nb::tuple enhance_encode(nb::handle original, nb::handle decoded, const Shape& shape, const nb::dict& options,
                         nb::handle out) {
    const Buffer x(original, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT), y(decoded, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT);
    const Buffer z(out, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | PyBUF_WRITABLE);
    const nb::object shared_object = options["shared"];
    const Buffer shared(shared_object, PyBUF_C_CONTIGUOUS);
    const auto patterns = nb::cast<std::vector<uint64_t>>(options["preserve"]);
    const AuxBuffers aux(options.contains("aux") ? nb::cast<nb::list>(options["aux"]) : nb::list(), shape);
    enhance::Request r{
        read_fit(options), nb::cast<double>(options["bound"]), nb::cast<bool>(options["own"]), shared.bytes(), patterns,
        aux.arrays};
    enhance::Outcome outcome;
    Status s = Status::bad_argument;
    const size_t item = x.item();
    if (fits(x, shape, item) && fits(y, shape, item) && fits(z, shape, item) && aux.good) {
        nb::gil_scoped_release free;
        const auto run = [&]<class T>(T*) {
            s = enhance::encode(static_cast<const T*>(x.data()), static_cast<const T*>(y.data()), shape, r,
                                static_cast<T*>(z.data()), outcome);
        };
        if (item == 4) run(static_cast<float*>(nullptr));
        else run(static_cast<double*>(nullptr));
    }
    return nb::make_tuple(static_cast<int>(s), nb::bytes(outcome.body.data(), outcome.body.size()), describe(outcome));
}

int enhance_decode(nb::handle body, nb::handle shared, nb::handle decoded, const Shape& shape, nb::handle out,
                   const nb::list& others) {
    const Buffer in(body, PyBUF_C_CONTIGUOUS), model(shared, PyBUF_C_CONTIGUOUS);
    const Buffer y(decoded, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT);
    const Buffer z(out, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT | PyBUF_WRITABLE);
    const size_t item = y.item();
    const AuxBuffers aux(others, shape);
    if (!fits(y, shape, item) || !fits(z, shape, item) || !aux.good) return static_cast<int>(Status::bad_argument);
    const enhance::Beside beside{model.bytes(), aux.arrays};
    nb::gil_scoped_release free;
    const auto run = [&]<class T>(T*) {
        return enhance::decode(in.bytes(), beside, static_cast<const T*>(y.data()), shape, static_cast<T*>(z.data()));
    };
    return static_cast<int>(item == 4 ? run(static_cast<float*>(nullptr)) : run(static_cast<double*>(nullptr)));
}

template <class T>
Bytes fit_pairs(const std::vector<std::unique_ptr<Buffer>>& arrays, const std::vector<Shape>& shapes,
                const std::vector<uint64_t>& patterns, const enhance::FitOptions& options) {
    std::vector<enhance::Pair<T>> pairs;
    for (size_t i = 0; i < shapes.size(); ++i)
        pairs.push_back({static_cast<const T*>(arrays[2 * i]->data()), static_cast<const T*>(arrays[2 * i + 1]->data()),
                         shapes[i]});
    return enhance::fit_shared<T>(pairs, patterns, options);
}

// Originals and decoded arrays take turns.
nb::tuple enhance_fit(const nb::list& arrays, const std::vector<Shape>& shapes, const nb::dict& options) {
    std::vector<std::unique_ptr<Buffer>> held;
    for (nb::handle a : arrays) held.push_back(std::make_unique<Buffer>(a, PyBUF_C_CONTIGUOUS | PyBUF_FORMAT));
    const auto patterns = nb::cast<std::vector<uint64_t>>(options["preserve"]);
    const enhance::FitOptions fit = read_fit(options);
    const size_t item = held.empty() ? 0 : held[0]->item();
    bool good = held.size() == 2 * shapes.size() && !held.empty();
    for (size_t i = 0; good && i < held.size(); ++i) good = fits(*held[i], shapes[i / 2], item);
    if (!good) return nb::make_tuple(static_cast<int>(Status::bad_argument), nb::bytes("", 0));
    Bytes model;
    {
        nb::gil_scoped_release free;
        model =
            item == 4 ? fit_pairs<float>(held, shapes, patterns, fit) : fit_pairs<double>(held, shapes, patterns, fit);
    }
    return nb::make_tuple(static_cast<int>(Status::ok), nb::bytes(model.data(), model.size()));
}

}  // namespace

void sciflow::register_enhance(nb::module_& m) {
    m.def("enhance_encode", &enhance_encode, nb::arg("original"), nb::arg("decoded"), nb::arg("shape"), nb::arg("opts"),
          nb::arg("out"));
    m.def("enhance_decode", &enhance_decode, nb::arg("body"), nb::arg("shared"), nb::arg("decoded"), nb::arg("shape"),
          nb::arg("out"), nb::arg("aux") = nb::list());
    m.def("enhance_fit", &enhance_fit, nb::arg("arrays"), nb::arg("shapes"), nb::arg("opts"));
}
