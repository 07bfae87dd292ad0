/* The kernels for any CPU, in plain C++; see isa_parts.h for the units. */
#include "isa_begin_scalar.inc"

namespace worker::cpu::scalar {

namespace {

#include "isa_vector_scalar.inc"

#include "isa_formats.inc"
#include "isa_integers.inc"

#include "isa_integer_products.inc"
#include "isa_streams_none.inc"
#include "isa_expansion.inc"
#include "isa_float_parts_scalar.inc"
#include "isa_products.inc"
#include "isa_float_tiles.inc"

#include "isa_rows.inc"

/* Integers one row after the other: there is no hurry here. */
TileShape tile_shape(TensorType type, PreparedForm form, uint64_t count) { return form == PreparedForm::Floats ? FloatTiles::shape(type, count) : TileShape{}; }
size_t tile_scratch(uint64_t columns) { return FloatTiles::scratch(columns); }
void tile_product(const ProductTask &task) { FloatTiles::product(task); }

} // namespace

#define WORKER_ISA_NAME "scalar"
#include "isa_table.inc"

} // namespace worker::cpu::scalar
