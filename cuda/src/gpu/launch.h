/*
 * How kernels are started. Kernel sources (.cu) include this and nothing of CUDA's; the same source compiles with nvcc
 * for the device and, for the tests, as C++ for the emulated one.
 *
 *   __global__ void scale(float *values, uint32_t count, float factor) { ... }
 *   launch("scale", scale, {blocks_for(count, 256)}, {256}, stream, values, count, factor);
 */
#ifndef WORKER_GPU_LAUNCH_H
#define WORKER_GPU_LAUNCH_H

#include "gpu/runtime.h"

#include <cstdint>
#include <tuple>
#include <type_traits>
#include <utility>

#ifdef WORKER_EMULATED_GPU
#include "emulation/cuda_emulation.h" /* __global__, threadIdx, __syncthreads, shuffles, half types ... */
#else
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#include <cuda_runtime.h>
#endif

namespace worker::gpu {

/* How many blocks of `size` cover `count`. */
constexpr uint32_t blocks_for(uint64_t count, uint32_t size) { return static_cast<uint32_t>((count + size - 1) / size); }

/* Threads per block, and the dynamic shared memory of each block. */
struct Block {
    constexpr Block(uint32_t x, uint32_t y = 1, uint32_t z = 1) noexcept : extent{x, y, z} {}
    constexpr Block with_shared(size_t bytes) const noexcept {
        Block block = *this;
        block.shared_bytes = bytes;
        return block;
    }

    Extent extent;
    size_t shared_bytes = 0;
};

namespace detail {

template <typename... Parameters, size_t... Index>
void fill_pointers(std::tuple<Parameters...> &values, void **pointers, std::index_sequence<Index...>) {
    ((pointers[Index] = const_cast<void *>(static_cast<const void *>(&std::get<Index>(values)))), ...);
}

#ifdef WORKER_EMULATED_GPU
/* The last pointer is the kernel itself, so that one function serves every kernel with these parameters. */
template <typename... Parameters> void call_kernel(void **arguments) {
    const auto kernel = *static_cast<void (**)(Parameters...)>(arguments[sizeof...(Parameters)]);
    [&]<size_t... Index>(std::index_sequence<Index...>) {
        kernel(*static_cast<std::remove_cvref_t<Parameters> *>(arguments[Index])...);
    }(std::index_sequence_for<Parameters...>{});
}
#endif

} // namespace detail

/* Starts the kernel; returns before it has run. Throws kernel_launch_failed when it cannot be started, or when an
 * earlier kernel has broken the device. A grid without blocks does nothing. */
template <typename... Parameters, typename... Arguments>
void launch(const char *name, void (*kernel)(Parameters...), Extent grid, Block block, Stream stream, Arguments... arguments) {
    static_assert(sizeof...(Parameters) == sizeof...(Arguments), "a kernel takes exactly its parameters");
    static_assert((!std::is_reference_v<Parameters> && ...), "a kernel's parameters travel by value");
    if (grid.x == 0 || grid.y == 0 || grid.z == 0) return;
    std::tuple<std::remove_cv_t<Parameters>...> values(static_cast<std::remove_cv_t<Parameters>>(arguments)...);
    void *pointers[sizeof...(Parameters) + 1];
    detail::fill_pointers(values, pointers, std::index_sequence_for<Parameters...>{});
    KernelLaunch start{name, reinterpret_cast<const void *>(kernel), nullptr, pointers, grid, block.extent, block.shared_bytes, stream};
#ifdef WORKER_EMULATED_GPU
    pointers[sizeof...(Parameters)] = &kernel;
    start.call = detail::call_kernel<Parameters...>;
#else
    pointers[sizeof...(Parameters)] = nullptr;
#endif
    check_launch(runtime().launch(start), name);
}

} // namespace worker::gpu

#endif
