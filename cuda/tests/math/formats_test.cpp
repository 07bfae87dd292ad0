/* What stored values mean, and that every kernel path reads them so. */
#include "../../src/cpu/kernels.h"
#include "../../src/formats/dequantise.h"
#include "../harness.h"
#include "random_data.h"

#include <bit>
#include <cmath>
#include <string>

using worker::TensorType;

TEST(the_table_of_types_has_gguf_s_numbers) {
    CHECK_EQUAL(worker::tensor_types().size(), size_t{16});
    CHECK_EQUAL(worker::find_tensor_type(39)->name, std::string("MXFP4"));
    CHECK(worker::find_tensor_type(16) == nullptr);
    CHECK(worker::find_tensor_type(4000000000u) == nullptr);
    CHECK_EQUAL(worker::row_bytes(TensorType::Q4_K, 512), size_t{288});
    CHECK_EQUAL(worker::row_bytes(TensorType::F16, 7), size_t{14});
    CHECK_EQUAL(worker::supported_tensor_types().substr(0, 20), std::string("F32, F16, Q4_0, Q4_1"));
}

TEST(halves_become_floats_and_halves_again) {
    for (uint32_t bits = 0; bits < 65536; bits++) {
        const float value = worker::half_to_float(static_cast<uint16_t>(bits));
        if (std::isnan(value))
            CHECK(std::isnan(worker::half_to_float(worker::float_to_half(value))));
        else
            CHECK_EQUAL(worker::float_to_half(value), bits);
    }
    CHECK_EQUAL(worker::half_to_float(0x3c00), 1.0f);
    CHECK_EQUAL(worker::half_to_float(0x7bff), 65504.0f);
    CHECK_EQUAL(worker::half_to_float(0x0001), std::ldexp(1.0f, -24));
}

TEST(floats_round_to_the_nearest_half_and_ties_to_even) {
    for (uint32_t bits = 0; bits < 0x7bff; bits++) {
        const float low = worker::half_to_float(static_cast<uint16_t>(bits)), high = worker::half_to_float(static_cast<uint16_t>(bits + 1));
        const float middle = 0.5f * (low + high); /* exact */
        CHECK_EQUAL(worker::float_to_half(middle), bits + bits % 2);
        CHECK_EQUAL(worker::float_to_half(std::nextafter(middle, 0.0f)), bits);
        CHECK_EQUAL(worker::float_to_half(-std::nextafter(middle, 1e9f)), 0x8000 + bits + 1);
    }
    CHECK_EQUAL(worker::float_to_half(65519.996f), 0x7bff);
    CHECK_EQUAL(worker::float_to_half(65520.0f), 0x7c00);
    CHECK_EQUAL(worker::float_to_half(1e30f), 0x7c00);
}

namespace {

struct Vector {
    TensorType type;
    uint64_t hash; /* FNV-1a of the float bits of 40 blocks of random bytes */
};

/* Made with the dequantisers of the gguf package for Python (numpy), which shares no code with ours. Random(type + 1) gives
 * the bytes; bit 6 of each half's second byte is cleared to keep it finite. */
constexpr Vector vectors[] = {
    {TensorType::Q4_0, 0x3a5b0567ac82e603u},   {TensorType::Q4_1, 0x47ba97123cc00f8cu}, {TensorType::Q5_0, 0x5499f3caa79d1d09u},
    {TensorType::Q5_1, 0x62135ac88e6417c2u},   {TensorType::Q8_0, 0x379b77778ceba434u}, {TensorType::Q2_K, 0x8534531365507147u},
    {TensorType::Q3_K, 0xa4624bbdc0cfe7a3u},   {TensorType::Q4_K, 0x9f3e50fcfeb1c133u}, {TensorType::Q5_K, 0x92f48e674a7439c2u},
    {TensorType::Q6_K, 0xa91ec43a6d38befau},   {TensorType::IQ4_NL, 0xfebe194af1a503a5u}, {TensorType::IQ4_XS, 0xa702b3eb51471971u},
    {TensorType::MXFP4, 0x92031dbbc1bee5d9u},
};

uint64_t hash_of(const std::vector<float> &values) {
    uint64_t hash = 0xcbf29ce484222325u;
    for (const float value : values) {
        const uint32_t bits = std::bit_cast<uint32_t>(value);
        for (int shift = 0; shift < 32; shift += 8) hash = (hash ^ (bits >> shift & 255)) * 0x100000001b3u;
    }
    return hash;
}

std::vector<std::byte> vector_bytes(TensorType type) {
    Random random(static_cast<uint64_t>(type) + 1);
    const worker::TensorTypeTraits &traits = worker::traits_of(type);
    std::vector<std::byte> bytes(40 * traits.block_bytes);
    for (std::byte &byte : bytes) byte = std::byte{random.byte()};
    for (size_t block = 0; block < 40; block++)
        for (const uint32_t offset : half_offsets(type)) bytes[block * traits.block_bytes + offset + 1] &= std::byte{0xbf};
    return bytes;
}

} // namespace

TEST(quantised_blocks_mean_what_another_implementation_says) {
    for (const Vector &vector : vectors) {
        const std::vector<std::byte> bytes = vector_bytes(vector.type);
        std::vector<float> values(40 * worker::traits_of(vector.type).block_length);
        worker::dequantise(vector.type, bytes.data(), values.size(), values.data());
        if (hash_of(values) != vector.hash) harness::fail(__FILE__, __LINE__, worker::traits_of(vector.type).name);
    }
}

TEST(every_kernel_path_expands_the_same_bits) {
    for (const worker::cpu::KernelTable *table : worker::cpu::supported_cpu_kernels()) {
        for (const Vector &vector : vectors) {
            const std::vector<std::byte> bytes = vector_bytes(vector.type);
            std::vector<float> values(40 * worker::traits_of(vector.type).block_length);
            table->expand_row(vector.type, bytes.data(), values.size(), values.data());
            if (hash_of(values) != vector.hash) harness::fail(__FILE__, __LINE__, std::string(table->name) + " " + worker::traits_of(vector.type).name);
        }
        for (const TensorType type : {TensorType::F32, TensorType::F16, TensorType::BF16})
            for (const size_t columns : {1u, 15u, 16u, 17u, 100u}) {
                Random random(columns);
                const std::vector<std::byte> bytes = random_rows(type, 1, columns, random);
                std::vector<float> expected(columns), values(columns + 1, 7.0f);
                worker::dequantise(type, bytes.data(), columns, expected.data());
                table->expand_row(type, bytes.data(), columns, values.data());
                CHECK_EQUAL(values.back(), 7.0f); /* nothing is written past the row */
                values.pop_back();
                CHECK_EQUAL(hash_of(values), hash_of(expected));
            }
    }
}
