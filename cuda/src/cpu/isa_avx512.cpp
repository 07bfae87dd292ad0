/* The kernels for CPUs with AVX-512 F, BW, VL and DQ; see isa_parts.h for the units. */
#include "isa_begin_avx512.inc"

namespace worker::cpu::avx512 {

namespace {

#include "isa_vector_avx512.inc"

#include "isa_formats.inc"
#include "isa_integers.inc"

using Streams = StreamPart;

#include "isa_integer_products.inc"
#include "isa_expansion.inc"
#include "isa_products.inc"

#include "isa_rows.inc"

/* Without VNNI, products of bytes are no faster in wider registers. */
using avx2::tile_product;
using avx2::tile_scratch;
using avx2::tile_shape;

} // namespace

#define WORKER_ISA_NAME "avx512"
#include "isa_table.inc"

} // namespace worker::cpu::avx512

#include "isa_end.inc"
