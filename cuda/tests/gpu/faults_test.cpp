/*
 * A model's whole life on an emulated GPU with every call of the runtime failing in turn: each failure is an error with a
 * code, nothing is left behind, and the next life is a good one.
 */
#include "allocation_faults.h"
#include "emulated_machine.h"

#include <string>

using namespace worker;
using emulation::Lasting;
using gpu::Status;

namespace {

constexpr int32_t gpu_0 = 0;

/* Lives with the n-th of these calls failing, for every n until none fails any more. Gives how many did. */
template <typename Check> int fail_each(const char *call, Status status, Lasting lasting, Check &&check) {
    TinyModel model;
    for (int successes = 0; successes < 5000; ++successes) {
        const EmulatedMachine emulated;
        engine_error error{};
        emulation::fail(call, successes, status, lasting);
        const int32_t code = live_through(model, ENGINE_LOAD_MAP, error, gpu_0);
        if (!emulation::fault_was_met()) {
            CHECK_EQUAL(code, 0);
            return successes;
        }
        check(code, std::string(error.message));
        emulation::reset(); /* as in a new process, where the fault was one that stays */
        emulated.check_nothing_left();
        CHECK_EQUAL(live_through(model, ENGINE_LOAD_MAP, error, gpu_0), 0);
    }
    CHECK(!"the fault is met for ever");
    return 0;
}

} // namespace

TEST(a_life_on_a_gpu_leaves_nothing_there) {
    const EmulatedMachine emulated;
    TinyModel model;
    engine_error error{};
    for (const uint32_t mode : {ENGINE_LOAD_MAP, ENGINE_LOAD_COPY}) {
        CHECK_EQUAL(live_through(model, mode, error, gpu_0), 0);
        CHECK_EQUAL(std::string(error.message), "");
        emulated.check_nothing_left();
    }
    CHECK(emulation::census().launches > 10);
}

TEST(every_request_for_memory_failing_gives_out_of_memory) {
    for (const Lasting lasting : {Lasting::Once, Lasting::FromThenOn}) {
        const int failures = fail_each("memory", Status::MemoryAllocation, lasting, [](int32_t code, const std::string &message) {
            CHECK_EQUAL(code, ENGINE_OUT_OF_MEMORY);
            CHECK(message.find("bytes") != std::string::npos);
        });
        CHECK(failures >= 4); /* staging, twice, and slabs */
    }
}

TEST(every_call_failing_once_gives_an_error_or_does_not_matter) {
    int errors = 0;
    const int failures = fail_each("any", Status::InvalidValue, Lasting::Once, [&](int32_t code, const std::string &message) {
        CHECK(code >= 0);
        if (code != 0) ++errors;
        CHECK((code == 0) == message.empty());
    });
    CHECK(failures > 50);
    CHECK(errors > 30);
}

TEST(every_call_meeting_a_fault_that_stays_gives_an_error) {
    for (const Status status : {Status::IllegalAddress, Status::Unknown}) {
        const int failures = fail_each("any", status, Lasting::FromThenOn, [&](int32_t code, const std::string &message) {
            /* A device that is lost while it is given back harms nobody. */
            if (code == 0) return;
            CHECK(code == ENGINE_KERNEL_LAUNCH_FAILED || code == ENGINE_RESIDENCY_FAILED);
            CHECK(!message.empty());
        });
        CHECK(failures > 50);
    }
}

TEST(every_kernel_that_cannot_start_gives_kernel_launch_failed) {
    const int failures = fail_each("launch", Status::NoKernelImage, Lasting::Once, [&](int32_t code, const std::string &message) {
        CHECK_EQUAL(code, ENGINE_KERNEL_LAUNCH_FAILED);
        CHECK(message.find("kernel ") != std::string::npos);
    });
    CHECK(failures > 10);
}

TEST(every_host_allocation_failing_on_a_gpu_gives_out_of_memory) {
    TinyModel model;
    engine_error error{};
    int32_t code = -1;
    long failures = 0;
    for (long successes = 0; successes < 20000; ++successes) {
        const EmulatedMachine emulated;
        harness::fail_new_after(successes);
        code = live_through(model, ENGINE_LOAD_MAP, error, gpu_0);
        harness::fail_new_after(-1);
        if (code == 0) break;
        /* The emulation's own allocations fail as well; a kernel that could not be emulated is one that failed. */
        if (std::string(error.message).find("the emulation failed: std::bad_alloc") != std::string::npos) continue;
        ++failures;
        CHECK_EQUAL(code, ENGINE_OUT_OF_MEMORY);
    }
    CHECK_EQUAL(code, 0);
    CHECK(failures > 30);
}
