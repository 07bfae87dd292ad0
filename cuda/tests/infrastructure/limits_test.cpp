/*
 * What needs a process of its own: limits, and the loss of privileges.
 */
#include "device_memory.h"
#include "harness.h"
#include "health.h"

#include <cstdio>
#include <string>

#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace worker;

namespace {

/* The exit status of a child that does this; -1 when it was killed. */
template <typename Action> int in_a_child(Action &&action) {
    std::fflush(nullptr);
    const pid_t child = fork();
    if (child == 0) {
        alarm(20);
        _exit(action());
    }
    int status = 0;
    waitpid(child, &status, 0);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

} // namespace

TEST(a_lock_beyond_the_limit_says_how_much_is_needed_and_how_to_get_it) {
    const int result = in_a_child([] {
        const struct rlimit limit{65536, 65536};
        if (setrlimit(RLIMIT_MEMLOCK, &limit) != 0) return 10;
        if (geteuid() == 0 && setresuid(65534, 65534, 65534) != 0) return 11; /* root may lock anything */
        CpuDevice device(1);
        const size_t bytes = size_t{1} << 20;
        void *block = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (block == MAP_FAILED) return 12;
        try {
            const Health health(device, {{"big.weight", block, bytes}}, {}, ENGINE_RESIDENCY_LOCKED);
        } catch (const CudaError &error) {
            const std::string text = error.what();
            for (const char *part : {"1048576 bytes", "65536 bytes", "ulimit -l", "LimitMEMLOCK=", "CAP_IPC_LOCK"}) {
                if (text.find(part) == std::string::npos) {
                    std::fprintf(stderr, "no \"%s\" in \"%s\"\n", part, text.c_str());
                    return 13;
                }
            }
            return error.code() == 8 ? 0 : 14;
        }
        return 15;
    });
    CHECK_EQUAL(result, 0);
}

TEST(residency_of_a_file_that_is_not_ours_is_not_taken_on_trust) {
    /* Of such a file mincore says "resident" of every page, whatever is true. */
    const int result = in_a_child([] {
        if (geteuid() == 0 && setresuid(65534, 65534, 65534) != 0) return 10;
        prctl(PR_SET_DUMPABLE, 1); /* changing user hid /proc/self from us */
        std::FILE *file = std::fopen("/proc/self/exe", "re");
        if (file == nullptr || access("/proc/self/exe", W_OK) == 0) return 11;
        char *map = static_cast<char *>(mmap(nullptr, 4 * 4096, PROT_READ, MAP_PRIVATE, fileno(file), 0));
        if (map == MAP_FAILED) return 12;
        CpuDevice device(1);
        const uint64_t before = device.resident_bytes(map, 4 * 4096);
        device.make_resident(map, 4 * 4096);
        const uint64_t after = device.resident_bytes(map, 4 * 4096);
        return before == 0 && after == 4 * 4096 ? 0 : 13;
    });
    CHECK_EQUAL(result, 0);
}

TEST(the_cpu_says_what_it_is) {
    CpuDevice device(2);
    const engine_device_information information = device.information();
    CHECK_EQUAL(information.ordinal, -1);
    CHECK_EQUAL(information.compute_capability, 0u);
    CHECK_EQUAL(information.threads, 2u);
    CHECK(information.total_memory >= information.free_memory);
    CHECK(information.free_memory > 0);
    CHECK(std::string(information.name) != "");
    CHECK(device.process_memory() > 100000);
    CHECK(device.process_memory() < information.total_memory);
    device.check_health();
    CHECK_EQUAL(device.tracker().allocation_count(), 0u);
}

TEST(untouched_memory_costs_nothing) {
    CpuDevice device(1);
    const uint64_t before = device.process_memory();
    const DeviceMemory memory(device, size_t{256} << 20, {VramPurpose::KVCache, "a large cache", 0});
    CHECK(device.process_memory() < before + (uint64_t{16} << 20));
    memory.get_as<char>()[0] = 1;
    CHECK(device.process_memory() < before + (uint64_t{16} << 20));
}
