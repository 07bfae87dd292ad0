/* Products of every stored type, against the order of summation that they promise and against the CPU's exact ones. */
#include "formats/dequantise.h"
#include "kernel_test.h"
#include "math/aligned.h"

using worker::TensorType;
using worker::gpu::ProductTask;

namespace {

struct Problem {
    TensorType type;
    uint32_t rows, columns, count, experts;
    std::vector<std::byte> weights;
    std::vector<float> bias, inputs;

    Problem(TensorType stored, uint32_t row_count, uint32_t column_count, uint32_t vectors, uint32_t expert_count = 1)
        : type(stored), rows(row_count), columns(column_count), count(vectors), experts(expert_count) {
        Random random(rows * 1000 + columns + static_cast<uint64_t>(type));
        weights = random_rows(type, uint64_t{rows} * experts, columns, random);
        bias = random_numbers(random, size_t{rows} * experts);
        inputs = random_numbers(random, size_t{count} * columns);
    }

    ProductTask task(std::vector<float> &outputs) const {
        outputs.assign(size_t{count} * rows, NAN);
        return {.weights = {type, weights.data(), worker::row_bytes(type, columns)},
                .columns = columns,
                .rows = rows,
                .bias = bias.data(),
                .inputs = inputs.data(),
                .input_stride = columns,
                .outputs = outputs.data(),
                .output_stride = rows,
                .count = count};
    }

    std::string name() const { return std::string(worker::traits_of(type).name) + " " + std::to_string(rows) + "x" + std::to_string(columns); }
};

std::vector<float> multiply(const Problem &problem) {
    std::vector<float> outputs;
    worker::gpu::multiply(problem.task(outputs), stream());
    settle();
    return outputs;
}

/* One chain of fused multiplications per column modulo sixteen, the tree over the chains, the bias. */
float promised(const float *weights, const float *input, uint32_t columns, float bias) {
    float chains[16] = {};
    for (uint32_t i = 0; i < columns; i++) chains[i % 16] = std::fma(weights[i], input[i], chains[i % 16]);
    for (unsigned apart = 8; apart > 0; apart /= 2)
        for (unsigned i = 0; i < apart; i++) chains[i] += chains[i + apart];
    return chains[0] + bias;
}

std::vector<float> promised_outputs(const Problem &problem) {
    std::vector<float> outputs, row(problem.columns);
    outputs.resize(size_t{problem.count} * problem.rows);
    for (uint32_t r = 0; r < problem.rows; r++) {
        worker::dequantise(problem.type, problem.weights.data() + r * worker::row_bytes(problem.type, problem.columns), problem.columns, row.data());
        for (uint32_t i = 0; i < problem.count; i++)
            outputs[size_t{i} * problem.rows + r] = promised(row.data(), problem.inputs.data() + size_t{i} * problem.columns, problem.columns, problem.bias[r]);
    }
    return outputs;
}

std::vector<float> scalar_outputs(const Problem &problem) {
    using namespace worker::cpu;
    const PreparedForm form = scalar().prepared_form(problem.type, Role::Prompt, Arithmetic::Exact);
    const size_t bytes = scalar().prepared_bytes(form, problem.columns);
    const Aligned prepared = aligned(bytes * problem.count), scratch = aligned(scalar().product_scratch(problem.columns) * sizeof(float));
    std::vector<float> outputs(size_t{problem.count} * problem.rows);
    std::vector<const std::byte *> inputs;
    std::vector<float *> places;
    for (uint32_t i = 0; i < problem.count; i++) {
        std::byte *place = static_cast<std::byte *>(prepared.get()) + i * bytes;
        scalar().prepare(form, problem.inputs.data() + size_t{i} * problem.columns, problem.columns, place);
        inputs.push_back(place);
        places.push_back(outputs.data() + size_t{i} * problem.rows);
    }
    scalar().product({.type = problem.type,
                      .role = Role::Prompt,
                      .form = form,
                      .weights = problem.weights.data(),
                      .row_bytes = worker::row_bytes(problem.type, problem.columns),
                      .columns = problem.columns,
                      .first_row = 0,
                      .last_row = problem.rows,
                      .bias = problem.bias.data(),
                      .inputs = inputs.data(),
                      .outputs = places.data(),
                      .count = problem.count,
                      .scratch = static_cast<float *>(scratch.get())});
    return outputs;
}

/* Each row alone. */
std::vector<float> one_by_one(const Problem &problem) {
    std::vector<float> outputs;
    const ProductTask together = problem.task(outputs);
    for (uint32_t i = 0; i < problem.count; i++) {
        ProductTask alone = together;
        alone.inputs += i * together.input_stride;
        alone.outputs += i * together.output_stride;
        alone.count = 1;
        worker::gpu::multiply(alone, stream());
    }
    settle();
    return outputs;
}

uint32_t columns_of(const worker::TensorTypeTraits &traits, uint32_t blocks) {
    return traits.block_length == 1 ? blocks * 13 : blocks * traits.block_length;
}

} // namespace

