/*
 * Our side of NVML, against a library that stands in for it.
 */
#include "gpu/nvml.h"
#include "harness.h"

#include <cstdlib>

using worker::gpu::process_memory_by_nvml;

namespace {

constexpr const char *bus = "00000000:01:00.0";

/* What it gives, or 0 where it does not tell. */
uint64_t told(const char *choice, const char *which = bus) {
    setenv("FAKE_NVML", choice, 1);
    uint64_t bytes = 0;
    return process_memory_by_nvml(which, &bytes) ? bytes : 0;
}

} // namespace

TEST(only_this_process_is_counted) {
    CHECK_EQUAL(told("alone"), 300u);
    CHECK_EQUAL(told("crowd"), 300u); /* more than were expected: asked again */
}

TEST(the_parts_of_a_divided_device_are_added) { CHECK_EQUAL(told("divided"), 344u); }

TEST(what_nvml_does_not_tell_is_not_made_up) {
    CHECK_EQUAL(told("stranger"), 0u);
    CHECK_EQUAL(told("hidden"), 0u);
    CHECK_EQUAL(told("lost"), 0u);
    CHECK_EQUAL(told("alone", "00000000:02:00.0"), 0u);
}
