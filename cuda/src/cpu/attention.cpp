#include "attention.h"

#include <algorithm>
#include <cmath>

namespace worker::cpu {

namespace {

/* Queries that share an expanded page: more make the expansion cheaper, and the scratch larger. */
constexpr uint32_t block_queries = 64;
/* With this many tasks to a thread it does not matter that they end at different times. */
constexpr uint64_t enough_tasks = 4;

} // namespace

Attention::Attention(const KernelTable &kernels, Parallel &parallel, const engine_model_description &description)
    : kernels_(kernels), parallel_(parallel), description_(description),
      scale_(description.attention_scale != 0.0f ? description.attention_scale : 1.0f / std::sqrt(static_cast<float>(description.head_size))) {}

void Attention::begin(std::span<const engine_row> rows, const uint32_t *const *page_tables, KvCache &cache) {
    rows_ = rows;
    page_tables_ = page_tables;
    cache_ = &cache;
    positions_.clear();
    blocks_.clear();
    const uint32_t group = description_.heads / description_.kv_heads;
    most_queries_ = most_spans_ = 0;
    for (uint32_t i = 0; i < rows.size(); i++) {
        positions_.push_back(rows[i].position);
        const bool joins = i > 0 && (blocks_.back().count + 1) * group <= block_queries && rows[i].sequence == rows[i - 1].sequence && rows[i].role == rows[i - 1].role;
        if (joins)
            blocks_.back().count++;
        else
            blocks_.push_back({i, 1});
        most_queries_ = std::max(most_queries_, blocks_.back().count * group);
        most_spans_ = std::max(most_spans_, rows[i].position / attention_span + 1);
    }
}

size_t Attention::scratch_floats() const {
    uint64_t positions = 1024;
    for (const uint32_t position : positions_)
        while (positions <= position) positions *= 2;
    return kernels_.attention_scratch(static_cast<uint32_t>(cache_->kind()), description_.head_size, description_.value_size, most_queries_, positions);
}

bool Attention::shares_spans() const {
    return cache_->kind() != KvKind::F32 && parallel_.threads() > 1 && most_spans_ > 1 &&
           blocks_.size() * description_.kv_heads < parallel_.threads() * enough_tasks;
}

size_t Attention::partial_floats() const {
    if (!shares_spans()) return 0;
    /* In steps, so that decoding on does not ask for a little more again and again. */
    const uint64_t spans = (uint64_t{most_spans_} + 15) / 16 * 16;
    return blocks_.size() * description_.kv_heads * spans * kernels_.attention_partial(description_.value_size, most_queries_);
}

void Attention::store(uint32_t layer, size_t row, const float *keys, const float *values) {
    const engine_row &r = rows_[row];
    const uint32_t page = page_tables_[r.sequence][r.position / ENGINE_PAGE_TOKENS];
    const uint32_t slot = r.position % ENGINE_PAGE_TOKENS;
    const KvLayout &layout = cache_->layout();
    const auto kind = static_cast<uint32_t>(cache_->kind());
    for (uint32_t head = 0; head < description_.kv_heads; head++) {
        kernels_.store_key(kind, keys + static_cast<size_t>(head) * description_.head_size, description_.head_size, slot,
                           cache_->address(layer, page, head, KvPart::Key));
        kernels_.store_kv(kind, values + static_cast<size_t>(head) * description_.value_size, description_.value_size,
                          cache_->address(layer, page, head, KvPart::Value) + slot * layout.value_row_bytes);
    }
}

AttentionTask Attention::task_of(uint32_t layer, const Layer &tensors, const Block &block, uint32_t head, const float *queries, float *outputs) const {
    const engine_model_description &d = description_;
    const uint32_t group = d.heads / d.kv_heads;
    const size_t row_stride = size_t{d.heads} * d.head_size, output_stride = size_t{d.heads} * d.value_size, first_head = size_t{head} * group;
    const KvLayout &layout = cache_->layout();
    return {
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
        .scratch = nullptr,
        .next = {},
    };
}

void Attention::attend(uint32_t layer, const Layer &tensors, const float *queries, float *outputs, const Workspace &workspace) {
    if (shares_spans()) return attend_in_spans(layer, tensors, queries, outputs, workspace);
    const engine_model_description &d = description_;
    uint64_t work = 0;
    for (const uint32_t position : positions_) work += (uint64_t{position} + 1) * d.heads * (d.head_size + d.value_size);
    parallel_.run(blocks_.size() * d.kv_heads, work, [&](unsigned thread, uint64_t number) {
        /* Later rows see more, so they come first. */
        const Block &block = blocks_[blocks_.size() - 1 - number / d.kv_heads];
        AttentionTask task = task_of(layer, tensors, block, static_cast<uint32_t>(number % d.kv_heads), queries, outputs);
        task.scratch = workspace.thread_scratch + thread * workspace.thread_stride;
        kernels_.attend(task);
    });
}

void Attention::attend_in_spans(uint32_t layer, const Layer &tensors, const float *queries, float *outputs, const Workspace &workspace) {
    const engine_model_description &d = description_;
    const uint64_t partial = kernels_.attention_partial(d.value_size, most_queries_);
    const uint64_t pairs = blocks_.size() * d.kv_heads; /* of a block and a head */
    const auto pair_task = [&](uint64_t pair, unsigned thread) {
        AttentionTask task = task_of(layer, tensors, blocks_[pair / d.kv_heads], static_cast<uint32_t>(pair % d.kv_heads), queries, outputs);
        task.scratch = workspace.thread_scratch + thread * workspace.thread_stride;
        return task;
    };
    struct Spans {
        uint32_t first;
        uint32_t count;
    };
    const auto spans_of = [](const AttentionTask &task) -> Spans {
        const uint32_t position = task.positions[0];
        const uint32_t first = (task.window != 0 && position >= task.window ? position - task.window + 1 : 0) / attention_span;
        return {first, task.positions[task.rows - 1] / attention_span + 1 - first};
    };
    /* Threads take the spans in turn, so that this one probably comes to the one after the others' next. */
    const auto expect = [&](AttentionTask &task, uint64_t number, unsigned thread) {
        if (number >= pairs * most_spans_) return;
        const AttentionTask expected = pair_task(number / most_spans_, thread);
        const Spans spans = spans_of(expected);
        const auto place = static_cast<uint32_t>(number % most_spans_);
        if (place >= spans.count || expected.window != 0) return;
        constexpr uint32_t span_pages = attention_span / ENGINE_PAGE_TOKENS;
        const uint32_t page = (spans.first + place) * span_pages, last = expected.positions[expected.rows - 1] / ENGINE_PAGE_TOKENS;
        for (uint32_t i = 0; i < 2 && page + i <= last; i++) task.next[i] = expected.keys + expected.pages[page + i] * expected.page_stride;
    };
    uint64_t work = 0;
    for (const uint32_t position : positions_) work += (uint64_t{position} + 1) * d.heads * (d.head_size + d.value_size);
    parallel_.run(pairs * most_spans_, work, [&](unsigned thread, uint64_t number) {
        const uint64_t pair = number / most_spans_;
        const auto place = static_cast<uint32_t>(number % most_spans_);
        AttentionTask task = pair_task(pair, thread);
        expect(task, number + parallel_.threads(), thread);
        const Spans spans = spans_of(task);
        const uint64_t own = kernels_.attention_partial(d.value_size, task.rows * task.group); /* smaller where the block is */
        if (place < spans.count) kernels_.attend_span(task, spans.first + place, workspace.partials + pair * most_spans_ * partial + place * own);
    });
    parallel_.run(pairs, pairs * most_spans_ * partial, [&](unsigned thread, uint64_t pair) {
        const AttentionTask task = pair_task(pair, thread);
        kernels_.join_spans(task, spans_of(task).count, workspace.partials + pair * most_spans_ * partial);
    });
}

} // namespace worker::cpu
