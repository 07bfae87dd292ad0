/*
 * Where a layer of the KV cache has a position's rows, and what is in them. Included by .cu files only.
 */
#ifndef WORKER_GPU_CACHE_LAYER_H
#define WORKER_GPU_CACHE_LAYER_H

#include "../../formats/blocks.h"
#include "device_code.h"
#include "kernels.h"
#include "stored_formats.h"

namespace worker::gpu {

__device__ __forceinline__ uint32_t page_of(const uint32_t *pages, const BatchRow &row, uint32_t position) {
    return pages[row.first_page + position / ENGINE_PAGE_TOKENS];
}

__device__ __forceinline__ std::byte *key_row(const CacheLayer &cache, uint32_t page, uint32_t kv_head, uint32_t slot) {
    return cache.base + page * cache.page_bytes + kv_head * cache.head_bytes + slot * cache.key_row_bytes;
}

__device__ __forceinline__ std::byte *value_row(const CacheLayer &cache, uint32_t page, uint32_t kv_head, uint32_t slot) {
    return cache.base + page * cache.page_bytes + kv_head * cache.head_bytes + cache.key_bytes + slot * cache.value_row_bytes;
}

/* One value of a stored key or value. kind: ENGINE_KV_*. */
template <uint32_t kind> __device__ __forceinline__ float cached(const std::byte *row, uint32_t column) {
    if constexpr (kind == ENGINE_KV_F16) {
        return __half2float(__ushort_as_half(reinterpret_cast<const uint16_t *>(row)[column]));
    } else if constexpr (kind == ENGINE_KV_F32) {
        return reinterpret_cast<const float *>(row)[column];
    } else {
        const BlockQ8_0 &block = reinterpret_cast<const BlockQ8_0 *>(row)[column / 32];
        return half_value(block.scale) * static_cast<float>(block.values[column % 32]);
    }
}

} // namespace worker::gpu

#endif
