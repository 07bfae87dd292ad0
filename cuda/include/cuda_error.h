/*
 * The one exception of the engine. Its name is the seeds'; it speaks for every device.
 */
#ifndef WORKER_CUDA_ERROR_H
#define WORKER_CUDA_ERROR_H

#include <cstdint>
#include <exception>
#include <stdexcept>
#include <string>

namespace worker {

/* A failure with its published code. Copying it never throws and never allocates. */
class CudaError : public std::exception {
public:
    static CudaError invalid_device(const std::string &detail);
    static CudaError out_of_memory(const std::string &detail);
    static CudaError model_load_failed(const std::string &detail);
    static CudaError model_unsupported(const std::string &detail);
    static CudaError inference_failed(const std::string &detail);
    static CudaError invalid_parameter(const std::string &detail);
    static CudaError kernel_launch_failed(const std::string &detail);
    static CudaError vram_residency_failed(const std::string &detail);
    static CudaError device_not_found(const std::string &detail);
    static CudaError cancelled(const std::string &detail);

    int32_t code() const noexcept { return code_; }
    /* "Invalid device: ordinal 3 ..." */
    const char *what() const noexcept override { return text_.what(); }
    /* The same without what the code says already: "ordinal 3 ..." */
    const char *detail() const noexcept { return text_.what() + prefix_length_; }

private:
    CudaError(int32_t code, const char *prefix, const std::string &detail);

    int32_t code_;
    size_t prefix_length_;
    std::runtime_error text_; /* holds the text because its copies share it */
};

} // namespace worker

#endif
