/* The integer product has one meaning: every path, any number of vectors and any cut of the rows give the scalar path's bits,
 * and nothing behind the weights is read. */
#include "../../src/cpu/kernels.h"
#include "../harness.h"
#include "random_data.h"

#include <bit>
#include <cmath>
#include <limits>
#include <string>
#include <sys/mman.h>
#include <unistd.h>

using worker::TensorType;
using worker::cpu::Arithmetic;
using worker::cpu::KernelTable;
using worker::cpu::Role;

namespace {

/* Memory that ends where nothing may be read. */
class Guarded {
public:
    explicit Guarded(const std::vector<std::byte> &contents) {
        const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
        readable_ = (contents.size() + page - 1) / page * page;
        bytes_ = readable_ + page;
        memory_ = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        CHECK(memory_ != MAP_FAILED);
        CHECK_EQUAL(mprotect(static_cast<std::byte *>(memory_) + readable_, page, PROT_NONE), 0);
        start = static_cast<std::byte *>(memory_) + readable_ - contents.size();
        std::memcpy(start, contents.data(), contents.size());
    }
    ~Guarded() { munmap(memory_, bytes_); }
    Guarded(const Guarded &) = delete;
    Guarded &operator=(const Guarded &) = delete;

    std::byte *start;

private:
    void *memory_;
    size_t readable_, bytes_;
};

struct alignas(64) Line {
    std::byte bytes[64];
};

struct Matrix {
    TensorType type;
    uint64_t rows, columns;
    const std::byte *weights;
    std::vector<float> bias;
};

using Vectors = std::vector<std::vector<float>>;

Vectors multiply(const KernelTable &table, const Matrix &matrix, Role role, Arithmetic arithmetic, const Vectors &activations, uint64_t rows_at_once) {
    const worker::cpu::PreparedForm form = table.prepared_form(matrix.type, role, arithmetic);
    const size_t bytes = table.prepared_bytes(form, matrix.columns);
    CHECK_EQUAL(bytes % 64, size_t{0});
    std::vector<Line> prepared(bytes / 64 * activations.size()), scratch(table.product_scratch(matrix.columns) / 16 + 1);
    Vectors outputs(activations.size(), std::vector<float>(matrix.rows));
    std::vector<const std::byte *> inputs;
    std::vector<float *> places;
    for (size_t i = 0; i < activations.size(); i++) {
        std::byte *place = prepared[i * bytes / 64].bytes;
        table.prepare(form, activations[i].data(), matrix.columns, place);
        inputs.push_back(place);
        places.push_back(outputs[i].data());
    }
    for (uint64_t row = 0; row < matrix.rows; row += rows_at_once)
        table.product({matrix.type, role, form, matrix.weights, worker::row_bytes(matrix.type, matrix.columns), matrix.columns, row,
                       std::min(matrix.rows, row + rows_at_once), matrix.bias.data(), inputs.data(), places.data(), activations.size(),
                       reinterpret_cast<float *>(scratch.data())});
    return outputs;
}

/* Same bits, or both not a number, whose bits may differ. */
bool same(const Vectors &left, const Vectors &right, size_t count) {
    for (size_t i = 0; i < count; i++)
        for (size_t row = 0; row < left[i].size(); row++)
            if (std::bit_cast<uint32_t>(left[i][row]) != std::bit_cast<uint32_t>(right[i][row]) && !(std::isnan(left[i][row]) && std::isnan(right[i][row])))
                return false;
    return true;
}

bool is_quantised(TensorType type) { return worker::traits_of(type).block_length > 1; }

/* Activations with an outlier here and there, and a block of zeros. */
Vectors activations_for(uint64_t columns, size_t count, Random &random) {
    Vectors vectors;
    for (size_t i = 0; i < count; i++) {
        vectors.push_back(random_numbers(random, columns));
        for (float &number : vectors.back())
            if (random.below(100) == 0) number *= 30.0f;
        std::fill_n(vectors.back().begin() + static_cast<ptrdiff_t>(random.below(static_cast<uint32_t>(columns / 32)) * 32), 32, 0.0f);
    }
    return vectors;
}

/* One that multiplies bf16 has the integers of another path (matrix_tiles_test.cpp and bfloat_products_test.cpp have the rest). */
std::vector<const KernelTable *> paths() {
    std::vector<const KernelTable *> tables;
    for (const KernelTable *table : worker::cpu::supported_cpu_kernels())
        if (table->interleave_floats == nullptr) tables.push_back(table);
    return tables;
}

} // namespace

