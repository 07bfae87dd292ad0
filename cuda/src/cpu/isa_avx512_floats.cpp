/* The product of floats with many activation rows, and with one, for CPUs with AVX-512 F, BW, VL and DQ. */
#include "isa_begin_avx512.inc"

namespace worker::cpu::avx2 {
extern const KernelTable table;
}

namespace worker::cpu::avx512 {

namespace {

#include "isa_vector_avx512.inc"

#include "isa_formats.inc"

#include "isa_expansion.inc"
#include "isa_float_parts_avx512.inc"
#include "isa_float_tiles.inc"

constexpr unsigned rows_with_one_input = 8;
#include "isa_float_rows.inc"

} // namespace

/* Short rows of stored floats come from memory as fast as it gives them in registers of 32 bytes only. */
bool FloatPart::single(const ProductTask &task) {
    if (product_of_long_rows(task)) return true;
    if (traits_of(task.type).block_length != 1) return false;
    avx2::table.product(task);
    return true;
}
TileShape FloatPart::shape(TensorType type, uint64_t count) { return FloatTiles::shape(type, count); }
size_t FloatPart::scratch(uint64_t columns) { return FloatTiles::scratch(columns); }
void FloatPart::product(const ProductTask &task) { FloatTiles::product(task); }

} // namespace worker::cpu::avx512

#include "isa_end.inc"
