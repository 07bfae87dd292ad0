/* What is written for the matrix unit, on a model of it. */
#include "../../src/cpu/kernels.h"
#include "../../src/cpu/matrix_unit.h"
#include "../../src/formats/blocks.h"
#include "../../src/formats/dequantise.h"
#include "../harness.h"
#include "random_data.h"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>

#if defined(__GNUC__) && !defined(__clang__)
#pragma GCC diagnostic ignored "-Wpsabi"
#endif

#define INLINE inline __attribute__((always_inline))
#define INLINE_LAMBDA __attribute__((always_inline))

namespace worker::cpu {

namespace {

struct NibbleTable {
    alignas(64) float floats[16];
    int8_t bytes[16];
};

#include "../../src/cpu/isa_vector_scalar.inc"

#include "../../src/cpu/isa_formats.inc"
#include "../../src/cpu/isa_integers.inc"

INLINE void prefetch_far(const void *) {}

INLINE Lanes to_bfloats(Lanes lanes, std::byte *to) {
    float values[16];
    store(values, lanes);
    for (unsigned i = 0; i < 16; i++) {
        uint32_t bits;
        std::memcpy(&bits, &values[i], 4);
        bits = std::isnan(values[i]) ? bits | 0x400000 : bits + 0x7fff + (bits >> 16 & 1);
        bits &= 0xffff0000;
        std::memcpy(to + 2 * i, reinterpret_cast<const std::byte *>(&bits) + 2, 2);
        std::memcpy(&values[i], &bits, 4);
    }
    return load(values);
}

INLINE void transpose(Lanes (&rows)[16]) {
    float values[16][16];
    for (unsigned i = 0; i < 16; i++) store(values[i], rows[i]);
    for (unsigned i = 0; i < 16; i++)
        for (unsigned j = 0; j < i; j++) std::swap(values[i][j], values[j][i]);
    for (unsigned i = 0; i < 16; i++) rows[i] = load(values[i]);
}

#include "../model/matrix_unit.inc"

#include "../../src/cpu/isa_matrix_tiles.inc"

struct Freed {
    void operator()(void *memory) const { std::free(memory); }
};
using Aligned = std::unique_ptr<void, Freed>;

Aligned aligned(size_t bytes) { return Aligned(std::aligned_alloc(64, (bytes + 127) / 64 * 64)); }

struct Problem {
    TensorType type;
    uint64_t rows, columns, count;
    std::vector<std::byte> weights;
    std::vector<float> bias;
    std::vector<std::vector<float>> activations;

    Problem(TensorType stored, uint64_t row_count, uint64_t column_count, uint64_t vectors) : type(stored), rows(row_count), columns(column_count), count(vectors) {
        Random random(rows * 1000 + columns + static_cast<uint64_t>(type));
        weights = random_rows(type, rows, columns, random);
        bias = random_numbers(random, rows);
        for (uint64_t i = 0; i < count; i++) activations.push_back(random_numbers(random, columns));
    }

    typedef std::vector<std::vector<float>> Outputs;

    bool is_float() const { return traits_of(type).block_length == 1; }

