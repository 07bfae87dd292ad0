/*
 * Every type's stored form, expanded in registers by a half of a warp: lane l takes the columns 16 g + l of a block, for the
 * block's groups g = 0, 1, ... The results have the bits of formats/dequantise.h.
 */
#ifndef WORKER_GPU_STORED_FORMATS_H
#define WORKER_GPU_STORED_FORMATS_H

#include <cstddef>
#include <cstdint>

#include "../../formats/blocks.h"
#include "../../formats/tensor_type.h"
#include "device_code.h"

namespace worker::gpu {

template <TensorType type> struct StoredFormat;

__device__ __forceinline__ uint16_t two_bytes(const uint8_t *bytes) { return static_cast<uint16_t>(bytes[0] | bytes[1] << 8); }
__device__ __forceinline__ float half_value(const HalfBytes &half) { return __half2float(__ushort_as_half(two_bytes(half.bytes))); }

/* ---- types without blocks stand here as blocks of sixteen; a row may end within one ---- */

template <unsigned value_bytes> struct PlainFormat {
    static constexpr unsigned groups = 1, bytes = 16 * value_bytes;
};

template <> struct StoredFormat<TensorType::F32> : PlainFormat<4> {
    static __device__ __forceinline__ void expand(const std::byte *block, unsigned lane, float (&values)[1]) {
        values[0] = reinterpret_cast<const float *>(block)[lane];
    }
};

template <> struct StoredFormat<TensorType::F16> : PlainFormat<2> {
    static __device__ __forceinline__ void expand(const std::byte *block, unsigned lane, float (&values)[1]) {
        values[0] = __half2float(__ushort_as_half(reinterpret_cast<const uint16_t *>(block)[lane]));
    }
};

template <> struct StoredFormat<TensorType::BF16> : PlainFormat<2> {
    static __device__ __forceinline__ void expand(const std::byte *block, unsigned lane, float (&values)[1]) {
        values[0] = __uint_as_float(static_cast<uint32_t>(reinterpret_cast<const uint16_t *>(block)[lane]) << 16);
    }
};

/* ---- blocks of 32 ---- */

template <typename Stored> struct BlockFormat {
    static constexpr unsigned groups = Stored::length / 16, bytes = sizeof(Stored);
    /* Blocks hold bytes only, so any address suits them. */
    static __device__ __forceinline__ const Stored &at(const std::byte *block) { return *reinterpret_cast<const Stored *>(block); }
};

template <> struct StoredFormat<TensorType::Q4_0> : BlockFormat<BlockQ4_0> {
    static __device__ __forceinline__ void expand(const std::byte *block, unsigned lane, float (&values)[groups]) {
        const float scale = half_value(at(block).scale);
        const int pair = at(block).nibbles[lane];
        values[0] = scale * static_cast<float>((pair & 15) - 8);
        values[1] = scale * static_cast<float>((pair >> 4) - 8);
    }
};

template <> struct StoredFormat<TensorType::Q4_1> : BlockFormat<BlockQ4_1> {
    static __device__ __forceinline__ void expand(const std::byte *block, unsigned lane, float (&values)[groups]) {
        const float scale = half_value(at(block).scale), minimum = half_value(at(block).minimum);
        const int pair = at(block).nibbles[lane];
        values[0] = scale * static_cast<float>(pair & 15) + minimum;
        values[1] = scale * static_cast<float>(pair >> 4) + minimum;
    }
};

/* The five bits of values `lane` and `lane + 16`. */
template <typename Stored> __device__ __forceinline__ void five_bits(const Stored &block, unsigned lane, int (&levels)[2]) {
    const int pair = block.nibbles[lane], low = block.high_bits[lane / 8], high = block.high_bits[2 + lane / 8];
    levels[0] = (pair & 15) | (low >> (lane % 8) & 1) << 4;
    levels[1] = pair >> 4 | (high >> (lane % 8) & 1) << 4;
}

template <> struct StoredFormat<TensorType::Q5_0> : BlockFormat<BlockQ5_0> {
    static __device__ __forceinline__ void expand(const std::byte *block, unsigned lane, float (&values)[groups]) {
        const float scale = half_value(at(block).scale);
        int levels[2];
        five_bits(at(block), lane, levels);
        values[0] = scale * static_cast<float>(levels[0] - 16);
        values[1] = scale * static_cast<float>(levels[1] - 16);
    }
};

template <> struct StoredFormat<TensorType::Q5_1> : BlockFormat<BlockQ5_1> {
    static __device__ __forceinline__ void expand(const std::byte *block, unsigned lane, float (&values)[groups]) {
        const float scale = half_value(at(block).scale), minimum = half_value(at(block).minimum);
        int levels[2];
        five_bits(at(block), lane, levels);
        values[0] = scale * static_cast<float>(levels[0]) + minimum;
        values[1] = scale * static_cast<float>(levels[1]) + minimum;
    }
};

template <> struct StoredFormat<TensorType::Q8_0> : BlockFormat<BlockQ8_0> {
    static __device__ __forceinline__ void expand(const std::byte *block, unsigned lane, float (&values)[groups]) {
        const float scale = half_value(at(block).scale);
        values[0] = scale * static_cast<float>(at(block).values[lane]);
        values[1] = scale * static_cast<float>(at(block).values[lane + 16]);
    }
};

/* Sixteen bytes in two words, so that looking one up needs no memory. */
struct ByteTable {
    uint64_t low = 0, high = 0;

