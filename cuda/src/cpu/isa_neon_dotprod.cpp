/*
 * Products of bytes for 64-bit ARM CPUs that have dot products of them (ARMv8.2's DotProd, which all have from ARMv8.4 on). Its
 * other kernels are those of isa_neon.cpp.
 *
 * The target is set by pragma, after the last header; see isa_begin_avx2.inc.
 */
#include "isa_begin_neon.inc"

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("dotprod"))), apply_to = function)
#else
#pragma GCC target("arch=armv8.2-a+dotprod")
#endif

namespace worker::cpu::neon {
extern const KernelTable table;
}

namespace worker::cpu::neon_dotprod {

namespace {

#include "isa_vector_neon.inc"

#include "isa_formats.inc"
#include "isa_integers.inc"

#include "isa_integer_products.inc"
#include "isa_panel_levels.inc"

#include "isa_dots_neon_dotprod.inc"
#include "isa_streams_neon.inc"

#include "isa_tile_lanes_neon_dotprod.inc"

#include "isa_panel_formats.inc"
#include "isa_panel_fill.inc"
#include "isa_panels.inc"

void product(const ProductTask &task) {
    if (task.form != PreparedForm::Bytes) return neon::table.product(task);
    with_quantised_type(task.type, [&]<TensorType known>() { stream_product<known, int8_t>(task); });
}

TileShape tile_shape(TensorType type, PreparedForm form, uint64_t count) {
    TileShape shape = neon::tile_shape(type, form, count);
    if (shape && shape.kind == TileKind::Words) shape.kind = TileKind::HighLow;
    return shape;
}

size_t tile_scratch(uint64_t columns) {
    const size_t dotted = PanelScratch::floats(columns), others = neon::tile_scratch(columns);
    return dotted > others ? dotted : others;
}

void tile_product(const ProductTask &task) {
    if (task.form == PreparedForm::Floats) return neon::tile_product(task);
    with_quantised_type(task.type, [&]<TensorType known>() {
        static_assert(centres_rightly<known>);
        constexpr bool centred = is_centred<known>;
        return task.shape.kind == TileKind::Bytes ? panel_product<DottedBytes<centred>, known>(task) : panel_product<DottedHighLow<centred>, known>(task);
    });
}

} // namespace

KernelTable table() noexcept {
    KernelTable table = neon::table;
    table.name = "neon-dotprod";
    table.product = product;
    table.tile_shape = tile_shape;
    table.tile_scratch = tile_scratch;
    table.tile_product = tile_product;
    return table;
}

} // namespace worker::cpu::neon_dotprod

#include "isa_end.inc"
