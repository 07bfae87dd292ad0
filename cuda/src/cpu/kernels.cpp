#include "kernels.h"

#include <cstdlib>
#include <string>
#include <string_view>

#include "cuda_error.h"
#include "forward.h"
#include "matrix_unit.h"

#if defined(__aarch64__) && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace worker::cpu {

namespace scalar {
extern const KernelTable table;
}
#if defined(__x86_64__)
namespace avx2 {
extern const KernelTable table;
}
namespace avx512 {
extern const KernelTable table;
}
namespace avx512vnni {
extern const KernelTable table;
}
namespace avx512bf16 {
KernelTable table() noexcept;
}
#elif defined(__aarch64__)
namespace neon {
extern const KernelTable table;
}
namespace neon_dotprod {
KernelTable table() noexcept;
}
#endif

namespace {

struct Supported {
    const KernelTable *tables[6];
    size_t count;
};

Supported find_supported() noexcept {
    Supported supported{{&scalar::table}, 1};
#if defined(__x86_64__)
    const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
    if (avx2) supported.tables[supported.count++] = &avx2::table;
    const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
                        __builtin_cpu_supports("avx512dq");
    if (avx512) supported.tables[supported.count++] = &avx512::table;
    const bool vnni = avx512 && __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("avx512vbmi") && __builtin_cpu_supports("gfni");
    if (vnni) supported.tables[supported.count++] = &avx512vnni::table;
    if (vnni && __builtin_cpu_supports("avx512bf16")) {
        static const KernelTable bf16 = avx512bf16::table();
        supported.tables[supported.count++] = &bf16;
    }
#if defined(__linux__)
    if (vnni && matrix_unit_state() == MatrixUnitState::Works) {
        static const KernelTable amx = matrix_unit_table();
        supported.tables[supported.count++] = &amx;
    }
#endif
#elif defined(__aarch64__)
    supported.tables[supported.count++] = &neon::table;
#if defined(__linux__)
    if ((getauxval(AT_HWCAP) & HWCAP_ASIMDDP) != 0) {
        static const KernelTable dotprod = neon_dotprod::table();
        supported.tables[supported.count++] = &dotprod;
    }
#endif
#endif
    return supported;
}

const KernelTable &choose() {
    const std::span<const KernelTable *const> supported = supported_cpu_kernels();
    const char *forced = std::getenv("WORKER_CPU_PATH");
    if (forced == nullptr || *forced == '\0') return *supported.back();
    std::string names;
    for (const KernelTable *table : supported) {
        if (std::string_view(table->name) == forced) return *table;
        if (!names.empty()) names += ", ";
        names += table->name;
    }
    throw CudaError::invalid_parameter("WORKER_CPU_PATH is '" + std::string(forced).substr(0, 64) + "'; this CPU can run " + names);
}

} // namespace

std::span<const KernelTable *const> supported_cpu_kernels() noexcept {
    static const Supported supported = find_supported();
    return {supported.tables, supported.count};
}

size_t prefetch_distance() noexcept {
#if defined(__x86_64__)
    /* Measured on Zen 4 (F16, one thread): 13 GB/s with 2048, 26 with 0. On Sapphire Rapids 2048 gains 10 to 45 %. */
    static const bool disturbed = __builtin_cpu_is("amd");
    return disturbed ? 0 : 2048;
#else
    return 2048;
#endif
}

const KernelTable &cpu_kernels() {
    /* A throwing initialiser leaves it undone, so that a corrected environment is seen by the next call. */
    static const KernelTable &table = choose();
    return table;
}

} // namespace worker::cpu

namespace worker {

const char *cpu_kernel_path() {
    const cpu::KernelTable &table = cpu::cpu_kernels();
    const bool best = &table == cpu::supported_cpu_kernels().back();
    if (!best || cpu::matrix_unit_state() != cpu::MatrixUnitState::Fails) return table.name;
    return std::string_view(table.name) == "avx512bf16" ? "avx512bf16 (amx is faulty)" : "avx512vnni (amx is faulty)";
}

} // namespace worker
