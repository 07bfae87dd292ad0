/* Attention, for CPUs with AVX-512 F, BW, VL and DQ. */
#include "isa_begin_avx512.inc"

namespace worker::cpu::avx512 {

namespace {

#include "isa_vector_avx512.inc"

#include "isa_formats.inc"

#include "isa_expansion.inc"
#include "isa_attention.inc"
#include "isa_cache_rows.inc"

} // namespace

#include "isa_attention_part.inc"

} // namespace worker::cpu::avx512

#include "isa_end.inc"
