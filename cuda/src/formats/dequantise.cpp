#include "dequantise.h"

#include <bit>
#include <cmath>
#include <cstring>

#include "blocks.h"

namespace worker {

namespace {

float value_of(const HalfBytes &half) noexcept {
    return half_to_float(static_cast<uint16_t>(half.bytes[0] | half.bytes[1] << 8));
}

/* Nibble of value i in a block of 32 whose byte j holds values j and j + 16. */
int nibble(const uint8_t *nibbles, int i) noexcept { return i < 16 ? nibbles[i] & 15 : nibbles[i - 16] >> 4; }

int high_bit(const uint8_t *bits, int i) noexcept { return bits[i / 8] >> (i % 8) & 1; }

void expand(const BlockQ4_0 &block, float *to) noexcept {
    const float scale = value_of(block.scale);
    for (int i = 0; i < 32; i++) to[i] = scale * static_cast<float>(nibble(block.nibbles, i) - 8);
}

void expand(const BlockQ4_1 &block, float *to) noexcept {
    const float scale = value_of(block.scale), minimum = value_of(block.minimum);
    for (int i = 0; i < 32; i++) to[i] = scale * static_cast<float>(nibble(block.nibbles, i)) + minimum;
}

void expand(const BlockQ5_0 &block, float *to) noexcept {
    const float scale = value_of(block.scale);
    for (int i = 0; i < 32; i++) {
        const int q = nibble(block.nibbles, i) | high_bit(block.high_bits, i) << 4;
        to[i] = scale * static_cast<float>(q - 16);
    }
}

void expand(const BlockQ5_1 &block, float *to) noexcept {
    const float scale = value_of(block.scale), minimum = value_of(block.minimum);
    for (int i = 0; i < 32; i++) {
        const int q = nibble(block.nibbles, i) | high_bit(block.high_bits, i) << 4;
        to[i] = scale * static_cast<float>(q) + minimum;
    }
}

void expand(const BlockQ8_0 &block, float *to) noexcept {
    const float scale = value_of(block.scale);
    for (int i = 0; i < 32; i++) to[i] = scale * static_cast<float>(block.values[i]);
}

/* The two bits of value i in Q2_K, Q3_K and, above the nibbles, Q6_K. */
int pair(const uint8_t *pairs, int i) noexcept { return pairs[i / 128 * 32 + i % 32] >> (i % 128 / 32 * 2) & 3; }

void expand(const BlockQ2_K &block, float *to) noexcept {
    const float scale = value_of(block.scale), minimum = value_of(block.minimum);
    for (int i = 0; i < 256; i++) {
        const uint8_t s = block.scales[i / 16];
        to[i] = scale * static_cast<float>(s & 15) * static_cast<float>(pair(block.pairs, i)) - minimum * static_cast<float>(s >> 4);
    }
}

void expand(const BlockQ3_K &block, float *to) noexcept {
    const float scale = value_of(block.scale);
    for (int i = 0; i < 256; i++) {
        const int k = i / 16;
        const int low = k < 8 ? block.scales[k] & 15 : block.scales[k - 8] >> 4;
        const int s = low | (block.scales[8 + k % 4] >> (k / 4 * 2) & 3) << 4;
        const int q = pair(block.pairs, i) | (block.high_bits[i % 32] >> (i / 32) & 1) << 2;
        to[i] = scale * static_cast<float>(s - 32) * static_cast<float>(q - 4);
    }
}

/* Scale and minimum k of Q4_K and Q5_K, six bits each. */
void six_bit_pair(const uint8_t *scales, int k, int &scale, int &minimum) noexcept {
    if (k < 4) {
        scale = scales[k] & 63;
        minimum = scales[k + 4] & 63;
    } else {
        scale = (scales[k + 4] & 15) | (scales[k - 4] >> 6) << 4;
        minimum = scales[k + 4] >> 4 | (scales[k] >> 6) << 4;
    }
}

int nibble_of_64(const uint8_t *nibbles, int i) noexcept {
    const uint8_t byte = nibbles[i / 64 * 32 + i % 32];
    return i % 64 < 32 ? byte & 15 : byte >> 4;
}

void expand(const BlockQ4_K &block, float *to) noexcept {
    const float scale = value_of(block.scale), minimum = value_of(block.minimum);
    for (int i = 0; i < 256; i++) {
        int s, m;
        six_bit_pair(block.scales, i / 32, s, m);
        const int q = nibble_of_64(block.nibbles, i);
        to[i] = scale * static_cast<float>(s) * static_cast<float>(q) - minimum * static_cast<float>(m);
    }
}

void expand(const BlockQ5_K &block, float *to) noexcept {
    const float scale = value_of(block.scale), minimum = value_of(block.minimum);
    for (int i = 0; i < 256; i++) {
        int s, m;
        six_bit_pair(block.scales, i / 32, s, m);
        const int q = nibble_of_64(block.nibbles, i) | (block.high_bits[i % 32] >> (i / 32) & 1) << 4;
        to[i] = scale * static_cast<float>(s) * static_cast<float>(q) - minimum * static_cast<float>(m);
    }
}

void expand(const BlockQ6_K &block, float *to) noexcept {
    const float scale = value_of(block.scale);
    for (int i = 0; i < 256; i++) {
        const uint8_t byte = block.nibbles[i / 128 * 64 + i % 64];
        const int q = (i % 128 < 64 ? byte & 15 : byte >> 4) | pair(block.pairs, i) << 4;
        to[i] = scale * static_cast<float>(block.scales[i / 16]) * static_cast<float>(q - 32);
    }
}

void expand(const BlockMXFP4 &block, float *to) noexcept {
    const float scale = std::ldexp(1.0f, block.exponent - 128);
    for (int i = 0; i < 32; i++) to[i] = scale * static_cast<float>(mxfp4_values[nibble(block.nibbles, i)]);
}

void expand(const BlockIQ4_NL &block, float *to) noexcept {
    const float scale = value_of(block.scale);
    for (int i = 0; i < 32; i++) to[i] = scale * static_cast<float>(iq4_values[nibble(block.nibbles, i)]);
}

void expand(const BlockIQ4_XS &block, float *to) noexcept {
    const float scale = value_of(block.scale);
    const int high = block.scales_high[0] | block.scales_high[1] << 8;
    for (int k = 0; k < 8; k++) {
        const int s = (block.scales_low[k / 2] >> (k % 2 * 4) & 15) | (high >> (2 * k) & 3) << 4;
        const float sub_scale = scale * static_cast<float>(s - 32);
        for (int i = 0; i < 32; i++)
            to[k * 32 + i] = sub_scale * static_cast<float>(iq4_values[nibble(block.nibbles + k * 16, i)]);
    }
}

template <typename Block> void expand_all(const void *from, uint64_t count, float *to) noexcept {
    const auto *bytes = static_cast<const uint8_t *>(from);
    for (uint64_t i = 0; i < count / Block::length; i++) {
        Block block;
        std::memcpy(&block, bytes + i * sizeof(Block), sizeof(Block));
        expand(block, to + i * Block::length);
    }
}

template <float (*convert)(uint16_t) noexcept> void convert_all(const void *from, uint64_t count, float *to) noexcept {
    const auto *bytes = static_cast<const uint8_t *>(from);
    for (uint64_t i = 0; i < count; i++) to[i] = convert(static_cast<uint16_t>(bytes[2 * i] | bytes[2 * i + 1] << 8));
}

} // namespace

float half_to_float(uint16_t half) noexcept {
    const uint32_t sign = static_cast<uint32_t>(half & 0x8000) << 16;
    const uint32_t exponent = half >> 10 & 31;
    const uint32_t fraction = half & 1023;
    if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000 | fraction << 13);
    if (exponent != 0) return std::bit_cast<float>(sign | (exponent + 112) << 23 | fraction << 13);
    const float magnitude = static_cast<float>(fraction) * 0x1p-24f;
    return sign != 0 ? -magnitude : magnitude;
}

