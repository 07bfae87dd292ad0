/* Attention, for any CPU. */
#include "isa_begin_scalar.inc"

namespace worker::cpu::scalar {

namespace {

#include "isa_vector_scalar.inc"

#include "isa_formats.inc"

#include "isa_expansion.inc"
#include "isa_attention.inc"
#include "isa_cache_rows.inc"

} // namespace

#include "isa_attention_part.inc"

} // namespace worker::cpu::scalar
