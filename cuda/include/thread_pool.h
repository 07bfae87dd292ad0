/*
 * Threads that wake fast and use no CPU while there is nothing to do.
 */
#ifndef WORKER_THREAD_POOL_H
#define WORKER_THREAD_POOL_H

#include <atomic>
#include <cstdint>
#include <exception>
#include <mutex>
#include <type_traits>
#include <utility>
#include <vector>

#include <pthread.h>
#include <sys/types.h>

namespace worker {

/* A reference to a callable; the callable must outlive the call. */
template <typename Signature> class FunctionRef;
template <typename Result, typename... Arguments> class FunctionRef<Result(Arguments...)> {
public:
    template <typename Callable>
        requires(!std::is_same_v<std::remove_cvref_t<Callable>, FunctionRef> &&
                 std::is_invocable_r_v<Result, Callable &, Arguments...>)
    FunctionRef(Callable &&callable) noexcept
        : object_(const_cast<void *>(static_cast<const void *>(&callable))), call_([](void *object, Arguments... arguments) -> Result {
              return (*static_cast<std::remove_reference_t<Callable> *>(object))(arguments...);
          }) {}

    Result operator()(Arguments... arguments) const { return call_(object_, arguments...); }

private:
    void *object_;
    Result (*call_)(void *, Arguments...);
};

/* The cores this process may use: its affinity mask, or the cgroup's CPU quota where that is less; at least 1. */
unsigned usable_cores() noexcept;

class ThreadPool {
public:
    using Work = FunctionRef<void(unsigned thread, unsigned threads)>;

    /* `threads` counts the caller's; 0 chooses usable_cores(). Where the system refuses some threads, the pool has
     * fewer: results never depend on the number. */
    explicit ThreadPool(unsigned threads);
    ~ThreadPool();
    ThreadPool(const ThreadPool &) = delete;
    ThreadPool &operator=(const ThreadPool &) = delete;

    unsigned threads() const noexcept { return static_cast<unsigned>(workers_.size()) + 1; }

    /* Calls work(thread, threads) once for each thread in [0, threads), thread 0 on the caller, and returns when all
     * have returned. The first exception is carried to the caller. Calls from several threads take turns; a call from
     * inside `work` runs on the calling thread alone, as thread 0 of 1. */
    void run(Work work);

    /* Splits [0, count) into runs of at least `grain` (but the last), evenly, one per thread; for ranges that need no balance. */
    template <typename Work> void run_ranges(uint64_t count, uint64_t grain, Work &&work) {
        run([&](unsigned thread, unsigned threads) {
            const uint64_t units = grain > 1 ? (count + grain - 1) / grain : count;
            const auto bound = [&](uint64_t part) {
                const uint64_t unit = units * part / threads;
                return grain > 1 ? (unit * grain < count ? unit * grain : count) : unit;
            };
            const uint64_t begin = bound(thread);
            const uint64_t end = bound(thread + 1);
            if (begin < end) work(begin, end);
        });
    }

private:
    struct Worker {
        ThreadPool *pool;
        unsigned thread; /* from 1 */
        pthread_t handle;
    };

    static void *enter(void *worker) noexcept;
    void work_loop(unsigned thread) noexcept;
    void take_part(unsigned thread) noexcept;

    std::mutex turn_;            /* one run at a time */
    const Work *work_ = nullptr; /* published by round_ */
    std::exception_ptr failure_; /* by whoever sets failed_ */
    std::atomic_flag failed_;
    std::vector<Worker> workers_; /* set before the first run, then constant */
    pid_t process_;               /* threads do not survive fork */
    std::atomic<bool> stopping_{false};
    alignas(64) std::atomic<uint32_t> round_{0};   /* rises by one per run */
    alignas(64) std::atomic<uint32_t> pending_{0}; /* workers still in the present run */
};

} // namespace worker

#endif
