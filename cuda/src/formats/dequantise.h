/*
 * What stored values mean: plain, exact conversion of every type, one value at a time. The CPU's kernels have their own
 * fast forms of this and are tested against it.
 */
#ifndef WORKER_DEQUANTISE_H
#define WORKER_DEQUANTISE_H

#include "tensor_type.h"

namespace worker {

float half_to_float(uint16_t half) noexcept;
/* Rounds to nearest, ties to even. */
uint16_t float_to_half(float value) noexcept;
float bfloat16_to_float(uint16_t value) noexcept;

/* `count` must be a multiple of the type's block length; `from` may lie at any address. */
void dequantise(TensorType type, const void *from, uint64_t count, float *to) noexcept;

} // namespace worker

#endif
