/*
 * The forward pass's scratch: one tracked block of device memory, divided by what a batch of rows needs.
 */
#ifndef WORKER_FORWARD_WORKSPACE_H
#define WORKER_FORWARD_WORKSPACE_H

#include <cstddef>
#include <cstdint>

#include "device_memory.h"
#include "engine.h"
#include "row_buffers.h"

namespace worker::cpu {

/* What one thread, and one row of the batch, need beside the rows' buffers below. */
struct WorkspaceNeeds {
    unsigned threads;
    size_t thread_floats;
    size_t angle_floats;       /* rotary angles of a row, of one kind of layer */
    size_t prepared_row_bytes;  /* prepared activations of a row, the widest */
    size_t prepared_rest_bytes; /* and of all rows together */
    size_t partial_floats;     /* attention's results in parts, once for all */
};

class Workspace : public RowBuffers {
public:
    Workspace(Device &device, VramOwner owner, const engine_model_description &description) : device_(device), owner_(owner), description_(description) {}

    /* Makes room for so many rows, or more if there was room for more. Throws out of memory, and then holds nothing. */
    void reserve(uint64_t rows, WorkspaceNeeds needs);
    size_t bytes() const noexcept { return memory_.size(); }

    float *angles = nullptr;          /* [rows][angle_floats] */
    float *windowed_angles = nullptr; /* likewise, of windowed layers */
    std::byte *prepared = nullptr;
    float *thread_scratch = nullptr; /* [threads][thread_stride] */
    size_t thread_stride = 0;
    float *partials = nullptr; /* [partial_floats] */

private:
    size_t lay_out(uint64_t rows, const WorkspaceNeeds &needs, std::byte *base);

    Device &device_;
    VramOwner owner_;
    const engine_model_description &description_;
    DeviceMemory memory_;
    uint64_t rows_ = 0;
    size_t partial_floats_ = 0;
};

} // namespace worker::cpu

#endif
