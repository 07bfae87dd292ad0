/*
 * Every allocation failing in turn, with the real forward pass.
 */
#include "allocation_faults.h"

TEST(every_device_allocation_failing_gives_out_of_memory_in_the_real_engine) {
    fail_device_allocations(ENGINE_LOAD_COPY, 4); /* health check, weights, cache, workspace */
}

TEST(every_host_allocation_failing_gives_out_of_memory_in_the_real_engine) { fail_host_allocations(ENGINE_LOAD_MAP, 30); }
