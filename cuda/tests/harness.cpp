#include "harness.h"

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <new>
#include <vector>

namespace harness {

namespace {

struct Case {
    const char *name;
    Body body;
};

std::vector<Case> &cases() {
    static std::vector<Case> all;
    return all;
}

std::atomic<int> failures{0};
std::atomic<long> new_successes_left{-1};

} // namespace

Registration::Registration(const char *name, Body body) { cases().push_back({name, body}); }

void fail(const char *file, int line, const std::string &what) {
    failures.fetch_add(1);
    std::fprintf(stderr, "%s:%d: %s\n", file, line, what.c_str());
}

void fail_new_after(long successes) noexcept { new_successes_left.store(successes); }

static void *allocate(std::size_t bytes, std::size_t alignment) {
    const long left = new_successes_left.load(std::memory_order_relaxed);
    if (left == 0) {
        new_successes_left.store(-1);
        throw std::bad_alloc();
    }
    if (left > 0) new_successes_left.store(left - 1, std::memory_order_relaxed);
    void *address = nullptr;
    if (posix_memalign(&address, alignment < sizeof(void *) ? sizeof(void *) : alignment, bytes == 0 ? 1 : bytes) != 0) throw std::bad_alloc();
    return address;
}

} // namespace harness

#ifndef HARNESS_KEEPS_NEW
void *operator new(std::size_t bytes) { return harness::allocate(bytes, __STDCPP_DEFAULT_NEW_ALIGNMENT__); }
void *operator new(std::size_t bytes, std::align_val_t alignment) {
    return harness::allocate(bytes, static_cast<std::size_t>(alignment));
}
void operator delete(void *address) noexcept { std::free(address); }
void operator delete(void *address, std::size_t) noexcept { std::free(address); }
void operator delete(void *address, std::align_val_t) noexcept { std::free(address); }
void operator delete(void *address, std::size_t, std::align_val_t) noexcept { std::free(address); }
#endif

/* With arguments, only the tests whose name contains one of them. */
int main(int count, char **arguments) {
    int ran = 0;
    for (const harness::Case &test : harness::cases()) {
        if (count > 1 && std::none_of(arguments + 1, arguments + count, [&](const char *part) { return std::strstr(test.name, part) != nullptr; })) continue;
        ++ran;
        const int before = harness::failures.load();
        try {
            test.body();
        } catch (const std::exception &error) {
            harness::fail(test.name, 0, std::string("threw ") + error.what());
        } catch (...) {
            harness::fail(test.name, 0, "threw something");
        }
        std::printf("%s %s\n", harness::failures.load() == before ? "ok    " : "FAILED", test.name);
        std::fflush(stdout); /* some take minutes where the CPU is emulated */
    }
    std::printf("%d tests, %d failures\n", ran, harness::failures.load());
    return ran > 0 && harness::failures.load() == 0 ? 0 : 1;
}
