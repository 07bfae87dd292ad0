#include "device_memory.h"

#include "cuda_error.h"

#include <string>

namespace worker {

#ifdef WORKER_TEST_FAULTS
namespace {
std::atomic<long> successes_left{-1};
std::atomic<Fault> kind_of_fault{Fault::Once};

bool fault_now() noexcept {
    const long left = successes_left.load();
    if (left < 0) return false;
    if (left > 0 || kind_of_fault.load() == Fault::Once) successes_left.store(left - 1);
    return left == 0;
}
} // namespace

void fail_allocations_after(long successes, Fault fault) noexcept {
    successes_left.store(successes);
    kind_of_fault.store(fault);
}
#endif

namespace {

void *allocate_or_null(Device &device, size_t bytes, const MemoryOptions &options) noexcept {
#ifdef WORKER_TEST_FAULTS
    if (fault_now()) return nullptr;
#endif
    return device.allocate(bytes, options.alignment, options.zeroed);
}

} // namespace

DeviceMemory::DeviceMemory(Device &device, size_t bytes, MemoryTag tag, MemoryOptions options) {
    if (bytes == 0) throw CudaError::invalid_parameter("an allocation of 0 bytes was asked for (" + tag.description + ")");
    if (options.alignment == 0 || (options.alignment & (options.alignment - 1)) != 0) {
        throw CudaError::invalid_parameter("an alignment must be a power of two, not " +
                                           std::to_string(options.alignment) + " (" + tag.description + ")");
    }
    const std::string description = tag.description;
    void *address = allocate_or_null(device, bytes, options);
    if (address == nullptr) {
        device.check_usable();
        throw CudaError::out_of_memory(std::to_string(bytes) + " bytes for " + description + " could not be allocated; " +
                                       std::to_string(device.information().free_memory) + " bytes are free; in use: " +
                                       device.tracker().usage_report());
    }
    try {
        device.tracker().record_allocation(address, bytes, std::move(tag));
    } catch (...) {
        device.deallocate(address, bytes, options.alignment);
        throw;
    }
    device_ = &device;
    address_ = address;
    bytes_ = bytes;
    alignment_ = options.alignment;
}

DeviceMemory::DeviceMemory(DeviceMemory &&other) noexcept
    : device_(std::exchange(other.device_, nullptr)), address_(std::exchange(other.address_, nullptr)),
      bytes_(std::exchange(other.bytes_, 0)), alignment_(std::exchange(other.alignment_, 0)) {}

DeviceMemory &DeviceMemory::operator=(DeviceMemory &&other) noexcept {
    if (this != &other) {
        release();
        device_ = std::exchange(other.device_, nullptr);
        address_ = std::exchange(other.address_, nullptr);
        bytes_ = std::exchange(other.bytes_, 0);
        alignment_ = std::exchange(other.alignment_, 0);
    }
    return *this;
}

void DeviceMemory::release() noexcept {
    if (address_ == nullptr) return;
    /* The ledger first: once freed, the address may be another thread's new block. */
    device_->tracker().record_deallocation(address_);
    device_->deallocate(address_, bytes_, alignment_);
    device_ = nullptr;
    address_ = nullptr;
    bytes_ = 0;
    alignment_ = 0;
}

void DeviceMemory::copy_from_host(const void *from, size_t bytes, size_t offset) {
    check_range("a copy from the host", from, bytes, offset);
    if (bytes != 0) device_->copy_from_host(get_as<char>() + offset, from, bytes);
}

void DeviceMemory::copy_to_host(void *to, size_t bytes, size_t offset) const {
    check_range("a copy to the host", to, bytes, offset);
    if (bytes != 0) device_->copy_to_host(to, get_as<char>() + offset, bytes);
}

void DeviceMemory::zero() {
    check_range("zeroing", address_, bytes_, 0);
    device_->fill_zero(address_, bytes_);
}

void DeviceMemory::check_range(const char *what, const void *host, size_t bytes, size_t offset) const {
    if (address_ == nullptr) throw CudaError::invalid_parameter(std::string(what) + ": nothing is allocated");
    if (host == nullptr && bytes != 0) throw CudaError::invalid_parameter(std::string(what) + ": the host's address is null");
    if (offset > bytes_ || bytes > bytes_ - offset) {
        throw CudaError::invalid_parameter(std::string(what) + " of " + std::to_string(bytes) + " bytes at offset " +
                                           std::to_string(offset) + " does not fit a block of " +
                                           std::to_string(bytes_) + " bytes");
    }
}

} // namespace worker
