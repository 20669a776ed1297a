// HDF5's filter sciflow_sz: each chunk of a float dataset as one stream. docs/hdf5.md.
//
// create: can_apply ─▶ set_local (words of the dataset behind those of the user)      write, read: filter
#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <new>

#include "codec.hpp"
#include "hdf5/library.hpp"
#include "hdf5/parameters.hpp"

namespace sciflow::hdf5 {
namespace {

constexpr size_t MAX_WORDS = 64;

struct Memory {
    const Library& library;

    void* take(size_t bytes) const { return library.allocate ? library.allocate(bytes, false) : std::malloc(bytes); }
    void give_back(void* p) const {
        if (library.release) library.release(p);
        else std::free(p);
    }
};

// Which of the four IEEE types it is; false for any other.
bool find_type(const Library& lib, Id type, Dataset& dataset) {
    for (int wide = 0; wide < 2; ++wide)
        for (int big = 0; big < 2; ++big)
            if (lib.same_type(type, *lib.ieee[wide][big]) > 0) {
                dataset.dtype = wide ? Dtype::float64 : Dtype::float32;
                dataset.big_endian = big != 0;
                return true;
            }
    return false;
}

bool is_first(const Library& lib, Id properties) {
    unsigned flags = 0, config = 0;
    size_t words = 0;
    return lib.filter_at(properties, 0, &flags, &words, nullptr, 0, nullptr, &config) == FILTER_NUMBER;
}

// A fill value that somebody chose is a mark, and fills the part of an edge chunk that lies outside: bit for bit.
void preserve_fill(const Library& lib, Id properties, Id type, const Dataset& dataset, Asked& asked) {
    int defined = 0;
    if (lib.fill_defined(properties, &defined) < 0 || defined != FILL_IS_USER_DEFINED) return;
    std::array<uint8_t, 8> raw{};
    if (lib.fill_value(properties, type, raw.data()) < 0) return;
    const size_t item = itemsize(dataset.dtype);
    if (dataset.big_endian) std::reverse(raw.begin(), raw.begin() + static_cast<ptrdiff_t>(item));
    uint64_t bits = 0;
    std::memcpy(&bits, raw.data(), item);
    const double value =
        item == 8 ? std::bit_cast<double>(bits) : double{std::bit_cast<float>(static_cast<uint32_t>(bits))};
    if (!std::isfinite(value) || asked.preserve.size() == MAX_PRESERVED) return;
    if (std::find(asked.preserve.begin(), asked.preserve.end(), bits) == asked.preserve.end())
        asked.preserve.push_back(bits);
}

Tri can_apply(Id properties, Id type, Id) {
    const Library lib = Library::of(__builtin_return_address(0));
    Dataset dataset;
    if (!lib.can_settle()) return -1;
    if (!find_type(lib, type, dataset)) {
        lib.fail("%s", "sciflow_sz: expected a dataset of float32 or float64; store others by a lossless filter");
        return -1;
    }
    if (!is_first(lib, properties)) {
        lib.fail("%s", "sciflow_sz: found another filter before it (shuffle?), which would hide the values; remove it");
        return -1;
    }
    return 1;
}

Error set_local(Id properties, Id type, Id) {
    const Library lib = Library::of(__builtin_return_address(0));
    Asked asked;
    Dataset dataset;
    std::array<unsigned, MAX_WORDS> words{};
    size_t count = words.size(), end = 0;
    unsigned flags = 0, config = 0;
    if (!lib.can_settle() || !find_type(lib, type, dataset) ||
        lib.filter_by_number(properties, FILTER_NUMBER, &flags, &count, words.data(), 0, nullptr, &config) < 0)
        return -1;
    if (!read_asked({words.data(), std::min(count, words.size())}, asked, end)) {
        lib.fail("%s", "sciflow_sz: unknown parameters; make them with sciflow.hdf5.SZ or `python -m sciflow.hdf5`");
        return -1;
    }
    std::array<Size, MAX_NDIM> sides{};
    dataset.ndim = lib.chunk(properties, MAX_NDIM, sides.data());
    if (dataset.ndim < 1 || dataset.ndim > MAX_NDIM) {
        lib.fail("%s", "sciflow_sz: expected chunks of 1 to 8 axes");
        return -1;
    }
    std::copy(sides.begin(), sides.end(), dataset.chunk.begin());
    if (dataset.bytes() == 0) return -1;
    preserve_fill(lib, properties, type, dataset, asked);
    const std::vector<unsigned> settled = write_words(asked, dataset);
    return lib.modify_filter(properties, FILTER_NUMBER, flags, settled.size(), settled.data());
}

void swap_values(uint8_t* bytes, size_t size, size_t item) {
    for (size_t i = 0; i + item <= size; i += item) std::reverse(bytes + i, bytes + i + item);
}

const char* name_of(Status status) {
    switch (status) {
        case Status::truncated: return "Truncated: the stream ends before its header says it does";
        case Status::corrupt: return "Corrupt: the stream fails its checksum or contradicts itself";
        case Status::unsupported: return "Unsupported: the stream is of a newer release; update sciflow";
        case Status::no_memory: return "no memory left";
        case Status::bound_violated: return "BoundViolated: a bug, please report it";
        default: return "the data do not fit the parameters of the filter";
    }
}

Header make_header(const Asked& asked, const Dataset& dataset) {
    Header h;
    h.dtype = dataset.dtype;
    h.big_endian = dataset.big_endian;
    h.lattice = asked.rewrite_safe;
    h.request = asked.pointwise ? BoundKind::pointwise_rel : BoundKind::abs;
    h.request_value = h.bound = asked.bound;
    h.ndim = dataset.ndim;
    h.shape = dataset.chunk;
    return h;
}

Status compress(const Asked& asked, const Dataset& dataset, const void* values, StreamParts& parts) {
    std::vector<uint8_t> native;  // a copy: where a filter fails, HDF5 may go on with what it gave
    if (dataset.big_endian) {
        const auto* bytes = static_cast<const uint8_t*>(values);
        native.assign(bytes, bytes + dataset.bytes());
        swap_values(native.data(), native.size(), itemsize(dataset.dtype));
        values = native.data();
    }
    const Header header = make_header(asked, dataset);
    StreamOptions options;
    options.block.bound = asked.bound;
    options.block.lattice_only = asked.rewrite_safe;
    options.block.level = asked.level;
    options.block.verify = asked.verify;
    options.block.preserve = asked.preserve;
    return encode_stream(values, header, options, parts);
}

size_t write_chunk(const Library& lib, const Asked& asked, const Dataset& dataset, size_t* room, void** buffer) {
    const Memory memory{lib};
    StreamParts parts;
    if (Status s = compress(asked, dataset, *buffer, parts); s != Status::ok)
        return lib.fail("sciflow_sz, writing a chunk: %s", name_of(s));
    const size_t size = parts.size();
    void* stream = memory.take(size);
    if (stream == nullptr) return lib.fail("sciflow_sz, writing a chunk: %s", name_of(Status::no_memory));
    parts.join(static_cast<uint8_t*>(stream), 1);
    memory.give_back(*buffer);
    *buffer = stream;
    return *room = size;
}

size_t read_chunk(const Library& lib, const Dataset& dataset, size_t bytes, size_t* room, void** buffer) {
    const Memory memory{lib};
    const View stream{static_cast<const uint8_t*>(*buffer), bytes};
    const size_t size = static_cast<size_t>(dataset.bytes());
    Header header;
    size_t offset = 0;
    Status s = read_header(stream, header, offset);
    if (s == Status::ok && (header.dtype != dataset.dtype || header.values() * itemsize(header.dtype) != size))
        s = Status::corrupt;
    if (s != Status::ok) return lib.fail("sciflow_sz, reading a chunk: %s", name_of(s));
    void* values = memory.take(size);
    if (values == nullptr) return lib.fail("sciflow_sz, reading a chunk: %s", name_of(Status::no_memory));
    s = decode_stream(stream, values, size, 1, offset);
    if (s != Status::ok) {
        memory.give_back(values);
        return lib.fail("sciflow_sz, reading a chunk: %s", name_of(s));
    }
    if (dataset.big_endian) swap_values(static_cast<uint8_t*>(values), size, itemsize(dataset.dtype));
    memory.give_back(*buffer);
    *buffer = values;
    return *room = size;
}

size_t filter(unsigned flags, size_t count, const unsigned* words, size_t bytes, size_t* room, void** buffer) {
    const Library lib = Library::of(__builtin_return_address(0));
    Asked asked;
    Dataset dataset;
    size_t end = 0;
    const std::span<const unsigned> all(words, count);
    if (!read_asked(all, asked, end) || !read_dataset(all.subspan(end), dataset))
        return lib.fail("sciflow_sz: %s", "the file's parameters of the filter are of no known layout; update sciflow");
    try {
        if (flags & REVERSE) return read_chunk(lib, dataset, bytes, room, buffer);
        if (bytes != dataset.bytes()) return lib.fail("sciflow_sz, writing a chunk: %s", name_of(Status::bad_argument));
        return write_chunk(lib, asked, dataset, room, buffer);
    } catch (const std::bad_alloc&) { return lib.fail("sciflow_sz: %s", name_of(Status::no_memory)); }
}

// H5Z_class2_t.
struct FilterClass {
    int version;
    FilterNumber number;
    unsigned encoder_present, decoder_present;
    const char* name;
    Tri (*can_apply)(Id, Id, Id);
    Error (*set_local)(Id, Id, Id);
    size_t (*filter)(unsigned, size_t, const unsigned*, size_t, size_t*, void**);
};

constexpr FilterClass FILTER{
    1,         FILTER_NUMBER, 1,     1, "sciflow_sz: error-bounded compression, https://pypi.org/project/sciflow",
    can_apply, set_local,     filter};

}  // namespace
}  // namespace sciflow::hdf5

// What HDF5 asks a plugin for (H5PLextern.h).
extern "C" {
__attribute__((visibility("default"))) int H5PLget_plugin_type() { return 0; }  // H5PL_TYPE_FILTER
__attribute__((visibility("default"))) const void* H5PLget_plugin_info() { return &sciflow::hdf5::FILTER; }
}
