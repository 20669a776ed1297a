#include <cstdlib>
#include <cstring>

#include "kernels.hpp"

namespace sciflow {

#if defined(__x86_64__)
namespace v2 {
extern const Kernels table;
}
namespace v3 {
extern const Kernels table;
}
namespace v4 {
extern const Kernels table;
}

static bool runs_v3() {
    return __builtin_cpu_supports("avx2") && __builtin_cpu_supports("bmi2") && __builtin_cpu_supports("fma");
}
static bool runs_v4() {
    return runs_v3() && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512cd") && __builtin_cpu_supports("avx512dq") &&
           __builtin_cpu_supports("avx512vl");
}
const Kernels* kernels_named(const char* name) {
    if (std::strcmp(name, "v2") == 0) return &v2::table;
    if (std::strcmp(name, "v3") == 0 && runs_v3()) return &v3::table;
    if (std::strcmp(name, "v4") == 0 && runs_v4()) return &v4::table;
    return nullptr;
}
static const Kernels& choose() {
    // SCIFLOW_SIMD=v2|v3|v4 holds the choice down: for comparing paths, never needed for correct results.
    if (const char* wish = std::getenv("SCIFLOW_SIMD"))
        if (const Kernels* k = kernels_named(wish)) return *k;
    if (runs_v4()) return v4::table;
    return runs_v3() ? v3::table : v2::table;
}
#else
namespace base {
extern const Kernels table;
}

const Kernels* kernels_named(const char* name) { return std::strcmp(name, "base") == 0 ? &base::table : nullptr; }
static const Kernels& choose() { return base::table; }
#endif

const Kernels& kernels() {
    static const Kernels& chosen = choose();
    return chosen;
}

}  // namespace sciflow
