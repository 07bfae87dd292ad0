#include "device.h"
#include "harness.h"
#include "health.h"

#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

using namespace worker;

namespace {

constexpr size_t page = 4096;
constexpr size_t pages = 64;

/* A file of 64 pages, mapped read-only as a model file is. */
class MappedFile {
public:
    MappedFile() {
        char path[] = "residency_test_XXXXXX";
        file_ = mkstemp(path);
        CHECK(file_ >= 0);
        unlink(path);
        const std::vector<char> content(pages * page, 'w');
        CHECK_EQUAL(write(file_, content.data(), content.size()), static_cast<ssize_t>(content.size()));
        fsync(file_);
        data_ = static_cast<char *>(mmap(nullptr, pages * page, PROT_READ, MAP_SHARED, file_, 0));
        CHECK(data_ != MAP_FAILED);
    }
    MappedFile(const MappedFile &) = delete;
    MappedFile &operator=(const MappedFile &) = delete;
    ~MappedFile() {
        munmap(data_, pages * page);
        close(file_);
    }

    char *data() const { return data_; }
    int file() const { return file_; }
    /* Puts the pages out of memory, as a system that needs room would. */
    void evict() const {
        CHECK_EQUAL(madvise(data_, pages * page, MADV_DONTNEED), 0);
        CHECK_EQUAL(posix_fadvise(file_, 0, 0, POSIX_FADV_DONTNEED), 0);
        unsigned char state = 0;
        CHECK_EQUAL(mincore(data_, page, &state), 0);
        /* A file that lives in memory has nowhere to go: a hole in it is absent as well. */
        if ((state & 1) != 0) CHECK_EQUAL(fallocate(file_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, pages * page), 0);
    }

private:
    int file_ = -1;
    char *data_ = nullptr;
};

std::vector<WeightRange> two_tensors(const MappedFile &file) {
    return {{"first.weight", file.data() + 32, 10 * page}, {"second.weight", file.data() + 20 * page + 100, 20 * page}};
}

} // namespace

TEST(residency_names_what_was_evicted_and_repairs_it) {
    CpuDevice device(1);
    const MappedFile file;
    Health health(device, two_tensors(file), {}, ENGINE_RESIDENCY_VERIFY);
    LoadProgress progress(nullptr, nullptr, 30 * page);
    health.bring_in(progress);
    engine_residency state = health.check();
    CHECK_EQUAL(state.resident, 1u);
    CHECK_EQUAL(state.policy, uint32_t{ENGINE_RESIDENCY_VERIFY});
    CHECK_EQUAL(state.allocations, 2u);
    CHECK_EQUAL(state.checked_bytes, 30 * page);
    CHECK_EQUAL(state.resident_bytes, 30 * page);
    CHECK_EQUAL(std::string(state.violating), "");

    file.evict();
    state = health.check();
    CHECK_EQUAL(state.resident, 0u);
    CHECK_EQUAL(state.violations, 2u);
    CHECK_EQUAL(std::string(state.violating), "first.weight");
    CHECK_EQUAL(state.resident_bytes + state.violating_bytes, state.checked_bytes);

    state = health.repair();
    CHECK_EQUAL(state.resident, 1u);
    CHECK_EQUAL(state.violations, 0u);

    /* One tensor alone: the other is named, and counted. */
    file.evict();
    device.make_resident(file.data() + 32, 10 * page);
    Health second_alone(device, {two_tensors(file)[1]}, {}, ENGINE_RESIDENCY_OFF);
    CHECK_EQUAL(second_alone.repair().resident, 1u);
}

