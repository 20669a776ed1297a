#include "hdf5/library.hpp"

#include <dlfcn.h>

namespace sciflow::hdf5 {

namespace {

template <class F>
void find(void* handle, const char* name, F& to) {
    to = reinterpret_cast<F>(dlsym(handle, name));
}

}  // namespace

Library Library::of(const void* address) {
    Library found;
    Dl_info where{};
    if (dladdr(address, &where) == 0 || where.dli_fname == nullptr) return found;
    // Null for a program that holds HDF5 itself: then its own symbols.
    void* handle = dlopen(where.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
    if (handle == nullptr) handle = dlopen(nullptr, RTLD_LAZY);
    if (handle == nullptr) return found;
    find(handle, "H5Pmodify_filter", found.modify_filter);
    find(handle, "H5Pget_filter_by_id2", found.filter_by_number);
    find(handle, "H5Pget_filter2", found.filter_at);
    find(handle, "H5Pget_chunk", found.chunk);
    find(handle, "H5Pfill_value_defined", found.fill_defined);
    find(handle, "H5Pget_fill_value", found.fill_value);
    find(handle, "H5Tequal", found.same_type);
    find(handle, "H5allocate_memory", found.allocate);
    find(handle, "H5free_memory", found.release);
    find(handle, "H5Epush2", found.push);
    find(handle, "H5T_IEEE_F32LE_g", found.ieee[0][0]);
    find(handle, "H5T_IEEE_F32BE_g", found.ieee[0][1]);
    find(handle, "H5T_IEEE_F64LE_g", found.ieee[1][0]);
    find(handle, "H5T_IEEE_F64BE_g", found.ieee[1][1]);
    find(handle, "H5E_ERR_CLS_g", found.error_class);
    find(handle, "H5E_PLINE_g", found.pipeline);
    find(handle, "H5E_CANTFILTER_g", found.cannot_filter);
    dlclose(handle);  // it was open before and stays so: the library is running
    return found;
}

size_t Library::fail(const char* format, const char* detail) const {
    if (push && error_class && pipeline && cannot_filter)
        push(0, __FILE__, "sciflow_sz", __LINE__, *error_class, *pipeline, *cannot_filter, format, detail);
    return 0;
}

}  // namespace sciflow::hdf5