    /* Of activation rows [first, first + vectors), weight rows [first_row, last_row); by the model, or by what there is. */
    void multiply(bool real, uint64_t first, uint64_t vectors, uint64_t first_row, uint64_t last_row, Outputs &outputs) const {
        const TileShape shape{is_float() ? TileKind::BfloatPairs : TileKind::Bfloats, 16, 0, 0};
        const size_t bytes = tile_bytes(shape, columns), tiles = (vectors + 15) / 16;
        const Aligned tile = aligned(bytes * tiles), scratch = aligned(UnitScratch::floats * sizeof(float));
        std::memset(tile.get(), 0xff, bytes * tiles);
        std::vector<const float *> inputs;
        std::vector<float *> places;
        for (uint64_t i = first; i < first + vectors; i++) {
            inputs.push_back(activations[i].data());
            places.push_back(outputs[i].data());
        }
        for (uint64_t v = 0; v < vectors; v += 16)
            for (uint64_t column = 0; column < columns; column += tile_segment)
                (real ? amx::interleave : interleave_bfloats)(shape, inputs.data() + v, std::min<uint64_t>(16, vectors - v), column,
                                                              std::min(tile_segment, columns - column), static_cast<std::byte *>(tile.get()) + v / 16 * bytes);
        (real ? amx::product : unit_product<ModelUnit>)({type, Role::Prompt, PreparedForm::Bfloats, weights.data(), row_bytes(type, columns), columns, first_row, last_row, bias.data(), nullptr,
                                 places.data(), vectors, static_cast<float *>(scratch.get()), shape, static_cast<const std::byte *>(tile.get())});
    }
};

void check_by(bool real, const Problem &problem) {
    const std::string name = std::string(traits_of(problem.type).name) + " " + std::to_string(problem.rows) + "x" + std::to_string(problem.columns) + " by " +
                             std::to_string(problem.count);
    Problem::Outputs together(problem.count, std::vector<float>(problem.rows)), apart = together;
    problem.multiply(real, 0, problem.count, 0, problem.rows, together);
    for (uint64_t first = 0, vectors = 1; first < problem.count; first += vectors, vectors = vectors * 2 + 1)
        for (uint64_t row = 0, part = 3; row < problem.rows; row += part, part = part * 4)
            problem.multiply(real, first, std::min(vectors, problem.count - first), row, std::min(problem.rows, row + part), apart);
    if (together != apart) harness::fail(__FILE__, __LINE__, name + ": a row depends on its company");

    std::vector<float> expanded(problem.columns);
    /* bf16 keeps eight bits, and of F16 and BF16 weights' products sixteen. */
    const double precision = problem.is_float() ? 0x1p-14 : 0x1p-7;
    for (uint64_t row = 0; row < problem.rows; row++) {
        dequantise(problem.type, problem.weights.data() + row * row_bytes(problem.type, problem.columns), problem.columns, expanded.data());
        for (uint64_t i = 0; i < problem.count; i++) {
            double sum = problem.bias[row], magnitude = 0;
            for (uint64_t k = 0; k < problem.columns; k++) {
                const double product = static_cast<double>(expanded[k]) * problem.activations[i][k];
                sum += product;
                magnitude += std::fabs(product);
            }
            if (!(std::fabs(together[i][row] - sum) <= precision * magnitude))
                harness::fail(__FILE__, __LINE__, name + ": row " + std::to_string(row) + " gives " + std::to_string(together[i][row]) + ", the exact sum is " + std::to_string(sum));
        }
    }
}

void check(const Problem &problem) {
    check_by(false, problem);
    if (matrix_unit_state() == MatrixUnitState::Works) check_by(true, problem);
}

} // namespace

} // namespace worker::cpu

TEST(the_matrix_units_products_are_right_and_independent_of_their_company) {
    for (const worker::TensorTypeTraits &traits : worker::tensor_types()) {
        if (traits.type == worker::TensorType::F32) continue;
        for (const uint64_t columns : {256u, 1280u}) worker::cpu::check({traits.type, 37, columns, 19});
    }
    worker::cpu::check({worker::TensorType::F16, 5, 13, 3});
    worker::cpu::check({worker::TensorType::BF16, 33, 530, 33});
    worker::cpu::check({worker::TensorType::Q8_0, 300, 32, 290});
    worker::cpu::check({worker::TensorType::F16, 140, 48, 17});
}

/* On a CPU without a unit there is nothing to find; with one it must work. */
TEST(the_matrix_unit_of_this_machine_is_absent_or_works) {
    const worker::cpu::MatrixUnitState state = worker::cpu::matrix_unit_state();
    CHECK(state != worker::cpu::MatrixUnitState::Fails);
    bool listed = false;
    for (const worker::cpu::KernelTable *table : worker::cpu::supported_cpu_kernels()) listed |= std::string(table->name) == "amx";
    CHECK_EQUAL(listed, state == worker::cpu::MatrixUnitState::Works && std::string(worker::cpu::supported_cpu_kernels().back()->name) == "amx");
}
