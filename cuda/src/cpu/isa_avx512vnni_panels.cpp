/* Products with many activation rows, for CPUs with AVX-512 F, BW, VL and DQ, and VNNI, VBMI and GFNI besides. */
#include "isa_begin_avx512vnni.inc"

namespace worker::cpu::avx512vnni {

namespace {

#include "isa_vector_avx512.inc"

#include "isa_formats.inc"
#include "isa_integers.inc"

#include "isa_tile_lanes_avx512vnni.inc"

#include "isa_panel_levels.inc"
#include "isa_panels.inc"

/* From so many rows on, panels beat the streaming of weights past four rows at a time (measured). Bytes are not streamed. */
bool has_tiles(PreparedForm form, uint64_t count) {
    constexpr uint64_t more_than_streamed = 7;
    return form == PreparedForm::Bytes ? count != 0 : form != PreparedForm::Floats && count >= more_than_streamed;
}

} // namespace

TileShape tile_shape(TensorType type, PreparedForm form, uint64_t count) {
    TileShape shape;
    if (!has_tiles(form, count)) return shape;
    const TileKind kind = form == PreparedForm::Bytes ? TileKind::Bytes : TileKind::HighLow;
    with_quantised_type(type, [&]<TensorType known>() { shape = {kind, count <= 8 ? 8u : 16u, Integers<known>::group, Integers<known>::offset}; });
    return shape;
}

size_t tile_scratch(uint64_t columns) { return PanelScratch::floats(columns); }

void tile_product(const ProductTask &task) {
    with_quantised_type(task.type, [&]<TensorType known>() {
        if (task.shape.kind == TileKind::Bytes)
            task.shape.lanes == 8 ? panel_product<EightBytes, known>(task) : panel_product<SixteenBytes, known>(task);
        else
            task.shape.lanes == 8 ? panel_product<EightHighLow, known>(task) : panel_product<SixteenHighLow, known>(task);
    });
}

} // namespace worker::cpu::avx512vnni

#include "isa_end.inc"
