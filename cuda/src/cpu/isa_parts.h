/*
 * The units of an instruction set. Each is compiled by itself, since all of a set's kernels at once take the compiler a minute
 * and most of a gigabyte: isa_SET.cpp has the table, preparation, the product of few floats and what is done to single rows,
 * isa_SET_streams.cpp the integer products of rows that are read once, isa_SET_attention.cpp attention and the rows of its
 * cache, isa_SET_floats.cpp the product of floats with many rows, and isa_SET_panels.cpp (isa_panels.h) that of integers.
 */
#ifndef WORKER_ISA_PARTS_H
#define WORKER_ISA_PARTS_H

#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "../formats/blocks.h"
#include "isa_panels.h"
#include "kernels.h"
#include "tiles.h"

#define INLINE inline __attribute__((always_inline))
#define INLINE_LAMBDA __attribute__((always_inline))

namespace worker::cpu {

/* Sixteen levels of 4-bit types, as floats and as bytes. */
struct NibbleTable {
    alignas(64) float floats[16];
    int8_t bytes[16];
};

namespace scalar {
#include "isa_parts.inc"
}
namespace avx2 {
#include "isa_parts.inc"
}
namespace avx512 {
#include "isa_parts.inc"
}
namespace avx512vnni {
#include "isa_parts.inc"
}
namespace neon {
#include "isa_parts.inc"
}

} // namespace worker::cpu

#endif
