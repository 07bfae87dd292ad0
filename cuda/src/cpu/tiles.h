/*
 * Activation rows interleaved for products with many of them at once: a lane of a register is a row.
 *
 * A tile holds up to `lanes` rows, as integers, as floats (isa_float_tiles.inc) or as bf16 (isa_avx512bf16.cpp and, for a matrix unit, isa_matrix_tiles.inc). The integer product adds group g of the columns to chain g % 16, and adds the chains by a
 * tree at the end; so that a kernel needs one chain at a time, the groups lie in the order of chain_order: all groups of
 * chain 0, then those of chain 8 and so on. Every group is a record:
 *     q of the group, as the kind says
 *     d[lanes]             the scale of each row, of its 32 columns
 *     correction[lanes]    int32 -offset * sum(q); or, where offset is 0, the float d * sum(q) that minima are multiplied with
 */
#ifndef WORKER_TILES_H
#define WORKER_TILES_H

#include <cstddef>
#include <cstdint>
#include <span>

namespace worker::cpu {

enum class TileKind : uint32_t {
    Bytes,   /* q[group / 4][lanes][4], of a byte */
    Octets,  /* q[group / 8][lanes][8], of a byte; all after them for two lanes each, of which the second has no int32 correction */
    HighLow, /* words, 256 * high + low: for each four columns, low[lanes][4] and then high[lanes][4] */
    Words,   /* q[group / 2][lanes][2], of two bytes */
    Floats,  /* all groups of sixteen columns [lanes][16] and no more, where `group` is 32 the even ones before the odd ones; the
                last tile has only the lanes that are used */
    BfloatRows, /* all groups of 32 columns [lanes][32] as bf16, by rising column; the last tile has only the lanes that are used */
    Bfloats, /* of each 32 columns [16][16 lanes][2], in one part or two: what the first leaves is the second */
    BfloatPairs,
    Spread, /* for lanes that are rows of weights: the groups' records, in the columns' order, have for each row q[group], of a
               byte, d and correction */
    SpreadHighLow, /* the same of words: low[group] and then high[group] */
};

struct TileShape {
    TileKind kind = TileKind::Bytes;
    uint32_t lanes = 0;  /* 0: no tiles */
    uint32_t group = 0;  /* columns: 16 or 32 */
    uint32_t offset = 0; /* of the weights' levels */

    explicit operator bool() const noexcept { return lanes != 0; }
    bool operator==(const TileShape &) const = default;
};

constexpr unsigned chain_count = 16;

/* So ordered that each chain, or sum of chains, soon meets the one that the tree adds it to: chains 8 apart, then 4, 2, 1. */
constexpr uint8_t chain_order[chain_count] = {0, 8, 4, 12, 2, 10, 6, 14, 1, 9, 5, 13, 3, 11, 7, 15};

constexpr uint64_t groups_of_chain(uint64_t groups, unsigned chain) { return (groups + chain_count - 1 - chain) / chain_count; }

/* Where each chain's records begin, counted in records. */
struct ChainStarts {
    uint64_t start[chain_count];

    explicit constexpr ChainStarts(uint64_t groups) : start{} {
        uint64_t next = 0;
        for (const unsigned chain : chain_order) {
            start[chain] = next;
            next += groups_of_chain(groups, chain);
        }
    }
};

/* Of integers; a multiple of 64 where lanes are activation rows. */
constexpr size_t tile_record_bytes(const TileShape &shape) {
    const bool bytes = shape.kind == TileKind::Bytes || shape.kind == TileKind::Octets || shape.kind == TileKind::Spread;
    return size_t{shape.lanes} * (shape.group * (bytes ? 1 : 2) + (shape.kind == TileKind::Octets ? 4 : 2) * sizeof(float));
}

/* Columns that are interleaved at once: the least that PreparedForm's rows are padded to. */
constexpr uint64_t tile_segment = 512;

constexpr size_t tile_bytes(const TileShape &shape, uint64_t columns) {
    if (shape.kind == TileKind::Floats) return (columns + 15) / 16 * 16 * sizeof(float) * shape.lanes;
    if (shape.kind == TileKind::BfloatRows) return (columns + 31) / 32 * 64 * shape.lanes;
    if (shape.kind != TileKind::Bfloats && shape.kind != TileKind::BfloatPairs) return (columns / shape.group * tile_record_bytes(shape) + 63) / 64 * 64;
    /* An odd number of segments, so that the same columns of all tiles fit the second-level cache together. */
    const uint64_t segments = (columns + tile_segment - 1) / tile_segment | 1;
    return segments * tile_segment * 2 * shape.lanes * (shape.kind == TileKind::BfloatPairs ? 2 : 1);
}

/* Columns [first, first + columns) of at most shape.lanes rows; `first` is a multiple of tile_segment, and all_columns are
 * the tile's. The rows are IntegerRows of bytes, or of words, that begin at `first`. Lanes without a row become zeros. */
void interleave_bytes(const TileShape &shape, std::span<const std::byte *const> rows, uint64_t first, uint64_t columns, uint64_t all_columns, std::byte *tile);
void interleave_words(const TileShape &shape, std::span<const std::byte *const> rows, uint64_t first, uint64_t columns, uint64_t all_columns, std::byte *tile);

/* The same of floats, as they are; only the lanes of the rows are written. */
void interleave_values(const TileShape &shape, std::span<const float *const> rows, uint64_t first, uint64_t columns, uint64_t all_columns, std::byte *tile);

} // namespace worker::cpu

#endif
