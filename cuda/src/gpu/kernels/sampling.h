/*
 * The choice of a token on the device.
 */
#ifndef WORKER_GPU_SAMPLING_H
#define WORKER_GPU_SAMPLING_H

#include <cstdint>

#include "../runtime.h"
#include "engine.h"

namespace worker::gpu {

/* One token for each row of logits, which are changed on the way. All addresses are the device's, those within the samplings
 * too. A sampling's biases must be sorted by token, in their given order where the tokens are the same. */
struct SampleTask {
    float *logits; /* [count][vocabulary] */
    uint32_t vocabulary; /* at most 2^24 */
    uint32_t count;
    const engine_sampling *samplings; /* [count] */
    engine_sampled *results;          /* [count] */
};
void sample(const SampleTask &task, Stream stream);

} // namespace worker::gpu

#endif
