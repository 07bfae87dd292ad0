/*
 * NVML, NVIDIA's management library: it alone tells how much of a device's memory one process has. It comes with the
 * driver, and is loaded when it is first asked.
 */
#ifndef WORKER_GPU_NVML_H
#define WORKER_GPU_NVML_H

#include <cstdint>

namespace worker::gpu {

/* Bytes that this process has on the device, contexts and kernels included. False when NVML is not here, does not know
 * this process (in a container it may see other process numbers), or does not tell its memory. */
bool process_memory_by_nvml(const char *pci_bus, uint64_t *bytes) noexcept;

} // namespace worker::gpu

#endif
