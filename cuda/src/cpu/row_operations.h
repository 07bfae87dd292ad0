/*
 * Small operations on rows that no instruction set makes faster where it matters.
 */
#ifndef WORKER_ROW_OPERATIONS_H
#define WORKER_ROW_OPERATIONS_H

#include <cstdint>

namespace worker::cpu {

constexpr uint32_t gelu_table_size = 1u << 16;

/* GELU (the tanh form) of every half-precision number, rounded to half precision, by the number's bits: models' goldens
 * are made with such a table. */
void fill_gelu_table(float *table) noexcept;

/* row += scale * addend */
void add_row(float *row, const float *addend, float scale, uint64_t count) noexcept;

/* cap * tanh(x / cap) */
void soft_cap(float *row, float cap, uint64_t count) noexcept;

/* The `used` largest scores, falling, lower index first among equals; their weights sum to 1: softmax over the chosen
 * (softmax_after), or over all and then divided by the chosen ones' sum, which is the same thing in other rounding. */
void choose_experts(const float *scores, uint32_t experts, uint32_t used, uint32_t *chosen, float *weights) noexcept;

} // namespace worker::cpu

#endif
