/*
 * The kernel by which a device shows that it runs kernels.
 */
#ifndef WORKER_GPU_HEALTH_CHECK_H
#define WORKER_GPU_HEALTH_CHECK_H

#include "gpu/runtime.h"

#include <cstdint>

namespace worker::gpu {

/* words[i] = ~words[i] */
void invert_words(uint64_t *words, uint32_t count, Stream stream);

} // namespace worker::gpu

#endif
