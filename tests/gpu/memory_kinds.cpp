/*
 * The one thing that only a real card can show: that memory which is managed, or the host's, is told from the device's own
 * by the engine's check. A few kilobytes of each. Linked with the engine as it was built for GPUs.
 *
 *     memory_kinds DEVICE     prints a JSON object; ends with 0 when all was told apart, 3 where there is no GPU
 */
#include "cuda_error.h"
#include "device_memory.h"
#include "gpu/device_gpu.h"
#include "health.h"

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include <cuda_runtime.h>

using namespace worker;
using gpu::GpuDevice;

namespace {

constexpr size_t bytes = 16384;

bool told_as(GpuDevice &device, const char *what, const void *address, bool resident) {
    const bool found = device.resident_bytes(address, bytes) == bytes;
    std::fprintf(stderr, "%s: %s\n", what, found ? "resident" : "not resident");
    return found == resident;
}

int check(int32_t ordinal) {
    GpuDevice device(ordinal);
    const auto active = device.activate();
    const DeviceMemory plain(device, bytes, {VramPurpose::ModelWeights, "plain", 7});
    bool right = told_as(device, "cudaMalloc", plain.get(), true);

    void *managed = nullptr;
    if (cudaMallocManaged(&managed, bytes) != cudaSuccess) return 2;
    right &= told_as(device, "cudaMallocManaged", managed, false);
    cudaFree(managed);

    void *mapped = nullptr;
    void *seen = nullptr;
    if (cudaHostAlloc(&mapped, bytes, cudaHostAllocMapped) != cudaSuccess || cudaHostGetDevicePointer(&seen, mapped, 0) != cudaSuccess) return 2;
    right &= told_as(device, "cudaHostAlloc, the host's address", mapped, false);
    right &= told_as(device, "cudaHostAlloc, the device's address", seen, false);
    cudaFreeHost(mapped);

    std::vector<char> ordinary(bytes);
    right &= told_as(device, "malloc", ordinary.data(), false);

    /* A model of a thousand tensors. */
    const Health health(device, std::vector<WeightRange>(1000, WeightRange{"tensor", plain.get(), 16}), {}, ENGINE_RESIDENCY_VERIFY, 7);
    constexpr int checks = 100;
    const auto begin = std::chrono::steady_clock::now();
    for (int index = 0; index < checks; ++index) right &= health.check().resident == 1;
    const double microseconds = std::chrono::duration<double, std::micro>(std::chrono::steady_clock::now() - begin).count() / checks;

    device.check_health();
    const Device::ProcessUsage usage = device.process_usage();
    std::printf("{\"right\": %s, \"check_microseconds\": %.2f, \"process_bytes\": %llu, \"process_source\": \"%s\"}\n",
                right ? "true" : "false", microseconds, static_cast<unsigned long long>(usage.bytes),
                usage.source == ENGINE_MEMORY_NVML ? "nvml" : "ledger");
    return right ? 0 : 1;
}

} // namespace

int main(int argc, char **argv) {
    try {
        return check(argc > 1 ? std::atoi(argv[1]) : 0);
    } catch (const CudaError &error) {
        std::fprintf(stderr, "%s\n", error.what());
        return error.code() == ENGINE_INVALID_DEVICE ? 3 : 1;
    }
}
