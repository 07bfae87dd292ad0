/*
 * Attention of a batch's rows to the paged KV cache, split over the threads by KV heads and blocks of rows.
 */
#ifndef WORKER_ATTENTION_H
#define WORKER_ATTENTION_H

#include <cstdint>
#include <span>
#include <vector>

#include "../graph/bound_model.h"
#include "forward_parallel.h"
#include "kernels.h"
#include "kv_cache.h"

namespace worker::cpu {

class Attention {
public:
    Attention(const KernelTable &kernels, Parallel &parallel, const engine_model_description &description);

    /* Takes the rows of a batch, which must stay until the last attend() on them. */
    void begin(std::span<const engine_row> rows, const uint32_t *const *page_tables, KvCache &cache);
    /* What a thread needs for the rows taken; grows in large steps with their positions. */
    size_t scratch_floats() const;

    /* Row i's keys and values into the cache. */
    void store(uint32_t layer, size_t row, const float *keys, const float *values);

    /* queries: [rows][heads * head_size]; outputs: [rows][heads * value_size]. */
    void attend(uint32_t layer, const Layer &tensors, const float *queries, float *outputs, float *scratch, size_t scratch_stride);

private:
    /* Rows that one task takes: of one sequence and role, so that they share the expanded pages. */
    struct Block {
        uint32_t first;
        uint32_t count;
    };

    const KernelTable &kernels_;
    Parallel &parallel_;
    const engine_model_description &description_;
    uint32_t most_rows_; /* of a block */
    float scale_;
    std::span<const engine_row> rows_;
    const uint32_t *const *page_tables_ = nullptr;
    KvCache *cache_ = nullptr;
    std::vector<uint32_t> positions_;
    std::vector<Block> blocks_;
};

} // namespace worker::cpu

#endif
