/*
 * Prompt rows on CPUs with AMX-BF16, beside what isa_avx512vnni.cpp needs. See isa_avx512.cpp for the pragma; the assembler
 * needs no leave for the unit's own instructions.
 */
#include <cstddef>
#include <cstdint>

#include "../formats/blocks.h"
#include "kernels.h"
#include "matrix_unit.h"
#include "tiles.h"

#if defined(__x86_64__)

#if defined(__GNUC__) && !defined(__clang__)
/* GCC 12's own AVX-512 headers hold deliberately undefined registers, which it warns of where they are inlined. */
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
#include <immintrin.h>

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq"))), apply_to = function)
#else
#pragma GCC target("avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq")
#endif

#define INLINE inline __attribute__((always_inline))
#define INLINE_LAMBDA __attribute__((always_inline))

namespace worker::cpu::amx {

namespace {

/* Sixteen levels of 4-bit types, as floats and as bytes. */
struct NibbleTable {
    alignas(64) float floats[16];
    int8_t bytes[16];
};

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

#if defined(__clang__)
#pragma clang attribute pop
#endif

#endif
