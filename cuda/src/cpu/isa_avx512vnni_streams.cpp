/* The integer products of rows that are read once, for CPUs with AVX-512 F, BW, VL and DQ, and VNNI, VBMI and GFNI besides. */
#include "isa_begin_avx512vnni.inc"

namespace worker::cpu::avx512vnni {

namespace {

#include "isa_vector_avx512.inc"

#include "isa_formats.inc"
#include "isa_integers.inc"

#include "isa_integer_products.inc"
#include "isa_streams_vnni_types.inc"
#include "isa_streams_vnni_k.inc"
#include "isa_streams_vnni_quads.inc"
#include "isa_streams_vnni.inc"
#include "isa_streams_vnni_forms.inc"

} // namespace

#include "isa_streams_part.inc"

} // namespace worker::cpu::avx512vnni

#include "isa_end.inc"
