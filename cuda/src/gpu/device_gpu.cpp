#include "gpu/device_gpu.h"

#include "cuda_error.h"
#include "device_memory.h"
#include "forward.h"
#include "gpu/health_check.h"

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <string>
#include <vector>

namespace worker::gpu {

namespace {

void ignore(Status status) noexcept {
    if (status != Status::Success) static_cast<void>(runtime().take_last_error());
}

/* Devices do not come and go while a process lives, but once one of them has failed the runtime may no longer count. */
std::atomic<int32_t> last_good_count{0};

/* The number of devices, at least 0, and what the runtime said. */
Status count_devices(int32_t &count) noexcept {
    const Status status = runtime().device_count(&count);
    if (status == Status::Success) {
        count = std::max(count, 0);
        last_good_count.store(count, std::memory_order_relaxed);
        return status;
    }
    ignore(status);
    count = 0;
    if (!is_sticky(status)) return status;
    count = last_good_count.load(std::memory_order_relaxed);
    return count > 0 ? Status::Success : status;
}

} // namespace

uint32_t device_count() noexcept {
    int32_t count = 0;
    static_cast<void>(count_devices(count));
    return static_cast<uint32_t>(count);
}

Activation::Activation(int32_t device) : Activation(device, std::nothrow) {
    /* The destructor runs: the constructor that is delegated to has ended. */
    if (status_ != Status::Success) check(status_, "choosing GPU " + std::to_string(device));
}

GpuDevice::GpuDevice(int32_t ordinal) : ordinal_(ordinal) {
    int32_t count = 0;
    const Status status = count_devices(count);
    if (count == 0) {
        const std::string reason = status == Status::Success ? "the driver reports no device" : describe(status);
        throw CudaError::device_not_found("GPU " + std::to_string(ordinal) + " was asked for, and there is none: " + reason +
                                          "; -1 is the CPU");
    }
    if (ordinal < 0 || ordinal >= count) {
        throw CudaError::invalid_device("there is no GPU " + std::to_string(ordinal) + ": this machine has " + std::to_string(count) +
                                        ", counted from 0; -1 is the CPU");
    }
    check(runtime().device_properties(ordinal, &properties_), "reading the properties of GPU " + std::to_string(ordinal));
    if (properties_.compute_capability < least_compute_capability) {
        const auto version = [](uint32_t capability) { return std::to_string(capability / 10) + "." + std::to_string(capability % 10); };
        throw CudaError::invalid_device(where() + " has compute capability " + version(properties_.compute_capability) +
                                        "; this library has kernels from " + version(least_compute_capability) + " on");
    }
    const Activation active = activate();
    prepare();
}

GpuDevice::~GpuDevice() {
    const Activation active(ordinal_, std::nothrow);
    staging_.reset();
    stream_.reset();
    pool_.release_all();
    /* The device's context stays: other code in this process may use it, and cudaDeviceReset would take it from them. */
}

void GpuDevice::prepare() {
    /* `malloc` inside kernels takes device memory that no ledger sees. We have no kernel that calls it; a limit of 0 keeps
     * the runtime from setting memory aside for it. It says nothing about managed memory, which we simply never ask for.
     * Both settings are wishes: some devices, and contexts that are in use already, refuse them. */
    ignore(runtime().set_malloc_heap_limit(0));
    ignore(runtime().prefer_l1());
    stream_.emplace();
    check_usable();
}

void GpuDevice::check_usable() {
    const Activation active = activate();
    size_t free = 0;
    size_t total = 0;
    check(runtime().memory_info(&free, &total), where());
}

engine_device_information GpuDevice::information() const {
    const Activation active = activate();
    size_t free = 0;
    size_t total = 0;
    check(runtime().memory_info(&free, &total), "asking " + where() + " for its memory");
    engine_device_information information{};
    information.ordinal = ordinal_;
    information.compute_capability = properties_.compute_capability;
    information.total_memory = total;
    information.free_memory = free;
    std::snprintf(information.name, sizeof information.name, "%s", properties_.name);
    std::snprintf(information.kernel_path, sizeof information.kernel_path, "%s", runtime().name);
    return information;
}

Device::ProcessUsage GpuDevice::process_usage() const noexcept {
    uint64_t bytes = 0;
    if (runtime().process_memory(properties_.pci_bus, &bytes)) return {bytes, ENGINE_MEMORY_NVML};
    try {
        bytes = tracker().total_usage();
    } catch (...) {
        bytes = 0; /* the ledger's lock failed */
    }
    return {bytes, ENGINE_MEMORY_LEDGER};
}

void GpuDevice::check_health() {
    const Activation active = activate();
    check(runtime().take_last_error(), where() + " has an error left over");
    constexpr uint32_t words = 4096;
    const auto pattern = [](uint32_t index) { return 0x9e3779b97f4a7c15u * (index + uint64_t{1}); };
    DeviceMemory block(*this, words * sizeof(uint64_t), {VramPurpose::Unknown, "health check", 0});
    std::vector<uint64_t> host(words);
    for (uint32_t index = 0; index < words; ++index) host[index] = pattern(index);
    block.copy_from_host(host.data(), block.size());
    {
        const std::lock_guard lock(copying_);
        invert_words(block.get_as<uint64_t>(), words, stream_->get());
        synchronise(stream_->get(), "running a kernel");
    }
    block.copy_to_host(host.data(), block.size());
    for (uint32_t index = 0; index < words; ++index) {
        if (host[index] != ~pattern(index)) {
            throw CudaError::inference_failed(where() + ": memory read back differs at byte " + std::to_string(index * sizeof(uint64_t)));
        }
    }
}

void *GpuDevice::allocate(size_t bytes, size_t alignment, bool zeroed) noexcept {
    try {
        const Activation active = activate();
        void *address = pool_.allocate(bytes, alignment);
        if (address == nullptr || !zeroed) return address;
        try {
            fill_zero(address, bytes);
        } catch (...) {
            pool_.deallocate(address);
            return nullptr; /* check_usable tells why */
        }
        return address;
    } catch (...) {
        return nullptr;
    }
}

void GpuDevice::deallocate(void *address, size_t, size_t) noexcept {
    const Activation active(ordinal_, std::nothrow);
    pool_.deallocate(address);
}

Staging &GpuDevice::staging() {
    if (!staging_) staging_.emplace();
    return *staging_;
}

void GpuDevice::copy_from_host(void *to, const void *from, size_t bytes) {
    const Activation active = activate();
    const std::lock_guard lock(copying_);
    staging().upload(to, from, bytes, stream_->get());
}

void GpuDevice::copy_to_host(void *to, const void *from, size_t bytes) {
    const Activation active = activate();
    const std::lock_guard lock(copying_);
    staging().download(to, from, bytes, stream_->get());
}

void GpuDevice::copy_within(void *to, const void *from, size_t bytes) {
    const Activation active = activate();
    const std::lock_guard lock(copying_);
    check(runtime().copy(to, from, bytes, CopyKind::DeviceToDevice, stream_->get()),
          "copying " + std::to_string(bytes) + " bytes within " + where());
    synchronise(stream_->get(), "copying within the device");
}

void GpuDevice::fill_zero(void *address, size_t bytes) {
    const Activation active = activate();
    const std::lock_guard lock(copying_);
    check(runtime().fill(address, 0, bytes, stream_->get()), "zeroing " + std::to_string(bytes) + " bytes of " + where());
    synchronise(stream_->get(), "zeroing memory");
}

uint64_t GpuDevice::resident_bytes(const void *address, size_t bytes) {
    const auto require_answer = [this](Status status) {
        if (is_sticky(status)) throw CudaError::vram_residency_failed(where() + " does not answer: " + describe(status));
    };
    const Activation active(ordinal_, std::nothrow);
    require_answer(active.status());
    const char *first = static_cast<const char *>(address);
    /* A block is one allocation: what holds for its ends holds for all of it. */
    for (const char *at : {first, first + bytes - 1}) {
        PointerAttributes found{};
        const Status status = runtime().pointer_attributes(at, &found);
        require_answer(status);
        if (status != Status::Success) {
            ignore(status);
            return 0;
        }
        if (found.kind != MemoryKind::Device || found.device != ordinal_ || found.host_address != nullptr) return 0;
    }
    return bytes;
}

void GpuDevice::synchronise(Stream stream, const char *what) const {
    check(runtime().synchronise_stream(stream), std::string(what) + " on " + where());
}

std::string GpuDevice::where() const { return "GPU " + std::to_string(ordinal_) + " (" + properties_.name + ")"; }

} // namespace worker::gpu
