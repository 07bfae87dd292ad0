#include "thread_pool.h"

#include "harness.h"

#include <array>
#include <atomic>
#include <chrono>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <signal.h>
#include <sys/resource.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace worker;

TEST(pool_calls_every_thread_once) {
    for (const unsigned threads : {1u, 2u, 5u}) {
        ThreadPool pool(threads);
        CHECK_EQUAL(pool.threads(), threads);
        for (int round = 0; round < 300; ++round) {
            std::array<int, 5> calls{}; /* plain ints: the end of run orders them */
            pool.run([&](unsigned thread, unsigned count) {
                CHECK_EQUAL(count, threads);
                ++calls[thread];
            });
            for (unsigned thread = 0; thread < 5; ++thread) CHECK_EQUAL(calls[thread], thread < threads ? 1 : 0);
        }
    }
}

TEST(pool_runs_the_caller_as_thread_0) {
    ThreadPool pool(3);
    std::array<std::thread::id, 3> who;
    pool.run([&](unsigned thread, unsigned) { who[thread] = std::this_thread::get_id(); });
    CHECK(who[0] == std::this_thread::get_id());
    CHECK_EQUAL(std::set<std::thread::id>(who.begin(), who.end()).size(), 3u);
}

TEST(pool_ranges_cover_everything_once) {
    ThreadPool pool(3);
    for (const uint64_t count : {0u, 1u, 2u, 3u, 7u, 64u, 1000u}) {
        for (const uint64_t grain : {1u, 4u, 32u}) {
            std::vector<std::atomic<int>> seen(count);
            pool.run_ranges(count, grain, [&](uint64_t begin, uint64_t end) {
                CHECK_EQUAL(begin % grain, 0u);
                CHECK(end == count || end % grain == 0);
                for (uint64_t index = begin; index < end; ++index) seen[index].fetch_add(1);
            });
            for (const auto &times : seen) CHECK_EQUAL(times.load(), 1);
        }
    }
}

TEST(pool_carries_an_exception_to_the_caller_and_works_on) {
    ThreadPool pool(4);
    for (int failing = 0; failing < 4; ++failing) {
        std::atomic<int> finished{0};
        std::string caught;
        try {
            pool.run([&](unsigned thread, unsigned) {
                if (static_cast<int>(thread) == failing) throw std::runtime_error("thread " + std::to_string(thread));
                finished.fetch_add(1);
            });
        } catch (const std::runtime_error &error) {
            caught = error.what();
        }
        CHECK_EQUAL(caught, "thread " + std::to_string(failing));
        CHECK_EQUAL(finished.load(), 3);
    }
    bool threw = false;
    try {
        pool.run([](unsigned, unsigned) { throw 7; });
    } catch (int value) {
        threw = value == 7;
    }
    CHECK(threw);
    std::atomic<int> ran{0};
    pool.run([&](unsigned, unsigned) { ran.fetch_add(1); });
    CHECK_EQUAL(ran.load(), 4);
}

TEST(pool_lets_several_callers_take_turns) {
    ThreadPool pool(2);
    std::vector<std::thread> callers;
    std::atomic<int> inside{0};
    std::atomic<int> total{0};
    for (int caller = 0; caller < 4; ++caller) {
        callers.emplace_back([&] {
            for (int round = 0; round < 200; ++round) {
                pool.run([&](unsigned, unsigned) {
                    CHECK(inside.fetch_add(1) < 2);
                    total.fetch_add(1);
                    inside.fetch_sub(1);
                });
            }
        });
    }
    for (std::thread &caller : callers) caller.join();
    CHECK_EQUAL(total.load(), 4 * 200 * 2);
}

TEST(pool_runs_a_nested_call_alone) {
    ThreadPool pool(3);
    std::atomic<int> nested{0};
    pool.run([&](unsigned, unsigned) {
        pool.run([&](unsigned thread, unsigned threads) {
            CHECK_EQUAL(thread, 0u);
            CHECK_EQUAL(threads, 1u);
            nested.fetch_add(1);
        });
    });
    CHECK_EQUAL(nested.load(), 3);
}

