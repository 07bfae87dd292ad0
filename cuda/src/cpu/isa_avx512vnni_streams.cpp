/* The integer products of rows that are read once, for CPUs with AVX-512 F, BW, VL and DQ, and VNNI, VBMI and GFNI besides. */
#include "isa_begin_avx512vnni.inc"

namespace worker::cpu::avx512vnni {

namespace {

#include "isa_vector_avx512.inc"

#include "isa_formats.inc"
#include "isa_integers.inc"

#include "isa_integer_products.inc"
#include "isa_streams_vnni_types.inc"
#include "isa_streams_vnni_k.inc"
#include "isa_streams_vnni_quads.inc"
#include "isa_streams_vnni.inc"
#include "isa_stream_forms.inc"

/* Types with longer blocks have a unit of their own. */
struct Streams : StreamForms<OrderOf32, OrderOf16, OrderOfPairs, OrderOfQuads> {
    static void product(const ProductTask &task) {
        with_quantised_type(task.type, [&]<TensorType known>() {
            if constexpr (Integers<known>::length == 32)
                plain_form(task.form) == PreparedForm::Bytes ? stream_product<known, int8_t>(task) : stream_product<known, int16_t>(task);
            else
                StreamPart::product_of_long_blocks(task);
        });
    }
};

} // namespace

#include "isa_streams_part.inc"

} // namespace worker::cpu::avx512vnni

#include "isa_end.inc"
