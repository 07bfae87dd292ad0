/* Norms, activations, rotation and the choice of experts. */
#include "../../src/cpu/kernels.h"
#include "../../src/graph/rotary.h"
#include "../../src/cpu/row_operations.h"
#include "../../src/formats/dequantise.h"
#include "../harness.h"
#include "random_data.h"

#include <cmath>
#include <limits>
#include <string>

using worker::cpu::Activation;
using worker::cpu::KernelTable;

TEST(norms_are_right) {
    for (const KernelTable *table : worker::cpu::supported_cpu_kernels())
        for (const size_t count : {1u, 15u, 16u, 33u, 256u, 896u}) {
            Random random(count);
            const std::vector<float> input = random_numbers(random, count), weight = random_numbers(random, count), bias = random_numbers(random, count);
            double squares = 0, sum = 0, spread = 0;
            for (const float x : input) squares += static_cast<double>(x) * x, sum += x;
            const double length = static_cast<double>(count), mean = sum / length;
            for (const float x : input) spread += (x - mean) * (x - mean);
            std::vector<float> rms(count), layer(count), plain(count);
            table->rms_norm(input.data(), weight.data(), count, 1e-5f, rms.data());
            table->layer_norm(input.data(), weight.data(), bias.data(), count, 1e-5f, layer.data());
            table->layer_norm(input.data(), weight.data(), nullptr, count, 1e-5f, plain.data());
            for (size_t i = 0; i < count; i++) {
                CHECK(std::fabs(rms[i] - input[i] / std::sqrt(squares / length + 1e-5) * weight[i]) <= 1e-6);
                const double normed = (input[i] - mean) / std::sqrt(spread / length + 1e-5) * weight[i];
                CHECK(std::fabs(layer[i] - normed - bias[i]) <= 2e-6);
                CHECK(std::fabs(plain[i] - normed) <= 2e-6);
            }
        }
}

namespace {

double exact_activation(Activation activation, double gate, double up) {
    switch (activation) {
    case Activation::Silu: return gate / (1 + std::exp(-gate)) * up;
    case Activation::SwigluClamped: {
        const double g = std::fmin(gate, 7.0), u = std::fmax(-7.0, std::fmin(up, 7.0));
        return g / (1 + std::exp(-1.702f * g)) * (u + 1);
    }
    case Activation::Gelu: break;
    }
    const auto half = [](double x) { return worker::half_to_float(worker::float_to_half(static_cast<float>(x))); };
    const double x = std::fabs(gate) >= 10.0 ? gate : half(gate);
    if (x >= 10.0) return x * up;
    return half(0.5 * x * (1 + std::tanh(0.7978845608028654 * x * (1 + 0.044715 * x * x)))) * up;
}

} // namespace

TEST(activations_are_right) {
    std::vector<float> table_of_gelu(worker::cpu::gelu_table_size);
    worker::cpu::fill_gelu_table(table_of_gelu.data());
    for (const KernelTable *table : worker::cpu::supported_cpu_kernels())
        for (const Activation activation : {Activation::Silu, Activation::Gelu, Activation::SwigluClamped})
            for (const bool gated : {true, false}) {
                if (!gated && activation == Activation::SwigluClamped) continue;
                Random random(3);
                const size_t count = 1003;
                std::vector<float> gate = random_numbers(random, count), up = random_numbers(random, count), output(count + 1, 5.0f);
                for (float &x : gate) x *= 9.0f;
                for (float &x : up) x *= 9.0f;
                gate[0] = 100.0f, gate[1] = -100.0f, gate[2] = 0.0f;
                table->activate({activation, gate.data(), gated ? up.data() : nullptr, output.data(), count, 1.702f, 7.0f, table_of_gelu.data()});
                CHECK_EQUAL(output[count], 5.0f);
                for (size_t i = 0; i < count; i++) {
                    const double exact = exact_activation(activation, gate[i], gated ? up[i] : 1.0);
                    /* A half's last place where single and double precision round to different halves. */
                    const double allowed = activation == Activation::Gelu ? 1e-3 * std::fabs(exact) + 1e-6 : 1e-6 * std::fabs(exact) + 1e-12;
                    if (!(std::fabs(output[i] - exact) <= allowed))
                        harness::fail(__FILE__, __LINE__, std::string(table->name) + ": of " + std::to_string(gate[i]) + " came " + std::to_string(output[i]) +
                                                              ", exactly " + std::to_string(exact));
                }
            }
}