TEST(pool_sleeps_when_idle_and_wakes_again) {
    ThreadPool pool(4);
    pool.run([](unsigned, unsigned) {});
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    const auto cpu_seconds = [] {
        struct rusage usage{};
        getrusage(RUSAGE_SELF, &usage);
        return static_cast<double>(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
               static_cast<double>(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1e-6;
    };
    const double before = cpu_seconds();
    std::this_thread::sleep_for(std::chrono::milliseconds(300));
    CHECK(cpu_seconds() - before < 0.02);
    std::atomic<int> ran{0};
    pool.run([&](unsigned, unsigned) { ran.fetch_add(1); });
    CHECK_EQUAL(ran.load(), 4);
}

TEST(pool_threads_leave_signals_to_the_host) {
    ThreadPool pool(2);
    sigset_t caller;
    sigset_t other;
    pool.run([&](unsigned thread, unsigned) { pthread_sigmask(SIG_BLOCK, nullptr, thread == 0 ? &caller : &other); });
    CHECK_EQUAL(sigismember(&other, SIGINT), 1);
    CHECK_EQUAL(sigismember(&caller, SIGINT), 0);
}

TEST(pool_counts_the_cores_it_may_use) {
    cpu_set_t mask;
    CHECK_EQUAL(sched_getaffinity(0, sizeof mask, &mask), 0);
    CHECK(usable_cores() >= 1);
    CHECK(usable_cores() <= static_cast<unsigned>(CPU_COUNT(&mask)));
    unsigned found = 0;
    std::thread([&] {
        cpu_set_t one;
        CPU_ZERO(&one);
        for (int core = 0; core < CPU_SETSIZE; ++core) {
            if (!CPU_ISSET(core, &mask)) continue;
            CPU_SET(core, &one);
            break;
        }
        CHECK_EQUAL(sched_setaffinity(0, sizeof one, &one), 0);
        found = usable_cores();
    }).join();
    CHECK_EQUAL(found, 1u);
}

#ifndef __SANITIZE_THREAD__ /* which does not follow threads over fork */
TEST(pool_in_a_forked_child_refuses_instead_of_waiting_for_ever) {
    ThreadPool pool(2);
    pool.run([](unsigned, unsigned) {});
    const pid_t child = fork();
    if (child == 0) {
        alarm(5);
        int result = 1;
        {
            try {
                pool.run([](unsigned, unsigned) {});
            } catch (const CudaError &error) {
                result = error.code() == 1 ? 0 : 2;
            }
            pool.~ThreadPool();
        }
        _exit(result);
    }
    int status = -1;
    CHECK_EQUAL(waitpid(child, &status, 0), child);
    CHECK_EQUAL(status, 0);
    std::atomic<int> ran{0};
    pool.run([&](unsigned, unsigned) { ran.fetch_add(1); });
    CHECK_EQUAL(ran.load(), 2);
}

#ifndef __SANITIZE_ADDRESS__ /* whose shadow memory needs more than the limit */
TEST(pool_makes_do_with_fewer_threads_than_asked_for) {
    /* A limit on address space leaves no room for a hundred stacks. In a child, to keep the limit there. */
    const pid_t child = fork();
    if (child == 0) {
        alarm(20);
        const struct rlimit limit{uint64_t{300} << 20, uint64_t{300} << 20};
        if (setrlimit(RLIMIT_AS, &limit) != 0) _exit(3);
        ThreadPool pool(100);
        std::atomic<unsigned> ran{0};
        pool.run([&](unsigned, unsigned) { ran.fetch_add(1); });
        _exit(pool.threads() < 100 && ran.load() == pool.threads() ? 0 : 1);
    }
    int status = -1;
    CHECK_EQUAL(waitpid(child, &status, 0), child);
    CHECK_EQUAL(status, 0);
}
#endif
#endif
