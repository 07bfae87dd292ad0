/*
 * A device: where memory lives and work runs. The CPU is one; a GPU slots in behind the same functions.
 */
#ifndef WORKER_DEVICE_H
#define WORKER_DEVICE_H

#include "engine.h"
#include "thread_pool.h"
#include "vram_tracker.h"

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

namespace worker {

class Forward;

enum class DeviceKind { Cpu, Gpu };

class Device {
public:
    /* -1 is the CPU, 0... are GPUs; anything that is not here is invalid_device, never another device in its place.
     * threads: 0 chooses the cores this process may use. */
    static std::unique_ptr<Device> open(int32_t ordinal, uint32_t threads);
    static uint32_t gpu_count() noexcept;

    Device() = default;
    Device(const Device &) = delete;
    Device &operator=(const Device &) = delete;
    virtual ~Device() = default;

    virtual DeviceKind kind() const noexcept = 0;
    virtual engine_device_information information() const = 0;
    /* Bytes of this device's memory that the process uses. */
    uint64_t process_memory() const noexcept { return process_usage().bytes; }
    /* The same, and who counted. */
    struct ProcessUsage {
        uint64_t bytes;
        uint32_t source; /* ENGINE_MEMORY_* */
    };
    virtual ProcessUsage process_usage() const noexcept = 0;
    /* Throws when memory cannot be allocated, written and read back, or work cannot be run. */
    virtual void check_health() = 0;
    /* Throws what is wrong with the device, where that lasts: why an allocation failed, if not for want of memory. */
    virtual void check_usable() {}

    /* Memory of this device, for DeviceMemory alone: it checks the arguments and keeps the ledger.
     * allocate gives nullptr when there is not enough. */
    virtual void *allocate(size_t bytes, size_t alignment, bool zeroed) noexcept = 0;
    virtual void deallocate(void *address, size_t bytes, size_t alignment) noexcept = 0;
    virtual void copy_from_host(void *to, const void *from, size_t bytes) = 0;
    virtual void copy_to_host(void *to, const void *from, size_t bytes) = 0;
    virtual void copy_within(void *to, const void *from, size_t bytes) = 0;
    virtual void fill_zero(void *address, size_t bytes) = 0;

    /* How many of these bytes are where they should be: on the CPU in RAM, on a GPU in plain device memory. */
    virtual uint64_t resident_bytes(const void *address, size_t bytes) = 0;
    /* Brings the bytes there, and waits for it. Throws model_load_failed when they cannot be read. */
    virtual void make_resident(const void *address, size_t bytes) = 0;
    /* Keeps the bytes there, as they come, until unlock. Throws vram_residency_failed, saying what would help. */
    virtual void lock(const void *address, size_t bytes) = 0;
    virtual void unlock(const void *address, size_t bytes) noexcept = 0;

    /* The forward pass of a model whose tensors lie in this device's reach; checks description and tensors. Its scratch
     * is the owner's. */
    virtual std::unique_ptr<Forward> make_forward(const engine_model_description &description,
                                                  std::span<const engine_tensor> tensors, VramOwner owner) = 0;

    VramTracker &tracker() noexcept { return tracker_; }
    const VramTracker &tracker() const noexcept { return tracker_; }
    /* A number no other owner of this device's memory has. */
    VramOwner new_owner() noexcept { return next_owner_.fetch_add(1, std::memory_order_relaxed); }

private:
    VramTracker tracker_;
    std::atomic<VramOwner> next_owner_{1};
};

class CpuDevice final : public Device {
public:
    /* Throws invalid_parameter when WORKER_CPU_PATH asks for kernels that this CPU cannot run. */
    explicit CpuDevice(uint32_t threads);

    DeviceKind kind() const noexcept override { return DeviceKind::Cpu; }
    engine_device_information information() const override;
    ProcessUsage process_usage() const noexcept override;
    void check_health() override;
    void *allocate(size_t bytes, size_t alignment, bool zeroed) noexcept override;
    void deallocate(void *address, size_t bytes, size_t alignment) noexcept override;
    void copy_from_host(void *to, const void *from, size_t bytes) override;
    void copy_to_host(void *to, const void *from, size_t bytes) override;
    void copy_within(void *to, const void *from, size_t bytes) override;
    void fill_zero(void *address, size_t bytes) override;
    uint64_t resident_bytes(const void *address, size_t bytes) override;
    void make_resident(const void *address, size_t bytes) override;
    void lock(const void *address, size_t bytes) override;
    void unlock(const void *address, size_t bytes) noexcept override;
    std::unique_ptr<Forward> make_forward(const engine_model_description &description, std::span<const engine_tensor> tensors,
                                          VramOwner owner) override;

    ThreadPool &pool() noexcept { return pool_; }

private:
    ThreadPool pool_;
};

} // namespace worker

#endif
