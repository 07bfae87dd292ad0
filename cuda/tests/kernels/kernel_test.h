/*
 * What the tests of the GPU's kernels share: they run on the emulated device, and are compared with the CPU's scalar ones.
 */
#ifndef WORKER_TEST_KERNEL_TEST_H
#define WORKER_TEST_KERNEL_TEST_H

#include "cpu/kernels.h"
#include "emulation/emulator.h"
#include "gpu/kernels/kernels.h"
#include "harness.h"
#include "math/random_data.h"

#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

inline const worker::cpu::KernelTable &scalar() { return *worker::cpu::supported_cpu_kernels().front(); }

/* The one that all tests start their kernels on. */
inline worker::gpu::Stream stream() {
    static const worker::gpu::Stream only = [] {
        worker::gpu::Stream made = nullptr;
        worker::gpu::check(worker::gpu::runtime().create_stream(&made), "the tests' stream");
        return made;
    }();
    return only;
}

/* Waits for the kernels started; a misuse of the device is a failure. */
inline void settle() { worker::gpu::check(worker::gpu::runtime().synchronise_stream(stream()), "the kernels under test"); }

/* Runs it twice, with the device's threads in opposite orders; gives its result, which must have the same bits. */
template <typename Action> std::vector<float> in_any_order(const std::string &name, const Action &action) {
    worker::emulation::set_order(worker::emulation::Order::Falling);
    const std::vector<float> falling = action();
    worker::emulation::set_order(worker::emulation::Order::Rising);
    const std::vector<float> rising = action();
    if (falling.size() != rising.size() || std::memcmp(falling.data(), rising.data(), rising.size() * sizeof(float)) != 0)
        harness::fail(__FILE__, __LINE__, name + ": the result depends on the order of the threads");
    return rising;
}

/* Within `tolerance` of the largest magnitude that is expected. */
inline void check_close(const std::string &name, const std::vector<float> &results, const std::vector<float> &expected, float tolerance) {
    float largest = 0.0f;
    for (const float value : expected) largest = std::fmax(largest, std::fabs(value));
    for (size_t i = 0; i < expected.size(); i++)
        if (results.size() != expected.size() || !(std::fabs(results[i] - expected[i]) <= tolerance * largest))
            return harness::fail(__FILE__, __LINE__, name + ": value " + std::to_string(i) + " of " + std::to_string(expected.size()) + " is " +
                                                         std::to_string(results[i]) + ", expected " + std::to_string(expected[i]));
}

inline void check_same(const std::string &name, const std::vector<float> &results, const std::vector<float> &expected) {
    check_close(name, results, expected, 0.0f);
}

#endif
