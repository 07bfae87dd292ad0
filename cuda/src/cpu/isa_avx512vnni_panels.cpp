/* Products with many activation rows, for CPUs with AVX-512 F, BW, VL and DQ, and VNNI, VBMI and GFNI besides. */
#include "isa_begin_avx512vnni.inc"

namespace worker::cpu::avx512vnni {

namespace {

#include "isa_vector_avx512.inc"

#include "isa_formats.inc"
#include "isa_integers.inc"

#include "isa_transpose_avx512.inc"
#include "isa_tile_lanes_avx512vnni.inc"

#include "isa_streams_vnni_types.inc"
#include "isa_streams_vnni_k.inc"

#include "isa_panel_formats.inc"
#include "isa_panel_fill_vnni.inc"
#include "isa_panels.inc"

/* From so many rows on, panels beat the streaming of weights past four rows at a time (measured on Zen 4). */
template <TensorType type> constexpr uint64_t least_rows(bool bytes) {
    return !bytes ? 7 : type == TensorType::Q8_0 ? 5 : 6;
}

} // namespace

TileShape tile_shape(TensorType type, PreparedForm form, uint64_t count) {
    if (form == PreparedForm::Floats) return avx512::FloatPart::shape(type, count);
    TileShape shape;
    const bool bytes = plain_form(form) == PreparedForm::Bytes;
    const TileKind kind = !bytes ? TileKind::HighLow : count <= 8 ? TileKind::Octets : TileKind::Bytes;
    with_quantised_type(type, [&]<TensorType known>() {
        if (count >= least_rows<known>(bytes)) shape = {kind, count <= 8 ? 8u : 16u, Integers<known>::group, Integers<known>::offset};
    });
    return shape;
}

size_t tile_scratch(uint64_t columns) {
    const size_t integers = PanelScratch::floats(columns), floats = avx512::FloatPart::scratch(columns);
    return integers > floats ? integers : floats;
}

void tile_product(const ProductTask &task) {
    if (task.form == PreparedForm::Floats) return avx512::FloatPart::product(task);
    with_quantised_type(task.type, [&]<TensorType known>() {
        switch (task.shape.kind) {
        case TileKind::Octets: return panel_product<EightOctets, known>(task);
        case TileKind::Bytes: return panel_product<SixteenBytes, known>(task);
        default: return task.shape.lanes == 8 ? panel_product<EightHighLow, known>(task) : panel_product<SixteenHighLow, known>(task);
        }
    });
}

} // namespace worker::cpu::avx512vnni

#include "isa_end.inc"
