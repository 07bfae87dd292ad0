/*
 * Seeded random data: the same everywhere.
 */
#ifndef WORKER_TEST_RANDOM_DATA_H
#define WORKER_TEST_RANDOM_DATA_H

#include "../../src/formats/tensor_type.h"

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

/* A 64-bit linear congruential generator; its top byte is what random_bytes() gives. */
class Random {
public:
    explicit Random(uint64_t seed) : state_(seed) {}

    uint64_t next() {
        state_ = state_ * 6364136223846793005u + 1442695040888963407u;
        return state_;
    }
    uint8_t byte() { return static_cast<uint8_t>(next() >> 56); }
    /* Evenly within -1 to 1. */
    float number() { return static_cast<float>(next() >> 40) * 0x1p-23f - 1.0f; }
    uint32_t below(uint32_t limit) { return static_cast<uint32_t>((next() >> 32) % limit); }

private:
    uint64_t state_;
};

inline std::vector<float> random_numbers(Random &random, size_t count) {
    std::vector<float> numbers(count);
    for (float &number : numbers) number = random.number();
    return numbers;
}

/* Where a block's half-precision numbers lie. */
inline std::vector<uint32_t> half_offsets(worker::TensorType type) {
    using worker::TensorType;
    switch (type) {
    case TensorType::Q4_1:
    case TensorType::Q5_1:
    case TensorType::Q4_K:
    case TensorType::Q5_K: return {0, 2};
    case TensorType::Q2_K: return {80, 82};
    case TensorType::Q3_K: return {108};
    case TensorType::Q6_K: return {208};
    case TensorType::F32:
    case TensorType::BF16:
    case TensorType::MXFP4: return {};
    default: return {0};
    }
}

/* Rows of a type with values of moderate size, neither infinite nor denormal. */
inline std::vector<std::byte> random_rows(worker::TensorType type, uint64_t rows, uint64_t columns, Random &random) {
    const worker::TensorTypeTraits &traits = worker::traits_of(type);
    const size_t count = rows * columns / traits.block_length;
    std::vector<std::byte> bytes(count * traits.block_bytes);
    for (size_t i = 0; i < count; i++) {
        std::byte *block = bytes.data() + i * traits.block_bytes;
        for (uint32_t j = 0; j < traits.block_bytes; j++) block[j] = std::byte{random.byte()};
        if (type == worker::TensorType::F32) {
            const float number = random.number();
            std::memcpy(block, &number, sizeof number);
        }
        /* 2^-5 to 2^-2 and either sign. */
        for (const uint32_t offset : half_offsets(type)) block[offset + 1] = (block[offset + 1] & std::byte{0x87}) | std::byte{0x28};
        if (type == worker::TensorType::BF16) block[1] = (block[1] & std::byte{0x80}) | std::byte{0x3e};
        if (type == worker::TensorType::MXFP4) block[0] = std::byte{static_cast<uint8_t>(120 + random.below(8))};
    }
    return bytes;
}

#endif
