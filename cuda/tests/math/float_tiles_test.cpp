/* The product of floats with tiles, on every kernel path, against the same path's product of single rows, which the paths that
 * fuse multiplication and addition agree on: the same bits. */
#include "../../src/cpu/kernels.h"
#include "../harness.h"
#include "aligned.h"
#include "random_problem.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>

using worker::TensorType;
using worker::cpu::KernelTable;
using worker::cpu::PreparedForm;
using worker::cpu::ProductTask;
using worker::cpu::Role;
using worker::cpu::TileKind;
using worker::cpu::TileShape;

namespace {

struct Problem : RandomProblem {
    using RandomProblem::RandomProblem;

    ProductTask task(Role role, uint64_t first_row, uint64_t last_row, float *const *outputs, uint64_t vectors, void *scratch) const {
        return {type, role, PreparedForm::Floats, weights.data(), worker::row_bytes(type, columns), columns, first_row, last_row,
                bias.data(), nullptr, outputs, vectors, static_cast<float *>(scratch)};
    }

    /* One activation row after the other. */
    Outputs single(const KernelTable &table, Role role) const {
        const Aligned prepared = aligned(table.prepared_bytes(PreparedForm::Floats, columns)), scratch = aligned(table.product_scratch(columns) * sizeof(float));
        const auto *input = static_cast<const std::byte *>(prepared.get());
        Outputs outputs(count, std::vector<float>(rows));
        for (uint64_t i = 0; i < count; i++) {
            table.prepare(PreparedForm::Floats, activations[i].data(), columns, static_cast<std::byte *>(prepared.get()));
            float *place = outputs[i].data();
            ProductTask whole = task(role, 0, rows, &place, 1, scratch.get());
            whole.inputs = &input;
            table.product(whole);
        }
        return outputs;
    }

    /* The matrix in uneven parts; scratch and tiles full of NaN before. */
    Outputs tiled(const KernelTable &table, const TileShape &shape) const {
        TileShape one = shape;
        one.lanes = 1;
        const size_t lane_bytes = worker::cpu::tile_bytes(one, columns), scratch_bytes = table.tile_scratch(columns) * sizeof(float);
        const Aligned tiles = aligned(lane_bytes * count), scratch = aligned(scratch_bytes);
        std::memset(tiles.get(), 0xff, lane_bytes * count);
        std::vector<const float *> inputs;
        for (const std::vector<float> &row : activations) inputs.push_back(row.data());
        for (uint64_t i = 0; i < count; i += shape.lanes)
            for (uint64_t column = 0; column < columns; column += worker::cpu::tile_segment)
                worker::cpu::interleave_values(shape, {inputs.data() + i, static_cast<size_t>(std::min<uint64_t>(shape.lanes, count - i))}, column,
                                               std::min(worker::cpu::tile_segment, columns - column), columns,
                                               static_cast<std::byte *>(tiles.get()) + i * lane_bytes);
        Outputs outputs(count, std::vector<float>(rows));
        std::vector<float *> places;
        for (std::vector<float> &output : outputs) places.push_back(output.data());
        const size_t row_bytes = worker::row_bytes(type, columns);
        for (uint64_t row = 0, part = 1; row < rows; row += part, part = part * 2 + 1) {
            std::memset(scratch.get(), 0xff, scratch_bytes);
            ProductTask some = task(Role::Prompt, row, std::min(rows, row + part), places.data(), count, scratch.get());
            some.shape = shape;
            some.tiles = static_cast<const std::byte *>(tiles.get());
            if (some.last_row < rows) {
                some.next_weights = weights.data() + some.last_row * row_bytes;
                some.next_bytes = (rows - some.last_row) * row_bytes;
            }
            table.tile_product(some);
        }
        return outputs;
    }
};

bool same(float a, float b) { return std::memcmp(&a, &b, sizeof a) == 0 || (std::isnan(a) && std::isnan(b)); }

void expect_same(const Problem &problem, const std::string &what, const Outputs &expected, const Outputs &outputs) {
    for (uint64_t i = 0; i < problem.count; i++)
        for (uint64_t row = 0; row < problem.rows; row++)
            if (!same(outputs[i][row], expected[i][row]))
                return harness::fail(__FILE__, __LINE__, what + " " + worker::traits_of(problem.type).name + " " + std::to_string(problem.rows) + "x" +
                                                             std::to_string(problem.columns) + " by " + std::to_string(problem.count) + ": row " + std::to_string(row) +
                                                             " of vector " + std::to_string(i) + " is " + std::to_string(outputs[i][row]) + ", not " +
                                                             std::to_string(expected[i][row]));
}

/* How many paths have tiles for it. */
unsigned compare(const Problem &problem) {
    unsigned compared = 0;
    const KernelTable *fused = nullptr;
    Outputs of_fused;
    for (const KernelTable *table : worker::cpu::supported_cpu_kernels()) {
        const Outputs expected = problem.single(*table, Role::Decode);
        expect_same(problem, std::string(table->name) + " prompt rows", expected, problem.single(*table, Role::Prompt));
        if (table != worker::cpu::supported_cpu_kernels().front()) {
            if (fused != nullptr) expect_same(problem, std::string(table->name) + " as " + fused->name, of_fused, expected);
            fused = table;
            of_fused = expected;
        }
        const TileShape shape = table->tile_shape(problem.type, PreparedForm::Floats, problem.count);
        if (!shape) continue;
        CHECK(shape.kind == TileKind::Floats);
        compared++;
        expect_same(problem, table->name, expected, problem.tiled(*table, shape));
    }
    return compared;
}

} // namespace

TEST(float_products_with_tiles_have_the_bits_of_single_rows) {
    unsigned compared = 0;
    for (const worker::TensorTypeTraits &traits : worker::tensor_types())
        for (const uint64_t count : {1u, 2u, 3u, 4u, 5u, 6u, 7u, 8u, 9u, 15u, 33u})
            for (const uint64_t blocks : {1u, 3u, 5u})
                for (const uint64_t columns : {13u, 16u, 17u, 32u, 48u, 256u})
                    if (columns % traits.block_length == 0) compared += compare({traits.type, 1 + blocks * 9, blocks * columns, count});
    CHECK(compared != 0);
}

/* Several blocks of columns and of rows. */
TEST(float_products_with_tiles_and_long_rows_have_the_bits_of_single_rows) {
    for (const TensorType type : {TensorType::F32, TensorType::F16, TensorType::BF16})
        for (const uint64_t columns : {1040u, 2048u, 2061u, 4112u, 8208u}) CHECK(compare({type, 75, columns, 9}) != 0);
    for (const TensorType type : {TensorType::Q8_0, TensorType::Q4_K}) CHECK(compare({type, 75, 8192, 6}) != 0);
}

TEST(float_products_with_tiles_keep_what_is_not_finite) {
    Problem problem(TensorType::F16, 9, 77, 9);
    problem.activations[2][76] = std::numeric_limits<float>::infinity();
    problem.activations[8][3] = std::numeric_limits<float>::quiet_NaN();
    CHECK(compare(problem) != 0);
    const Outputs outputs = problem.single(*worker::cpu::supported_cpu_kernels().front(), Role::Decode);
    CHECK(!std::isfinite(outputs[2][0]) && std::isnan(outputs[8][0]) && std::isfinite(outputs[3][0]));
}
