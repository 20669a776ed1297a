// A decoded array and what it was decoded from, to the bytes of an enhancement; those and the decoded array, to the
// enhanced one. docs/gwlz-format.md section 3.
#pragma once

#include <span>

#include "enhance/fit.hpp"

namespace sciflow::enhance {

struct Request {
    FitOptions fit;
    double bound = 0;                    // every finite value is held to it; 0: none is
    bool own = true;                     // whether an enhancer of its own may be fitted
    View shared;                         // a model that decoder and encoder both have, or empty
    std::span<const uint64_t> patterns;  // of sentinels
    std::span<const AuxArray> aux;       // arrays of the same shape that the decoder has too
};

enum class Kind : uint8_t { none = 0, own = 1, shared = 2 };

struct Outcome {
    Kind kind = Kind::none;
    Bytes body;
    double base_squares = 0, squares = 0;  // summed over cells that hold data
    double base_most = 0, most = 0;        // largest errors of those
    size_t cells = 0;                      // that hold data
    size_t exact = 0;                      // values stored as they are
    size_t mark_bytes = 0;                 // of corrections that were taken back
    double reach = 0;                      // no value is moved further
    size_t aux = 0;                        // arrays beside it that decoding needs
};

// Chooses what is worth its bytes and writes it; `out` becomes what `decode` will give.
template <class T>
Status encode(const T* original, const T* decoded, std::span<const uint64_t> shape, const Request& request, T* out,
              Outcome& outcome);

inline constexpr size_t MAX_PATTERNS = 62;

// What the decoder has besides the body: what the encoder had, or nothing.
struct Beside {
    View shared;
    std::span<const AuxArray> aux;
};

// Corrects `decoded` into `out`.
template <class T>
Status decode(View body, const Beside& beside, const T* decoded, std::span<const uint64_t> shape, T* out);

// An array of some that share a model.
template <class T>
struct Pair {
    const T* original;
    const T* decoded;
    std::span<const uint64_t> shape;
};

// A model for many arrays, or empty bytes where none is worth it.
template <class T>
Bytes fit_shared(std::span<const Pair<T>> pairs, std::span<const uint64_t> patterns, const FitOptions& options);

}  // namespace sciflow::enhance
