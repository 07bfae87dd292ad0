#include "gpu/runtime.h"

#include "cuda_error.h"

namespace worker::gpu {

bool is_sticky(Status status) noexcept {
    switch (status) {
    case Status::UncorrectableMemory:
    case Status::IllegalAddress:
    case Status::LaunchTimeout:
    case Status::Assertion:
    case Status::HardwareStackError:
    case Status::IllegalInstruction:
    case Status::MisalignedAddress:
    case Status::InvalidAddressSpace:
    case Status::InvalidProgramCounter:
    case Status::LaunchFailure:
    case Status::Unknown: return true;
    default: return false;
    }
}

std::string describe(Status status) {
    return std::string(runtime().error_text(status)) + " (" + runtime().error_name(status) + ", " +
           std::to_string(static_cast<int32_t>(status)) + ")";
}

void check(Status status, std::string_view what) {
    if (status == Status::Success) return;
    const std::string detail = std::string(what) + ": " + describe(status);
    switch (status) {
    case Status::MemoryAllocation: throw CudaError::out_of_memory(detail);
    case Status::NoDevice:
    case Status::InsufficientDriver: throw CudaError::device_not_found(detail);
    case Status::InvalidDevice:
    case Status::DevicesUnavailable: throw CudaError::invalid_device(detail);
    case Status::NoKernelImage:
    case Status::LaunchOutOfResources: throw CudaError::kernel_launch_failed(detail);
    default:
        if (is_sticky(status)) {
            throw CudaError::kernel_launch_failed(detail + "; the device runs nothing more in this process");
        }
        throw CudaError::inference_failed(detail);
    }
}

void check_launch(Status status, const char *kernel) {
    if (status == Status::Success) return;
    /* What a launch refuses for its own sake is the launch's failure, whatever the number. */
    if (status == Status::InvalidValue || status == Status::InvalidConfiguration) {
        throw CudaError::kernel_launch_failed(std::string("kernel ") + kernel + ": " + describe(status));
    }
    check(status, std::string("kernel ") + kernel);
}

} // namespace worker::gpu
