/* The kernels for CPUs with AVX-512 F, BW, VL and DQ; see isa_parts.h for the units. */
#include "isa_begin_avx512.inc"

namespace worker::cpu::avx512 {

namespace {

#include "isa_vector_avx512.inc"

#include "isa_formats.inc"
#include "isa_integers.inc"

using Streams = StreamPart;
using SingleFloats = FloatPart;

#include "isa_integer_products.inc"
#include "isa_expansion.inc"
#include "isa_products.inc"

#include "isa_rows.inc"

/* Without VNNI, products of bytes are no faster in wider registers. */
TileShape tile_shape(TensorType type, PreparedForm form, uint64_t count) {
    return form == PreparedForm::Floats ? FloatPart::shape(type, count) : avx2::tile_shape(type, form, count);
}
size_t tile_scratch(uint64_t columns) {
    const size_t integers = avx2::tile_scratch(columns), floats = FloatPart::scratch(columns);
    return integers > floats ? integers : floats;
}
void tile_product(const ProductTask &task) { task.form == PreparedForm::Floats ? FloatPart::product(task) : avx2::tile_product(task); }

} // namespace

#define WORKER_ISA_NAME "avx512"
#include "isa_table.inc"

} // namespace worker::cpu::avx512

#include "isa_end.inc"
