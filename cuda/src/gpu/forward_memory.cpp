#include "gpu/forward_memory.h"

#include <algorithm>
#include <cstring>

namespace worker::gpu {

namespace {

constexpr size_t alignment = 256;

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
    Divider divider(base, alignment);
    take_from(divider, description_, needs.rows);
    divider.take(attention, needs.attention_floats);
    divider.take(logits, needs.logit_rows * description_.vocabulary);
    divider.take(sampled, needs.logit_rows);
    return divider.used();
}

size_t Inputs::add_bytes(const void *bytes, size_t count) {
    const size_t place = rounded_up(host_.size(), 16);
    host_.resize(place + count);
    if (count != 0) std::memcpy(host_.data() + place, bytes, count);
    return place;
}

void Inputs::place() {
    if (host_.size() <= memory_.size()) return;
    memory_.release();
    /* In large steps, so that a growing session does not allocate again and again. */
    constexpr size_t step = size_t{64} << 10;
    const size_t bytes = rounded_up(host_.size(), step);
    memory_ = DeviceMemory(device_, bytes, {VramPurpose::IntermediateBuffers, "a batch's rows and pages", owner_});
}

void Inputs::upload() { memory_.copy_from_host(host_.data(), host_.size()); }

} // namespace worker::gpu
