/* What is written for the matrix unit, on a model of it. */
#include "../../src/cpu/kernels.h"
#include "../../src/cpu/matrix_unit.h"
#include "../../src/formats/blocks.h"
#include "../../src/formats/dequantise.h"
#include "../harness.h"
#include "aligned.h"
#include "random_problem.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <string>
#include <vector>

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

#if defined(__x86_64__)
#include "../../src/cpu/isa_amx_unit.inc"
#endif
#include "../../src/cpu/isa_matrix_tiles.inc"

struct Problem : RandomProblem {
    using RandomProblem::RandomProblem;

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
    Outputs together(problem.count, std::vector<float>(problem.rows)), apart = together;
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

/* A tile of sums after sums += weights * activations, each given as the bits of a tile. */
template <typename Unit> std::vector<uint32_t> add_products_of(const std::vector<uint32_t> &sums, const std::vector<uint32_t> &weights, const std::vector<uint32_t> &activations) {
    alignas(64) uint32_t tiles[3][256];
    std::memcpy(tiles[0], sums.data(), sizeof tiles[0]);
    std::memcpy(tiles[1], weights.data(), sizeof tiles[1]);
    std::memcpy(tiles[2], activations.data(), sizeof tiles[2]);
    const typename Unit::Use use;
    Unit::template load<0>(tiles[0]);
    Unit::template load_once<4>(tiles[1]);
    Unit::template load<6>(tiles[2]);
    Unit::template add_products<0, 4, 6>();
    Unit::template store<0>(tiles[0]);
    return std::vector<uint32_t>(tiles[0], tiles[0] + 256);
}

constexpr uint32_t bits_of(float value) { return std::bit_cast<uint32_t>(value); }

/* A pair of bf16, the even one in the lower half. */
constexpr uint32_t pair_of(float even, float odd) { return bits_of(even) >> 16 | (bits_of(odd) & 0xffff0000); }

/* What one row's first pair gives with one column's. */
float sum_of(float sum, uint32_t weights, uint32_t activations) {
    std::vector<uint32_t> first(256), second(256), third(256);
    first[0] = bits_of(sum);
    second[0] = weights;
    third[0] = activations;
    return std::bit_cast<float>(add_products_of<ModelUnit>(first, second, third)[0]);
}

/* The instruction set reference's words: to nearest and even, without regard to MXCSR; denormal numbers are zeros, read or written. */
void check_model() {
    CHECK_EQUAL(sum_of(1, pair_of(2, 3), pair_of(5, 7)), 32.0f);
    CHECK_EQUAL(sum_of(0x1p-140f, pair_of(1, 0), pair_of(0x1p-126f, 0)), 0x1p-126f);  /* a denormal sum */
    CHECK_EQUAL(sum_of(0, pair_of(0x1p-130f, 0), pair_of(0x1p100f, 0)), 0.0f);        /* a denormal factor */
    CHECK_EQUAL(sum_of(0, pair_of(0x1p-64f, 0), pair_of(0x1p-64f, 0)), 0.0f);         /* a denormal product */
    CHECK_EQUAL(sum_of(0, pair_of(0x1p-64f, 0x1p-64f), pair_of(0x1p-63f, 0x1p-63f)), 0.0f); /* two, whose sum is none */
    CHECK_EQUAL(sum_of(-0x1p-126f, pair_of(0x1.8p-63f, 0), pair_of(0x1p-63f, 0)), 0.0f); /* a denormal difference */
    CHECK_EQUAL(sum_of(0x1.000002p0f, pair_of(0x1p-24f, 0), pair_of(1, 0)), 0x1.000004p0f); /* ties, up and down */
    CHECK_EQUAL(sum_of(1, pair_of(0x1p-24f, 0), pair_of(1, 0)), 1.0f);
    CHECK_EQUAL(sum_of(1, pair_of(0x1p-24f, 0x1p-24f), pair_of(1, 1)), 0x1.000002p0f); /* the pair first, then the sum */
    CHECK(std::isnan(sum_of(0, pair_of(std::numeric_limits<float>::infinity(), 0), pair_of(0, 0))));
}

#if defined(__x86_64__)
/* Numbers of all exponents around one: pairs of bf16, or floats. */
std::vector<uint32_t> random_tile(Random &random, bool pairs) {
    std::vector<uint32_t> tile(256);
    for (uint32_t &bits : tile) {
        const uint32_t high = (120 + random.below(16)) << 23, low = (120 + random.below(16)) << 7;
        bits = static_cast<uint32_t>(random.next() >> 32);
        bits = pairs ? (bits & 0x807f807f) | high | low : (bits & 0x807fffff) | high;
    }
    return tile;
}

std::vector<uint32_t> without_signs(std::vector<uint32_t> tile, uint32_t signs) {
    for (uint32_t &bits : tile) bits &= ~signs;
    return tile;
}

/* Within rounding; whether to the bit is printed, since the engine needs no more than the former. */
void compare_with_model() {
    Random random(77);
    unsigned different = 0, lanes = 0;
    for (unsigned round = 0; round < 20; round++) {
        const std::vector<uint32_t> sums = random_tile(random, false), weights = random_tile(random, true), activations = random_tile(random, true);
        const std::vector<uint32_t> expected = add_products_of<ModelUnit>(sums, weights, activations), found = add_products_of<MatrixUnit>(sums, weights, activations);
        const std::vector<uint32_t> sizes =
            add_products_of<ModelUnit>(without_signs(sums, 0x80000000), without_signs(weights, 0x80008000), without_signs(activations, 0x80008000));
        for (size_t i = 0; i < expected.size(); i++, lanes++) {
            const float model = std::bit_cast<float>(expected[i]), unit = std::bit_cast<float>(found[i]);
            different += expected[i] != found[i];
            if (!(std::fabs(unit - model) <= 0x1p-19f * std::bit_cast<float>(sizes[i])))
                harness::fail(__FILE__, __LINE__, "lane " + std::to_string(i) + ": the unit gives " + std::to_string(unit) + ", the model " + std::to_string(model));
        }
    }
    std::printf("of the matrix unit's sums %u of %u differ from the model's by rounding\n", different, lanes);
}
#endif

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

TEST(the_model_of_the_matrix_unit_rounds_and_flushes_as_documented) {
    worker::cpu::check_model();
#if defined(__x86_64__)
    if (worker::cpu::matrix_unit_state() == worker::cpu::MatrixUnitState::Works)
        worker::cpu::compare_with_model();
#endif
}

/* On a CPU without a unit there is nothing to find; with one it must work. */
TEST(the_matrix_unit_of_this_machine_is_absent_or_works) {
    const worker::cpu::MatrixUnitState state = worker::cpu::matrix_unit_state();
    CHECK(state != worker::cpu::MatrixUnitState::Fails);
    bool listed = false;
    for (const worker::cpu::KernelTable *table : worker::cpu::supported_cpu_kernels()) listed |= std::string(table->name) == "amx";
    CHECK_EQUAL(listed, state == worker::cpu::MatrixUnitState::Works && std::string(worker::cpu::supported_cpu_kernels().back()->name) == "amx");
}
