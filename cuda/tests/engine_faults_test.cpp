/*
 * Every allocation failing in turn, with the real forward pass.
 */
#include "allocation_faults.h"
#include "device_memory.h"
#include "harness.h"

TEST(every_device_allocation_failing_gives_out_of_memory_in_the_real_engine) {
    for (const worker::Fault fault : {worker::Fault::Once, worker::Fault::FromThenOn}) {
        TinyModel model;
        engine_error error{};
        int32_t code = -1;
        int failures = 0;
        for (long successes = 0; code != 0 && successes < 1000; ++successes) {
            worker::fail_allocations_after(successes, fault);
            code = live_through(model, ENGINE_LOAD_COPY, error);
            worker::fail_allocations_after(-1, fault);
            if (code == 0) break;
            ++failures;
            CHECK_EQUAL(code, ENGINE_OUT_OF_MEMORY);
            CHECK(std::string(error.message).find("in use: total") != std::string::npos);
        }
        CHECK_EQUAL(code, 0);
        CHECK(failures >= 4); /* health check, weights, cache, workspace */
    }
}

TEST(every_host_allocation_failing_gives_out_of_memory_in_the_real_engine) {
    TinyModel model;
    engine_error error{};
    int32_t code = -1;
    long failures = 0;
    for (long successes = 0; code != 0 && successes < 10000; ++successes) {
        harness::fail_new_after(successes);
        code = live_through(model, ENGINE_LOAD_MAP, error);
        harness::fail_new_after(-1);
        if (code == 0) break;
        ++failures;
        CHECK_EQUAL(code, ENGINE_OUT_OF_MEMORY);
    }
    CHECK_EQUAL(code, 0);
    CHECK(failures > 30);
}
