/*
 * Every allocation failing in turn, with a forward pass that only pretends.
 */
#include "allocation_faults.h"

TEST(every_device_allocation_failing_gives_out_of_memory) {
    fail_device_allocations(ENGINE_LOAD_MAP, 3);
    fail_device_allocations(ENGINE_LOAD_COPY, 4);
}

TEST(every_host_allocation_failing_gives_out_of_memory) {
    fail_host_allocations(ENGINE_LOAD_MAP, 20);
    fail_host_allocations(ENGINE_LOAD_COPY, 20);
}
