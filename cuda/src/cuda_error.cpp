#include "cuda_error.h"

#include "engine.h"

#include <cstring>

namespace worker {

CudaError::CudaError(int32_t code, const char *prefix, const std::string &detail)
    : code_(code), prefix_length_(std::strlen(prefix)), text_(prefix + detail) {}

CudaError CudaError::invalid_device(const std::string &detail) {
    return {ENGINE_INVALID_DEVICE, "Invalid device: ", detail};
}
CudaError CudaError::out_of_memory(const std::string &detail) {
    return {ENGINE_OUT_OF_MEMORY, "Out of memory: ", detail};
}
CudaError CudaError::model_load_failed(const std::string &detail) {
    return {ENGINE_MODEL_LOAD_FAILED, "Model load failed: ", detail};
}
CudaError CudaError::model_unsupported(const std::string &detail) {
    return {ENGINE_MODEL_UNSUPPORTED, "Model unsupported: ", detail};
}
CudaError CudaError::inference_failed(const std::string &detail) {
    return {ENGINE_INFERENCE_FAILED, "Inference failed: ", detail};
}
CudaError CudaError::invalid_parameter(const std::string &detail) {
    return {ENGINE_INVALID_PARAMETER, "Invalid parameter: ", detail};
}
CudaError CudaError::kernel_launch_failed(const std::string &detail) {
    return {ENGINE_KERNEL_LAUNCH_FAILED, "Kernel launch failed: ", detail};
}
CudaError CudaError::vram_residency_failed(const std::string &detail) {
    return {ENGINE_RESIDENCY_FAILED, "VRAM residency failed: ", detail};
}
CudaError CudaError::device_not_found(const std::string &detail) {
    return {ENGINE_INVALID_DEVICE, "Device not found: ", detail};
}
CudaError CudaError::cancelled(const std::string &detail) {
    return {ENGINE_CANCELLED, "Cancelled: ", detail};
}

} // namespace worker
