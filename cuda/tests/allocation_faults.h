/*
 * The life of a model with an allocation failing: shared by the tests with the real forward pass and those without.
 */
#ifndef WORKER_TEST_ALLOCATION_FAULTS_H
#define WORKER_TEST_ALLOCATION_FAULTS_H

#include "device_memory.h"
#include "engine.h"
#include "harness.h"
#include "tiny_model.h"

#include <array>
#include <cstdint>
#include <string>
#include <vector>

/* Opens a device, loads, makes a cache, runs a batch, and closes it all. Gives the first failure's code, or 0. */
inline int32_t live_through(TinyModel &model, uint32_t mode, engine_error &error, int32_t ordinal = -1) {
    engine_device *device = nullptr;
    engine_model *loaded = nullptr;
    engine_cache *cache = nullptr;
    const std::array<engine_row, 3> rows{{{1, 0, 0, ENGINE_ROLE_PROMPT, ENGINE_OUTPUT_NONE},
                                          {2, 1, 0, ENGINE_ROLE_PROMPT, ENGINE_OUTPUT_HIDDEN},
                                          {3, 2, 0, ENGINE_ROLE_DECODE, ENGINE_OUTPUT_LOGITS}}};
    static std::array<float, 48 + 32> outputs;
    const std::array<uint32_t, 1> table{1};
    const uint32_t *const tables[] = {table.data()};
    const uint32_t counts[] = {1};
    const engine_batch batch{rows.data(), rows.size(), tables, counts, 1, nullptr, outputs.data(), outputs.size(), nullptr, nullptr, 0};

    engine_load load = model.load;
    load.mode = mode;
    int32_t code = engine_device_open(ordinal, 2, &device, &error);
    if (code == 0) code = engine_device_check_health(device, &error);
    if (code == 0) code = engine_model_load(device, &load, &loaded, &error);
    if (code == 0) code = engine_cache_create(loaded, 4, ENGINE_KV_F16, &cache, &error);
    if (code == 0) code = engine_forward(loaded, cache, &batch, &error);
    engine_residency residency{};
    if (code == 0) code = engine_model_check_residency(loaded, &residency, &error);
    engine_cache_free(cache);
    engine_model_unload(loaded);
    if (device != nullptr) {
        /* Nothing may be left of what failed. */
        engine_memory memory{};
        engine_device_memory(device, &memory);
        if (memory.allocations != 0) code = -1;
    }
    engine_device_close(device);
    return code;
}

#if defined(WORKER_TEST_FAULTS)

/* Every device allocation in turn, once and from then on; `least` allocations are known of. */
inline void fail_device_allocations(uint32_t mode, int least) {
    for (const worker::Fault fault : {worker::Fault::Once, worker::Fault::FromThenOn}) {
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
        CHECK(failures >= least);
    }
}

/* Every allocation of the host's in turn; more than `known` are known of. */
inline void fail_host_allocations(uint32_t mode, long known) {
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
    CHECK(failures > known);
}

#endif

#endif
