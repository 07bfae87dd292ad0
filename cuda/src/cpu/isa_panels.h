/*
 * Products with tiles (tiles.h), by instruction set: what KernelTable says of tile_shape, tile_scratch and tile_product.
 */
#ifndef WORKER_ISA_PANELS_H
#define WORKER_ISA_PANELS_H

#include "kernels.h"

namespace worker::cpu {

/* Where kernels stream the weights past two rows at a time, panels unpack them less often from so many rows on. */
constexpr bool has_tiles(uint64_t count) {
    constexpr uint64_t more_than_streamed = 5;
    return count >= more_than_streamed;
}

namespace avx2 {
TileShape tile_shape(TensorType type, PreparedForm form, uint64_t count);
size_t tile_scratch(uint64_t columns);
void tile_product(const ProductTask &task);
} // namespace avx2

namespace avx512vnni {
TileShape tile_shape(TensorType type, PreparedForm form, uint64_t count);
size_t tile_scratch(uint64_t columns);
void tile_product(const ProductTask &task);
} // namespace avx512vnni

namespace neon {
TileShape tile_shape(TensorType type, PreparedForm form, uint64_t count);
size_t tile_scratch(uint64_t columns);
void tile_product(const ProductTask &task);
} // namespace neon

} // namespace worker::cpu

#endif
