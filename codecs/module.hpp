// What the files of the binding share.
#pragma once

#include <nanobind/nanobind.h>

#include "bytes.hpp"

namespace sciflow {

// A buffer held for as long as a call reads or writes it, GIL or not.
class Buffer {
  public:
    Buffer(nanobind::handle object, int flags) {
        if (PyObject_GetBuffer(object.ptr(), &view_, flags) != 0) throw nanobind::python_error();
    }
    ~Buffer() { PyBuffer_Release(&view_); }
    Buffer(const Buffer&) = delete;
    Buffer& operator=(const Buffer&) = delete;

    void* data() const { return view_.buf; }
    size_t size() const { return static_cast<size_t>(view_.len); }
    size_t item() const { return static_cast<size_t>(view_.itemsize); }
    View bytes() const { return View(static_cast<const uint8_t*>(view_.buf), size()); }

  private:
    Py_buffer view_;
};

void register_enhance(nanobind::module_& m);
void register_network(nanobind::module_& m);

}  // namespace sciflow
