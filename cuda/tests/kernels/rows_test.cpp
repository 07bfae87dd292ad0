/* Embeddings, norms, rotation, activations, experts and the small operations, against the CPU's scalar kernels. */
#include "cpu/row_operations.h"
#include "formats/dequantise.h"
#include "kernel_test.h"

using worker::TensorType;
using namespace worker::gpu;

TEST(gpu_embeddings_of_every_type_have_the_bits_of_the_format) {
    for (const worker::TensorTypeTraits &traits : worker::tensor_types()) {
        const uint32_t width = traits.block_length == 1 ? 77 : traits.block_length * 3, vocabulary = 9, count = 5;
        Random random(width);
        const std::vector<std::byte> tokens = random_rows(traits.type, vocabulary, width, random), positions = random_rows(traits.type, vocabulary, width, random);
        std::vector<BatchRow> rows;
        for (uint32_t i = 0; i < count; i++) rows.push_back({random.below(vocabulary), random.below(vocabulary), 0});
        const size_t row_bytes = worker::row_bytes(traits.type, width);
        for (const bool with_positions : {false, true}) {
            const float scale = with_positions ? 1.0f : 2.5f;
            const std::vector<float> output = in_any_order(traits.name, [&] {
                std::vector<float> hidden(size_t{count} * width, NAN);
                embed({.tokens = {traits.type, tokens.data(), row_bytes},
                       .positions = {traits.type, with_positions ? positions.data() : nullptr, row_bytes},
                       .scale = scale,
                       .width = width,
                       .rows = rows.data(),
                       .count = count,
                       .output = hidden.data()},
                      stream());
                settle();
                return hidden;
            });
            std::vector<float> expected, token(width), position(width);
            for (const BatchRow &row : rows) {
                worker::dequantise(traits.type, tokens.data() + row.token * row_bytes, width, token.data());
                worker::dequantise(traits.type, positions.data() + row.position * row_bytes, width, position.data());
                for (uint32_t i = 0; i < width; i++) expected.push_back(with_positions ? token[i] + position[i] : token[i] * scale);
            }
            check_same(traits.name, output, expected);
        }
    }
}

TEST(gpu_norms_are_those_of_the_cpu) {
    for (const uint32_t width : {1u, 16u, 64u, 100u, 128u, 256u, 1000u, 5120u})
        for (const uint32_t kind : {ENGINE_NORM_RMS, ENGINE_NORM_LAYER}) {
            Random random(width);
            const uint32_t count = 4, stride = width + 3;
            const std::vector<float> input = random_numbers(random, size_t{count} * stride), weight = random_numbers(random, width), bias = random_numbers(random, width);
            const std::vector<uint32_t> chosen = {3, 0, 1};
            const std::string name = "norm " + std::to_string(kind) + " of " + std::to_string(width);
            const std::vector<float> output = in_any_order(name, [&] {
                std::vector<float> rows(chosen.size() * width, NAN);
                normalise({kind, input.data(), chosen.data(), weight.data(), bias.data(), 1e-5f, width, chosen.size(), stride, width, rows.data()}, stream());
                settle();
                return rows;
            });
            std::vector<float> expected(output.size());
            for (size_t i = 0; i < chosen.size(); i++) {
                const float *row = input.data() + chosen[i] * stride;
                if (kind == ENGINE_NORM_RMS)
                    scalar().rms_norm(row, weight.data(), width, 1e-5f, expected.data() + i * width);
                else
                    scalar().layer_norm(row, weight.data(), bias.data(), width, 1e-5f, expected.data() + i * width);
            }
            check_same(name, output, expected);

            /* In place, and all rows. */
            std::vector<float> heads(input.begin(), input.begin() + 3 * width);
            normalise({kind, heads.data(), nullptr, weight.data(), nullptr, 1e-5f, width, 3, width, width, heads.data()}, stream());
            settle();
            std::vector<float> by_cpu(heads.size());
            for (size_t i = 0; i < 3; i++) {
                const float *row = input.data() + i * width;
                if (kind == ENGINE_NORM_RMS)
                    scalar().rms_norm(row, weight.data(), width, 1e-5f, by_cpu.data() + i * width);
                else
                    scalar().layer_norm(row, weight.data(), nullptr, width, 1e-5f, by_cpu.data() + i * width);
            }
            check_same(name + " in place", heads, by_cpu);
        }
}

TEST(gpu_heads_turn_as_on_the_cpu) {
    for (const uint32_t kind : {ENGINE_ROTARY_ADJACENT, ENGINE_ROTARY_HALVES})
        for (const uint32_t pairs : {0u, 8u, 20u}) {
            constexpr uint32_t count = 3, heads = 5, head_size = 40;
            Random random(pairs + kind);
            const std::vector<float> rows = random_numbers(random, count * heads * head_size), angles = random_numbers(random, count * 2 * pairs);
            const std::vector<float> turned = in_any_order("turn", [&] {
                std::vector<float> values = rows;
                turn({kind, values.data(), count, heads, head_size, pairs, angles.data()}, stream());
                settle();
                return values;
            });
            std::vector<float> expected = rows;
            for (uint32_t head = 0; head < count * heads; head++)
                if (pairs != 0) scalar().turn(kind, expected.data() + head * head_size, pairs, angles.data() + head / heads * 2 * pairs);
            check_close("turn", turned, expected, 2e-7f);
        }
}

