#include "device.h"

#include "cuda_error.h"
#include "device_memory.h"
#include "forward.h"
#include "cpu/topology.h"

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include <sys/mman.h>

namespace worker {

namespace {

constexpr size_t huge_page = size_t{2} << 20;
/* From here on a block is its own mapping: untouched pages cost nothing, and freeing gives them back at once. */
constexpr size_t mapped_from = size_t{1} << 20;
/* From here on a block is refused that could only be had by pushing others, or ourselves, out of memory. */
constexpr size_t checked_from = size_t{64} << 20;

void *map_block(size_t bytes, size_t alignment) noexcept {
    if (bytes >= checked_from) {
        try {
            if (bytes > memory_limits().free) return nullptr;
        } catch (...) {
            return nullptr; /* no memory even to ask */
        }
    }
    /* Huge pages need the start on their boundary: map more and give the ends back. */
    alignment = std::max(alignment, huge_page);
    if (bytes > SIZE_MAX - 2 * alignment) return nullptr;
    const size_t whole = bytes + alignment;
    void *start = mmap(nullptr, whole, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (start == MAP_FAILED) return nullptr;
    constexpr uintptr_t page = 4096; /* ends that are no whole page of a larger kind stay mapped, untouched */
    const uintptr_t first = reinterpret_cast<uintptr_t>(start);
    const uintptr_t aligned = (first + alignment - 1) & ~(alignment - 1);
    const uintptr_t end = (aligned + bytes + page - 1) & ~(page - 1);
    if (aligned > first) munmap(start, aligned - first);
    if (first + whole > end) munmap(reinterpret_cast<void *>(end), first + whole - end);
    void *address = reinterpret_cast<void *>(aligned);
    madvise(address, bytes, MADV_HUGEPAGE); /* advice: where the system has none, small pages do */
    return address;
}

} // namespace

CpuDevice::CpuDevice(uint32_t threads) : pool_(threads) {
    static_cast<void>(cpu_kernel_path()); /* refuses a bad choice now rather than at the first use */
}

engine_device_information CpuDevice::information() const {
    engine_device_information information{};
    const MemoryLimits memory = memory_limits();
    information.ordinal = -1;
    information.total_memory = memory.total;
    information.free_memory = memory.free;
    information.threads = pool_.threads();
    std::snprintf(information.name, sizeof information.name, "%s", processor_name().c_str());
    std::snprintf(information.kernel_path, sizeof information.kernel_path, "%s", cpu_kernel_path());
    return information;
}

Device::ProcessUsage CpuDevice::process_usage() const noexcept { return {resident_set_bytes(), ENGINE_MEMORY_RESIDENT_SET}; }

void CpuDevice::check_health() {
    constexpr size_t words = 16384;
    DeviceMemory block(*this, words * sizeof(uint64_t), {VramPurpose::Unknown, "health check", 0});
    const auto pattern = [](size_t index) { return 0x9e3779b97f4a7c15u * (index + 1); };
    std::vector<uint64_t> host(words);
    for (size_t index = 0; index < words; ++index) host[index] = pattern(index);
    block.copy_from_host(host.data(), block.size());

    /* Each thread inverts its part, so that all of them are seen to run. */
    std::atomic<unsigned> ran{0};
    uint64_t *data = block.get_as<uint64_t>();
    pool_.run([&](unsigned thread, unsigned threads) {
        for (size_t index = words * thread / threads; index < words * (thread + 1) / threads; ++index) data[index] = ~data[index];
        ran.fetch_add(1, std::memory_order_relaxed);
    });
    if (ran.load() != pool_.threads()) {
        throw CudaError::inference_failed("only " + std::to_string(ran.load()) + " of " + std::to_string(pool_.threads()) +
                                          " threads ran");
    }
    block.copy_to_host(host.data(), block.size());
    for (size_t index = 0; index < words; ++index) {
        if (host[index] != ~pattern(index)) {
            throw CudaError::inference_failed("memory read back differs at byte " + std::to_string(index * sizeof(uint64_t)));
        }
    }
}

void *CpuDevice::allocate(size_t bytes, size_t alignment, bool zeroed) noexcept {
    if (bytes >= mapped_from) return map_block(bytes, alignment); /* zeroes by nature */
    void *address = nullptr;
    if (posix_memalign(&address, std::max(alignment, sizeof(void *)), bytes) != 0) return nullptr;
    if (zeroed) std::memset(address, 0, bytes);
    return address;
}

void CpuDevice::deallocate(void *address, size_t bytes, size_t) noexcept {
    if (bytes >= mapped_from) {
        munmap(address, bytes);
    } else {
        std::free(address);
    }
}

std::unique_ptr<Forward> CpuDevice::make_forward(const engine_model_description &description,
                                                 std::span<const engine_tensor> tensors, VramOwner owner) {
    return make_cpu_forward(description, tensors, *this, owner);
}

void CpuDevice::copy_from_host(void *to, const void *from, size_t bytes) { std::memcpy(to, from, bytes); }
void CpuDevice::copy_to_host(void *to, const void *from, size_t bytes) { std::memcpy(to, from, bytes); }
void CpuDevice::copy_within(void *to, const void *from, size_t bytes) { std::memmove(to, from, bytes); }
void CpuDevice::fill_zero(void *address, size_t bytes) { std::memset(address, 0, bytes); }

} // namespace worker