TEST(every_path_gives_the_bits_of_the_scalar_integer_product) {
    const KernelTable &scalar = *worker::cpu::supported_cpu_kernels().front();
    for (const worker::TensorTypeTraits &traits : worker::tensor_types()) {
        if (!is_quantised(traits.type)) continue;
        for (const uint64_t blocks : {1u, 2u, 3u, 4u, 5u, 7u, 15u, 16u, 17u, 28u, 30u, 39u, 150u}) {
            if (traits.block_length == 256 && blocks > 17) continue;
            Random random(blocks * 100 + static_cast<uint64_t>(traits.type));
            /* More rows than any path finishes at once, too. */
            const uint64_t rows = blocks == 16 ? 37 : 7, columns = blocks * traits.block_length;
            /* The smallest level and the largest must not saturate anywhere. */
            std::vector<std::byte> stored = random_rows(traits.type, rows, columns, random);
            const Guarded guarded(stored);
            const Matrix matrix{traits.type, rows, columns, guarded.start, random_numbers(random, rows)};
            const Vectors activations = activations_for(columns, 9, random);
            for (const Arithmetic arithmetic : {Arithmetic::Fast, Arithmetic::Careful})
                for (const Role role : {Role::Prompt, Role::Decode}) {
                    const Vectors expected = multiply(scalar, matrix, role, arithmetic, activations, rows);
                    for (const KernelTable *table : paths())
                        for (const size_t count : {1u, 2u, 3u, 4u, 5u, 9u})
                            for (const uint64_t rows_at_once : {rows, uint64_t{3}}) {
                                const Vectors some(activations.begin(), activations.begin() + static_cast<ptrdiff_t>(count));
                                if (!same(multiply(*table, matrix, role, arithmetic, some, rows_at_once), expected, count))
                                    harness::fail(__FILE__, __LINE__, std::string(table->name) + " " + traits.name + (role == Role::Prompt ? " prompt, " : " decode, ") +
                                                                          std::to_string(blocks) + " blocks, " + std::to_string(count) + " vectors");
                            }
                }
        }
    }
}

TEST(extreme_levels_and_activations_do_not_saturate) {
    for (const worker::TensorTypeTraits &traits : worker::tensor_types()) {
        if (!is_quantised(traits.type)) continue;
        for (const uint8_t level : {uint8_t{0x00}, uint8_t{0x7f}, uint8_t{0x80}, uint8_t{0xff}}) {
            Random random(level);
            const uint64_t rows = 3, columns = 1024;
            std::vector<std::byte> stored = random_rows(traits.type, rows, columns, random);
            const std::vector<std::byte> moderate = stored;
            std::fill(stored.begin(), stored.end(), std::byte{level});
            /* The scales stay finite. */
            for (size_t block = 0; block < stored.size(); block += traits.block_bytes)
                for (const uint32_t offset : half_offsets(traits.type)) std::memcpy(&stored[block + offset], &moderate[block + offset], 2);
            const Matrix matrix{traits.type, rows, columns, stored.data(), std::vector<float>(rows)};
            Vectors activations(3, std::vector<float>(columns, 1.0f));
            for (size_t i = 0; i < columns; i += 2) activations[1][i] = -1.0f;
            for (float &number : activations[2]) number = -1.0f;
            for (const Arithmetic arithmetic : {Arithmetic::Fast, Arithmetic::Careful})
                for (const Role role : {Role::Prompt, Role::Decode}) {
                    const Vectors expected = multiply(*worker::cpu::supported_cpu_kernels().front(), matrix, role, arithmetic, activations, rows);
                    for (const KernelTable *table : paths())
                        if (!same(multiply(*table, matrix, role, arithmetic, activations, rows), expected, 3))
                            harness::fail(__FILE__, __LINE__, std::string(table->name) + " " + traits.name);
                }
        }
    }
}

