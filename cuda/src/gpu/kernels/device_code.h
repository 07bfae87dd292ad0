/*
 * What the kernels are built of: sums over lanes and blocks in a fixed order, and the exponential.
 *
 * A "half" is sixteen neighbouring lanes of a warp, as many as the chains of a product. Included by .cu files only.
 */
#ifndef WORKER_GPU_DEVICE_CODE_H
#define WORKER_GPU_DEVICE_CODE_H

#include <cstdint>

#include "../launch.h"

/* BLOCK_SHARED(float, name, 32): an array that the block's threads share. */
#ifdef WORKER_EMULATED_GPU
#define BLOCK_SHARED(type, name, count) static thread_local ::worker::emulation::SharedArray<type, count> name
#define UNROLL _Pragma("GCC unroll 16")
#else
#define BLOCK_SHARED(type, name, count) __shared__ type name[count]
#define UNROLL _Pragma("unroll")
#endif

namespace worker::gpu {

constexpr unsigned warp_lanes = 32;
constexpr unsigned half_lanes = 16;
constexpr uint32_t whole_warp = 0xffffffffu;
constexpr unsigned most_warps = 32; /* of a block */

/* The mask of the calling thread's half. */
__device__ __forceinline__ uint32_t own_half() { return 0xffffu << (threadIdx.x & 16u); }

/* The tree of the CPU's kernels: lanes 8 apart, then 4, 2, 1. Every lane of the half gets the sum. */
__device__ __forceinline__ float sum_of_half(float value, uint32_t mask) {
    UNROLL
    for (int apart = 8; apart > 0; apart /= 2) value += __shfl_xor_sync(mask, value, apart);
    return value;
}

/* The same tree within a thread. */
template <unsigned apart = 8> __device__ __forceinline__ float sum_of_sixteen(float (&values)[16]) {
    UNROLL
    for (unsigned i = 0; i < apart; i++) values[i] += values[i + apart];
    if constexpr (apart > 1)
        return sum_of_sixteen<apart / 2>(values);
    else
        return values[0];
}

/* ---- over a block of whole warps, in one dimension; all its threads must come, and all get the result ---- */

template <typename Number, typename Join> __device__ __forceinline__ Number join_block(Number value, Join join) {
    BLOCK_SHARED(Number, of_warps, most_warps);
    UNROLL
    for (int apart = 16; apart > 0; apart /= 2) value = join(value, __shfl_xor_sync(whole_warp, value, apart));
    __syncthreads(); /* until an earlier use has been read */
    if (threadIdx.x % warp_lanes == 0) of_warps[threadIdx.x / warp_lanes] = value;
    __syncthreads();
    Number result = of_warps[0];
    for (unsigned warp = 1; warp < blockDim.x / warp_lanes; warp++) result = join(result, of_warps[warp]);
    return result;
}

struct Sum {
    template <typename Number> __device__ Number operator()(Number a, Number b) const { return a + b; }
};

struct Maximum {
    template <typename Number> __device__ Number operator()(Number a, Number b) const { return a > b ? a : b; }
};

__device__ __forceinline__ double sum_of_block(double value) { return join_block(value, Sum{}); }
__device__ __forceinline__ float maximum_of_block(float value) { return join_block(value, Maximum{}); }

/* ---- exp ---- */

__device__ __forceinline__ float power_of_two(int exponent) { return __uint_as_float(static_cast<uint32_t>(exponent + 127) << 23); }

/* e to the x, to about a unit of the last place, with the bits of the CPU's vector kernels (isa_exponential.inc): only
 * operations that every device rounds alike. */
__device__ __forceinline__ float exponential(float x) {
    if (!(x == x)) return x;
    x = x < -104.0f ? -104.0f : x > 89.0f ? 89.0f : x;
    const float whole = rintf(x * 0x1.715476p+0f);
    const float near = fmaf(-whole, 0x1.7f7d1cp-20f, fmaf(-whole, 0x1.62e4p-1f, x));
    const float square = near * near;
    const float high = fmaf(0x1.0e4020p-7f, near, 0x1.573e2ep-5f);
    const float middle = fmaf(0x1.555e66p-3f, near, 0x1.fffdb6p-2f);
    const float low = fmaf(0x1.ffffecp-1f, near, 1.0f);
    const float value = fmaf(fmaf(high, square, middle), square, low);
    /* In two steps, as the power alone may be below or above the range of normal numbers. */
    const int exponent = static_cast<int>(whole), first = exponent >> 1;
    return value * power_of_two(first) * power_of_two(exponent - first);
}

} // namespace worker::gpu

#endif
