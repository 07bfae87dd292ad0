/*
 * Queries and keys turned by their position; keys and values into the cache.
 */
#include "../../formats/blocks.h"
#include "cache_layer.h"
#include "device_code.h"
#include "kernels.h"

namespace worker::gpu {

namespace {

constexpr unsigned block_threads = 256;

/* A thread has one pair of one head. Rounded as the CPU's vector kernels do it. */
__global__ void __launch_bounds__(block_threads) turn_kernel(TurnTask task) {
    const uint64_t number = static_cast<uint64_t>(blockIdx.x) * block_threads + threadIdx.x;
    const uint32_t pair = static_cast<uint32_t>(number % task.pairs);
    const uint64_t head = number / task.pairs, row = head / task.heads;
    if (row >= task.count) return;
    const float *angles = task.angles + row * 2 * task.pairs;
    const float cosine = angles[pair], sine = angles[task.pairs + pair];
    const bool adjacent = task.kind == ENGINE_ROTARY_ADJACENT;
    float *values = task.rows + head * task.head_size;
    float &first = values[adjacent ? 2 * pair : pair];
    float &second = values[adjacent ? 2 * pair + 1 : pair + task.pairs];
    const float x = first, y = second;
    first = fmaf(x, cosine, -(y * sine));
    second = fmaf(x, sine, y * cosine);
}

/* Value `index` of a row's heads, keys first, and where the cache has the head. */
struct Place {
    float value;
    std::byte *stored;
    uint32_t column;
};

__device__ __forceinline__ Place place_of(const StoreTask &task, uint64_t row, uint32_t index) {
    const CacheLayer &cache = task.cache;
    const BatchRow &at = task.rows[row];
    const uint32_t key_values = cache.kv_heads * cache.head_size, value_values = cache.kv_heads * cache.value_size;
    const uint32_t page = page_of(task.pages, at, at.position), slot = at.position % ENGINE_PAGE_TOKENS;
    if (index < key_values)
        return {task.keys[row * key_values + index], key_row(cache, page, index / cache.head_size, slot), index % cache.head_size};
    index -= key_values;
    return {task.values[row * value_values + index], value_row(cache, page, index / cache.value_size, slot), index % cache.value_size};
}

__device__ __forceinline__ uint32_t row_values(const CacheLayer &cache) { return cache.kv_heads * (cache.head_size + cache.value_size); }

__global__ void __launch_bounds__(block_threads) store_floats_kernel(StoreTask task) {
    const uint64_t number = static_cast<uint64_t>(blockIdx.x) * block_threads + threadIdx.x;
    const uint64_t row = number / row_values(task.cache);
    if (row >= task.count) return;
    const Place place = place_of(task, row, static_cast<uint32_t>(number % row_values(task.cache)));
    if (task.cache.kind == ENGINE_KV_F16)
        reinterpret_cast<uint16_t *>(place.stored)[place.column] = __half_as_ushort(__float2half_rn(place.value));
    else
        reinterpret_cast<float *>(place.stored)[place.column] = place.value;
}

/* A warp has a block of 32 values: the largest magnitude becomes 127, halves round away from zero. Head sizes are multiples
 * of 32, so that no warp has parts of two heads. */
__global__ void __launch_bounds__(block_threads) store_q8_kernel(StoreTask task) {
    const uint64_t number = static_cast<uint64_t>(blockIdx.x) * block_threads + threadIdx.x;
    const uint64_t row = number / row_values(task.cache);
    if (row >= task.count) return;
    const Place place = place_of(task, row, static_cast<uint32_t>(number % row_values(task.cache)));
    float peak = fabsf(place.value);
    UNROLL
    for (int apart = 16; apart > 0; apart /= 2) {
        const float other = __shfl_xor_sync(whole_warp, peak, apart);
        peak = other > peak ? other : peak;
    }
    const float scale = peak / 127.0f, inverse = scale != 0.0f ? 1.0f / scale : 0.0f;
    BlockQ8_0 &block = reinterpret_cast<BlockQ8_0 *>(place.stored)[place.column / 32];
    block.values[place.column % 32] = static_cast<int8_t>(roundf(place.value * inverse));
    if (place.column % 32 != 0) return;
    const uint16_t bits = __half_as_ushort(__float2half_rn(scale));
    block.scale.bytes[0] = static_cast<uint8_t>(bits);
    block.scale.bytes[1] = static_cast<uint8_t>(bits >> 8);
}

} // namespace

void turn(const TurnTask &task, Stream stream) {
    if (task.pairs == 0) return;
    const uint64_t pairs = static_cast<uint64_t>(task.count) * task.heads * task.pairs;
    launch("turn", turn_kernel, {blocks_for(pairs, block_threads)}, {block_threads}, stream, task);
}

void store_kv(const StoreTask &task, Stream stream) {
    const uint64_t values = static_cast<uint64_t>(task.count) * task.cache.kv_heads * (task.cache.head_size + task.cache.value_size);
    const uint32_t blocks = blocks_for(values, block_threads);
    if (task.cache.kind == ENGINE_KV_Q8_0)
        launch("store_q8", store_q8_kernel, {blocks}, {block_threads}, stream, task);
    else
        launch("store_floats", store_floats_kernel, {blocks}, {block_threads}, stream, task);
}

} // namespace worker::gpu
