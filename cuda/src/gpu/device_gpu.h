/*
 * A GPU behind the functions of every device.
 *
 * Memory is plain device memory, by cudaMalloc, in a pool of our own. Copies through DeviceMemory have happened when they
 * return; a forward pass works on a stream of its own and waits for it before it returns. A GPU never falls back to the
 * CPU or to the host's memory: what cannot be done here is an error.
 */
#ifndef WORKER_GPU_DEVICE_GPU_H
#define WORKER_GPU_DEVICE_GPU_H

#include "device.h"
#include "gpu/memory_pool.h"
#include "gpu/runtime.h"
#include "gpu/staging.h"
#include "gpu/stream.h"

#include <mutex>
#include <new>
#include <optional>
#include <string>

namespace worker::gpu {

/* The least that the kernels are built for; older devices are refused by name. */
constexpr uint32_t least_compute_capability = 75;

/* 0 without a driver, without a device, and after an error: never a failure. */
uint32_t device_count() noexcept;

/* The calling thread's device for a while; then again what it was before. */
class Activation {
public:
    /* Throws what keeps the device from being chosen. */
    explicit Activation(int32_t device);
    /* For those who may not throw, or have words of their own for it. */
    Activation(int32_t device, std::nothrow_t) noexcept : status_(runtime().enter_device(device, &previous_)) {}
    ~Activation() { static_cast<void>(runtime().leave_device(previous_)); }
    Activation(const Activation &) = delete;
    Activation &operator=(const Activation &) = delete;

    Status status() const noexcept { return status_; }

private:
    void *previous_ = nullptr;
    Status status_;
};

class GpuDevice final : public Device {
public:
    /* Throws device_not_found where there are no GPUs, with the reason; invalid_device for an ordinal that is not there,
     * and for a GPU that this library has no kernels for. */
    explicit GpuDevice(int32_t ordinal);
    ~GpuDevice() override;

    DeviceKind kind() const noexcept override { return DeviceKind::Gpu; }
    engine_device_information information() const override;
    /* By NVML: what this process has on the device, CUDA's own context included. Where NVML cannot tell, what this
     * library has allocated there. */
    ProcessUsage process_usage() const noexcept override;
    void check_health() override;
    void check_usable() override;
    void *allocate(size_t bytes, size_t alignment, bool zeroed) noexcept override;
    void deallocate(void *address, size_t bytes, size_t alignment) noexcept override;
    void copy_from_host(void *to, const void *from, size_t bytes) override;
    void copy_to_host(void *to, const void *from, size_t bytes) override;
    void copy_within(void *to, const void *from, size_t bytes) override;
    void fill_zero(void *address, size_t bytes) override;
    uint64_t resident_bytes(const void *address, size_t bytes) override;
    /* Device memory does not move and is never evicted. What is of another kind stays so. */
    void make_resident(const void *, size_t) override {}
    void lock(const void *, size_t) override {}
    void unlock(const void *, size_t) noexcept override {}
    std::unique_ptr<Forward> make_forward(const engine_model_description &description, std::span<const engine_tensor> tensors,
                                          VramOwner owner) override;

    int32_t ordinal() const noexcept { return ordinal_; }
    const DeviceProperties &properties() const noexcept { return properties_; }
    /* Makes this the calling thread's device while the result lives. Whoever calls the runtime, or launches, needs one. */
    [[nodiscard]] Activation activate() const { return Activation(ordinal_); }
    /* Waits for all work of the stream, and throws what became of it; `what` is for the reader. */
    void synchronise(Stream stream, const char *what) const;

private:
    void prepare();
    Staging &staging();
    std::string where() const; /* "GPU 0 (NVIDIA H100)" */

    int32_t ordinal_;
    DeviceProperties properties_{};
    MemoryPool pool_;
    std::mutex copying_; /* one at a time: they share stream and buffers */
    std::optional<OwnedStream> stream_;
    std::optional<Staging> staging_; /* from the first copy on */
};

} // namespace worker::gpu

#endif
