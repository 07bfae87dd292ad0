/*
 * Device memory by cudaMalloc, small blocks together: the driver takes long for each, and gives no less than a page.
 */
#ifndef WORKER_GPU_MEMORY_POOL_H
#define WORKER_GPU_MEMORY_POOL_H

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>

namespace worker::gpu {

/* Of one device. The calling thread's device must be that one; all functions may be called from any thread. */
class MemoryPool {
public:
    MemoryPool() = default;
    ~MemoryPool() { release_all(); }
    MemoryPool(const MemoryPool &) = delete;
    MemoryPool &operator=(const MemoryPool &) = delete;

    /* nullptr when the device, or the process, has not enough. What is in the block is undefined. */
    void *allocate(size_t bytes, size_t alignment) noexcept;
    void deallocate(void *address) noexcept;
    /* Gives everything back to the device. */
    void release_all() noexcept;

private:
    using Address = uintptr_t;
    struct Slab {
        std::map<Address, size_t> free; /* begin to length; neighbours are merged */
        std::map<Address, size_t> used;
    };

    void *allocate_alone(size_t bytes, size_t alignment);
    void *allocate_in_slab(size_t bytes, size_t alignment);
    static Address take(Slab &slab, size_t bytes, size_t alignment);
    static void give_back(Slab &slab, std::map<Address, size_t>::iterator block) noexcept;

    std::mutex mutex_;
    std::map<Address, Slab> slabs_;    /* by their first byte */
    std::map<Address, Address> alone_; /* block to what was allocated for it */
};

} // namespace worker::gpu

#endif
