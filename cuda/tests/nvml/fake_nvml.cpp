/*
 * Stands in for libnvidia-ml.so.1: one device, whose processes the test chooses by FAKE_NVML.
 */
#include <cstdlib>
#include <cstring>
#include <string>

#include <unistd.h>

namespace {

struct Process {
    unsigned process;
    unsigned long long used_memory;
    unsigned gpu_instance;
    unsigned compute_instance;
};

constexpr int success = 0;
constexpr int not_found = 6;
constexpr int insufficient_size = 7;
constexpr int lost = 15;

std::string chosen() {
    const char *text = std::getenv("FAKE_NVML");
    return text == nullptr ? "" : text;
}

} // namespace

extern "C" {

int nvmlInit_v2() { return success; }

int nvmlDeviceGetHandleByPciBusId_v2(const char *bus, void **device) {
    if (std::strcmp(bus, "00000000:01:00.0") != 0) return not_found;
    static int only;
    *device = &only;
    return success;
}

int nvmlDeviceGetComputeRunningProcesses_v3(void *, unsigned *count, Process *processes) {
    const unsigned own = static_cast<unsigned>(getpid());
    const std::string what = chosen();
    if (what == "lost") return lost;
    const unsigned others = what == "crowd" ? 100 : 1;
    const unsigned room = *count;
    *count = others + 2;
    if (room < others + 2) return insufficient_size;
    for (unsigned index = 0; index < others; ++index) processes[index] = {own + 1 + index, 1000000, 0, 0};
    processes[others] = {what == "stranger" ? own + 1000 : own, what == "hidden" ? ~0ULL : 300, 1, 0};
    processes[others + 1] = {what == "divided" ? own : own + 2000, 44, 2, 0};
    return success;
}

} // extern "C"
