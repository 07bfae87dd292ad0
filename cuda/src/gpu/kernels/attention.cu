/*
 * Attention of every query head to the cached positions its row sees, in three passes over its scores, which lie in scratch:
 * scores, softmax, values. The order of every sum is that of the CPU's kernels (isa_attention.inc) and depends on positions
 * alone.
 */
#include "cache_layer.h"
#include "device_code.h"
#include "kernels.h"

namespace worker::gpu {

namespace {

constexpr unsigned block_threads = 256;
constexpr unsigned block_halves = block_threads / half_lanes;

__host__ __device__ constexpr uint64_t whole_groups(uint64_t positions) { return (positions + 15) / 16 * 16 + 16; }

/* One head of one row. Positions count in groups of sixteen, the first of which holds the first that is seen. */
struct Query {
    const BatchRow *row;
    const float *values;
    uint32_t kv_head;
    uint32_t first; /* position */
    uint32_t last;
    uint32_t first_group;
    uint32_t groups;

    __device__ bool sees(uint32_t position) const { return position >= first && position <= last; }
};

__device__ __forceinline__ Query query_of(const AttendTask &task, uint64_t row, uint32_t head) {
    Query query;
    query.row = task.rows + row;
    query.values = task.queries + (row * task.heads + head) * task.cache.head_size;
    query.kv_head = head / (task.heads / task.cache.kv_heads);
    query.last = query.row->position;
    query.first = task.window != 0 && query.last >= task.window ? query.last - task.window + 1 : 0;
    query.first_group = query.first / 16;
    query.groups = query.last / 16 - query.first_group + 1;
    return query;
}

/* Lane l of a half gets the score of the group's position l, minus infinity where it is not seen: whole groups of 64 columns
 * in four chains of sixteen lanes, then the rest of the columns one after the other, product and sum rounded apart. */
template <uint32_t kind> __device__ __forceinline__ float score(const AttendTask &task, const Query &query, uint32_t group, unsigned lane) {
    const CacheLayer &cache = task.cache;
    const uint32_t start = group * 16, whole = cache.head_size / 64 * 64;
    const std::byte *keys = key_row(cache, page_of(task.pages, *query.row, start), query.kv_head, start % ENGINE_PAGE_TOKENS);
    float own = 0.0f;
    for (uint32_t j = 0; j < 16 && whole != 0; j++) {
        if (!query.sees(start + j)) continue;
        const std::byte *key = keys + j * cache.key_row_bytes;
        float chains[4] = {};
        for (uint32_t column = lane; column < whole; column += 64) {
            UNROLL
            for (unsigned c = 0; c < 4; c++) chains[c] = fmaf(query.values[column + 16 * c], cached<kind>(key, column + 16 * c), chains[c]);
        }
        const float sum = sum_of_half((chains[0] + chains[2]) + (chains[1] + chains[3]), own_half());
        if (lane == j) own = sum;
    }
    if (!query.sees(start + lane)) return -INFINITY;
    for (uint32_t column = whole; column < cache.head_size; column++) own = query.values[column] * cached<kind>(keys + lane * cache.key_row_bytes, column) + own;
    own *= task.scale;
    return task.softcap != 0.0f ? task.softcap * tanhf(own * (1.0f / task.softcap)) : own;
}

/* Turns scores into what a softmax has above the line; gives the factor that is below it. */
__device__ __forceinline__ float soften(const AttendTask &task, const Query &query, uint32_t head, float peak, float *weights) {
    const unsigned lane = threadIdx.x % half_lanes, half = threadIdx.x / half_lanes;
    if (task.sinks != nullptr && task.sinks[head] > peak) peak = task.sinks[head];
    double total = 0.0;
    for (uint32_t group = half; group < query.groups; group += block_halves) {
        const float power = exponential(weights[group * 16 + lane] - peak);
        weights[group * 16 + lane] = power;
        const float sum = sum_of_half(power, own_half());
        if (lane == 0) total += static_cast<double>(sum);
    }
    __syncwarp();
    total = sum_of_block(total);
    if (task.sinks != nullptr) total += static_cast<double>(expf(task.sinks[head] - peak));
    return static_cast<float>(1.0 / total);
}

/* The weighted values, in a chain for each position modulo sixteen and each column. */
template <uint32_t kind>
__device__ __forceinline__ void add_values(const AttendTask &task, const Query &query, const float *weights, float factor, float *chains) {
    const CacheLayer &cache = task.cache;
    for (uint32_t number = threadIdx.x; number < 16 * cache.value_size; number += block_threads) {
        const uint32_t column = number % cache.value_size, j = number / cache.value_size;
        float chain = 0.0f;
        for (uint32_t group = 0; group < query.groups; group++) {
            const uint32_t position = (query.first_group + group) * 16 + j;
            if (!query.sees(position)) continue;
            const std::byte *value = value_row(cache, page_of(task.pages, *query.row, position), query.kv_head, position % ENGINE_PAGE_TOKENS);
            chain = fmaf(weights[group * 16 + j] * factor, cached<kind>(value, column), chain);
        }
        chains[number] = chain;
    }
}

/* The tree over the chains. */
__device__ __forceinline__ void join_chains(const float *chains, uint32_t value_size, float *output) {
    for (uint32_t column = threadIdx.x; column < value_size; column += block_threads) {
        float sums[16];
        UNROLL
        for (unsigned j = 0; j < 16; j++) sums[j] = chains[j * value_size + column];
        output[column] = sum_of_sixteen(sums);
    }
}

/* A block has one head of one row after the other, and its own part of the scratch: the weights, then the chains. */
template <uint32_t kind> __global__ void __launch_bounds__(block_threads) attend_kernel(AttendTask task, uint64_t slot_floats) {
    const unsigned lane = threadIdx.x % half_lanes, half = threadIdx.x / half_lanes;
    float *weights = task.scratch + blockIdx.x * slot_floats;
    float *chains = weights + whole_groups(task.positions);
    for (uint64_t number = blockIdx.x; number < static_cast<uint64_t>(task.count) * task.heads; number += gridDim.x) {
        const uint64_t row = number / task.heads;
        const uint32_t head = static_cast<uint32_t>(number % task.heads);
        const Query query = query_of(task, row, head);
        float peak = -INFINITY;
        for (uint32_t group = half; group < query.groups; group += block_halves) {
            const float own = score<kind>(task, query, query.first_group + group, lane);
            weights[group * 16 + lane] = own;
            peak = own > peak ? own : peak;
        }
        __syncwarp();
        peak = maximum_of_block(peak);
        const float factor = soften(task, query, head, peak, weights);
        /* sum_of_block() waited for all the weights. */
        add_values<kind>(task, query, weights, factor, chains);
        __syncthreads();
        join_chains(chains, task.cache.value_size, task.outputs + number * task.cache.value_size);
        /* The chains are written again only after the next head's barriers. */
    }
}

template <uint32_t kind> void start(const AttendTask &task, Stream stream) {
    const uint64_t heads = static_cast<uint64_t>(task.count) * task.heads;
    const auto blocks = static_cast<uint32_t>(heads < task.slots ? heads : task.slots);
    launch("attend", attend_kernel<kind>, {blocks}, {block_threads}, stream, task, attention_scratch_floats(1, task.positions, task.cache.value_size));
}

} // namespace

uint64_t attention_scratch_floats(uint32_t slots, uint32_t positions, uint32_t value_size) noexcept {
    return slots * (whole_groups(positions) + 16 * static_cast<uint64_t>(value_size));
}

void attend(const AttendTask &task, Stream stream) {
    switch (task.cache.kind) {
    case ENGINE_KV_F16: return start<ENGINE_KV_F16>(task, stream);
    case ENGINE_KV_F32: return start<ENGINE_KV_F32>(task, stream);
    default: return start<ENGINE_KV_Q8_0>(task, stream);
    }
}

} // namespace worker::gpu
