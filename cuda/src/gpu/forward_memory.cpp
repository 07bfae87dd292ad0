#include "gpu/forward_memory.h"

#include <algorithm>
#include <cstring>

namespace worker::gpu {

namespace {

constexpr size_t alignment = 256;

size_t rounded(size_t bytes) { return (bytes + alignment - 1) / alignment * alignment; }

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

void Scratch::reserve(const ScratchNeeds &needs) {
    if (needs.rows <= held_.rows && needs.logit_rows <= held_.logit_rows && needs.attention_floats <= held_.attention_floats) return;
    const ScratchNeeds larger{std::max(needs.rows, held_.rows), std::max(needs.logit_rows, held_.logit_rows),
                              std::max(needs.attention_floats, held_.attention_floats)};
    held_ = {};
    memory_.release(); /* before the larger one, to keep the peak low */
    memory_ = DeviceMemory(device_, lay_out(larger, nullptr), {VramPurpose::IntermediateBuffers, "forward pass workspace", owner_});
    lay_out(larger, memory_.get_as<std::byte>());
    held_ = larger;
}

size_t Scratch::lay_out(const ScratchNeeds &needs, std::byte *base) {
    const engine_model_description &d = description_;
    const uint64_t rows = needs.rows, slots = d.experts != 0 ? rows * d.experts_used : rows;
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
    divider.take(attention, needs.attention_floats);
    divider.take(logits, needs.logit_rows * d.vocabulary);
    divider.take(sampled, needs.logit_rows);
    return divider.used();
}

size_t Inputs::add_bytes(const void *bytes, size_t count) {
    const size_t place = (host_.size() + 15) / 16 * 16;
    host_.resize(place + count);
    if (count != 0) std::memcpy(host_.data() + place, bytes, count);
    return place;
}

void Inputs::place() {
    if (host_.size() <= memory_.size()) return;
    memory_.release();
    /* In large steps, so that a growing session does not allocate again and again. */
    constexpr size_t step = size_t{64} << 10;
    const size_t bytes = (host_.size() + step - 1) / step * step;
    memory_ = DeviceMemory(device_, bytes, {VramPurpose::IntermediateBuffers, "a batch's rows and pages", owner_});
}

void Inputs::upload() { memory_.copy_from_host(host_.data(), host_.size()); }

} // namespace worker::gpu
