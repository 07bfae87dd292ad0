/* Products with many activation rows, for CPUs with AVX2, FMA and F16C. */
#include "isa_begin_avx2.inc"

namespace worker::cpu::avx2 {

namespace {

#include "isa_vector_avx2.inc"

#include "isa_formats.inc"
#include "isa_integers.inc"

#include "isa_tile_lanes_avx2.inc"

#include "isa_streams_avx2.inc"
#include "isa_streams_avx2_k.inc"

#include "isa_panel_formats.inc"
#include "isa_panel_fill_avx2.inc"
#include "isa_panels.inc"

} // namespace

TileShape tile_shape(TensorType type, PreparedForm form, uint64_t count) {
    if (form == PreparedForm::Floats) return FloatPart::shape(type, count);
    TileShape shape;
    if (!has_tiles(count)) return shape;
    with_quantised_type(type, [&]<TensorType known>() {
        const TileKind kind = plain_form(form) == PreparedForm::Bytes && panel_levels<known> < most_of_bytes ? TileKind::Bytes : TileKind::Words;
        shape = {kind, 8, Integers<known>::group, Integers<known>::offset};
    });
    return shape;
}

size_t tile_scratch(uint64_t columns) {
    const size_t integers = PanelScratch::floats(columns), floats = FloatPart::scratch(columns);
    return integers > floats ? integers : floats;
}

void tile_product(const ProductTask &task) {
    if (task.form == PreparedForm::Floats) return FloatPart::product(task);
    with_quantised_type(task.type, [&]<TensorType known>() {
        if constexpr (panel_levels<known> < most_of_bytes)
            if (task.shape.kind == TileKind::Bytes) return panel_product<EightBytes, known>(task);
        panel_product<EightWords, known>(task);
    });
}

} // namespace worker::cpu::avx2

#include "isa_end.inc"
