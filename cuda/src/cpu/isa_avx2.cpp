/*
 * The kernels for CPUs with AVX2, FMA and F16C.
 *
 * The target is set by pragma, after the last header: what headers define inline is compiled for the baseline, and the
 * linker can never choose a copy of it that needs instructions the CPU lacks. Everything after it is internal.
 */
#include <cstddef>
#include <cstdint>

#include "../formats/blocks.h"
#include "isa_panels.h"
#include "kernels.h"

#if defined(__x86_64__)

#include <immintrin.h>

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#else
#pragma GCC target("avx2,fma,f16c")
#endif

#define WORKER_ISA_NAME "avx2"
#define INLINE inline __attribute__((always_inline))
#define INLINE_LAMBDA __attribute__((always_inline))

namespace worker::cpu::avx2 {

namespace {

/* Sixteen levels of 4-bit types, as floats and as bytes. */
struct NibbleTable {
    alignas(64) float floats[16];
    int8_t bytes[16];
};

#include "isa_vector_avx2.inc"

#include "isa_formats.inc"
#include "isa_integers.inc"

#include "isa_integer_products.inc"
#include "isa_streams_avx2.inc"
#include "isa_streams_avx2_bytes.inc"
#include "isa_streams_wide.inc"
#include "isa_products.inc"

#include "isa_attention.inc"
#include "isa_rows.inc"

} // namespace

#include "isa_table.inc"

} // namespace worker::cpu::avx2

#if defined(__clang__)
#pragma clang attribute pop
#endif

#endif