TEST(residency_of_ordinary_memory_is_its_touched_pages) {
    CpuDevice device(1);
    char *block = static_cast<char *>(mmap(nullptr, 8 * page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    CHECK(block != MAP_FAILED);
    madvise(block, 8 * page, MADV_NOHUGEPAGE);
    CHECK_EQUAL(device.resident_bytes(block, 8 * page), 0u);
    block[0] = block[page] = 1;
    CHECK_EQUAL(device.resident_bytes(block, 8 * page), 2 * page);
    CHECK_EQUAL(device.resident_bytes(block + 100, 200), 200u);
    CHECK_EQUAL(device.resident_bytes(block + 3 * page, 10), 0u);
    CHECK_EQUAL(device.resident_bytes(block, 0), 0u);
    device.make_resident(block, 8 * page);
    CHECK_EQUAL(device.resident_bytes(block, 8 * page), 8 * page);
    munmap(block, 8 * page);
}

TEST(what_is_in_memory_is_entered_into_the_page_table_by_all_threads) {
    CpuDevice device(2);
    constexpr size_t many = 1500;
    char path[] = "residency_test_XXXXXX";
    const int file = mkstemp(path);
    CHECK(file >= 0);
    unlink(path);
    const std::vector<char> content(many * page, 'w');
    CHECK_EQUAL(write(file, content.data(), content.size()), static_cast<ssize_t>(content.size()));
    char *data = static_cast<char *>(mmap(nullptr, many * page, PROT_READ, MAP_SHARED, file, 0));
    CHECK(data != MAP_FAILED);
    const auto entered = [&] {
        std::vector<uint64_t> entries(many);
        const int table = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
        const off_t place = static_cast<off_t>(reinterpret_cast<uintptr_t>(data) / page * sizeof(uint64_t));
        CHECK_EQUAL(pread(table, entries.data(), many * sizeof(uint64_t), place), static_cast<ssize_t>(many * sizeof(uint64_t)));
        close(table);
        size_t present = 0;
        for (const uint64_t entry : entries) present += entry >> 63;
        return present;
    };
    CHECK_EQUAL(entered(), size_t{0});
    device.make_resident(data + 7, (many - 1) * page);
    CHECK_EQUAL(entered(), many);
    munmap(data, many * page);
    close(file);
}

TEST(progress_reaches_the_total_and_cancels) {
    CpuDevice device(1);
    const MappedFile file;
    struct Seen {
        uint64_t last = 0;
        int calls = 0;
        int cancel_at = -1;
    } seen;
    const engine_progress callback = [](void *context, uint64_t done, uint64_t total) -> int32_t {
        Seen &state = *static_cast<Seen *>(context);
        CHECK(done >= state.last);
        CHECK_EQUAL(total, 30 * page);
        state.last = done;
        return state.calls++ == state.cancel_at ? 1 : 0;
    };
    Health health(device, two_tensors(file), {}, ENGINE_RESIDENCY_OFF);
    LoadProgress whole(callback, &seen, 30 * page);
    health.bring_in(whole);
    CHECK_EQUAL(seen.last, 30 * page);
    CHECK_EQUAL(seen.calls, 3);

    seen = {0, 0, 1};
    LoadProgress cancelled(callback, &seen, 30 * page);
    CHECK_THROWS(130, "cancelled after", health.bring_in(cancelled));
    CHECK_EQUAL(seen.calls, 2);
}

TEST(reading_beyond_the_end_of_a_cut_file_is_an_error_not_a_signal) {
    CpuDevice device(1);
    const MappedFile file;
    CHECK_EQUAL(ftruncate(file.file(), 5 * page), 0);
    device.make_resident(file.data(), 5 * page);
    CHECK_THROWS(3, "cut", device.make_resident(file.data(), 6 * page));
}

#ifndef __SANITIZE_ADDRESS__ /* which turns munlock, not mlock2, into nothing */
TEST(locked_weights_stay_and_are_let_go_again) {
    CpuDevice device(1);
    const MappedFile file;
    const auto locked_kilobytes = [] {
        std::FILE *status = std::fopen("/proc/self/status", "re");
        char line[256];
        long kilobytes = -1;
        while (std::fgets(line, sizeof line, status) != nullptr) std::sscanf(line, "VmLck: %ld", &kilobytes);
        std::fclose(status);
        return kilobytes;
    };
    const long before = locked_kilobytes();
    {
        /* Within the 64 KiB that the smallest usual limit allows. */
        Health health(device, {two_tensors(file)[0]}, {}, ENGINE_RESIDENCY_LOCKED);
        LoadProgress progress(nullptr, nullptr, 10 * page);
        health.bring_in(progress);
        CHECK(locked_kilobytes() >= before + 10 * 4);
        /* Locked pages cannot be dropped. */
        CHECK(madvise(file.data(), pages * page, MADV_DONTNEED) != 0);
        CHECK_EQUAL(health.check().resident, 1u);
        CHECK_EQUAL(health.check().policy, uint32_t{ENGINE_RESIDENCY_LOCKED});
    }
    CHECK_EQUAL(locked_kilobytes(), before);
}
#endif
