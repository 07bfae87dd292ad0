/*
 * The keys and values of a model's sequences, in pages of ENGINE_PAGE_TOKENS positions.
 *
 *   page:  [layer][kv head] { keys  [ENGINE_PAGE_TOKENS][key row]
 *                             values[ENGINE_PAGE_TOKENS][value row] }
 *
 * One head's keys, and its values, lie contiguous within a page so that attention streams long lines; a whole page is
 * one range so that copying it is one copy. Within a head's keys the device may have its own order: on the CPU all but
 * floats lie turned over (KernelTable::store_key).
 */
#ifndef WORKER_KV_CACHE_H
#define WORKER_KV_CACHE_H

#include "device_memory.h"
#include "engine.h"

#include <cstddef>
#include <cstdint>

namespace worker {

enum class KvKind : uint32_t { F16 = ENGINE_KV_F16, F32 = ENGINE_KV_F32, Q8_0 = ENGINE_KV_Q8_0 };
enum class KvPart { Key, Value };

/* Where things lie in a page, for one model and kind. */
struct KvLayout {
    uint32_t layers = 0;
    uint32_t kv_heads = 0;
    size_t key_row_bytes = 0;   /* one position's key of one head */
    size_t value_row_bytes = 0;
    size_t key_bytes = 0;       /* a page's keys of one head, rounded up to 64 */
    size_t head_bytes = 0;      /* key_bytes and the values', rounded up likewise */
    size_t page_bytes = 0;      /* all layers and heads */

    /* Throws invalid_parameter for an unknown kind, and where head sizes do not suit it (Q8_0 has blocks of 32). */
    static KvLayout of(const engine_model_description &description, uint32_t kind);
};

class KvCache {
public:
    KvCache(Device &device, const engine_model_description &description, uint32_t pages, uint32_t kind, VramOwner owner);

    uint32_t pages() const noexcept { return pages_; }
    KvKind kind() const noexcept { return kind_; }
    const KvLayout &layout() const noexcept { return layout_; }

    /* The first row: position 0 of the page; rows follow every key_row_bytes or value_row_bytes. 64-byte aligned. */
    std::byte *address(uint32_t layer, uint32_t page, uint32_t kv_head, KvPart part) const noexcept {
        return memory_.get_as<std::byte>() + static_cast<size_t>(page) * layout_.page_bytes +
               (static_cast<size_t>(layer) * layout_.kv_heads + kv_head) * layout_.head_bytes +
               (part == KvPart::Value ? layout_.key_bytes : 0);
    }

    /* Throws invalid_parameter for a page that is not there. */
    void copy_page(uint32_t from, uint32_t to);

private:
    Device &device_;
    KvLayout layout_;
    KvKind kind_;
    uint32_t pages_;
    DeviceMemory memory_;
};

} // namespace worker

#endif
