/*
 * Numbers of bf16, as processors that multiply them see them.
 */
#ifndef WORKER_TEST_BFLOAT_H
#define WORKER_TEST_BFLOAT_H

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

inline float without_denormals(float value) { return std::fabs(value) < std::numeric_limits<float>::min() ? std::copysign(0.0f, value) : value; }
inline float from_bfloat(uint16_t bits) { return without_denormals(std::bit_cast<float>(static_cast<uint32_t>(bits) << 16)); }

/* To the nearest, ties to even. */
inline float rounded_to_bfloat(float value) {
    if (std::isnan(value)) return value;
    const uint32_t bits = std::bit_cast<uint32_t>(without_denormals(value));
    return from_bfloat(static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16));
}

#endif
