/*
 * How the quantised types lie in memory: little-endian blocks without padding, as the GGUF format defines them.
 *
 * The structs hold bytes only, so that a block may lie at any address of a mapped file. `length` is the number of
 * values. A "nibble pair" byte holds two 4-bit values of the same sub-block or of neighbouring ones, as noted.
 */
#ifndef WORKER_BLOCKS_H
#define WORKER_BLOCKS_H

#include <cstdint>

namespace worker {

/* IEEE half precision, little-endian. */
struct HalfBytes {
    uint8_t bytes[2];
};

/* value[i] = scale * (q[i] - 8); byte j holds q[j] (low nibble) and q[j + 16] (high). */
struct BlockQ4_0 {
    static constexpr uint32_t length = 32;
    HalfBytes scale;
    uint8_t nibbles[16];
};
static_assert(sizeof(BlockQ4_0) == 18);

/* value[i] = scale * q[i] + minimum; nibbles as in Q4_0. */
struct BlockQ4_1 {
    static constexpr uint32_t length = 32;
    HalfBytes scale;
    HalfBytes minimum;
    uint8_t nibbles[16];
};
static_assert(sizeof(BlockQ4_1) == 20);

/* value[i] = scale * (q[i] - 16); bit i of high_bits is bit 4 of q[i]; nibbles as in Q4_0. */
struct BlockQ5_0 {
    static constexpr uint32_t length = 32;
    HalfBytes scale;
    uint8_t high_bits[4];
    uint8_t nibbles[16];
};
static_assert(sizeof(BlockQ5_0) == 22);

/* value[i] = scale * q[i] + minimum; bits as in Q5_0. */
struct BlockQ5_1 {
    static constexpr uint32_t length = 32;
    HalfBytes scale;
    HalfBytes minimum;
    uint8_t high_bits[4];
    uint8_t nibbles[16];
};
static_assert(sizeof(BlockQ5_1) == 24);

/* value[i] = scale * q[i]. */
struct BlockQ8_0 {
    static constexpr uint32_t length = 32;
    HalfBytes scale;
    int8_t values[32];
};
static_assert(sizeof(BlockQ8_0) == 34);

/* 16 sub-blocks of 16: value = scale * (s & 15) * q - minimum * (s >> 4). Of each half of 128 values, byte j of its 32
 * bytes holds the 2-bit values j, j + 32, j + 64, j + 96. */
struct BlockQ2_K {
    static constexpr uint32_t length = 256;
    uint8_t scales[16];
    uint8_t pairs[64];
    HalfBytes scale;
    HalfBytes minimum;
};
static_assert(sizeof(BlockQ2_K) == 84);

/* 16 sub-blocks of 16: value = scale * (s - 32) * (q - 4), s of six bits, q of three. Low bits of q as in Q2_K; bit b of
 * high_bits[j] is bit 2 of value 32 b + j. Scale k has its low four bits in scales[k % 8] (high nibble from k = 8 on) and
 * its high two in scales[8 + k % 4], at bit 2 * (k / 4). */
struct BlockQ3_K {
    static constexpr uint32_t length = 256;
    uint8_t high_bits[32];
    uint8_t pairs[64];
    uint8_t scales[12];
    HalfBytes scale;
};
static_assert(sizeof(BlockQ3_K) == 110);

/* 8 sub-blocks of 32: value = scale * s * q - minimum * m, s and m of six bits. For sub-blocks 0 to 3, s is in the low
 * six bits of scales[k] and m in those of scales[k + 4]; for 4 to 7, scales[k + 4] has the low four bits of s and, above
 * them, of m, and the top bits of scales[k - 4] and scales[k] their high two. Bytes 32 p to 32 p + 31 of the nibbles hold
 * sub-block 2 p (low) and 2 p + 1 (high). */
struct BlockQ4_K {
    static constexpr uint32_t length = 256;
    HalfBytes scale;
    HalfBytes minimum;
    uint8_t scales[12];
    uint8_t nibbles[128];
};
static_assert(sizeof(BlockQ4_K) == 144);

/* As Q4_K, with bit k of high_bits[j] as bit 4 of value j of sub-block k. */
struct BlockQ5_K {
    static constexpr uint32_t length = 256;
    HalfBytes scale;
    HalfBytes minimum;
    uint8_t scales[12];
    uint8_t high_bits[32];
    uint8_t nibbles[128];
};
static_assert(sizeof(BlockQ5_K) == 176);

/* 16 sub-blocks of 16: value = scale * scales[k] * (q - 32), q of six bits. Each half of 128 values has 64 bytes of
 * nibbles (byte j: values j and j + 64) and 32 bytes of high pairs (byte j: values j, j + 32, j + 64, j + 96). */
struct BlockQ6_K {
    static constexpr uint32_t length = 256;
    uint8_t nibbles[128];
    uint8_t pairs[64];
    int8_t scales[16];
    HalfBytes scale;
};
static_assert(sizeof(BlockQ6_K) == 210);

/* value[i] = 2^(exponent - 128) * mxfp4_values[q[i]]; nibbles as in Q4_0. */
struct BlockMXFP4 {
    static constexpr uint32_t length = 32;
    uint8_t exponent;
    uint8_t nibbles[16];
};
static_assert(sizeof(BlockMXFP4) == 17);

/* value[i] = scale * iq4_values[q[i]]; nibbles as in Q4_0. */
struct BlockIQ4_NL {
    static constexpr uint32_t length = 32;
    HalfBytes scale;
    uint8_t nibbles[16];
};
static_assert(sizeof(BlockIQ4_NL) == 18);

/* 8 sub-blocks of 32, each like IQ4_NL with scale * (s - 32), s of six bits: its low four are nibble k of scales_low, its
 * high two are bits 2 k of scales_high. */
struct BlockIQ4_XS {
    static constexpr uint32_t length = 256;
    HalfBytes scale;
    uint8_t scales_high[2];
    uint8_t scales_low[4];
    uint8_t nibbles[128];
};
static_assert(sizeof(BlockIQ4_XS) == 136);

/* The 4-bit floats 0, .5, 1, 1.5, 2, 3, 4, 6, doubled. */
constexpr int8_t mxfp4_values[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};

constexpr int8_t iq4_values[16] = {-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113};

} // namespace worker

#endif
