/*
 * Whether the CPU's memory is in RAM, and keeping it there.
 */
#include "cuda_error.h"
#include "device.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <sstream>
#include <string>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#ifndef MADV_POPULATE_READ
#define MADV_POPULATE_READ 22 /* Linux 5.14 */
#endif

namespace worker {

namespace {

struct PageRange {
    uintptr_t begin;
    uintptr_t end;
};

uintptr_t page_size() noexcept {
    static const uintptr_t size = static_cast<uintptr_t>(sysconf(_SC_PAGESIZE));
    return size;
}

PageRange pages_of(const void *address, size_t bytes) noexcept {
    const uintptr_t begin = reinterpret_cast<uintptr_t>(address);
    const uintptr_t mask = page_size() - 1;
    return {begin & ~mask, (begin + bytes + mask) & ~mask};
}

std::string system_reason(int error) {
    char text[128] = {};
    return std::string(strerror_r(error, text, sizeof text)) + " (errno " + std::to_string(error) + ")";
}

/* For a file that this process neither owns nor may write, the kernel tells nothing by mincore and says "resident" of
 * every page. Anonymous memory, and files of our own, are told truly. */
bool mincore_is_true_for(uintptr_t address) {
    std::ifstream maps("/proc/self/maps");
    for (std::string line; std::getline(maps, line);) {
        std::istringstream fields(line);
        uintptr_t begin = 0;
        uintptr_t end = 0;
        char dash = 0;
        std::string permissions, offset, device, path;
        uint64_t inode = 0;
        if (!(fields >> std::hex >> begin >> dash >> end >> permissions >> offset >> device >> std::dec >> inode)) continue;
        if (address < begin || address >= end) continue;
        if (inode == 0) return true;
        std::getline(fields >> std::ws, path);
        struct stat status{};
        if (stat(path.c_str(), &status) != 0) return false;
        return status.st_uid == geteuid() || geteuid() == 0 || access(path.c_str(), W_OK) == 0;
    }
    return false;
}

constexpr size_t pages_at_once = 4096;

/* Bytes of present pages, by the kernel's page cache. */
uint64_t resident_by_mincore(PageRange range) {
    std::array<unsigned char, pages_at_once> states;
    uint64_t resident = 0;
    for (uintptr_t at = range.begin; at < range.end; at += pages_at_once * page_size()) {
        const size_t bytes = std::min<size_t>(range.end - at, pages_at_once * page_size());
        if (mincore(reinterpret_cast<void *>(at), bytes, states.data()) != 0) {
            throw CudaError::vram_residency_failed("mincore of " + std::to_string(bytes) + " bytes failed: " + system_reason(errno));
        }
        resident += static_cast<uint64_t>(std::count_if(states.begin(), states.begin() + static_cast<long>(bytes / page_size()),
                                                        [](unsigned char state) { return (state & 1) != 0; }));
    }
    return resident * page_size();
}

/* Bytes of pages present in this process's own page table: a lower bound that needs no one's permission. */
uint64_t resident_by_page_table(PageRange range) {
    const int file = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
    if (file < 0) return resident_by_mincore(range); /* no better source here */
    std::array<uint64_t, pages_at_once> entries;
    uint64_t resident = 0;
    for (uintptr_t at = range.begin; at < range.end;) {
        const size_t pages = std::min<size_t>((range.end - at) / page_size(), pages_at_once);
        const ssize_t got = pread(file, entries.data(), pages * sizeof(uint64_t), static_cast<off_t>(at / page_size() * sizeof(uint64_t)));
        if (got < static_cast<ssize_t>(sizeof(uint64_t))) {
            const int reason = errno;
            close(file);
            throw CudaError::vram_residency_failed("/proc/self/pagemap could not be read: " + system_reason(reason));
        }
        const size_t read = static_cast<size_t>(got) / sizeof(uint64_t);
        resident += static_cast<uint64_t>(std::count_if(entries.begin(), entries.begin() + static_cast<long>(read),
                                                        [](uint64_t entry) { return (entry >> 63) != 0; }));
        at += read * page_size();
    }
    close(file);
    return resident * page_size();
}

/* A look at some of the pages: at every one it would take as long as entering them. */
bool seems_in_memory(PageRange range) noexcept {
    constexpr size_t looks = 16;
    const uintptr_t step = std::max((range.end - range.begin) / looks, page_size()) & ~(page_size() - 1);
    for (uintptr_t at = range.begin; at < range.end; at += step) {
        unsigned char state = 0;
        if (mincore(reinterpret_cast<void *>(at), page_size(), &state) != 0 || (state & 1) == 0) return false;
    }
    return true;
}

/* Reads what is not in memory, and enters all pages into this process's page table. */
void populate(PageRange range) {
    void *start = reinterpret_cast<void *>(range.begin);
    const size_t bytes = range.end - range.begin;
    int reason = 0;
    do {
        reason = madvise(start, bytes, MADV_POPULATE_READ) == 0 ? 0 : errno;
    } while (reason == EINTR || reason == EAGAIN);
    if (reason == 0) return;
    if (reason != EINVAL) {
        throw CudaError::model_load_failed("reading " + std::to_string(bytes) + " bytes of weights into memory failed: " +
                                           system_reason(reason) + "; the file may have been cut or its disk may be failing");
    }
    /* An older kernel: read a byte of every page. */
    for (uintptr_t at = range.begin; at < range.end; at += page_size()) {
        static_cast<void>(*reinterpret_cast<const volatile char *>(at));
    }
}

std::string limit_text(rlim_t limit) { return limit == RLIM_INFINITY ? "unlimited" : std::to_string(limit) + " bytes"; }

} // namespace

uint64_t CpuDevice::resident_bytes(const void *address, size_t bytes) {
    if (bytes == 0) return 0;
    const PageRange range = pages_of(address, bytes);
    const uint64_t whole = range.end - range.begin;
    const uint64_t resident = mincore_is_true_for(range.begin) ? resident_by_mincore(range) : resident_by_page_table(range);
    /* Pages reach beyond the bytes at both ends: what is missing counts as missing of the bytes. */
    const uint64_t missing = whole - std::min(whole, resident);
    return bytes - std::min<uint64_t>(bytes, missing);
}

void CpuDevice::make_resident(const void *address, size_t bytes) {
    if (bytes == 0) return;
    const PageRange range = pages_of(address, bytes);
    const size_t whole = range.end - range.begin;
    if (seems_in_memory(range)) {
        /* No disk to wait for: what is left is to enter each page into the page table, work for every core. */
        constexpr size_t grain = 256;
        pool_.run_ranges(whole / page_size(), grain, [&](uint64_t first, uint64_t last) {
            populate({range.begin + first * page_size(), range.begin + last * page_size()});
        });
    } else {
        madvise(reinterpret_cast<void *>(range.begin), whole, MADV_WILLNEED); /* starts the reading; the rest waits for it */
        populate(range);
    }
}

void CpuDevice::lock(const void *address, size_t bytes) {
    const PageRange range = pages_of(address, bytes);
    void *start = reinterpret_cast<void *>(range.begin);
    const size_t whole = range.end - range.begin;
    /* On fault: a limit that is too low says so before gigabytes were read, and reading goes on with its progress. */
    if (mlock2(start, whole, MLOCK_ONFAULT) == 0) return;
    if (errno == ENOSYS && mlock(start, whole) == 0) return;
    const int reason = errno;
    struct rlimit limit{};
    getrlimit(RLIMIT_MEMLOCK, &limit);
    throw CudaError::vram_residency_failed(
        "locking " + std::to_string(whole) + " bytes of weights in memory failed: " + system_reason(reason) +
        "; RLIMIT_MEMLOCK is " + limit_text(limit.rlim_cur) + " (hard limit " + limit_text(limit.rlim_max) +
        "). Raise it with `ulimit -l`, LimitMEMLOCK= in a systemd unit, or --ulimit memlock= in a container, give the process "
        "CAP_IPC_LOCK, or load with a residency policy that does not lock");
}

void CpuDevice::unlock(const void *address, size_t bytes) noexcept {
    const PageRange range = pages_of(address, bytes);
    munlock(reinterpret_cast<void *>(range.begin), range.end - range.begin);
}

} // namespace worker
