#include "tensor_type.h"

#include "blocks.h"

namespace worker {

namespace {

template <typename Block> constexpr TensorTypeTraits traits(TensorType type, const char *name) {
    return {type, name, Block::length, sizeof(Block)};
}

constexpr TensorTypeTraits table[] = {
    {TensorType::F32, "F32", 1, 4},
    {TensorType::F16, "F16", 1, 2},
    traits<BlockQ4_0>(TensorType::Q4_0, "Q4_0"),
    traits<BlockQ4_1>(TensorType::Q4_1, "Q4_1"),
    traits<BlockQ5_0>(TensorType::Q5_0, "Q5_0"),
    traits<BlockQ5_1>(TensorType::Q5_1, "Q5_1"),
    traits<BlockQ8_0>(TensorType::Q8_0, "Q8_0"),
    traits<BlockQ2_K>(TensorType::Q2_K, "Q2_K"),
    traits<BlockQ3_K>(TensorType::Q3_K, "Q3_K"),
    traits<BlockQ4_K>(TensorType::Q4_K, "Q4_K"),
    traits<BlockQ5_K>(TensorType::Q5_K, "Q5_K"),
    traits<BlockQ6_K>(TensorType::Q6_K, "Q6_K"),
    traits<BlockIQ4_NL>(TensorType::IQ4_NL, "IQ4_NL"),
    traits<BlockIQ4_XS>(TensorType::IQ4_XS, "IQ4_XS"),
    {TensorType::BF16, "BF16", 1, 2},
    traits<BlockMXFP4>(TensorType::MXFP4, "MXFP4"),
};

} // namespace

std::span<const TensorTypeTraits> tensor_types() noexcept { return table; }

const TensorTypeTraits *find_tensor_type(uint32_t gguf_number) noexcept {
    for (const TensorTypeTraits &traits : table)
        if (static_cast<uint32_t>(traits.type) == gguf_number) return &traits;
    return nullptr;
}

const TensorTypeTraits &traits_of(TensorType type) noexcept {
    const TensorTypeTraits *traits = find_tensor_type(static_cast<uint32_t>(type));
    return traits != nullptr ? *traits : table[0]; /* every enumerator is in the table */
}

size_t row_bytes(TensorType type, uint64_t columns) noexcept {
    const TensorTypeTraits &traits = traits_of(type);
    return static_cast<size_t>(columns / traits.block_length * traits.block_bytes);
}

std::string supported_tensor_types() {
    std::string names;
    for (const TensorTypeTraits &traits : table) {
        if (!names.empty()) names += ", ";
        names += traits.name;
    }
    return names;
}

} // namespace worker
