#include "tiles.h"

#include <cstring>

#include "kernels.h"

namespace worker::cpu {

namespace {

/* One row's columns of a group's record. */
template <typename Integer> void write_columns(const TileShape &shape, const Integer *q, std::byte *record, size_t lane) {
    const size_t line = shape.lanes * 4; /* bytes */
    std::byte *to = record + lane * 4;
    for (size_t k = 0; k < shape.group; k += 4, q += 4, to += shape.kind == TileKind::Bytes ? line : 2 * line) {
        if (shape.kind == TileKind::Bytes) {
            const int8_t bytes[4] = {static_cast<int8_t>(q[0]), static_cast<int8_t>(q[1]), static_cast<int8_t>(q[2]), static_cast<int8_t>(q[3])};
            std::memcpy(to, bytes, 4);
        } else if (shape.kind == TileKind::Words) {
            const int16_t words[4] = {q[0], q[1], q[2], q[3]};
            std::memcpy(to, words, 4);
            std::memcpy(to + line, words + 2, 4);
        } else {
            int8_t low[4], high[4];
            for (size_t i = 0; i < 4; i++) {
                low[i] = static_cast<int8_t>(q[i] & 255);
                high[i] = static_cast<int8_t>((q[i] - low[i]) / 256);
            }
            std::memcpy(to, low, 4);
            std::memcpy(to + line, high, 4);
        }
    }
}

void write_scales(const TileShape &shape, float d, int32_t sum, std::byte *scales, size_t lane) {
    std::byte *correction = scales + (shape.lanes + lane) * 4;
    std::memcpy(scales + 4 * lane, &d, 4);
    if (shape.offset == 0) {
        const float scaled = d * static_cast<float>(sum);
        std::memcpy(correction, &scaled, 4);
    } else {
        const int32_t removed = -static_cast<int32_t>(shape.offset) * sum;
        std::memcpy(correction, &removed, 4);
    }
}

template <typename Integer>
void interleave(const TileShape &shape, std::span<const std::byte *const> rows, uint64_t first, uint64_t columns, uint64_t all_columns, std::byte *tile) {
    const ChainStarts starts(all_columns / shape.group);
    const size_t record_bytes = tile_record_bytes(shape), scales_at = record_bytes - size_t{shape.lanes} * 8;
    for (uint64_t group = 0; group < columns / shape.group; group++) {
        const uint64_t number = first / shape.group + group;
        std::byte *record = tile + (starts.start[number % chain_count] + number / chain_count) * record_bytes;
        if (rows.size() < shape.lanes) std::memset(record, 0, record_bytes);
        for (size_t lane = 0; lane < rows.size(); lane++) {
            const IntegerRow<Integer> row(rows[lane], columns);
            int32_t sum = row.sums[group * shape.group / 16];
            if (shape.group == 32) sum += row.sums[group * 2 + 1];
            write_columns(shape, row.q + group * shape.group, record, lane);
            write_scales(shape, row.d[group * shape.group / 32], sum, record + scales_at, lane);
        }
    }
}

} // namespace

void interleave_bytes(const TileShape &shape, std::span<const std::byte *const> rows, uint64_t first, uint64_t columns, uint64_t all_columns, std::byte *tile) {
    interleave<int8_t>(shape, rows, first, columns, all_columns, tile);
}

void interleave_words(const TileShape &shape, std::span<const std::byte *const> rows, uint64_t first, uint64_t columns, uint64_t all_columns, std::byte *tile) {
    interleave<int16_t>(shape, rows, first, columns, all_columns, tile);
}

} // namespace worker::cpu
