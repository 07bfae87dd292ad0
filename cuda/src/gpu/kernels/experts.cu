/*
 * The choice of experts, and the sum of what they give.
 */
#include "device_code.h"
#include "kernels.h"

namespace worker::gpu {

namespace {

constexpr unsigned block_threads = 256;

/* Numbers that are none come first, so that they show in what follows. */
__device__ __forceinline__ bool is_better(float score, uint32_t expert, float than, uint32_t than_expert) {
    const bool none = !(score == score), than_none = !(than == than);
    if (none != than_none) return none;
    if (!none && score != than) return score > than;
    return expert < than_expert;
}

__device__ __forceinline__ bool is_taken(const uint32_t *chosen, uint32_t count, uint32_t expert) {
    for (uint32_t i = 0; i < count; i++)
        if (chosen[i] == expert) return true;
    return false;
}

/* A warp has a row. */
__global__ void __launch_bounds__(warp_lanes) choose_kernel(ChooseTask task) {
    const float *scores = task.scores + static_cast<size_t>(blockIdx.x) * task.experts;
    uint32_t *chosen = task.chosen + static_cast<size_t>(blockIdx.x) * task.used;
    float *weights = task.weights + static_cast<size_t>(blockIdx.x) * task.used;
    for (uint32_t rank = 0; rank < task.used; rank++) {
        uint32_t best = task.experts; /* none yet */
        float best_score = -INFINITY;
        for (uint32_t expert = threadIdx.x; expert < task.experts; expert += warp_lanes) {
            if (is_taken(chosen, rank, expert) || !is_better(scores[expert], expert, best_score, best)) continue;
            best = expert;
            best_score = scores[expert];
        }
        UNROLL
        for (int apart = 16; apart > 0; apart /= 2) {
            const float score = __shfl_xor_sync(whole_warp, best_score, apart);
            const uint32_t expert = __shfl_xor_sync(whole_warp, best, apart);
            if (!is_better(score, expert, best_score, best)) continue;
            best = expert;
            best_score = score;
        }
        if (threadIdx.x == 0) chosen[rank] = best;
        __syncwarp();
    }
    if (threadIdx.x != 0) return;
    float total = 0.0f;
    for (uint32_t rank = 0; rank < task.used; rank++) {
        weights[rank] = expf(scores[chosen[rank]] - scores[chosen[0]]);
        total += weights[rank];
    }
    for (uint32_t rank = 0; rank < task.used; rank++) weights[rank] /= total;
}

__global__ void __launch_bounds__(block_threads) combine_kernel(CombineTask task) {
    const uint64_t number = static_cast<uint64_t>(blockIdx.x) * block_threads + threadIdx.x;
    const uint64_t row = number / task.width, column = number % task.width;
    if (row >= task.count) return;
    float sum = 0.0f;
    for (uint32_t rank = 0; rank < task.used; rank++) {
        const uint64_t slot = row * task.used + rank;
        sum = sum + task.inputs[slot * task.width + column] * task.weights[slot];
    }
    task.output[number] = sum;
}

} // namespace

void choose_experts(const ChooseTask &task, Stream stream) {
    launch("choose_experts", choose_kernel, {task.count}, {warp_lanes}, stream, task);
}

void combine_experts(const CombineTask &task, Stream stream) {
    const uint64_t values = static_cast<uint64_t>(task.count) * task.width;
    launch("combine_experts", combine_kernel, {blocks_for(values, block_threads)}, {block_threads}, stream, task);
}

} // namespace worker::gpu
