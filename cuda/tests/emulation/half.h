/*
 * Half-precision and bfloat16 numbers with the names and the conversions of CUDA's headers.
 */
#ifndef WORKER_EMULATION_HALF_H
#define WORKER_EMULATION_HALF_H

#include <bit>
#include <cstdint>

#include "formats/dequantise.h"

struct __half {
    uint16_t bits;
};

struct __nv_bfloat16 {
    uint16_t bits;
};

inline __half __ushort_as_half(uint16_t bits) { return {bits}; }
inline uint16_t __half_as_ushort(__half value) { return value.bits; }
inline float __half2float(__half value) { return worker::half_to_float(value.bits); }
/* To nearest, ties to even. */
inline __half __float2half_rn(float value) { return {worker::float_to_half(value)}; }

inline __nv_bfloat16 __ushort_as_bfloat16(uint16_t bits) { return {bits}; }
inline float __bfloat162float(__nv_bfloat16 value) { return worker::bfloat16_to_float(value.bits); }

#endif
