/*
 * What of the machine this process may use, cgroups included. Linux alone.
 */
#ifndef WORKER_CPU_TOPOLOGY_H
#define WORKER_CPU_TOPOLOGY_H

#include <cstdint>
#include <string>

namespace worker {

struct MemoryLimits {
    uint64_t total; /* bytes */
    uint64_t free;  /* bytes that could be allocated now without pushing anyone out */
};

MemoryLimits memory_limits();
/* The resident set of this process, in bytes. */
uint64_t resident_set_bytes() noexcept;
/* "AMD EPYC ...", or "CPU" where the system does not say. */
std::string processor_name();

} // namespace worker

#endif