    constexpr explicit ByteTable(const int8_t (&bytes)[16]) {
        for (int i = 0; i < 8; i++) {
            low |= static_cast<uint64_t>(static_cast<uint8_t>(bytes[i])) << 8 * i;
            high |= static_cast<uint64_t>(static_cast<uint8_t>(bytes[i + 8])) << 8 * i;
        }
    }
};

constexpr ByteTable iq4_table(iq4_values), mxfp4_table(mxfp4_values);

template <uint64_t low, uint64_t high> __device__ __forceinline__ float look_up(int index) {
    return static_cast<float>(static_cast<int8_t>((index < 8 ? low : high) >> 8 * (index & 7)));
}

__device__ __forceinline__ float iq4_value(int index) { return look_up<iq4_table.low, iq4_table.high>(index); }
__device__ __forceinline__ float mxfp4_value(int index) { return look_up<mxfp4_table.low, mxfp4_table.high>(index); }

template <> struct StoredFormat<TensorType::MXFP4> : BlockFormat<BlockMXFP4> {
    static __device__ __forceinline__ void expand(const std::byte *block, unsigned lane, float (&values)[groups]) {
        /* 2^(e - 128); below 2^-126 the number is denormal. */
        const uint32_t e = at(block).exponent;
        const float scale = __uint_as_float(e < 2 ? 0x00200000u << e : (e - 1) << 23);
        const int pair = at(block).nibbles[lane];
        values[0] = scale * mxfp4_value(pair & 15);
        values[1] = scale * mxfp4_value(pair >> 4);
    }
};

template <> struct StoredFormat<TensorType::IQ4_NL> : BlockFormat<BlockIQ4_NL> {
    static __device__ __forceinline__ void expand(const std::byte *block, unsigned lane, float (&values)[groups]) {
        const float scale = half_value(at(block).scale);
        const int pair = at(block).nibbles[lane];
        values[0] = scale * iq4_value(pair & 15);
        values[1] = scale * iq4_value(pair >> 4);
    }
};

/* ---- blocks of 256 ---- */

/* Group g of the 2-bit values that Q2_K, Q3_K and Q6_K share the layout of. */
__device__ __forceinline__ int two_bits(const uint8_t *pairs, unsigned g, unsigned lane) {
    return pairs[g / 8 * 32 + g % 2 * 16 + lane] >> (g % 8 / 2 * 2) & 3;
}

template <> struct StoredFormat<TensorType::Q2_K> : BlockFormat<BlockQ2_K> {
    static __device__ __forceinline__ void expand(const std::byte *block, unsigned lane, float (&values)[groups]) {
        const float scale = half_value(at(block).scale), minimum = half_value(at(block).minimum);
        UNROLL
        for (unsigned g = 0; g < groups; g++) {
            const int s = at(block).scales[g];
            values[g] = scale * static_cast<float>(s & 15) * static_cast<float>(two_bits(at(block).pairs, g, lane)) - minimum * static_cast<float>(s >> 4);
        }
    }
};

template <> struct StoredFormat<TensorType::Q3_K> : BlockFormat<BlockQ3_K> {
    static __device__ __forceinline__ void expand(const std::byte *block, unsigned lane, float (&values)[groups]) {
        const float scale = half_value(at(block).scale);
        const uint8_t *scales = at(block).scales;
        UNROLL
        for (unsigned g = 0; g < groups; g++) {
            const int low = g < 8 ? scales[g % 8] & 15 : scales[g % 8] >> 4;
            const int s = low | (scales[8 + g % 4] >> (g / 4 * 2) & 3) << 4;
            const int q = two_bits(at(block).pairs, g, lane) | (at(block).high_bits[g % 2 * 16 + lane] >> (g / 2) & 1) << 2;
            values[g] = scale * static_cast<float>(s - 32) * static_cast<float>(q - 4);
        }
    }
};

/* Scale and minimum k of Q4_K and Q5_K, six bits each. */
__device__ __forceinline__ void six_bit_pair(const uint8_t *scales, unsigned k, int &scale, int &minimum) {
    if (k < 4) {
        scale = scales[k] & 63;
        minimum = scales[k + 4] & 63;
    } else {
        scale = (scales[k + 4] & 15) | (scales[k - 4] >> 6) << 4;
        minimum = scales[k + 4] >> 4 | (scales[k] >> 6) << 4;
    }
}

/* Group g of the nibbles of Q4_K and Q5_K. */
__device__ __forceinline__ int nibble_of_64(const uint8_t *nibbles, unsigned g, unsigned lane) {
    const int pair = nibbles[g / 4 * 32 + g % 2 * 16 + lane];
    return g % 4 < 2 ? pair & 15 : pair >> 4;
}

template <> struct StoredFormat<TensorType::Q4_K> : BlockFormat<BlockQ4_K> {
    static __device__ __forceinline__ void expand(const std::byte *block, unsigned lane, float (&values)[groups]) {
        const float scale = half_value(at(block).scale), minimum = half_value(at(block).minimum);
        UNROLL
        for (unsigned g = 0; g < groups; g++) {
            int s, m;
            six_bit_pair(at(block).scales, g / 2, s, m);
            const int q = nibble_of_64(at(block).nibbles, g, lane);
            values[g] = scale * static_cast<float>(s) * static_cast<float>(q) - minimum * static_cast<float>(m);
        }
    }
};

template <> struct StoredFormat<TensorType::Q5_K> : BlockFormat<BlockQ5_K> {
    static __device__ __forceinline__ void expand(const std::byte *block, unsigned lane, float (&values)[groups]) {
        const float scale = half_value(at(block).scale), minimum = half_value(at(block).minimum);
        UNROLL
        for (unsigned g = 0; g < groups; g++) {
            int s, m;
            six_bit_pair(at(block).scales, g / 2, s, m);
            const int q = nibble_of_64(at(block).nibbles, g, lane) | (at(block).high_bits[g % 2 * 16 + lane] >> (g / 2) & 1) << 4;
            values[g] = scale * static_cast<float>(s) * static_cast<float>(q) - minimum * static_cast<float>(m);
        }
    }
};

template <> struct StoredFormat<TensorType::Q6_K> : BlockFormat<BlockQ6_K> {
    static __device__ __forceinline__ void expand(const std::byte *block, unsigned lane, float (&values)[groups]) {
        const float scale = half_value(at(block).scale);
        UNROLL
        for (unsigned g = 0; g < groups; g++) {
            const int pair = at(block).nibbles[g / 8 * 64 + g % 4 * 16 + lane];
            const int q = (g % 8 < 4 ? pair & 15 : pair >> 4) | two_bits(at(block).pairs, g, lane) << 4;
            values[g] = scale * static_cast<float>(at(block).scales[g]) * static_cast<float>(q - 32);
        }
    }
};

template <> struct StoredFormat<TensorType::IQ4_XS> : BlockFormat<BlockIQ4_XS> {
    static __device__ __forceinline__ void expand(const std::byte *block, unsigned lane, float (&values)[groups]) {
        const float scale = half_value(at(block).scale);
        const int high = two_bytes(at(block).scales_high);
        UNROLL
        for (unsigned k = 0; k < 8; k++) {
            const int s = (at(block).scales_low[k / 2] >> (k % 2 * 4) & 15) | (high >> (2 * k) & 3) << 4;
            const float sub_scale = scale * static_cast<float>(s - 32);
            const int pair = at(block).nibbles[k * 16 + lane];
            values[2 * k] = sub_scale * iq4_value(pair & 15);
            values[2 * k + 1] = sub_scale * iq4_value(pair >> 4);
        }
    }
};

/* Calls function.template operator()<type>() for the run-time type, on the host. */
template <typename Function> void with_type(TensorType type, const Function &function) {
    switch (type) {
    case TensorType::F32: return function.template operator()<TensorType::F32>();
    case TensorType::F16: return function.template operator()<TensorType::F16>();
    case TensorType::BF16: return function.template operator()<TensorType::BF16>();
    case TensorType::Q4_0: return function.template operator()<TensorType::Q4_0>();
    case TensorType::Q4_1: return function.template operator()<TensorType::Q4_1>();
    case TensorType::Q5_0: return function.template operator()<TensorType::Q5_0>();
    case TensorType::Q5_1: return function.template operator()<TensorType::Q5_1>();
    case TensorType::Q8_0: return function.template operator()<TensorType::Q8_0>();
    case TensorType::Q2_K: return function.template operator()<TensorType::Q2_K>();
    case TensorType::Q3_K: return function.template operator()<TensorType::Q3_K>();
    case TensorType::Q4_K: return function.template operator()<TensorType::Q4_K>();
    case TensorType::Q5_K: return function.template operator()<TensorType::Q5_K>();
    case TensorType::Q6_K: return function.template operator()<TensorType::Q6_K>();
    case TensorType::IQ4_NL: return function.template operator()<TensorType::IQ4_NL>();
    case TensorType::IQ4_XS: return function.template operator()<TensorType::IQ4_XS>();
    case TensorType::MXFP4: return function.template operator()<TensorType::MXFP4>();
    }
}

} // namespace worker::gpu

#endif
