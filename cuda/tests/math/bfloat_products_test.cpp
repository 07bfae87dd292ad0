/* The product of BF16 weights with activations rounded to bf16, on the paths that have it, against what kernels.h says of it in
 * plain C++: the same bits, for any number of activation rows and any split of the weights. */
#include "../../src/cpu/kernels.h"
#include "../harness.h"
#include "aligned.h"
#include "bfloat.h"
#include "random_problem.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>

using worker::TensorType;
using worker::cpu::Arithmetic;
using worker::cpu::KernelTable;
using worker::cpu::PreparedForm;
using worker::cpu::ProductTask;
using worker::cpu::Role;
using worker::cpu::TileKind;
using worker::cpu::TileShape;

namespace {

float fused(float a, float b, float c) { return without_denormals(std::fma(a, b, c)); }

/* Of one row of weights with one of activations, which is as long as 32 divides. */
float defined_product(const uint16_t *weights, const std::vector<float> &activations) {
    float sums[16] = {};
    for (size_t first = 0; first < activations.size(); first += 32)
        for (size_t lane = 0; lane < 16; lane++) {
            const size_t even = first + 2 * lane, odd = even + 1;
            sums[lane] = fused(from_bfloat(weights[odd]), activations[odd], sums[lane]);
            sums[lane] = fused(from_bfloat(weights[even]), activations[even], sums[lane]);
        }
    for (size_t half = 8; half > 0; half /= 2)
        for (size_t lane = 0; lane < half; lane++) sums[lane] += sums[lane + half];
    return sums[0];
}

struct Problem : RandomProblem {
    Problem(uint64_t row_count, uint64_t column_count, uint64_t vectors) : RandomProblem(TensorType::BF16, row_count, column_count, vectors) {}

    Outputs defined() const {
        Outputs outputs(count, std::vector<float>(rows));
        const uint64_t padded = (columns + 31) / 32 * 32;
        for (uint64_t i = 0; i < count; i++) {
            std::vector<float> rounded(padded);
            std::transform(activations[i].begin(), activations[i].end(), rounded.begin(), rounded_to_bfloat);
            for (uint64_t row = 0; row < rows; row++) {
                std::vector<uint16_t> stored(padded);
                std::memcpy(stored.data(), weights.data() + row * columns * 2, columns * 2);
                outputs[i][row] = defined_product(stored.data(), rounded) + bias[row];
            }
        }
        return outputs;
    }

    ProductTask task(uint64_t first_row, uint64_t last_row, float *const *outputs, void *scratch) const {
        return {type, Role::Prompt, PreparedForm::BfloatRow, weights.data(), columns * 2, columns, first_row, last_row, bias.data(), nullptr, outputs, count, static_cast<float *>(scratch)};
    }

    /* Calls run(task) for uneven parts of the rows. */
    template <typename Function> Outputs by_parts(void *scratch, const Function &run) const {
        Outputs outputs(count, std::vector<float>(rows));
        std::vector<float *> places;
        for (std::vector<float> &output : outputs) places.push_back(output.data());
        for (uint64_t row = 0, part = 1; row < rows; row += part, part = part * 2 + 1) {
            ProductTask some = task(row, std::min(rows, row + part), places.data(), scratch);
            if (some.last_row < rows) {
                some.next_weights = weights.data() + some.last_row * some.row_bytes;
                some.next_bytes = (rows - some.last_row) * some.row_bytes;
            }
            run(some);
        }
        return outputs;
    }

    Outputs streamed(const KernelTable &table) const {
        const size_t bytes = table.prepared_bytes(PreparedForm::BfloatRow, columns);
        CHECK_EQUAL(bytes % 64, size_t{0});
        const Aligned prepared = aligned(bytes * count), scratch = aligned(table.product_scratch(columns) * sizeof(float));
        std::memset(prepared.get(), 0xff, bytes * count);
        std::vector<const std::byte *> inputs;
        for (uint64_t i = 0; i < count; i++) {
            auto *place = static_cast<std::byte *>(prepared.get()) + i * bytes;
            table.prepare(PreparedForm::BfloatRow, activations[i].data(), columns, place);
            inputs.push_back(place);
        }
        return by_parts(scratch.get(), [&](ProductTask &some) {
            some.inputs = inputs.data();
            table.product(some);
        });
    }

    /* Scratch and tiles full of NaN before. */
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
                table.interleave_floats(shape, inputs.data() + i, static_cast<size_t>(std::min<uint64_t>(shape.lanes, count - i)), column,
                                        std::min(worker::cpu::tile_segment, columns - column), static_cast<std::byte *>(tiles.get()) + i * lane_bytes);
        return by_parts(scratch.get(), [&](ProductTask &some) {
            std::memset(scratch.get(), 0xff, scratch_bytes);
            some.shape = shape;
            some.tiles = static_cast<const std::byte *>(tiles.get());
            table.tile_product(some);
        });
    }
};

