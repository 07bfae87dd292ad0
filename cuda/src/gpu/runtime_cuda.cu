/*
 * The table of runtime.h, filled with the CUDA runtime.
 */
#include "gpu/nvml.h"
#include "gpu/runtime.h"

#include <cuda_runtime.h>

#include <cstdio>

namespace worker::gpu {

namespace {

Status status_of(cudaError_t error) noexcept { return static_cast<Status>(error); }

Status device_count(int32_t *count) { return status_of(cudaGetDeviceCount(count)); }

Status device_properties(int32_t device, DeviceProperties *out) {
    cudaDeviceProp found;
    const cudaError_t error = cudaGetDeviceProperties(&found, device);
    if (error != cudaSuccess) return status_of(error);
    *out = DeviceProperties{};
    std::snprintf(out->name, sizeof out->name, "%.127s", found.name);
    out->total_memory = found.totalGlobalMem;
    out->compute_capability = static_cast<uint32_t>(found.major * 10 + found.minor);
    out->multiprocessors = static_cast<uint32_t>(found.multiProcessorCount);
    out->warp_size = static_cast<uint32_t>(found.warpSize);
    out->threads_per_block = static_cast<uint32_t>(found.maxThreadsPerBlock);
    out->shared_memory_per_block = found.sharedMemPerBlock;
    out->shared_memory_opt_in = found.sharedMemPerBlockOptin;
    std::snprintf(out->pci_bus, sizeof out->pci_bus, "%08x:%02x:%02x.0", static_cast<unsigned>(found.pciDomainID),
                  static_cast<unsigned>(found.pciBusID), static_cast<unsigned>(found.pciDeviceID));
    return Status::Success;
}

/* The driver's functions, which the runtime hands out: nothing of the driver's is linked. */
template <typename Function> Function driver_function(const char *name) noexcept {
    void *found = nullptr;
    cudaDriverEntryPointQueryResult result;
    if (cudaGetDriverEntryPointByVersion(name, &found, 12000, cudaEnableDefault, &result) != cudaSuccess) {
        static_cast<void>(cudaGetLastError());
        return nullptr;
    }
    return result == cudaDriverEntryPointSuccess ? reinterpret_cast<Function>(found) : nullptr;
}

/* By the driver's context: cudaSetDevice on the way back would start up a device that the host never used. */
Status enter_device(int32_t device, void **previous) {
    static const auto current = driver_function<int (*)(void **)>("cuCtxGetCurrent");
    *previous = nullptr;
    if (current != nullptr && current(previous) != 0) *previous = nullptr;
    return status_of(cudaSetDevice(device));
}

Status leave_device(void *previous) {
    static const auto make_current = driver_function<int (*)(void *)>("cuCtxSetCurrent");
    return make_current == nullptr ? Status::Success : static_cast<Status>(make_current(previous));
}

Status set_malloc_heap_limit(size_t bytes) { return status_of(cudaDeviceSetLimit(cudaLimitMallocHeapSize, bytes)); }
Status prefer_l1() { return status_of(cudaDeviceSetCacheConfig(cudaFuncCachePreferL1)); }
Status memory_info(size_t *free, size_t *total) { return status_of(cudaMemGetInfo(free, total)); }
Status driver_version(int32_t *version) { return status_of(cudaDriverGetVersion(version)); }
Status runtime_version(int32_t *version) { return status_of(cudaRuntimeGetVersion(version)); }

Status allocate(void **address, size_t bytes) { return status_of(cudaMalloc(address, bytes)); }
Status release(void *address) { return status_of(cudaFree(address)); }
Status allocate_pinned(void **address, size_t bytes) { return status_of(cudaMallocHost(address, bytes)); }
Status release_pinned(void *address) { return status_of(cudaFreeHost(address)); }

Status pointer_attributes(const void *address, PointerAttributes *out) {
    cudaPointerAttributes found;
    const cudaError_t error = cudaPointerGetAttributes(&found, address);
    if (error != cudaSuccess) return status_of(error);
    *out = {static_cast<MemoryKind>(found.type), found.device, found.devicePointer, found.hostPointer};
    return Status::Success;
}

cudaMemcpyKind kind_of(CopyKind kind) noexcept {
    switch (kind) {
    case CopyKind::HostToDevice: return cudaMemcpyHostToDevice;
    case CopyKind::DeviceToHost: return cudaMemcpyDeviceToHost;
    case CopyKind::DeviceToDevice: break;
    }
    return cudaMemcpyDeviceToDevice;
}

cudaStream_t stream_of(Stream stream) noexcept { return static_cast<cudaStream_t>(stream); }
cudaEvent_t event_of(Event event) noexcept { return static_cast<cudaEvent_t>(event); }

Status copy(void *to, const void *from, size_t bytes, CopyKind kind, Stream stream) {
    return status_of(cudaMemcpyAsync(to, from, bytes, kind_of(kind), stream_of(stream)));
}
Status fill(void *address, uint8_t value, size_t bytes, Stream stream) {
    return status_of(cudaMemsetAsync(address, value, bytes, stream_of(stream)));
}

Status create_stream(Stream *out) {
    cudaStream_t stream = nullptr;
    const cudaError_t error = cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking);
    *out = stream;
    return status_of(error);
}
Status destroy_stream(Stream stream) { return status_of(cudaStreamDestroy(stream_of(stream))); }
Status synchronise_stream(Stream stream) { return status_of(cudaStreamSynchronize(stream_of(stream))); }
Status create_event(Event *out) {
    cudaEvent_t event = nullptr;
    const cudaError_t error = cudaEventCreateWithFlags(&event, cudaEventDisableTiming);
    *out = event;
    return status_of(error);
}
Status destroy_event(Event event) { return status_of(cudaEventDestroy(event_of(event))); }
Status record_event(Event event, Stream stream) { return status_of(cudaEventRecord(event_of(event), stream_of(stream))); }
Status synchronise_event(Event event) { return status_of(cudaEventSynchronize(event_of(event))); }

Status set_shared_memory_limit(const void *kernel, size_t bytes) {
    return status_of(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes)));
}

dim3 dimensions(Extent extent) noexcept { return dim3(extent.x, extent.y, extent.z); }

Status launch(const KernelLaunch &launch) {
    return status_of(cudaLaunchKernel(launch.function, dimensions(launch.grid), dimensions(launch.block), launch.arguments,
                                      launch.shared_bytes, stream_of(launch.stream)));
}

Status take_last_error() { return status_of(cudaGetLastError()); }
const char *error_name(Status status) { return cudaGetErrorName(static_cast<cudaError_t>(status)); }
const char *error_text(Status status) { return cudaGetErrorString(static_cast<cudaError_t>(status)); }

} // namespace

const Runtime &runtime() noexcept {
    static constexpr Runtime table{
        "cuda",
        device_count, device_properties, enter_device, leave_device, set_malloc_heap_limit, prefer_l1, memory_info, process_memory_by_nvml, driver_version, runtime_version,
        allocate, release, allocate_pinned, release_pinned, pointer_attributes,
        copy, fill,
        create_stream, destroy_stream, synchronise_stream, create_event, destroy_event, record_event, synchronise_event,
        set_shared_memory_limit, launch, take_last_error,
        error_name, error_text,
    };
    return table;
}

} // namespace worker::gpu
