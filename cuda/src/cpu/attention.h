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
#include "forward_workspace.h"
#include "kernels.h"
#include "kv_cache.h"

namespace worker::cpu {

class Attention {
public:
    Attention(const KernelTable &kernels, Parallel &parallel, const engine_model_description &description);

    /* Takes the rows of a batch, which must stay until the last attend() on them. */
    void begin(std::span<const engine_row> rows, const uint32_t *const *page_tables, KvCache &cache);
    /* What a thread needs for the rows taken; with a cache of floats it grows in large steps with their positions. */
    size_t scratch_floats() const;
    /* What is needed once, where long contexts are shared out. */
    size_t partial_floats() const;

    /* Row i's keys and values into the cache. */
    void store(uint32_t layer, size_t row, const float *keys, const float *values);

    /* queries: [rows][heads * head_size]; outputs: [rows][heads * value_size]. */
    void attend(uint32_t layer, const Layer &tensors, const float *queries, float *outputs, const Workspace &workspace);

private:
    /* Rows that one task takes: of one sequence and role, so that they share the expanded pages. */
    struct Block {
        uint32_t first;
        uint32_t count;
    };

    AttentionTask task_of(uint32_t layer, const Layer &tensors, const Block &block, uint32_t head, const float *queries, float *outputs) const;
    /* Whether there are so few blocks that threads would wait for each other at the end of long contexts. */
    bool shares_spans() const;
    void attend_in_spans(uint32_t layer, const Layer &tensors, const float *queries, float *outputs, const Workspace &workspace);

    const KernelTable &kernels_;
    Parallel &parallel_;
    const engine_model_description &description_;
    float scale_;
    std::span<const engine_row> rows_;
    const uint32_t *const *page_tables_ = nullptr;
    KvCache *cache_ = nullptr;
    std::vector<uint32_t> positions_;
    std::vector<Block> blocks_;
    uint32_t most_queries_ = 0; /* of a block */
    uint32_t most_spans_ = 0;   /* of a block, from position 0 */
};

} // namespace worker::cpu

#endif
