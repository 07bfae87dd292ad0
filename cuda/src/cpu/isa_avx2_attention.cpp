/* Attention, for CPUs with AVX2, FMA and F16C. */
#include "isa_begin_avx2.inc"

namespace worker::cpu::avx2 {

namespace {

#include "isa_vector_avx2.inc"

#include "isa_formats.inc"

#include "isa_expansion.inc"
#include "isa_attention.inc"
#include "isa_cache_rows.inc"

} // namespace

#include "isa_attention_part.inc"

} // namespace worker::cpu::avx2

#include "isa_end.inc"
