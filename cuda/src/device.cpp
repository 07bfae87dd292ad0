#include "device.h"

#include "cuda_error.h"
#ifdef WORKER_GPU
#include "gpu/device_gpu.h"
#endif

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
#ifdef WORKER_GPU
    return std::make_unique<gpu::GpuDevice>(ordinal);
#else
    throw CudaError::invalid_device("there is no GPU " + std::to_string(ordinal) +
                                    ": this library was built without GPU support; -1 is the CPU");
#endif
}

uint32_t Device::gpu_count() noexcept {
#ifdef WORKER_GPU
    return gpu::device_count();
#else
    return 0;
#endif
}

} // namespace worker
