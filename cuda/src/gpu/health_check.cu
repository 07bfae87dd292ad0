#include "gpu/health_check.h"

#include "gpu/launch.h"

namespace worker::gpu {

namespace {

__global__ void invert(uint64_t *words, uint32_t count) {
    const uint32_t index = blockIdx.x * blockDim.x + threadIdx.x;
    if (index < count) words[index] = ~words[index];
}

} // namespace

void invert_words(uint64_t *words, uint32_t count, Stream stream) {
    constexpr uint32_t threads = 128;
    launch("invert", invert, {blocks_for(count, threads)}, threads, stream, words, count);
}

} // namespace worker::gpu
