#include "forward_workspace.h"

#include <algorithm>

namespace worker::cpu {

namespace {

constexpr size_t line = 64;

size_t rounded(size_t bytes) { return (bytes + line - 1) / line * line; }

/* Hands out parts of a block, or, without one, only adds up. */
class Divider {
public:
    explicit Divider(std::byte *base) : base_(base) {}

    template <typename T> void take(T *&place, uint64_t count) {
        place = base_ != nullptr ? reinterpret_cast<T *>(base_ + used_) : nullptr;
        used_ += rounded(count * sizeof(T));
    }
    size_t used() const { return used_; }

private:
    std::byte *base_;
    size_t used_ = 0;
};

} // namespace

void Workspace::reserve(uint64_t rows, WorkspaceNeeds needs) {
    if (rows <= rows_ && needs.thread_floats <= thread_stride && needs.partial_floats <= partial_floats_) return;
    rows = std::max(rows, rows_);
    needs.thread_floats = std::max(needs.thread_floats, thread_stride);
    needs.partial_floats = std::max(needs.partial_floats, partial_floats_);
    rows_ = thread_stride = partial_floats_ = 0;
    memory_.release(); /* before the larger one, to keep the peak low */
    const size_t bytes = lay_out(rows, needs, nullptr);
    thread_stride = 0; /* until there is memory */
    memory_ = DeviceMemory(device_, bytes, {VramPurpose::IntermediateBuffers, "forward pass workspace", owner_});
    lay_out(rows, needs, memory_.get_as<std::byte>());
    rows_ = rows;
    partial_floats_ = needs.partial_floats;
}

size_t Workspace::lay_out(uint64_t rows, const WorkspaceNeeds &needs, std::byte *base) {
    const engine_model_description &d = description_;
    const uint64_t slots = d.experts != 0 ? rows * d.experts_used : rows;
    Divider divider(base);
    divider.take(hidden, rows * d.width);
    divider.take(normed, rows * d.width);
    divider.take(projected, rows * d.width);
    divider.take(query, rows * d.heads * d.head_size);
    divider.take(key, rows * d.kv_heads * d.head_size);
    divider.take(value, rows * d.kv_heads * d.value_size);
    divider.take(attended, rows * d.heads * d.value_size);
    divider.take(gate, slots * d.feed_forward);
    divider.take(up, slots * d.feed_forward);
    divider.take(expert_output, d.experts != 0 ? slots * d.width : 0);
    divider.take(router_scores, rows * d.experts);
    divider.take(expert_weights, d.experts != 0 ? slots : 0);
    divider.take(expert_chosen, d.experts != 0 ? slots : 0);
    divider.take(angles, rows * needs.angle_floats);
    divider.take(windowed_angles, rows * needs.angle_floats);
    divider.take(prepared, slots * rounded(needs.prepared_row_bytes) + needs.prepared_rest_bytes);
    thread_stride = rounded(needs.thread_floats * sizeof(float)) / sizeof(float);
    divider.take(partials, needs.partial_floats);
    divider.take(thread_scratch, needs.threads * thread_stride);
    return divider.used();
}

} // namespace worker::cpu