TEST(gpu_activations_are_those_of_the_cpu) {
    std::vector<float> table(worker::cpu::gelu_table_size);
    worker::cpu::fill_gelu_table(table.data());
    for (const uint32_t activation : {ENGINE_ACTIVATION_SILU, ENGINE_ACTIVATION_GELU_TANH, ENGINE_ACTIVATION_SWIGLU_CLAMPED})
        for (const bool gated : {true, false}) {
            if (!gated && activation == ENGINE_ACTIVATION_SWIGLU_CLAMPED) continue;
            Random random(activation);
            std::vector<float> gate = random_numbers(random, 1000), up = random_numbers(random, 1000);
            for (float &value : gate) value *= 12.0f;
            for (float &value : up) value *= 12.0f;
            gate[0] = -200.0f, gate[1] = 200.0f, gate[2] = 0.0f, gate[3] = -0.0f;
            const std::vector<float> output = in_any_order("activation", [&] {
                std::vector<float> values = gate;
                activate({activation, values.data(), gated ? up.data() : nullptr, values.data(), values.size(), 1.702f, 7.0f, table.data()}, stream());
                settle();
                return values;
            });
            std::vector<float> expected(gate.size());
            scalar().activate({static_cast<worker::cpu::Activation>(activation), gate.data(), gated ? up.data() : nullptr, expected.data(), gate.size(), 1.702f,
                               7.0f, table.data()});
            check_close("activation " + std::to_string(activation), output, expected, 2e-7f);
        }
}

TEST(gpu_activations_of_what_is_no_number_are_none) {
    std::vector<float> values = {NAN, INFINITY};
    activate({ENGINE_ACTIVATION_SILU, values.data(), nullptr, values.data(), 2, 0.0f, 0.0f, nullptr}, stream());
    settle();
    CHECK(std::isnan(values[0]));
    CHECK_EQUAL(values[1], INFINITY);
}

TEST(gpu_experts_are_chosen_as_on_the_cpu) {
    for (const uint32_t experts : {1u, 4u, 32u, 37u, 100u})
        for (const uint32_t used : {1u, 2u, 4u}) {
            if (used > experts) continue;
            constexpr uint32_t count = 6;
            Random random(experts);
            std::vector<float> scores = random_numbers(random, count * experts);
            for (uint32_t i = 0; i < experts; i++) scores[i] = static_cast<float>(i % 2); /* many equals */
            std::vector<uint32_t> chosen(count * used), expected_choice(count * used);
            const std::vector<float> weights = in_any_order("choice", [&] {
                std::vector<float> of_chosen(count * used, NAN);
                choose_experts({scores.data(), experts, used, count, chosen.data(), of_chosen.data()}, stream());
                settle();
                return of_chosen;
            });
            std::vector<float> expected(count * used);
            for (uint32_t row = 0; row < count; row++)
                worker::cpu::choose_experts(scores.data() + row * experts, experts, used, expected_choice.data() + row * used, expected.data() + row * used);
            CHECK(chosen == expected_choice);
            check_close("weights", weights, expected, 2e-7f);
        }
}

TEST(gpu_experts_scores_that_are_no_numbers_give_weights_that_are_none) {
    const std::vector<float> scores = {1.0f, NAN, 2.0f, NAN};
    std::vector<uint32_t> chosen(2);
    std::vector<float> weights(2);
    choose_experts({scores.data(), 4, 2, 1, chosen.data(), weights.data()}, stream());
    settle();
    CHECK_EQUAL(chosen[0], 1u);
    CHECK_EQUAL(chosen[1], 3u);
    CHECK(std::isnan(weights[0]) && std::isnan(weights[1]));
}

TEST(gpu_experts_outputs_are_added_in_their_order) {
    constexpr uint32_t count = 3, used = 4, width = 70;
    Random random(1);
    const std::vector<float> inputs = random_numbers(random, count * used * width), weights = random_numbers(random, count * used);
    const std::vector<float> output = in_any_order("sum", [&] {
        std::vector<float> sums(count * width, NAN);
        combine_experts({inputs.data(), weights.data(), used, width, count, sums.data()}, stream());
        settle();
        return sums;
    });
    std::vector<float> expected(count * width);
    for (uint32_t i = 0; i < count * width; i++)
        for (uint32_t rank = 0; rank < used; rank++) {
            const uint32_t slot = i / width * used + rank;
            expected[i] = expected[i] + inputs[slot * width + i % width] * weights[slot];
        }
    check_same("sum", output, expected);
}

TEST(gpu_rows_are_added_and_logits_finished_as_on_the_cpu) {
    Random random(2);
    const std::vector<float> hidden = random_numbers(random, 700), addends = random_numbers(random, 700);
    for (const float scale : {0.0f, 1.0f, 0.3f}) {
        std::vector<float> rows = hidden, expected = hidden;
        add_rows(rows.data(), addends.data(), scale, rows.size(), stream());
        settle();
        worker::cpu::add_row(expected.data(), addends.data(), scale, expected.size());
        check_same("addition", rows, expected);
        for (const float cap : {0.0f, 30.0f}) {
            std::vector<float> logits = hidden, finished = hidden;
            finish_logits(logits.data(), scale, cap, logits.size(), stream());
            settle();
            if (scale != 0.0f)
                for (float &value : finished) value *= scale;
            if (cap != 0.0f) worker::cpu::soft_cap(finished.data(), cap, finished.size());
            check_close("logits", logits, finished, 2e-7f);
        }
    }
}
