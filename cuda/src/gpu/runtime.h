/*
 * Every call that the engine makes to the CUDA runtime, as one table of functions.
 *
 * `runtime_cuda.cu` fills it with the real ones. The tests' build fills it with an emulated device
 * (cuda/tests/emulation/runtime_emulated.cpp), whose faults can be chosen: no memory, lost devices, pointers of the
 * wrong kind. This header needs none of CUDA's.
 */
#ifndef WORKER_GPU_RUNTIME_H
#define WORKER_GPU_RUNTIME_H

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace worker::gpu {

/* What a runtime call gives: CUDA's own numbers. Those that we tell apart: */
enum class Status : int32_t {
    Success = 0,
    InvalidValue = 1,
    MemoryAllocation = 2,
    InitializationError = 3,
    InvalidConfiguration = 9,
    InsufficientDriver = 35,
    DevicesUnavailable = 46,
    NoDevice = 100,
    InvalidDevice = 101,
    NoKernelImage = 209,
    UncorrectableMemory = 214,
    IllegalAddress = 700,
    LaunchOutOfResources = 701,
    LaunchTimeout = 702,
    Assertion = 710,
    HardwareStackError = 714,
    IllegalInstruction = 715,
    MisalignedAddress = 716,
    InvalidAddressSpace = 717,
    InvalidProgramCounter = 718,
    LaunchFailure = 719,
    Unknown = 999,
};

/* Opaque: a cudaStream_t, a cudaEvent_t. */
using Stream = void *;
using Event = void *;

/* Threads and blocks, in three dimensions. */
struct Extent {
    uint32_t x = 1;
    uint32_t y = 1;
    uint32_t z = 1;
};

/* A kernel with everything that its launch needs. Made by launch.h. */
struct KernelLaunch {
    const char *name;         /* for messages */
    const void *function;
    void (*call)(void **arguments); /* one thread of it, on the host; null where the device runs it */
    void **arguments;         /* pointers to the values, in order */
    Extent grid;              /* blocks */
    Extent block;             /* threads per block */
    size_t shared_bytes = 0;  /* dynamic shared memory per block */
    Stream stream = nullptr;
};

struct DeviceProperties {
    char name[128];
    uint64_t total_memory;            /* bytes */
    uint32_t compute_capability;      /* major * 10 + minor */
    uint32_t multiprocessors;
    uint32_t warp_size;
    uint32_t threads_per_block;       /* at most */
    size_t shared_memory_per_block;   /* bytes, at most, without opting in to more */
    size_t shared_memory_opt_in;      /* bytes, at most, after set_shared_memory_limit */
    char pci_bus[32];                 /* "0000:01:00.0"; how NVML knows the device */
};

enum class MemoryKind : int32_t {
    Unregistered = 0, /* the host's, unknown to the runtime */
    Host = 1,         /* the host's, pinned; the device may reach it */
    Device = 2,
    Managed = 3,      /* moves between the two by itself */
};

struct PointerAttributes {
    MemoryKind kind;
    int32_t device;
    const void *device_address; /* where the device sees it; null when it does not */
    const void *host_address;   /* where the host sees it; null when it does not */
};

enum class CopyKind : int32_t { HostToDevice = 1, DeviceToHost = 2, DeviceToDevice = 3 };

/* Each function does what the CUDA runtime's of the like name does, on the calling thread's current device. All may be
 * called from any thread. */
struct Runtime {
    const char *name; /* "cuda", "emulated" */

    Status (*device_count)(int32_t *count);
    Status (*device_properties)(int32_t device, DeviceProperties *out);
    /* Makes this the calling thread's device, and tells what was there before; the second gives that back. The thread
     * may be a host's that uses CUDA itself. */
    Status (*enter_device)(int32_t device, void **previous);
    Status (*leave_device)(void *previous);
    Status (*set_malloc_heap_limit)(size_t bytes); /* of `malloc` inside kernels */
    Status (*prefer_l1)();
    Status (*memory_info)(size_t *free, size_t *total); /* of the device, all processes together */
    /* What this process has on the device, by NVML; false where NVML is not there or does not tell. */
    bool (*process_memory)(const char *pci_bus, uint64_t *bytes);
    Status (*driver_version)(int32_t *version);         /* 1000 * major + 10 * minor; 0 without a driver */
    Status (*runtime_version)(int32_t *version);

    Status (*allocate)(void **address, size_t bytes); /* plain device memory: cudaMalloc */
    Status (*release)(void *address);
    Status (*allocate_pinned)(void **address, size_t bytes); /* page-locked host memory, for copies */
    Status (*release_pinned)(void *address);
    Status (*pointer_attributes)(const void *address, PointerAttributes *out);

    Status (*copy)(void *to, const void *from, size_t bytes, CopyKind kind, Stream stream); /* in stream order */
    Status (*fill)(void *address, uint8_t value, size_t bytes, Stream stream);

    Status (*create_stream)(Stream *out); /* does not wait for the legacy default stream */
    Status (*destroy_stream)(Stream stream);
    Status (*synchronise_stream)(Stream stream);
    Status (*create_event)(Event *out); /* without timing */
    Status (*destroy_event)(Event event);
    Status (*record_event)(Event event, Stream stream);
    Status (*synchronise_event)(Event event);

    Status (*set_shared_memory_limit)(const void *kernel, size_t bytes);
    Status (*launch)(const KernelLaunch &launch);
    Status (*take_last_error)(); /* and forgets it, unless it is sticky */

    const char *(*error_name)(Status status); /* "cudaErrorMemoryAllocation" */
    const char *(*error_text)(Status status); /* "out of memory" */
};

/* The one in use, constant for the life of the process. */
const Runtime &runtime() noexcept;

/* A device on which this happened runs nothing more in this process. */
bool is_sticky(Status status) noexcept;

/* "out of memory (cudaErrorMemoryAllocation, 2)" */
std::string describe(Status status);

/* Throws what the status means, with `what` for the reader ("copying 4096 bytes to GPU 0"); success does nothing.
 * No memory is out_of_memory; no such device or no driver is invalid_device; a launch that was refused, or a kernel that
 * failed, is kernel_launch_failed; anything else is inference_failed. */
void check(Status status, std::string_view what);
/* The same for a launch, without making a text of it while all is well. */
void check_launch(Status status, const char *kernel);

} // namespace worker::gpu

#endif