bool same(float a, float b) { return std::memcmp(&a, &b, sizeof a) == 0 || (std::isnan(a) && std::isnan(b)); }

void expect_same(const Problem &problem, const char *what, const Outputs &expected, const Outputs &outputs) {
    for (uint64_t i = 0; i < problem.count; i++)
        for (uint64_t row = 0; row < problem.rows; row++)
            if (!same(outputs[i][row], expected[i][row]))
                return harness::fail(__FILE__, __LINE__, std::string(what) + " " + std::to_string(problem.rows) + "x" + std::to_string(problem.columns) + " by " +
                                                             std::to_string(problem.count) + ": row " + std::to_string(row) + " of vector " + std::to_string(i) + " is " +
                                                             std::to_string(outputs[i][row]) + ", not " + std::to_string(expected[i][row]));
}

/* How many paths have the form. */
unsigned compare(const Problem &problem) {
    unsigned compared = 0;
    for (const KernelTable *table : worker::cpu::supported_cpu_kernels()) {
        if (table->prepared_form(TensorType::BF16, Role::Decode, Arithmetic::Fast) != PreparedForm::BfloatRow) continue;
        compared++;
        const Outputs expected = problem.defined();
        expect_same(problem, "streamed", expected, problem.streamed(*table));
        const TileShape shape = table->tile_shape(TensorType::BF16, PreparedForm::BfloatRow, problem.count);
        CHECK_EQUAL(static_cast<bool>(shape), problem.count > 1);
        if (shape) expect_same(problem, "tiled", expected, problem.tiled(*table, shape));
    }
    return compared;
}

/* This CPU's path of that name, if it has one. */
bool has_path() {
    const auto tables = worker::cpu::supported_cpu_kernels();
    return std::any_of(tables.begin(), tables.end(), [](const KernelTable *table) { return std::string(table->name) == "avx512bf16"; });
}

} // namespace

TEST(bfloat_products_have_the_bits_that_are_defined_however_many_rows) {
    for (uint64_t count = 1; count <= 40; count = count < 9 ? count + 1 : count * 2 - 3)
        for (const uint64_t rows : {1u, 10u, 47u})
            for (const uint64_t columns : {1u, 13u, 16u, 31u, 32u, 33u, 48u, 96u, 130u, 256u}) CHECK_EQUAL(compare({rows, columns, count}) != 0, has_path());
}

/* Several blocks of columns and of rows; activations beyond the first-level cache. */
TEST(bfloat_products_of_long_rows_have_the_bits_that_are_defined) {
    for (const uint64_t columns : {2048u, 2061u, 4896u, 8224u, 14336u, 28700u})
        for (const uint64_t count : {1u, 2u, 5u}) CHECK_EQUAL(compare({27, columns, count}) != 0, has_path());
    CHECK_EQUAL(compare({75, 4112, 9}) != 0, has_path());
}

TEST(bfloat_products_keep_what_is_not_finite_and_drop_what_is_denormal) {
    Problem problem(9, 77, 9);
    problem.activations[0][40] = std::numeric_limits<float>::max(); /* the nearest bf16 is infinity */
    problem.activations[2][76] = std::numeric_limits<float>::infinity();
    problem.activations[8][3] = std::numeric_limits<float>::quiet_NaN();
    for (float &value : problem.activations[3]) value *= 0x1p-126f;
    for (float &value : problem.activations[4]) value *= 0x1p-124f;
    problem.activations[5].assign(77, -0.0f);
    CHECK_EQUAL(compare(problem) != 0, has_path());
    const Outputs outputs = problem.defined();
    CHECK(std::isinf(outputs[0][0]) && !std::isfinite(outputs[2][0]) && std::isnan(outputs[8][0]) && std::isfinite(outputs[3][0]));
}

TEST(both_roles_have_one_product_of_bfloats_and_only_where_rounding_is_allowed) {
    for (const KernelTable *table : worker::cpu::supported_cpu_kernels()) {
        const bool rounds = std::string(table->name) == "avx512bf16";
        for (const Role role : {Role::Prompt, Role::Decode}) {
            CHECK_EQUAL(table->prepared_form(TensorType::BF16, role, Arithmetic::Fast) == PreparedForm::BfloatRow, rounds);
            for (const Arithmetic arithmetic : {Arithmetic::Exact, Arithmetic::Careful, Arithmetic::Fine})
                CHECK(table->prepared_form(TensorType::BF16, role, arithmetic) != PreparedForm::BfloatRow);
            CHECK(table->prepared_form(TensorType::F16, role, Arithmetic::Fast) != PreparedForm::BfloatRow);
        }
        if (rounds) CHECK(table->roles_agree(TensorType::BF16, Arithmetic::Fast));
    }
}
