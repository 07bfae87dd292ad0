/*
 * Operations that take one element after the other: a thread for each.
 */
#include "device_code.h"
#include "kernels.h"

namespace worker::gpu {

namespace {

constexpr unsigned block_threads = 256;

__device__ __forceinline__ uint64_t element() { return static_cast<uint64_t>(blockIdx.x) * block_threads + threadIdx.x; }

__device__ __forceinline__ float silu(float x) { return x / (1.0f + exponential(0.0f - x)); }

/* By table, as the reference engine has it: argument and result rounded to half precision; beyond 10 the limits zero and
 * identity. */
__device__ __forceinline__ float gelu(float x, const float *table) {
    if (x <= -10.0f) return 0.0f;
    if (x >= 10.0f) return x;
    return table[__half_as_ushort(__float2half_rn(x))];
}

/* The clamped gate of gpt-oss: g / (1 + exp(-alpha g)) * (u + 1), with g at most and |u| at most the limit. */
__device__ __forceinline__ float swiglu_clamped(float gate, float up, float alpha, float limit) {
    const float g = limit < gate ? limit : gate;
    const float below = limit < up ? limit : up;
    const float u = -limit > below ? -limit : below;
    return g / (1.0f + exponential(-alpha * g)) * (u + 1.0f);
}

__global__ void __launch_bounds__(block_threads) activate_kernel(ActivateTask task) {
    const uint64_t i = element();
    if (i >= task.count) return;
    const float gate = task.gate[i];
    if (task.activation == ENGINE_ACTIVATION_SWIGLU_CLAMPED) {
        task.output[i] = swiglu_clamped(gate, task.up[i], task.alpha, task.limit);
        return;
    }
    const float activated = task.activation == ENGINE_ACTIVATION_GELU_TANH ? gelu(gate, task.gelu_table) : silu(gate);
    task.output[i] = task.up != nullptr ? activated * task.up[i] : activated;
}

__global__ void __launch_bounds__(block_threads) add_kernel(float *rows, const float *addends, float scale, uint64_t count) {
    const uint64_t i = element();
    if (i < count) rows[i] += scale * addends[i];
}

__global__ void __launch_bounds__(block_threads) finish_kernel(float *logits, float scale, float softcap, uint64_t count) {
    const uint64_t i = element();
    if (i >= count) return;
    const float scaled = logits[i] * scale;
    logits[i] = softcap != 0.0f ? softcap * tanhf(scaled * (1.0f / softcap)) : scaled;
}

float or_one(float scale) { return scale != 0.0f ? scale : 1.0f; }

} // namespace

void activate(const ActivateTask &task, Stream stream) {
    launch("activate", activate_kernel, {blocks_for(task.count, block_threads)}, {block_threads}, stream, task);
}

void add_rows(float *rows, const float *addends, float scale, uint64_t count, Stream stream) {
    launch("add_rows", add_kernel, {blocks_for(count, block_threads)}, {block_threads}, stream, rows, addends, or_one(scale), count);
}

void finish_logits(float *logits, float scale, float softcap, uint64_t count, Stream stream) {
    const bool plain = (scale == 0.0f || scale == 1.0f) && softcap == 0.0f;
    if (plain) return;
    launch("finish_logits", finish_kernel, {blocks_for(count, block_threads)}, {block_threads}, stream, logits, or_one(scale), softcap, count);
}

} // namespace worker::gpu
