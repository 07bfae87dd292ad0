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

#include "isa_weight_lanes_types.inc"
#include "isa_weight_lanes.inc"

/* From so many rows on, panels beat the streaming of weights past four rows at a time (measured on Zen 4). */
template <TensorType type> constexpr uint64_t least_rows(bool bytes) {
    return !bytes ? 7 : type == TensorType::Q8_0 ? 5 : 6;
}

/* With rows of weights in the lanes, as many activation rows are multiplied as there are; panels multiply sixteen at a time, a little
 * faster where these are all used: `loss` is how much, as a divisor of the whole. */
template <TensorType type> constexpr bool has_lane_weights = requires { sizeof(LaneWeights<type>); };
template <TensorType type> constexpr bool spread_is_best(uint64_t count) {
    constexpr uint64_t least = 3, few = 47, loss = Integers<type>::group == 16 ? 8 : 16;
    return count >= least && (count <= few || (16 - count % 16) % 16 > count / loss);
}

/* As few tiles as hold them, of as many each. */
constexpr uint32_t spread_lanes(uint64_t count) {
    const uint64_t tiles = (count + most_spread - 1) / most_spread;
    return static_cast<uint32_t>((count + tiles - 1) / tiles);
}

} // namespace

TileShape tile_shape(TensorType type, PreparedForm form, uint64_t count) {
    if (form == PreparedForm::Floats) return avx512::FloatPart::shape(type, count);
    TileShape shape;
    const bool bytes = plain_form(form) == PreparedForm::Bytes;
    const TileKind kind = !bytes ? TileKind::HighLow : count <= 8 ? TileKind::Octets : TileKind::Bytes;
    with_quantised_type(type, [&]<TensorType known>() {
        if (has_lane_weights<known> && spread_is_best<known>(count))
            shape = {bytes ? TileKind::Spread : TileKind::SpreadHighLow, spread_lanes(count), Integers<known>::group, Integers<known>::offset};
        else if (count >= least_rows<known>(bytes))
            shape = {kind, count <= 8 ? 8u : 16u, Integers<known>::group, Integers<known>::offset};
    });
    return shape;
}

size_t tile_scratch(uint64_t columns) {
    const size_t integers = PanelScratch::floats(columns), floats = avx512::FloatPart::scratch(columns), most = integers > floats ? integers : floats;
    return most > lane_scratch_floats ? most : lane_scratch_floats;
}

void tile_product(const ProductTask &task) {
    if (task.form == PreparedForm::Floats) return avx512::FloatPart::product(task);
    with_quantised_type(task.type, [&]<TensorType known>() {
        switch (task.shape.kind) {
        case TileKind::Spread:
            if constexpr (has_lane_weights<known>) lanes_product<known, 1>(task);
            return;
        case TileKind::SpreadHighLow:
            if constexpr (has_lane_weights<known>) lanes_product<known, 2>(task);
            return;
        case TileKind::Octets: return panel_product<EightOctets, known>(task);
        case TileKind::Bytes: return panel_product<SixteenBytes, known>(task);
        default: return task.shape.lanes == 8 ? panel_product<EightHighLow, known>(task) : panel_product<SixteenHighLow, known>(task);
        }
    });
}

} // namespace worker::cpu::avx512vnni

#include "isa_end.inc"
