/* The product of floats with many activation rows, and with one, for CPUs with AVX2, FMA and F16C. */
#include "isa_begin_avx2.inc"

namespace worker::cpu::avx2 {

namespace {

#include "isa_vector_avx2.inc"

#include "isa_formats.inc"

#include "isa_expansion.inc"
#include "isa_float_parts_avx2.inc"
#include "isa_float_tiles.inc"

constexpr unsigned rows_with_one_input = 2;
#include "isa_float_rows.inc"

} // namespace

bool FloatPart::single(const ProductTask &task) { return product_of_long_rows(task); }
TileShape FloatPart::shape(TensorType type, uint64_t count) { return FloatTiles::shape(type, count); }
size_t FloatPart::scratch(uint64_t columns) { return FloatTiles::scratch(columns); }
void FloatPart::product(const ProductTask &task) { FloatTiles::product(task); }

} // namespace worker::cpu::avx2

#include "isa_end.inc"
