/*
 * Prompt rows by the matrix unit (AMX-BF16), where the CPU has one that works.
 */
#ifndef WORKER_MATRIX_UNIT_H
#define WORKER_MATRIX_UNIT_H

#include "kernels.h"

namespace worker::cpu {

enum class MatrixUnitState { Absent, Works, Fails };

/* Asks the CPU and the system, once, and multiplies a small matrix: Fails if the result is not exact. */
MatrixUnitState matrix_unit_state() noexcept;

/* The table "amx": that of AVX-512 VNNI, with prompt rows of all but F32 weights by the unit. Exact and careful products
 * are not; nor are decode rows of BF16 weights rounded to bf16, which nobody has measured there. */
KernelTable matrix_unit_table() noexcept;

namespace amx {
/* What isa_amx.cpp compiles; only where there is a unit. */
size_t scratch() noexcept;
void interleave(const TileShape &shape, const float *const *rows, size_t count, uint64_t first, uint64_t columns, std::byte *tile);
void product(const ProductTask &task);
} // namespace amx

} // namespace worker::cpu

#endif