TEST(not_a_number_stays_visible) {
    for (const KernelTable *table : worker::cpu::supported_cpu_kernels()) {
        std::vector<float> row(20, 1.0f), output(20);
        row[3] = std::numeric_limits<float>::quiet_NaN();
        table->activate({Activation::Silu, row.data(), nullptr, output.data(), row.size(), 0, 0, nullptr});
        CHECK(std::isnan(output[3]) && !std::isnan(output[4]));
    }
}

namespace {

engine_model_description rotary_description(uint32_t kind) {
    engine_model_description d{};
    d.rotary = kind;
    d.rotary_size = 8;
    d.head_size = 12;
    d.rotary_base = 10000.0f;
    return d;
}

} // namespace

TEST(rotation_turns_the_right_pairs_by_the_right_angles) {
    for (const uint32_t kind : {ENGINE_ROTARY_ADJACENT, ENGINE_ROTARY_HALVES}) {
        const std::vector<float> factors = {1.0f, 2.0f, 4.0f, 8.0f};
        const worker::Rotary rotary(rotary_description(kind), false, factors.data());
        std::vector<float> angles(2 * rotary.pairs()), head(12), turned;
        for (size_t i = 0; i < head.size(); i++) head[i] = static_cast<float>(i + 1);
        rotary.angles(37, angles.data());
        for (const KernelTable *table : worker::cpu::supported_cpu_kernels()) {
        turned = head;
        table->turn(kind, turned.data(), rotary.pairs(), angles.data());
        for (uint32_t pair = 0; pair < 4; pair++) {
            const double angle = 37.0 * std::pow(10000.0, -2.0 * pair / 8) / factors[pair];
            const size_t a = kind == ENGINE_ROTARY_ADJACENT ? 2 * pair : pair, b = kind == ENGINE_ROTARY_ADJACENT ? 2 * pair + 1 : pair + 4;
            CHECK(std::fabs(turned[a] - (head[a] * std::cos(angle) - head[b] * std::sin(angle))) < 1e-4);
            CHECK(std::fabs(turned[b] - (head[a] * std::sin(angle) + head[b] * std::cos(angle))) < 1e-4);
        }
        for (size_t i = 8; i < 12; i++) CHECK_EQUAL(turned[i], head[i]);
        }
    }
    engine_model_description none = rotary_description(ENGINE_ROTARY_NONE);
    CHECK_EQUAL(worker::Rotary(none, false, nullptr).pairs(), 0u);
}

TEST(windowed_layers_turn_by_their_own_base_and_scale) {
    engine_model_description d = rotary_description(ENGINE_ROTARY_HALVES);
    d.rotary_scale = 0.25f;
    d.rotary_base_windowed = 100.0f;
    d.rotary_scale_windowed = 1.0f;
    std::vector<float> full(8), windowed(8);
    worker::Rotary(d, false, nullptr).angles(5, full.data());
    worker::Rotary(d, true, nullptr).angles(5, windowed.data());
    for (int pair = 0; pair < 4; pair++) {
        CHECK(std::fabs(full[pair] - std::cos(5 * 0.25 * std::pow(10000.0, -0.25 * pair))) < 1e-6);
        CHECK(std::fabs(windowed[pair] - std::cos(5 * std::pow(100.0, -0.25 * pair))) < 1e-6);
    }
}

TEST(yarn_keeps_fast_waves_and_stretches_slow_ones) {
    engine_model_description d = rotary_description(ENGINE_ROTARY_HALVES);
    d.rotary_size = d.head_size = 64;
    d.original_context = 4096;
    d.rotary_scale = 1.0f / 32;
    d.yarn_factor = 1.0f;
    d.yarn_attention = 1.5f;
    d.yarn_beta_fast = 32.0f;
    d.yarn_beta_slow = 1.0f;
    std::vector<float> angles(64);
    worker::Rotary(d, false, nullptr).angles(3, angles.data());
    CHECK(std::fabs(angles[0] - 1.5 * std::cos(3.0)) < 1e-5);
    const double slowest = 3 * std::pow(10000.0, -62.0 / 64) / 32;
    CHECK(std::fabs(angles[63] - 1.5 * std::sin(slowest)) < 1e-7);
}

TEST(experts_are_chosen_by_score_then_by_number) {
    const float scores[6] = {1.0f, 3.0f, 2.0f, 3.0f, -1.0f, 0.0f};
    uint32_t chosen[3];
    float weights[3];
    worker::cpu::choose_experts(scores, 6, 3, chosen, weights);
    CHECK_EQUAL(chosen[0], 1u);
    CHECK_EQUAL(chosen[1], 3u);
    CHECK_EQUAL(chosen[2], 2u);
    const double total = 2 + std::exp(-1.0);
    CHECK(std::fabs(weights[0] - 1 / total) < 1e-6 && std::fabs(weights[2] - std::exp(-1.0) / total) < 1e-6);
}
