#include "cpu/topology.h"

#include "thread_pool.h"

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <limits>
#include <optional>
#include <sstream>
#include <vector>

#include <sched.h>
#include <unistd.h>

namespace worker {

namespace {

constexpr uint64_t unlimited = std::numeric_limits<uint64_t>::max();

std::optional<std::string> first_line(const std::string &path) {
    std::ifstream file(path);
    std::string line;
    if (!file || !std::getline(file, line)) return std::nullopt;
    return line;
}

std::optional<uint64_t> number_in(const std::string &path) {
    const auto line = first_line(path);
    if (!line) return std::nullopt;
    std::istringstream text(*line);
    uint64_t value = 0;
    if (!(text >> value)) return std::nullopt; /* "max" and "-1" among others */
    return value;
}

/* The value of "key:  123 kB" in a file of such lines, in bytes. */
std::optional<uint64_t> kilobytes_of(const char *path, const std::string &key) {
    std::ifstream file(path);
    for (std::string line; std::getline(file, line);) {
        if (line.compare(0, key.size(), key) != 0) continue;
        std::istringstream text(line.substr(key.size()));
        uint64_t value = 0;
        if (text >> value) return value * 1024;
    }
    return std::nullopt;
}

/* The value of "key 123" in a cgroup's statistics. */
uint64_t statistic(const std::string &path, const std::string &wanted) {
    std::ifstream file(path);
    std::string key;
    for (uint64_t value = 0; file >> key >> value;) {
        if (key == wanted) return value;
    }
    return 0;
}

/* Folders whose limits bind this process in one hierarchy, innermost first: its cgroup and every one above, since any
 * of them may be the tightest. Inside a container the path may be the host's; the mount's root then holds the limits. */
std::vector<std::string> cgroup_folders(const std::string &mount, const std::string &controller) {
    std::ifstream file("/proc/self/cgroup");
    std::vector<std::string> folders;
    for (std::string line; std::getline(file, line);) {
        const size_t first = line.find(':');
        const size_t second = first == std::string::npos ? first : line.find(':', first + 1);
        if (second == std::string::npos) continue;
        const std::string controllers = "," + line.substr(first + 1, second - first - 1) + ",";
        if (controllers != "," + controller + "," && controllers.find("," + controller + ",") == std::string::npos) continue;
        std::string path = line.substr(second + 1);
        while (path.size() > 1) {
            folders.push_back(mount + path);
            path.resize(path.rfind('/'));
        }
    }
    folders.push_back(mount);
    return folders;
}

unsigned cores_of_quota() {
    uint64_t cores = unlimited;
    for (const std::string &folder : cgroup_folders("/sys/fs/cgroup", "")) {
        const auto line = first_line(folder + "/cpu.max"); /* "200000 100000" or "max 100000" */
        if (!line) continue;
        std::istringstream text(*line);
        uint64_t quota = 0;
        uint64_t period = 0;
        if (text >> quota >> period && period > 0) cores = std::min(cores, quota / period);
    }
    for (const std::string &folder : cgroup_folders("/sys/fs/cgroup/cpu", "cpu")) {
        const auto quota = number_in(folder + "/cpu.cfs_quota_us");
        const auto period = number_in(folder + "/cpu.cfs_period_us");
        if (quota && period && *period > 0 && static_cast<int64_t>(*quota) > 0) cores = std::min(cores, *quota / *period);
    }
    return static_cast<unsigned>(std::clamp<uint64_t>(cores, 1, 1u << 16));
}

unsigned cores_of_affinity() noexcept {
    /* The kernel refuses a mask smaller than its own, so ask with larger ones until it fits. */
    for (size_t cores = 1024; cores <= (1u << 20); cores *= 2) {
        cpu_set_t *mask = CPU_ALLOC(cores);
        if (mask == nullptr) break;
        const size_t bytes = CPU_ALLOC_SIZE(cores);
        const bool known = sched_getaffinity(0, bytes, mask) == 0;
        const int count = known ? CPU_COUNT_S(bytes, mask) : 0;
        CPU_FREE(mask);
        if (known) return static_cast<unsigned>(std::max(count, 1));
    }
    return static_cast<unsigned>(std::max(sysconf(_SC_NPROCESSORS_ONLN), 1L));
}

struct ControlGroupFiles {
    const char *mount, *controller, *limit, *usage, *reclaimable;
};

/* Lowers `limits` to what the cgroups of one hierarchy leave. */
void apply(const ControlGroupFiles &files, MemoryLimits &limits) {
    for (const std::string &folder : cgroup_folders(files.mount, files.controller)) {
        const auto limit = number_in(folder + "/" + files.limit);
        if (!limit) continue;
        limits.total = std::min(limits.total, *limit);
        const uint64_t used = number_in(folder + "/" + files.usage).value_or(0);
        /* Cached file pages count as used, but make room when it is asked for. */
        const uint64_t cached = statistic(folder + "/memory.stat", files.reclaimable);
        const uint64_t held = used > cached ? used - cached : 0;
        limits.free = std::min(limits.free, *limit > held ? *limit - held : 0);
    }
}

} // namespace

unsigned usable_cores() noexcept {
    const unsigned affinity = cores_of_affinity();
    try {
        return std::min(affinity, cores_of_quota());
    } catch (...) {
        return affinity; /* no memory to read the quota: the affinity alone is a good answer */
    }
}

MemoryLimits memory_limits() {
    MemoryLimits limits{};
    limits.total = kilobytes_of("/proc/meminfo", "MemTotal:")
                       .value_or(static_cast<uint64_t>(sysconf(_SC_PHYS_PAGES)) * static_cast<uint64_t>(sysconf(_SC_PAGESIZE)));
    limits.free = std::min(limits.total, kilobytes_of("/proc/meminfo", "MemAvailable:").value_or(limits.total));
    apply({"/sys/fs/cgroup", "", "memory.max", "memory.current", "inactive_file"}, limits);
    apply({"/sys/fs/cgroup/memory", "memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"}, limits);
    return limits;
}

uint64_t resident_set_bytes() noexcept {
    std::FILE *file = std::fopen("/proc/self/statm", "re");
    if (file == nullptr) return 0;
    unsigned long long size = 0;
    unsigned long long resident = 0;
    const int fields = std::fscanf(file, "%llu %llu", &size, &resident);
    std::fclose(file);
    return fields == 2 ? resident * static_cast<uint64_t>(sysconf(_SC_PAGESIZE)) : 0;
}

std::string processor_name() {
    std::ifstream file("/proc/cpuinfo");
    for (std::string line; std::getline(file, line);) {
        const size_t colon = line.find(": ");
        if (line.compare(0, 10, "model name") == 0 && colon != std::string::npos) return line.substr(colon + 2);
    }
    return "CPU";
}

} // namespace worker
