#include "cpu/forward_parallel.h"

#include "harness.h"

#include <atomic>
#include <cstdint>
#include <thread>
#include <vector>

using namespace worker;
using worker::cpu::Parallel;

namespace {

constexpr uint64_t much_work = uint64_t{1} << 30;

} // namespace

TEST(parallel_runs_each_task_once) {
    for (const unsigned threads : {1u, 2u, 3u, 8u}) {
        ThreadPool pool(threads);
        Parallel parallel(pool);
        for (const uint64_t count : {0u, 1u, 2u, 7u, 64u, 1000u})
            for (const bool lines : {false, true}) {
                std::vector<std::atomic<int>> runs(count);
                const auto task = [&](unsigned thread, uint64_t number) {
                    CHECK(thread < threads);
                    runs[number]++;
                };
                lines ? parallel.run_lines(count, much_work, task) : parallel.run(count, much_work, task);
                for (const std::atomic<int> &times : runs) CHECK_EQUAL(times.load(), 1);
            }
    }
}

TEST(parallel_lines_are_finished_by_whoever_is_free) {
    ThreadPool pool(2);
    Parallel parallel(pool);
    constexpr uint64_t count = 100;
    std::atomic<uint64_t> done{0};
    std::atomic<bool> held{false};
    parallel.run_lines(count, much_work, [&](unsigned, uint64_t) {
        /* Whoever comes first stays until the other has done all the rest, of both lines. */
        if (!held.exchange(true))
            while (done.load() < count - 1) std::this_thread::yield();
        done++;
    });
    CHECK_EQUAL(done.load(), count);
}

TEST(parallel_stops_between_tasks_when_cancelled) {
    ThreadPool pool(2);
    Parallel parallel(pool);
    uint32_t cancel = 0;
    parallel.watch(&cancel);
    std::atomic<uint64_t> done{0};
    const auto task = [&](unsigned, uint64_t) {
        done++;
        __atomic_store_n(&cancel, 1u, __ATOMIC_RELEASE);
    };
    CHECK_THROWS(130, "the forward pass was cancelled", parallel.run_lines(1000, much_work, task));
    CHECK(done.load() >= 1 && done.load() <= 4);
}
