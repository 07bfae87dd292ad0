/*
 * The device memory that a forward pass works in: scratch, and what each batch brings along.
 */
#ifndef WORKER_GPU_FORWARD_MEMORY_H
#define WORKER_GPU_FORWARD_MEMORY_H

#include "device_memory.h"
#include "engine.h"
#include "row_buffers.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace worker::gpu {

/* What a part of a batch needs scratch for. */
struct ScratchNeeds {
    uint64_t rows = 0;
    uint64_t logit_rows = 0;       /* worked on at once */
    uint64_t attention_floats = 0;
};

/* Device addresses within one tracked block. */
class Scratch : public RowBuffers {
public:
    Scratch(Device &device, VramOwner owner, const engine_model_description &description)
        : device_(device), owner_(owner), description_(description) {}

    /* Makes room for that, or more where there was room for more. Throws out of memory, and then holds nothing. */
    void reserve(const ScratchNeeds &needs);
    size_t bytes() const noexcept { return memory_.size(); }

    float *attention = nullptr;        /* [attention_floats] */
    float *logits = nullptr;           /* [logit_rows][vocabulary] */
    engine_sampled *sampled = nullptr; /* [logit_rows] */

private:
    size_t lay_out(const ScratchNeeds &needs, std::byte *base);

    Device &device_;
    VramOwner owner_;
    const engine_model_description &description_;
    DeviceMemory memory_;
    ScratchNeeds held_;
};

/* What the host tells the device of a part of a batch, in one copy. First everything is added, then uploaded; only then do
 * the places of things have addresses. */
class Inputs {
public:
    Inputs(Device &device, VramOwner owner) : device_(device), owner_(owner) {}

    void clear() noexcept { host_.clear(); }
    /* Gives the place of the copy. */
    template <typename T> size_t add(std::span<const T> values) { return add_bytes(values.data(), values.size_bytes()); }
    /* Makes room on the device for all that was added: addresses are known from now on. */
    void place();
    void upload();

    template <typename T> const T *at(size_t place) const noexcept { return reinterpret_cast<const T *>(memory_.get_as<std::byte>() + place); }
    /* Of the host's copy, until it is uploaded. */
    template <typename T> T *host_at(size_t place) noexcept { return reinterpret_cast<T *>(host_.data() + place); }
    size_t bytes() const noexcept { return memory_.size(); }

private:
    size_t add_bytes(const void *bytes, size_t count);

    Device &device_;
    VramOwner owner_;
    std::vector<std::byte> host_;
    DeviceMemory memory_;
};

} // namespace worker::gpu

#endif