TEST(gpu_products_of_every_type_have_the_promised_bits) {
    for (const worker::TensorTypeTraits &traits : worker::tensor_types())
        for (const uint32_t blocks : {1u, 2u, 5u}) {
            const Problem problem(traits.type, 3 + blocks * 7, columns_of(traits, blocks), 11);
            const std::vector<float> outputs = in_any_order(problem.name(), [&] { return multiply(problem); });
            check_same(problem.name() + ", the promised order", outputs, promised_outputs(problem));
            check_same(problem.name() + ", row by row", outputs, one_by_one(problem));
            check_close(problem.name() + ", the CPU", outputs, scalar_outputs(problem), 2e-6f);
        }
}

TEST(gpu_products_of_random_shapes_have_the_promised_bits) {
    Random random(99);
    for (int i = 0; i < 60; i++) {
        const worker::TensorTypeTraits &traits = worker::tensor_types()[random.below(static_cast<uint32_t>(worker::tensor_types().size()))];
        const uint32_t columns = traits.block_length == 1 ? 1 + random.below(300) : traits.block_length * (1 + random.below(512 / traits.block_length));
        const Problem problem(traits.type, 1 + random.below(70), columns, 1 + random.below(20));
        check_same(problem.name(), in_any_order(problem.name(), [&] { return multiply(problem); }), promised_outputs(problem));
    }
}

TEST(gpu_products_of_strided_rows_touch_nothing_else) {
    const Problem problem(TensorType::Q8_0, 5, 64, 3);
    std::vector<float> whole;
    const std::vector<float> expected = multiply(problem);
    ProductTask task = problem.task(whole);
    std::vector<float> outputs(3 * 9, -7.0f);
    task.outputs = outputs.data();
    task.output_stride = 9;
    task.bias = nullptr;
    worker::gpu::multiply(task, stream());
    settle();
    for (size_t i = 0; i < outputs.size(); i++) {
        const size_t row = i % 9;
        CHECK_EQUAL(row < 5 ? outputs[i] + problem.bias[row] : outputs[i], row < 5 ? expected[i / 9 * 5 + row] : -7.0f);
    }
}

TEST(gpu_products_with_experts_take_each_output_from_its_own) {
    constexpr uint32_t experts = 5, used = 2;
    for (const TensorType type : {TensorType::MXFP4, TensorType::Q8_0, TensorType::F32}) {
        const Problem problem(type, 19, 96, 6, experts);
        std::vector<uint32_t> chosen(problem.count * used);
        for (size_t slot = 0; slot < chosen.size(); slot++) chosen[slot] = static_cast<uint32_t>(slot * 7 % experts);
        std::vector<float> alone;
        const std::vector<float> outputs = in_any_order(problem.name(), [&] {
            std::vector<float> slots(chosen.size() * problem.rows, NAN);
            ProductTask task = problem.task(alone);
            task.outputs = slots.data();
            task.count = static_cast<uint32_t>(chosen.size());
            task.chosen = chosen.data();
            task.outputs_per_input = used;
            worker::gpu::multiply(task, stream());
            settle();
            return slots;
        });
        std::vector<float> expected;
        for (size_t slot = 0; slot < chosen.size(); slot++) {
            ProductTask task = problem.task(alone);
            task.weights.data += chosen[slot] * problem.rows * task.weights.row_bytes;
            task.bias += chosen[slot] * problem.rows;
            worker::gpu::multiply(task, stream());
            settle();
            const auto row = alone.begin() + static_cast<std::ptrdiff_t>(slot / used * problem.rows);
            expected.insert(expected.end(), row, row + problem.rows);
        }
        check_same(problem.name(), outputs, expected);
    }
}
