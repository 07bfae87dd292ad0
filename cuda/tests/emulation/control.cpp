/*
 * The emulated machine's controls for the tests written in Rust (src/engine/emulated.rs declares them).
 */
#include "emulation/runtime_emulated.h"

using namespace worker;

extern "C" {

struct emulated_machine {
    int32_t devices;
    int32_t count_status;
    uint64_t memory;
    uint64_t foreign_memory;
    uint32_t compute_capability;
    uint32_t has_nvml;
};

struct emulated_census {
    uint64_t device_blocks;
    uint64_t device_bytes;
    uint64_t pinned_blocks;
    uint64_t streams;
    uint64_t events;
    uint64_t memory_requests;
    uint64_t launches;
};

void emulated_gpu_reset() noexcept { emulation::reset(); }

void emulated_gpu_set_machine(const emulated_machine *machine) noexcept {
    emulation::set_machine({machine->devices, static_cast<gpu::Status>(machine->count_status), machine->memory, machine->foreign_memory,
                            machine->compute_capability, machine->has_nvml != 0});
}

void emulated_gpu_census(emulated_census *out) noexcept {
    const emulation::Census census = emulation::census();
    *out = {census.device_blocks, census.device_bytes, census.pinned_blocks, census.streams,
            census.events,        census.memory_requests, census.launches};
}

void emulated_gpu_fail(const char *call, int64_t successes, int32_t status, int32_t from_then_on) noexcept {
    emulation::fail(call, successes, static_cast<gpu::Status>(status),
                    from_then_on != 0 ? emulation::Lasting::FromThenOn : emulation::Lasting::Once);
}

void emulated_gpu_set_kind_of_allocations(int32_t kind) noexcept {
    emulation::set_kind_of_allocations(static_cast<gpu::MemoryKind>(kind));
}

int32_t emulated_gpu_set_kind_of_block(uint64_t place, int32_t kind) noexcept {
    return emulation::set_kind_of_block(place, static_cast<gpu::MemoryKind>(kind)) ? 1 : 0;
}

void emulated_gpu_lose_device(int32_t device, int32_t status) noexcept {
    emulation::lose_device(device, static_cast<gpu::Status>(status));
}

} // extern "C"
