/*
 * Products with many activation rows, for all 64-bit ARM CPUs.
 */
#include "isa_begin_neon.inc"

namespace worker::cpu::neon {

namespace {

#include "isa_vector_neon.inc"

#include "isa_formats.inc"
#include "isa_integers.inc"

#include "isa_tile_lanes_neon.inc"

#include "isa_panel_formats.inc"
#include "isa_panel_levels.inc"
#include "isa_panel_fill.inc"
#include "isa_panels.inc"

} // namespace

TileShape tile_shape(TensorType type, PreparedForm form, uint64_t count) {
    if (form == PreparedForm::Floats) return FloatPart::shape(type, count);
    TileShape shape;
    if (!has_tiles(count)) return shape;
    with_quantised_type(type, [&]<TensorType known>() {
        shape = {form == PreparedForm::Bytes ? TileKind::Bytes : TileKind::Words, 8, Integers<known>::group, Integers<known>::offset};
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
        static_assert(centres_rightly<known>);
        return task.shape.kind == TileKind::Bytes ? panel_product<EightBytes<is_centred<known>>, known>(task) : panel_product<EightWords, known>(task);
    });
}

} // namespace worker::cpu::neon
