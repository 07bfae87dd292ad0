#include "attention.h"

#include <algorithm>
#include <cmath>

namespace worker::cpu {

namespace {

/* Queries that share an expanded page: more make the expansion cheaper, and the scratch larger. */
constexpr uint32_t block_queries = 16;

} // namespace

Attention::Attention(const KernelTable &kernels, Parallel &parallel, const engine_model_description &description)
    : kernels_(kernels), parallel_(parallel), description_(description),
      most_rows_(std::max(1u, block_queries / (description.heads / description.kv_heads))), scale_(description.attention_scale != 0.0f ? description.attention_scale : 1.0f / std::sqrt(static_cast<float>(description.head_size))) {}

void Attention::begin(std::span<const engine_row> rows, const uint32_t *const *page_tables, KvCache &cache) {
    rows_ = rows;
    page_tables_ = page_tables;
    cache_ = &cache;
    positions_.clear();
    blocks_.clear();
    for (uint32_t i = 0; i < rows.size(); i++) {
        positions_.push_back(rows[i].position);
        const bool joins = i > 0 && blocks_.back().count < most_rows_ && rows[i].sequence == rows[i - 1].sequence && rows[i].role == rows[i - 1].role;
        if (joins)
            blocks_.back().count++;
        else
            blocks_.push_back({i, 1});
    }
}

size_t Attention::scratch_floats() const {
    uint64_t positions = 1024;
    for (const uint32_t position : positions_)
        while (positions <= position) positions *= 2;
    return kernels_.attention_scratch(description_.head_size, description_.value_size, most_rows_ * (description_.heads / description_.kv_heads), positions);
}

void Attention::store(uint32_t layer, size_t row, const float *keys, const float *values) {
    const engine_row &r = rows_[row];
    const uint32_t page = page_tables_[r.sequence][r.position / ENGINE_PAGE_TOKENS];
    const size_t slot = r.position % ENGINE_PAGE_TOKENS;
    const KvLayout &layout = cache_->layout();
    const auto kind = static_cast<uint32_t>(cache_->kind());
    for (uint32_t head = 0; head < description_.kv_heads; head++) {
        kernels_.store_kv(kind, keys + static_cast<size_t>(head) * description_.head_size, description_.head_size,
                          cache_->address(layer, page, head, KvPart::Key) + slot * layout.key_row_bytes);
        kernels_.store_kv(kind, values + static_cast<size_t>(head) * description_.value_size, description_.value_size,
                          cache_->address(layer, page, head, KvPart::Value) + slot * layout.value_row_bytes);
    }
}

void Attention::attend(uint32_t layer, const Layer &tensors, const float *queries, float *outputs, float *scratch, size_t scratch_stride) {
    const engine_model_description &d = description_;
    const uint32_t group = d.heads / d.kv_heads;
    const KvLayout &layout = cache_->layout();
    const size_t row_stride = static_cast<size_t>(d.heads) * d.head_size, output_stride = static_cast<size_t>(d.heads) * d.value_size;
    const uint64_t count = blocks_.size() * d.kv_heads;
    uint64_t work = 0;
    for (const uint32_t position : positions_) work += (uint64_t{position} + 1) * d.heads * (d.head_size + d.value_size);
    parallel_.run(count, work, [&](unsigned thread, uint64_t number) {
        /* Later rows see more, so they come first. */
        const Block &block = blocks_[blocks_.size() - 1 - number / d.kv_heads];
        const auto head = static_cast<uint32_t>(number % d.kv_heads);
        const size_t first_head = static_cast<size_t>(head) * group;
        kernels_.attend({
            .queries = queries + block.first * row_stride + first_head * d.head_size,
            .outputs = outputs + block.first * output_stride + first_head * d.value_size,
            .row_stride = row_stride,
            .output_stride = output_stride,
            .positions = positions_.data() + block.first,
            .rows = block.count,
            .group = group,
            .head_size = d.head_size,
            .value_size = d.value_size,
            .window = tensors.windowed ? d.window : 0,
            .scale = scale_,
            .softcap = d.attention_softcap,
            .sinks = tensors.sinks != nullptr ? tensors.sinks + first_head : nullptr,
            .kind = static_cast<uint32_t>(cache_->kind()),
            .keys = cache_->address(layer, 0, head, KvPart::Key),
            .values = cache_->address(layer, 0, head, KvPart::Value),
            .page_stride = layout.page_bytes,
            .key_row_bytes = layout.key_row_bytes,
            .value_row_bytes = layout.value_row_bytes,
            .pages = page_tables_[rows_[block.first].sequence],
            .scratch = scratch + thread * scratch_stride,
        });
    });
}

} // namespace worker::cpu
