/*
 * An emulated CUDA runtime: GPUs whose memory is the host's, whose kernels run on the CPU, and whose failures are chosen.
 * For the tests alone; README.md says what it cannot show.
 */
#ifndef WORKER_EMULATION_RUNTIME_EMULATED_H
#define WORKER_EMULATION_RUNTIME_EMULATED_H

#include "gpu/runtime.h"

#include <cstdint>
#include <string_view>

namespace worker::emulation {

/* What the machine has. */
struct Machine {
    int32_t devices = 1;                 /* what device_count says; may be nonsense */
    gpu::Status count_status = gpu::Status::Success; /* of device_count */
    uint64_t memory = uint64_t{1} << 30; /* bytes, each device */
    uint64_t foreign_memory = 0;         /* bytes, of other processes */
    uint32_t compute_capability = 90;
    bool has_nvml = true;
};

/* What is alive of all that was asked for. */
struct Census {
    uint64_t device_blocks = 0;
    uint64_t device_bytes = 0;
    uint64_t pinned_blocks = 0;
    uint64_t streams = 0;
    uint64_t events = 0;
    uint64_t memory_requests = 0; /* so far, of both kinds of memory */
    uint64_t launches = 0;        /* so far */
    uint64_t pointer_questions = 0; /* pointer_attributes, so far */
};

/* The calling thread's device. */
int32_t device_of_thread();

/* Bytes that a context takes, by NVML, besides what is allocated. */
constexpr uint64_t context_bytes = uint64_t{256} << 20;

/* One healthy device, or as many as WORKER_EMULATED_GPUS says; no faults. What is allocated stays. */
void reset();
void set_machine(const Machine &machine);
Machine machine();
Census census();

/* The call of this name in the table ("copy", "launch", ...; "memory" is `allocate` and `allocate_pinned` together; "any"
 * is every call that reaches a device) succeeds `successes` more times, then gives `status`: once, or from then on. One
 * fault at a time. A sticky status stays the device's, as on a real one. */
enum class Lasting { Once, FromThenOn };
void fail(std::string_view call, int64_t successes, gpu::Status status, Lasting lasting);

/* Whether the last fault was met yet. */
bool fault_was_met();

/* What blocks are from now on, by pointer_attributes: the runtime of a machine that breaks the promise. */
void set_kind_of_allocations(gpu::MemoryKind kind);
/* The live block that this address lies in becomes of another kind; false when there is none. */
bool set_kind_of(const void *address, gpu::MemoryKind kind);

/* The same by place: 0 is the block of device memory that was allocated first of those alive. */
bool set_kind_of_block(uint64_t place, gpu::MemoryKind kind);

/* Every call on this device gives the status from now on, as after a fault that only a new process ends. */
void lose_device(int32_t device, gpu::Status status);

} // namespace worker::emulation

#endif