uint16_t float_to_half(float value) noexcept {
    const uint32_t bits = std::bit_cast<uint32_t>(value);
    const auto sign = static_cast<uint16_t>(bits >> 16 & 0x8000);
    const uint32_t magnitude = bits & 0x7fffffff;
    if (magnitude > 0x7f800000) return static_cast<uint16_t>(sign | 0x7e00 | (magnitude >> 13 & 0x3ff));
    if (magnitude >= 0x477ff000) return static_cast<uint16_t>(sign | 0x7c00); /* 65520 and above round to infinity */
    if (magnitude < 0x38800000) { /* below 2^-14: a multiple of 2^-24; the addition rounds to even */
        const float shifted = std::bit_cast<float>(magnitude) + 0.5f; /* unit of the last place of .5 is 2^-24 */
        return static_cast<uint16_t>(sign | (std::bit_cast<uint32_t>(shifted) - 0x3f000000));
    }
    const uint32_t odd = magnitude >> 13 & 1;
    return static_cast<uint16_t>(sign | ((magnitude - 0x38000000 + 0xfff + odd) >> 13));
}

float bfloat16_to_float(uint16_t value) noexcept { return std::bit_cast<float>(static_cast<uint32_t>(value) << 16); }

void dequantise(TensorType type, const void *from, uint64_t count, float *to) noexcept {
    switch (type) {
    case TensorType::F32: std::memcpy(to, from, count * sizeof(float)); return;
    case TensorType::F16: return convert_all<half_to_float>(from, count, to);
    case TensorType::BF16: return convert_all<bfloat16_to_float>(from, count, to);
    case TensorType::Q4_0: return expand_all<BlockQ4_0>(from, count, to);
    case TensorType::Q4_1: return expand_all<BlockQ4_1>(from, count, to);
    case TensorType::Q5_0: return expand_all<BlockQ5_0>(from, count, to);
    case TensorType::Q5_1: return expand_all<BlockQ5_1>(from, count, to);
    case TensorType::Q8_0: return expand_all<BlockQ8_0>(from, count, to);
    case TensorType::Q2_K: return expand_all<BlockQ2_K>(from, count, to);
    case TensorType::Q3_K: return expand_all<BlockQ3_K>(from, count, to);
    case TensorType::Q4_K: return expand_all<BlockQ4_K>(from, count, to);
    case TensorType::Q5_K: return expand_all<BlockQ5_K>(from, count, to);
    case TensorType::Q6_K: return expand_all<BlockQ6_K>(from, count, to);
    case TensorType::IQ4_NL: return expand_all<BlockIQ4_NL>(from, count, to);
    case TensorType::IQ4_XS: return expand_all<BlockIQ4_XS>(from, count, to);
    case TensorType::MXFP4: return expand_all<BlockMXFP4>(from, count, to);
    }
}

} // namespace worker
