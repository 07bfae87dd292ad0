#include "row_operations.h"

#include <cmath>

#include "../formats/dequantise.h"

namespace worker::cpu {

void fill_gelu_table(float *table) noexcept {
    constexpr float root_two_over_pi = 0.79788456080286535587989211986876f, cubic = 0.044715f;
    for (uint32_t bits = 0; bits < gelu_table_size; bits++) {
        const float x = half_to_float(static_cast<uint16_t>(bits));
        /* Fused, as compilers do it where they may: a last place here can be a half's last place there. */
        const float y = 0.5f * x * (1.0f + std::tanh(root_two_over_pi * x * std::fma(cubic * x, x, 1.0f)));
        table[bits] = half_to_float(float_to_half(y));
    }
}

void add_row(float *row, const float *addend, float scale, uint64_t count) noexcept {
    if (scale == 0.0f || scale == 1.0f)
        for (uint64_t i = 0; i < count; i++) row[i] += addend[i];
    else
        for (uint64_t i = 0; i < count; i++) row[i] += scale * addend[i];
}

void soft_cap(float *row, float cap, uint64_t count) noexcept {
    const float inverse = 1.0f / cap;
    for (uint64_t i = 0; i < count; i++) row[i] = cap * std::tanh(row[i] * inverse);
}

void choose_experts(const float *scores, uint32_t experts, uint32_t used, uint32_t *chosen, float *weights) noexcept {
    for (uint32_t rank = 0; rank < used; rank++) {
        uint32_t best = experts;
        for (uint32_t expert = 0; expert < experts; expert++) {
            bool taken = false;
            for (uint32_t earlier = 0; earlier < rank; earlier++) taken = taken || chosen[earlier] == expert;
            if (!taken && (best == experts || scores[expert] > scores[best])) best = expert;
        }
        chosen[rank] = best;
    }
    float total = 0.0f;
    for (uint32_t rank = 0; rank < used; rank++) {
        weights[rank] = std::exp(scores[chosen[rank]] - scores[chosen[0]]);
        total += weights[rank];
    }
    for (uint32_t rank = 0; rank < used; rank++) weights[rank] /= total;
}

} // namespace worker::cpu
