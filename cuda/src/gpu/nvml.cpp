#include "gpu/nvml.h"

#include <vector>

#include <dlfcn.h>
#include <unistd.h>

namespace worker::gpu {

namespace {

/* NVML's own, as its interface has had them since version 11. */
using NvmlDevice = void *;
constexpr int nvml_success = 0;
constexpr int nvml_insufficient_size = 7;
constexpr unsigned long long nvml_not_available = ~0ULL;
struct NvmlProcess {
    unsigned process;
    unsigned long long used_memory;
    unsigned gpu_instance;
    unsigned compute_instance;
};

struct Nvml {
    int (*initialise)() = nullptr;
    int (*device_by_pci_bus)(const char *bus, NvmlDevice *device) = nullptr;
    int (*compute_processes)(NvmlDevice device, unsigned *count, NvmlProcess *processes) = nullptr;
    bool ready = false;
};

template <typename Function> bool find(void *library, const char *name, Function &into) noexcept {
    into = reinterpret_cast<Function>(dlsym(library, name));
    return into != nullptr;
}

/* Loaded once and kept: the driver's libraries do not like to be unloaded. */
const Nvml &nvml() noexcept {
    static const Nvml found = []() noexcept {
        Nvml nvml;
        void *library = dlopen("libnvidia-ml.so.1", RTLD_LAZY | RTLD_LOCAL);
        if (library == nullptr) return nvml;
        nvml.ready = find(library, "nvmlInit_v2", nvml.initialise) &&
                     find(library, "nvmlDeviceGetHandleByPciBusId_v2", nvml.device_by_pci_bus) &&
                     (find(library, "nvmlDeviceGetComputeRunningProcesses_v3", nvml.compute_processes) ||
                      find(library, "nvmlDeviceGetComputeRunningProcesses_v2", nvml.compute_processes)) &&
                     nvml.initialise() == nvml_success;
        return nvml;
    }();
    return found;
}

/* More processes may start between the question how many there are and the question which. */
bool list_processes(const Nvml &nvml, NvmlDevice device, std::vector<NvmlProcess> &processes) {
    for (unsigned room = 16; room <= 4096; room *= 4) {
        processes.resize(room);
        unsigned count = room;
        const int result = nvml.compute_processes(device, &count, processes.data());
        if (result == nvml_insufficient_size) continue;
        if (result != nvml_success || count > room) return false;
        processes.resize(count);
        return true;
    }
    return false;
}

} // namespace

bool process_memory_by_nvml(const char *pci_bus, uint64_t *bytes) noexcept {
    const Nvml &nvml = gpu::nvml();
    if (!nvml.ready) return false;
    try {
        NvmlDevice device = nullptr;
        std::vector<NvmlProcess> processes;
        if (nvml.device_by_pci_bus(pci_bus, &device) != nvml_success || !list_processes(nvml, device, processes)) return false;
        const unsigned own = static_cast<unsigned>(getpid());
        bool known = false;
        uint64_t sum = 0; /* one entry for each part of a divided device */
        for (const NvmlProcess &process : processes) {
            if (process.process != own || process.used_memory == nvml_not_available) continue;
            known = true;
            sum += process.used_memory;
        }
        if (known) *bytes = sum;
        return known;
    } catch (...) {
        return false; /* no memory for the list */
    }
}

} // namespace worker::gpu
