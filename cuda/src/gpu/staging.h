/*
 * Copies between the host's ordinary memory and the device, through two page-locked buffers: one is filled while the
 * other travels. Bounded, so that loading a model takes no more of the host's memory than this.
 */
#ifndef WORKER_GPU_STAGING_H
#define WORKER_GPU_STAGING_H

#include "gpu/stream.h"

#include <array>
#include <cstddef>

namespace worker::gpu {

/* On the calling thread's device. One call at a time. */
class Staging {
public:
    static constexpr size_t buffer_bytes = size_t{4} << 20;

    /* Throws out_of_memory when the system gives no page-locked memory. */
    Staging();

    /* Both return when the bytes have arrived. */
    void upload(void *to, const void *from, size_t bytes, Stream stream);
    void download(void *to, const void *from, size_t bytes, Stream stream);

private:
    class PinnedBuffer {
    public:
        PinnedBuffer();
        ~PinnedBuffer();
        PinnedBuffer(const PinnedBuffer &) = delete;
        PinnedBuffer &operator=(const PinnedBuffer &) = delete;
        void *get() const noexcept { return address_; }

    private:
        void *address_ = nullptr;
    };
    struct Buffer {
        PinnedBuffer memory;
        OwnedEvent travelled;
    };

    std::array<Buffer, 2> buffers_;
};

} // namespace worker::gpu

#endif
