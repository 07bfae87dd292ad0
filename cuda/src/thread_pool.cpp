#include "thread_pool.h"

#include "cuda_error.h"

#include <chrono>
#include <cstdio>

#include <sched.h>
#include <signal.h>
#include <unistd.h>

namespace worker {

namespace {

/* Within a forward pass the next run follows in microseconds, and waking a sleeping thread takes longer than that;
 * spinning on would take the core from others. */
constexpr std::chrono::microseconds spin_time{30};

/* True on a thread that is inside a run's work, of whatever pool. */
thread_local bool inside_work = false;

void pause_briefly() noexcept {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    asm volatile("yield");
#endif
}

/* Waits until `value` differs from `old`: spinning for a while, then asleep. Gives the new value. */
uint32_t await_change(const std::atomic<uint32_t> &value, uint32_t old) noexcept {
    const auto deadline = std::chrono::steady_clock::now() + spin_time;
    do {
        for (int turn = 0; turn < 16; ++turn) {
            const uint32_t now = value.load(std::memory_order_acquire);
            if (now != old) return now;
            pause_briefly();
        }
        /* Where there are more threads than cores, the one that is waited for may need this one: without this, a run
         * takes ten times as long then. */
        sched_yield();
    } while (std::chrono::steady_clock::now() < deadline);
    uint32_t now = value.load(std::memory_order_acquire);
    while (now == old) {
        value.wait(old, std::memory_order_acquire);
        now = value.load(std::memory_order_acquire);
    }
    return now;
}

/* Signals are for the host's threads: ours start with all of them blocked. */
class SignalsBlocked {
public:
    SignalsBlocked() noexcept {
        sigset_t all;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &before_);
    }
    ~SignalsBlocked() { pthread_sigmask(SIG_SETMASK, &before_, nullptr); }
    SignalsBlocked(const SignalsBlocked &) = delete;
    SignalsBlocked &operator=(const SignalsBlocked &) = delete;

private:
    sigset_t before_;
};

} // namespace

ThreadPool::ThreadPool(unsigned threads) : process_(getpid()) {
    const unsigned wanted = (threads == 0 ? usable_cores() : threads) - 1;
    workers_.reserve(wanted); /* so that the addresses the threads get stay */
    const SignalsBlocked blocked;
    for (unsigned index = 0; index < wanted; ++index) {
        Worker &worker = workers_.emplace_back(Worker{this, index + 1, {}});
        if (pthread_create(&worker.handle, nullptr, &ThreadPool::enter, &worker) != 0) {
            workers_.pop_back();
            break;
        }
    }
    /* The threads learn their number with the first run, which this object's owner starts later. */
}

ThreadPool::~ThreadPool() {
    if (getpid() != process_) return; /* in a forked child there are no such threads */
    stopping_.store(true, std::memory_order_relaxed);
    round_.fetch_add(1, std::memory_order_release);
    round_.notify_all();
    for (const Worker &worker : workers_) pthread_join(worker.handle, nullptr);
}

void ThreadPool::run(Work work) {
    if (inside_work || workers_.empty()) {
        work(0, 1);
        return;
    }
    if (getpid() != process_) {
        throw CudaError::invalid_device("the device's threads belong to the process that opened it, not to its forked child");
    }
    const std::lock_guard turn(turn_);
    work_ = &work;
    failed_.clear(std::memory_order_relaxed);
    pending_.store(static_cast<uint32_t>(workers_.size()), std::memory_order_relaxed);
    round_.fetch_add(1, std::memory_order_release);
    round_.notify_all();

    take_part(0);

    uint32_t pending = pending_.load(std::memory_order_acquire);
    while (pending != 0) pending = await_change(pending_, pending);
    work_ = nullptr;
    if (failure_) std::rethrow_exception(std::exchange(failure_, nullptr));
}

void *ThreadPool::enter(void *argument) noexcept {
    const Worker &worker = *static_cast<const Worker *>(argument);
    char name[16];
    std::snprintf(name, sizeof name, "worker-cpu-%u", worker.thread % 10000);
    pthread_setname_np(pthread_self(), name);
    worker.pool->work_loop(worker.thread);
    return nullptr;
}

void ThreadPool::work_loop(unsigned thread) noexcept {
    uint32_t round = 0;
    for (;;) {
        round = await_change(round_, round);
        if (stopping_.load(std::memory_order_relaxed)) return;
        take_part(thread);
        if (pending_.fetch_sub(1, std::memory_order_acq_rel) == 1) pending_.notify_one();
    }
}

void ThreadPool::take_part(unsigned thread) noexcept {
    inside_work = true;
    try {
        (*work_)(thread, threads());
    } catch (...) {
        if (!failed_.test_and_set(std::memory_order_relaxed)) failure_ = std::current_exception();
    }
    inside_work = false;
}

} // namespace worker
