/*
 * The kernels for 64-bit ARM CPUs, all of which have NEON.
 */
#include <cstddef>
#include <cstdint>

#include "../formats/blocks.h"
#include "isa_panels.h"
#include "kernels.h"

#if defined(__aarch64__)

#include <arm_neon.h>

#define WORKER_ISA_NAME "neon"
#define INLINE inline __attribute__((always_inline))
#define INLINE_LAMBDA __attribute__((always_inline))

namespace worker::cpu::neon {

namespace {

/* Sixteen levels of 4-bit types, as floats and as bytes. */
struct NibbleTable {
    alignas(64) float floats[16];
    int8_t bytes[16];
};

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

#include "isa_products.inc"

#include "isa_attention.inc"
#include "isa_rows.inc"

} // namespace

#include "isa_table.inc"

} // namespace worker::cpu::neon

#endif
