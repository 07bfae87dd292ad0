/*
 * The kernels for 64-bit ARM CPUs, all of which have NEON.
 */
#include "isa_begin_neon.inc"

namespace worker::cpu::neon {

namespace {

#include "isa_vector_neon.inc"

#include "isa_formats.inc"
#include "isa_integers.inc"

#include "isa_integer_products.inc"
#include "isa_panel_levels.inc"

#include "isa_dots_neon.inc"
#include "isa_streams_neon.inc"

struct Streams {
    static PreparedForm form(TensorType, PreparedForm plain) { return plain; }
    static size_t bytes(PreparedForm, uint64_t) { return 0; }
    static void prepare(PreparedForm, const float *, uint64_t, std::byte *) {}
    static void product(const ProductTask &task) {
        with_quantised_type(task.type, [&]<TensorType known>() {
            return task.form == PreparedForm::Bytes ? stream_product<known, int8_t>(task) : stream_product<known, int16_t>(task);
        });
    }
};

#include "isa_expansion.inc"
#include "isa_float_parts_neon.inc"
#include "isa_products.inc"
#include "isa_float_tiles.inc"

#include "isa_attention.inc"
#include "isa_cache_rows.inc"
#include "isa_rows.inc"

} // namespace

#include "isa_attention_part.inc"

TileShape FloatPart::shape(TensorType type, uint64_t count) { return FloatTiles::shape(type, count); }
size_t FloatPart::scratch(uint64_t columns) { return FloatTiles::scratch(columns); }
void FloatPart::product(const ProductTask &task) { FloatTiles::product(task); }

#define WORKER_ISA_NAME "neon"
#include "isa_table.inc"

} // namespace worker::cpu::neon
