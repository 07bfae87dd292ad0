/* Attention, for CPUs with AVX-512 F, BW, VL and DQ, and VNNI, VBMI and GFNI besides. */
#include "isa_begin_avx512vnni.inc"

namespace worker::cpu::avx512vnni {

namespace {

#include "isa_vector_avx512.inc"

#include "isa_formats.inc"

#include "isa_expansion.inc"
#include "isa_attention.inc"
#include "isa_cache_rows.inc"

} // namespace

#include "isa_attention_part.inc"

} // namespace worker::cpu::avx512vnni

#include "isa_end.inc"
