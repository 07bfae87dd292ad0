/*
 * A block of device memory that frees itself and stands in the device's ledger while it lives.
 */
#ifndef WORKER_DEVICE_MEMORY_H
#define WORKER_DEVICE_MEMORY_H

#include "device.h"

#include <cstddef>
#include <utility>

namespace worker {

struct MemoryOptions {
    size_t alignment = 256; /* a power of two */
    bool zeroed = false;
};

class DeviceMemory {
public:
    /* Holds nothing. */
    DeviceMemory() noexcept = default;
    /* 0 bytes, or an alignment that is no power of two: invalid_parameter. No memory: out_of_memory, with the device's
     * breakdown. The device must outlive the block. Large blocks cost nothing until they are touched. */
    DeviceMemory(Device &device, size_t bytes, MemoryTag tag, MemoryOptions options = {});
    DeviceMemory(DeviceMemory &&other) noexcept;
    DeviceMemory &operator=(DeviceMemory &&other) noexcept;
    DeviceMemory(const DeviceMemory &) = delete;
    DeviceMemory &operator=(const DeviceMemory &) = delete;
    ~DeviceMemory() { release(); }

    bool is_allocated() const noexcept { return address_ != nullptr; }
    size_t size() const noexcept { return bytes_; }
    void *get() const noexcept { return address_; }
    template <typename T> T *get_as() const noexcept { return static_cast<T *>(address_); }
    /* Gives the memory back now. */
    void release() noexcept;

    /* Ranges beyond the block are invalid_parameter. */
    void copy_from_host(const void *from, size_t bytes, size_t offset = 0);
    void copy_to_host(void *to, size_t bytes, size_t offset = 0) const;
    void zero();

private:
    void check_range(const char *what, const void *host, size_t bytes, size_t offset) const;

    Device *device_ = nullptr;
    void *address_ = nullptr;
    size_t bytes_ = 0;
    size_t alignment_ = 0;
};

#ifdef WORKER_TEST_FAULTS
/* Tests only: `successes` more allocations succeed, then one fails, or all do until this is called again. A negative
 * number lets every allocation succeed. */
enum class Fault { Once, FromThenOn };
void fail_allocations_after(long successes, Fault fault) noexcept;
#endif

} // namespace worker

#endif
