#include "forward_workspace.h"

#include <algorithm>

namespace worker::cpu {

namespace {

constexpr size_t line = 64;

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
    Divider divider(base, line);
    take_from(divider, description_, rows);
    divider.take(angles, rows * needs.angle_floats);
    divider.take(windowed_angles, rows * needs.angle_floats);
    divider.take(prepared, slots(description_, rows) * rounded_up(needs.prepared_row_bytes, line) + needs.prepared_rest_bytes);
    thread_stride = rounded_up(needs.thread_floats * sizeof(float), line) / sizeof(float);
    divider.take(partials, needs.partial_floats);
    divider.take(thread_scratch, needs.threads * thread_stride);
    return divider.used();
}

} // namespace worker::cpu
