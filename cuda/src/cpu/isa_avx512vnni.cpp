/* The kernels for CPUs with AVX-512 F, BW, VL and DQ, and VNNI, VBMI and GFNI besides; see isa_parts.h for the units. */
#include "isa_begin_avx512vnni.inc"

namespace worker::cpu::avx512vnni {

namespace {

#include "isa_vector_avx512.inc"

#include "isa_formats.inc"
#include "isa_integers.inc"

using Streams = StreamPart;
using SingleFloats = avx512::FloatPart;

#include "isa_integer_products.inc"
#include "isa_expansion.inc"
#include "isa_products.inc"

#include "isa_rows.inc"

} // namespace

#define WORKER_ISA_NAME "avx512vnni"
#include "isa_table.inc"

} // namespace worker::cpu::avx512vnni

#include "isa_end.inc"
