/*
 * Every allocation failing in turn, with a forward pass that only pretends.
 */
#include "allocation_faults.h"
#include "device_memory.h"
#include "harness.h"

TEST(every_device_allocation_failing_gives_out_of_memory) {
    for (const worker::Fault fault : {worker::Fault::Once, worker::Fault::FromThenOn}) {
        for (const uint32_t mode : {ENGINE_LOAD_MAP, ENGINE_LOAD_COPY}) {
            TinyModel model;
            engine_error error{};
            int32_t code = -1;
            int failures = 0;
            for (long successes = 0; code != 0 && successes < 1000; ++successes) {
                worker::fail_allocations_after(successes, fault);
                code = live_through(model, mode, error);
                worker::fail_allocations_after(-1, fault);
                if (code == 0) break;
                ++failures;
                CHECK_EQUAL(code, ENGINE_OUT_OF_MEMORY);
                CHECK(std::string(error.message).find("in use: total") != std::string::npos);
            }
            CHECK_EQUAL(code, 0);
            CHECK(failures >= (mode == ENGINE_LOAD_COPY ? 4 : 3));
        }
    }
}

TEST(every_host_allocation_failing_gives_out_of_memory) {
    for (const uint32_t mode : {ENGINE_LOAD_MAP, ENGINE_LOAD_COPY}) {
        TinyModel model;
        engine_error error{};
        int32_t code = -1;
        long failures = 0;
        for (long successes = 0; code != 0 && successes < 10000; ++successes) {
            harness::fail_new_after(successes);
            code = live_through(model, mode, error);
            harness::fail_new_after(-1);
            if (code == 0) break;
            ++failures;
            CHECK_EQUAL(code, ENGINE_OUT_OF_MEMORY);
        }
        CHECK_EQUAL(code, 0);
        CHECK(failures > 20);
    }
}