TEST(what_is_not_finite_never_gives_a_plausible_number) {
    const float infinity = std::numeric_limits<float>::infinity();
    for (const KernelTable *table : paths())
        for (const TensorType type : {TensorType::Q8_0, TensorType::Q4_0, TensorType::Q4_K, TensorType::Q6_K})
            for (const Role role : {Role::Prompt, Role::Decode}) {
                Random random(11);
                const uint64_t rows = 5, columns = 768;
                std::vector<std::byte> stored = random_rows(type, rows, columns, random);
                Matrix matrix{type, rows, columns, stored.data(), std::vector<float>(rows)};
                const std::vector<float> finite = random_numbers(random, columns);
                for (const float bad : {infinity, -infinity, std::nanf("")})
                    for (const size_t place : {size_t{0}, size_t{300}, size_t{columns - 1}}) {
                        Vectors activations(1, finite);
                        activations[0][place] = bad;
                        const Vectors outputs = multiply(*table, matrix, role, Arithmetic::Fast, activations, rows);
                        for (const float output : outputs[0])
                            if (std::isfinite(output)) harness::fail(__FILE__, __LINE__, std::string(table->name) + " " + worker::traits_of(type).name);
                    }
                /* A scale that is not a number, of row 2 alone. */
                const size_t scale = 2 * worker::row_bytes(type, columns) + half_offsets(type)[0];
                stored[scale] = std::byte{0xff};
                stored[scale + 1] = std::byte{0x7f};
                const Vectors outputs = multiply(*table, matrix, role, Arithmetic::Fast, {finite}, rows);
                for (uint64_t row = 0; row < rows; row++) CHECK_EQUAL(std::isfinite(outputs[0][row]), row != 2);
                /* Numbers at the ends of the range are finite. */
                for (const float scaled : {1e-38f, 1e-45f, 1e30f}) {
                    stored = random_rows(type, rows, columns, random);
                    matrix.weights = stored.data();
                    Vectors activations(1, finite);
                    for (float &number : activations[0]) number *= scaled;
                    const Vectors scaled_outputs = multiply(*table, matrix, role, Arithmetic::Fast, activations, rows);
                    for (const float output : scaled_outputs[0]) CHECK(std::isfinite(output));
                }
            }
}

/* With one vector or several, and with more rows or fewer than go on together. */
TEST(rows_whose_activations_leave_the_first_level_cache_give_the_same_bits) {
    const KernelTable &scalar = *worker::cpu::supported_cpu_kernels().front();
    for (const worker::TensorTypeTraits &traits : worker::tensor_types()) {
        if (!is_quantised(traits.type)) continue;
        const uint64_t rows = 21, columns = traits.block_length == 256 ? 59 * 256 : 477 * 32;
        Random random(static_cast<uint64_t>(traits.type));
        const Guarded guarded(random_rows(traits.type, rows, columns, random));
        const Matrix matrix{traits.type, rows, columns, guarded.start, random_numbers(random, rows)};
        const Vectors activations = activations_for(columns, 3, random);
        for (const Arithmetic arithmetic : {Arithmetic::Fast, Arithmetic::Careful}) {
            const Vectors expected = multiply(scalar, matrix, Role::Decode, arithmetic, activations, rows);
            for (const KernelTable *table : paths())
                for (const size_t count : {1u, 3u})
                    for (const uint64_t rows_at_once : {rows, uint64_t{5}}) {
                        const Vectors some(activations.begin(), activations.begin() + static_cast<ptrdiff_t>(count));
                        if (!same(multiply(*table, matrix, Role::Decode, arithmetic, some, rows_at_once), expected, count))
                            harness::fail(__FILE__, __LINE__, std::string(table->name) + " " + traits.name + ", " + std::to_string(count) + " vectors");
                    }
        }
    }
}
