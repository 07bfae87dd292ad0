/* The kernels for CPUs with AVX2, FMA and F16C; see isa_parts.h for the units. */
#include "isa_begin_avx2.inc"

namespace worker::cpu::avx2 {

namespace {

#include "isa_vector_avx2.inc"

#include "isa_formats.inc"
#include "isa_integers.inc"

using Streams = StreamPart;
using SingleFloats = FloatPart;

#include "isa_integer_products.inc"
#include "isa_expansion.inc"
#include "isa_products.inc"

#include "isa_rows.inc"

} // namespace

#define WORKER_ISA_NAME "avx2"
#include "isa_table.inc"

} // namespace worker::cpu::avx2

#include "isa_end.inc"
