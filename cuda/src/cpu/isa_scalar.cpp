/*
 * The kernels for any CPU, in plain C++.
 */
#include <cstddef>
#include <cstdint>

#include "../formats/blocks.h"
#include "../formats/dequantise.h"
#include "kernels.h"

#if defined(__GNUC__) && !defined(__clang__)
/* Vectors wider than the CPU's are passed between functions that are always inlined, so their ABI does not matter. */
#pragma GCC diagnostic ignored "-Wpsabi"
#endif

#define WORKER_ISA_NAME "scalar"
#define INLINE inline __attribute__((always_inline))
#define INLINE_LAMBDA __attribute__((always_inline))

namespace worker::cpu::scalar {

namespace {

/* Sixteen levels of 4-bit types, as floats and as bytes. */
struct NibbleTable {
    alignas(64) float floats[16];
    int8_t bytes[16];
};

#include "isa_vector_scalar.inc"

#include "isa_formats.inc"
#include "isa_integers.inc"

#include "isa_integer_products.inc"
#include "isa_streams_none.inc"
#include "isa_products.inc"

#include "isa_attention.inc"
#include "isa_rows.inc"

/* One row after the other: there is no hurry here. */
TileShape tile_shape(TensorType, PreparedForm, uint64_t) { return {}; }
size_t tile_scratch(uint64_t) { return 0; }
void tile_product(const ProductTask &task) { product(task); }

} // namespace

#include "isa_table.inc"

} // namespace worker::cpu::scalar
