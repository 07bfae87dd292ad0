#include "device.h"

#include "cuda_error.h"

#include <string>

namespace worker {

std::unique_ptr<Device> Device::open(int32_t ordinal, uint32_t threads) {
    constexpr uint32_t most_threads = 1024;
    if (ordinal == -1) {
        if (threads > most_threads) {
            throw CudaError::invalid_parameter(std::to_string(threads) + " threads were asked for; at most " +
                                               std::to_string(most_threads) + " are possible, and 0 chooses");
        }
        return std::make_unique<CpuDevice>(threads);
    }
    if (ordinal < -1) {
        throw CudaError::invalid_device("there is no device " + std::to_string(ordinal) + "; -1 is the CPU, 0 and up are GPUs");
    }
    const uint32_t gpus = gpu_count();
    throw CudaError::invalid_device("there is no GPU " + std::to_string(ordinal) + ": this library found " + std::to_string(gpus) +
                                    " GPUs here; -1 is the CPU");
}

/* This build has no GPU device. */
uint32_t Device::gpu_count() noexcept { return 0; }

} // namespace worker
