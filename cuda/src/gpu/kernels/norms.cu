/*
 * Norms of rows. Sums go in double precision, so that their order leaves no trace in a float.
 */
#include "device_code.h"
#include "kernels.h"

namespace worker::gpu {

namespace {

struct RowPlace {
    const float *input;
    float *output;
};

__device__ __forceinline__ RowPlace place_of(const NormTask &task) {
    const uint64_t row = task.chosen != nullptr ? task.chosen[blockIdx.x] : blockIdx.x;
    return {task.input + row * task.input_stride, task.output + blockIdx.x * task.output_stride};
}

__global__ void rms_norm_kernel(NormTask task) {
    const RowPlace place = place_of(task);
    double squares = 0.0;
    for (uint32_t i = threadIdx.x; i < task.width; i += blockDim.x) squares += static_cast<double>(place.input[i] * place.input[i]);
    squares = sum_of_block(squares);
    const float mean = static_cast<float>(squares / static_cast<double>(task.width));
    const float scale = 1.0f / sqrtf(mean + task.epsilon);
    for (uint32_t i = threadIdx.x; i < task.width; i += blockDim.x) place.output[i] = place.input[i] * scale * task.weight[i];
}

/* The sum of sixteen squared differences in single precision, by the tree of sum_of_half(), as the reference engine has it. */
__device__ __forceinline__ float squares_of_sixteen(const float *values, float mean) {
    float squares[16];
    UNROLL
    for (unsigned i = 0; i < 16; i++) squares[i] = (values[i] - mean) * (values[i] - mean);
    return sum_of_sixteen(squares);
}

__global__ void layer_norm_kernel(NormTask task) {
    const RowPlace place = place_of(task);
    double total = 0.0;
    for (uint32_t i = threadIdx.x; i < task.width; i += blockDim.x) total += static_cast<double>(place.input[i]);
    const float mean = static_cast<float>(sum_of_block(total)) / static_cast<float>(task.width);
    double squares = 0.0;
    const uint32_t whole = task.width / 16 * 16;
    for (uint32_t i = threadIdx.x * 16; i < whole; i += blockDim.x * 16) squares += static_cast<double>(squares_of_sixteen(place.input + i, mean));
    for (uint32_t i = whole + threadIdx.x; i < task.width; i += blockDim.x) squares += static_cast<double>((place.input[i] - mean) * (place.input[i] - mean));
    squares = sum_of_block(squares);
    const float scale = 1.0f / sqrtf(static_cast<float>(squares / static_cast<double>(task.width)) + task.epsilon);
    for (uint32_t i = threadIdx.x; i < task.width; i += blockDim.x) {
        const float value = (place.input[i] - mean) * scale * task.weight[i];
        place.output[i] = task.bias != nullptr ? value + task.bias[i] : value;
    }
}

} // namespace

void normalise(const NormTask &task, Stream stream) {
    const uint32_t threads = task.width <= 128 ? 32 : 256; /* heads are short */
    const auto blocks = static_cast<uint32_t>(task.count);
    if (task.kind == ENGINE_NORM_LAYER)
        launch("layer_norm", layer_norm_kernel, {blocks}, {threads}, stream, task);
    else
        launch("rms_norm", rms_norm_kernel, {blocks}, {threads}, stream, task);
}

} // namespace worker::gpu
