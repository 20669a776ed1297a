// The HDF5 that called us, found at run time: one plugin serves every libhdf5 of a process, and is built without any.
//
// Types and numbers are those of HDF5's public headers (H5Zpublic.h, H5Ppublic.h, H5Tpublic.h) from 1.10 on.
#pragma once

#include <cstddef>
#include <cstdint>

namespace sciflow::hdf5 {

using Id = int64_t;        // hid_t
using Size = uint64_t;     // hsize_t
using Error = int;         // herr_t: negative on failure
using Tri = int;           // htri_t: negative on failure, else a truth value
using FilterNumber = int;  // H5Z_filter_t

inline constexpr unsigned REVERSE = 0x0100;     // H5Z_FLAG_REVERSE: reading
inline constexpr int FILL_IS_USER_DEFINED = 2;  // H5D_FILL_VALUE_USER_DEFINED

// The entry points that a filter needs. Null where the library has none by that name.
struct Library {
    Error (*modify_filter)(Id, FilterNumber, unsigned, size_t, const unsigned*) = nullptr;
    Error (*filter_by_number)(Id, FilterNumber, unsigned*, size_t*, unsigned*, size_t, char*, unsigned*) = nullptr;
    FilterNumber (*filter_at)(Id, unsigned, unsigned*, size_t*, unsigned*, size_t, char*, unsigned*) = nullptr;
    int (*chunk)(Id, int, Size*) = nullptr;
    Error (*fill_defined)(Id, int*) = nullptr;
    Error (*fill_value)(Id, Id, void*) = nullptr;
    Tri (*same_type)(Id, Id) = nullptr;
    void* (*allocate)(size_t, bool) = nullptr;
    Error (*release)(void*) = nullptr;
    Error (*push)(Id, const char*, const char*, unsigned, Id, Id, Id, const char*, ...) = nullptr;
    const Id* ieee[2][2] = {};  // [is double][is big-endian]
    const Id* error_class = nullptr;
    const Id* pipeline = nullptr;
    const Id* cannot_filter = nullptr;

    // Of the library that `address`, a return address, lies in.
    static Library of(const void* address);

    bool can_settle() const {
        return modify_filter && filter_by_number && filter_at && chunk && fill_defined && fill_value && same_type &&
               ieee[0][0] && ieee[0][1] && ieee[1][0] && ieee[1][1];
    }
    // Puts a line on the library's error stack, which h5py and netCDF show. Always 0, a filter's word for failure.
    size_t fail(const char* format, const char* detail) const;
};

}  // namespace sciflow::hdf5
