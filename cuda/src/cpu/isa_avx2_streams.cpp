/* The integer products of rows that are read once, for CPUs with AVX2, FMA and F16C. */
#include "isa_begin_avx2.inc"

namespace worker::cpu::avx2 {

namespace {

#include "isa_vector_avx2.inc"

#include "isa_formats.inc"
#include "isa_integers.inc"

#include "isa_integer_products.inc"
#include "isa_streams_avx2.inc"
#include "isa_streams_avx2_k.inc"
#include "isa_streams_wide.inc"

} // namespace

#include "isa_streams_part.inc"

} // namespace worker::cpu::avx2

#include "isa_end.inc"
