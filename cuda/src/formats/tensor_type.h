/*
 * The tensor types the engine computes with: one table of their names, GGUF numbers and block sizes.
 */
#ifndef WORKER_TENSOR_TYPE_H
#define WORKER_TENSOR_TYPE_H

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace worker {

/* The values are GGUF's. */
enum class TensorType : uint32_t {
    F32 = 0,
    F16 = 1,
    Q4_0 = 2,
    Q4_1 = 3,
    Q5_0 = 6,
    Q5_1 = 7,
    Q8_0 = 8,
    Q2_K = 10,
    Q3_K = 11,
    Q4_K = 12,
    Q5_K = 13,
    Q6_K = 14,
    IQ4_NL = 20,
    IQ4_XS = 23,
    BF16 = 30,
    MXFP4 = 39,
};

struct TensorTypeTraits {
    TensorType type;
    const char *name;
    uint32_t block_length; /* values in a block; a row is a whole number of blocks */
    uint32_t block_bytes;
};

/* Every supported type, by rising number. */
std::span<const TensorTypeTraits> tensor_types() noexcept;

/* Null for a number that is not supported. */
const TensorTypeTraits *find_tensor_type(uint32_t gguf_number) noexcept;

const TensorTypeTraits &traits_of(TensorType type) noexcept;

/* Bytes of a row; columns must be a multiple of the block length. */
size_t row_bytes(TensorType type, uint64_t columns) noexcept;

/* "F32, F16, Q4_0, ..." for messages. */
std::string supported_tensor_types();

} // namespace worker

#endif
