/*
 * Prompt rows on CPUs with AMX-BF16, beside what isa_avx512vnni.cpp needs; the assembler needs no leave for the unit's own
 * instructions.
 */
#include "matrix_unit.h"

#include "isa_begin_avx512.inc"

namespace worker::cpu::amx {

namespace {

#include "isa_vector_avx512.inc"

#include "isa_bfloats_avx512.inc"
#include "isa_transpose_avx512.inc"
#include "isa_formats.inc"
#include "isa_integers.inc"

#include "isa_amx_unit.inc"

#include "isa_matrix_tiles.inc"

} // namespace

size_t scratch() noexcept { return UnitScratch::floats; }
void interleave(const TileShape &shape, const float *const *rows, size_t count, uint64_t first, uint64_t columns, std::byte *tile) {
    interleave_bfloats(shape, rows, count, first, columns, tile);
}
void product(const ProductTask &task) { unit_product<MatrixUnit>(task); }

} // namespace worker::cpu::amx

#include "isa_end.inc"
