/* Products of every kernel path, type and role against sums in double precision, and their independence of company. */
#include "../../src/cpu/kernels.h"
#include "../../src/formats/dequantise.h"
#include "../harness.h"
#include "aligned.h"
#include "bfloat.h"
#include "random_data.h"

#include <algorithm>
#include <cmath>
#include <string>

using worker::TensorType;
using worker::cpu::Arithmetic;
using worker::cpu::KernelTable;
using worker::cpu::PreparedForm;
using worker::cpu::Role;

namespace {

/* A matrix and some activation rows, and how to multiply parts of them. */
struct Problem {
    const KernelTable &table;
    TensorType type;
    Role role;
    PreparedForm form;
    uint64_t rows, columns, count;
    std::vector<std::byte> weights;
    std::vector<float> bias;
    std::vector<std::vector<float>> activations;
    Aligned prepared, scratch;
    std::vector<const std::byte *> inputs;

    Problem(const KernelTable &kernels, TensorType stored, Role of, Arithmetic arithmetic, uint64_t row_count, uint64_t column_count, uint64_t vectors)
        : table(kernels), type(stored), role(of), form(kernels.prepared_form(stored, of, arithmetic)), rows(row_count), columns(column_count), count(vectors) {
        Random random(rows * 1000 + columns + static_cast<uint64_t>(type));
        weights = random_rows(type, rows, columns, random);
        bias = random_numbers(random, rows);
        const size_t bytes = table.prepared_bytes(form, columns);
        prepared = aligned(bytes * count);
        scratch = aligned(table.product_scratch(columns) * sizeof(float));
        for (uint64_t i = 0; i < count; i++) {
            activations.push_back(random_numbers(random, columns));
            std::byte *place = static_cast<std::byte *>(prepared.get()) + i * bytes;
            table.prepare(form, activations.back().data(), columns, place);
            inputs.push_back(place);
        }
    }

    void multiply(uint64_t first_row, uint64_t last_row, uint64_t first, uint64_t vectors, std::vector<std::vector<float>> &outputs) {
        std::vector<float *> places;
        for (uint64_t i = first; i < first + vectors; i++) places.push_back(outputs[i].data());
        table.product({type, role, form, weights.data(), worker::row_bytes(type, columns), columns, first_row, last_row, bias.data(), inputs.data() + first,
                       places.data(), vectors, static_cast<float *>(scratch.get())});
    }

    std::vector<std::vector<float>> empty() const { return std::vector<std::vector<float>>(count, std::vector<float>(rows)); }
    std::string name() const {
        return std::string(table.name) + " " + worker::traits_of(type).name + (role == Role::Prompt ? " prompt " : " decode ") + std::to_string(rows) + "x" +
               std::to_string(columns);
    }
};

/* What the integer product makes of activations. */
void round_to_integers(std::vector<float> &row, float limit) {
    for (size_t block = 0; block < row.size(); block += 32) {
        float most = 0;
        for (size_t i = block; i < block + 32; i++) most = std::max(most, std::fabs(row[i]));
        for (size_t i = block; i < block + 32; i++) row[i] = std::nearbyint(row[i] * (limit / most)) * (most / limit);
    }
}

void check_problem(Problem &problem) {
    std::vector<std::vector<float>> together = problem.empty(), alone = problem.empty();
    problem.multiply(0, problem.rows, 0, problem.count, together);
    /* One row of the batch at a time, and the matrix in uneven parts. */
    for (uint64_t i = 0; i < problem.count; i++)
        for (uint64_t row = 0, part = 1; row < problem.rows; row += part, part = part * 2 + 1)
            problem.multiply(row, std::min(problem.rows, row + part), i, 1, alone);
    if (together != alone) harness::fail(__FILE__, __LINE__, problem.name() + ": a row depends on its company");

    std::vector<float> expanded(problem.columns);
    std::vector<std::vector<float>> multiplied = problem.activations;
    if (problem.form == PreparedForm::BfloatRow)
        for (std::vector<float> &row : multiplied) std::transform(row.begin(), row.end(), row.begin(), rounded_to_bfloat);
    else if (problem.form != PreparedForm::Floats)
        for (std::vector<float> &row : multiplied) round_to_integers(row, worker::cpu::plain_form(problem.form) == PreparedForm::Bytes ? 127.0f : 32512.0f);
    const size_t row_bytes = worker::row_bytes(problem.type, problem.columns);
    for (uint64_t row = 0; row < problem.rows; row++) {
        worker::dequantise(problem.type, problem.weights.data() + row * row_bytes, problem.columns, expanded.data());
        for (uint64_t i = 0; i < problem.count; i++) {
            double sum = problem.bias[row], magnitude = std::fabs(problem.bias[row]);
            for (uint64_t k = 0; k < problem.columns; k++) {
                const double product = static_cast<double>(expanded[k]) * multiplied[i][k];
                sum += product;
                magnitude += std::fabs(product);
            }
            if (!(std::fabs(together[i][row] - sum) <= 2e-6 * magnitude))
                harness::fail(__FILE__, __LINE__, problem.name() + ": row " + std::to_string(row) + " gives " + std::to_string(together[i][row]) +
                                                      ", the exact sum is " + std::to_string(sum));
        }
    }
}

/* matrix_tiles_test.cpp has those. */
bool in_tiles_only(const KernelTable &table, TensorType type, Role role, Arithmetic arithmetic) {
    return table.prepared_form(type, role, arithmetic) == PreparedForm::Bfloats;
}

} // namespace

TEST(products_are_right_and_independent_of_their_company) {
    for (const KernelTable *table : worker::cpu::supported_cpu_kernels())
        for (const worker::TensorTypeTraits &traits : worker::tensor_types())
            for (const Role role : {Role::Prompt, Role::Decode})
                for (const Arithmetic arithmetic : {Arithmetic::Exact, Arithmetic::Careful, Arithmetic::Fast})
                    for (const uint64_t blocks : {1u, 2u, 3u, 5u, 21u}) {
                        const uint64_t columns = traits.block_length == 1 ? blocks * 13 : blocks * traits.block_length;
                        if (in_tiles_only(*table, traits.type, role, arithmetic)) continue;
                        Problem problem(*table, traits.type, role, arithmetic, 1 + blocks * 7, columns, 9);
                        check_problem(problem);
                    }
}

TEST(products_with_long_rows_are_right) {
    for (const KernelTable *table : worker::cpu::supported_cpu_kernels())
        for (const TensorType type : {TensorType::F32, TensorType::BF16, TensorType::Q8_0, TensorType::Q4_K})
            for (const Role role : {Role::Prompt, Role::Decode})
                for (const Arithmetic arithmetic : {Arithmetic::Exact, Arithmetic::Careful, Arithmetic::Fast}) {
                    if (in_tiles_only(*table, type, role, arithmetic)) continue;
                    Problem problem(*table, type, role, arithmetic, 5, 19200, 5);
                    check_problem(problem);
                }
}

TEST(the_kernel_path_can_be_read) {
    CHECK_EQUAL(std::string(worker::cpu::supported_cpu_kernels().front()->name), std::string("scalar"));
    CHECK(!worker::cpu::supported_cpu_kernels().empty());
}
