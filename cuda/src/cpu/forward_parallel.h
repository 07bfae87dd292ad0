/*
 * Work in numbered tasks over the pool's threads, given up when the caller cancels.
 */
#ifndef WORKER_FORWARD_PARALLEL_H
#define WORKER_FORWARD_PARALLEL_H

#include <atomic>
#include <cstdint>
#include <vector>

#include "cuda_error.h"
#include "thread_pool.h"

namespace worker::cpu {

class Parallel {
public:
    explicit Parallel(ThreadPool &pool) : pool_(pool), lines_(pool.threads()) {}

    unsigned threads() const noexcept { return pool_.threads(); }
    /* May be null; must live until the next call. */
    void watch(const uint32_t *cancel) noexcept { cancel_ = cancel; }

    bool cancelled() const noexcept { return cancel_ != nullptr && __atomic_load_n(cancel_, __ATOMIC_ACQUIRE) != 0; }
    void stop_if_cancelled() const {
        if (cancelled()) throw CudaError::cancelled("the forward pass was cancelled");
    }

    /* Calls task(thread, number) once for each number below `count`, in no order: threads take the next as they get free.
     * Checks for cancelling between tasks, so a task should take a few milliseconds at most. `work` is about how many
     * multiplications they are together: what takes microseconds is not worth waking threads for, least of all where other
     * programs want the cores. */
    template <typename Task> void run(uint64_t count, uint64_t work, const Task &task) {
        if (count <= 1 || pool_.threads() == 1 || work < worth_sharing) {
            for (uint64_t number = 0; number < count && !cancelled(); number++) task(0u, number);
        } else {
            std::atomic<uint64_t> next{0};
            pool_.run([&](unsigned thread, unsigned) {
                for (;;) {
                    const uint64_t number = next.fetch_add(1, std::memory_order_relaxed);
                    if (number >= count || cancelled()) return;
                    task(thread, number);
                }
            });
        }
        stop_if_cancelled();
    }

    /* The same, but each thread has a line of tasks that follow each other, and helps with the others' when that is done: for
     * what is read from memory in the tasks' order, which the CPU then fetches ahead from one task to the next. */
    template <typename Task> void run_lines(uint64_t count, uint64_t work, const Task &task) {
        const unsigned threads = pool_.threads();
        if (count <= 1 || threads == 1 || work < worth_sharing) return run(count, work, task);
        for (unsigned i = 0; i < threads; i++) {
            lines_[i].next.store(count * i / threads, std::memory_order_relaxed);
            lines_[i].end = count * (i + 1) / threads;
        }
        pool_.run([&](unsigned thread, unsigned) {
            for (unsigned i = 0; i < threads; i++) {
                Line &line = lines_[(thread + i) % threads];
                for (;;) {
                    const uint64_t number = line.next.fetch_add(1, std::memory_order_relaxed);
                    if (number >= line.end) break;
                    if (cancelled()) return;
                    task(thread, number);
                }
            }
        });
        stop_if_cancelled();
    }

    /* The same for cheap tasks on rows, of row_work each: several to a turn, and on the caller alone where there are few. */
    template <typename Task> void run_rows(uint64_t count, uint64_t row_work, const Task &task) {
        constexpr uint64_t at_once = 8;
        if (count <= at_once / 2) {
            for (uint64_t row = 0; row < count; row++) task(0u, row);
            return;
        }
        run((count + at_once - 1) / at_once, count * row_work, [&](unsigned thread, uint64_t number) {
            for (uint64_t row = number * at_once; row < count && row < (number + 1) * at_once; row++) task(thread, row);
        });
    }

private:
    static constexpr uint64_t worth_sharing = 256 * 1024;

    /* Threads write to their own, so that each has its own cache line. */
    struct alignas(64) Line {
        std::atomic<uint64_t> next{0};
        uint64_t end = 0;
    };

    ThreadPool &pool_;
    std::vector<Line> lines_;
    const uint32_t *cancel_ = nullptr;
};

} // namespace worker::cpu

#endif
