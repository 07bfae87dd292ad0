#include "kv_cache.h"

#include "cuda_error.h"

#include <string>

namespace worker {

namespace {

size_t row_bytes(uint32_t values, uint32_t kind) {
    switch (kind) {
    case ENGINE_KV_F16: return size_t{values} * 2;
    case ENGINE_KV_F32: return size_t{values} * 4;
    case ENGINE_KV_Q8_0:
        if (values % 32 != 0) {
            throw CudaError::invalid_parameter("a Q8_0 KV cache needs head sizes that are multiples of 32, and this model has " +
                                               std::to_string(values) + "; F16 and F32 take any");
        }
        return size_t{values} / 32 * 34; /* blocks of 32: an F16 scale, 32 signed bytes */
    default: throw CudaError::invalid_parameter("there is no KV cache type " + std::to_string(kind));
    }
}

constexpr size_t round_up_to_line(size_t bytes) { return (bytes + 63) & ~size_t{63}; }

size_t total_bytes(const KvLayout &layout, uint32_t pages) {
    if (pages == 0) throw CudaError::invalid_parameter("a KV cache needs at least one page");
    if (layout.page_bytes > SIZE_MAX / pages) {
        throw CudaError::out_of_memory(std::to_string(pages) + " KV cache pages are more than can be addressed");
    }
    return layout.page_bytes * pages;
}

} // namespace

KvLayout KvLayout::of(const engine_model_description &description, uint32_t kind) {
    KvLayout layout;
    layout.layers = description.layers;
    layout.kv_heads = description.kv_heads;
    layout.key_row_bytes = row_bytes(description.head_size, kind);
    layout.value_row_bytes = row_bytes(description.value_size, kind);
    layout.key_bytes = round_up_to_line(layout.key_row_bytes * ENGINE_PAGE_TOKENS);
    layout.head_bytes = layout.key_bytes + round_up_to_line(layout.value_row_bytes * ENGINE_PAGE_TOKENS);
    layout.page_bytes = layout.head_bytes * layout.kv_heads * layout.layers;
    return layout;
}

KvCache::KvCache(Device &device, const engine_model_description &description, uint32_t pages, uint32_t kind, VramOwner owner)
    : device_(device), layout_(KvLayout::of(description, kind)), kind_(static_cast<KvKind>(kind)), pages_(pages),
      memory_(device, total_bytes(layout_, pages),
              {VramPurpose::KVCache, "KV cache of " + std::to_string(pages) + " pages", owner}, {256, true}) {}

void KvCache::copy_page(uint32_t from, uint32_t to) {
    for (const uint32_t page : {from, to}) {
        if (page >= pages_) {
            throw CudaError::invalid_parameter("KV cache page " + std::to_string(page) + " of " + std::to_string(pages_));
        }
    }
    if (from != to) device_.copy_within(address(0, to, 0, KvPart::Key), address(0, from, 0, KvPart::Key), layout_.page_bytes);
}

} // namespace worker
