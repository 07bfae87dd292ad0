/* The integer products of rows that are read once, for CPUs with AVX-512 F, BW, VL and DQ. */
#include "isa_begin_avx512.inc"

namespace worker::cpu::avx512 {

namespace {

#include "isa_vector_avx512.inc"

#include "isa_formats.inc"
#include "isa_integers.inc"

#include "isa_integer_products.inc"
#include "isa_streams_avx2.inc"
#include "isa_streams_avx2_k.inc"
#include "isa_streams_wide.inc"

} // namespace

#include "isa_streams_part.inc"

} // namespace worker::cpu::avx512

#include "isa_end.inc"
