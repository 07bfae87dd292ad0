#include "tiles.h"

#include <algorithm>
#include <bit>
#include <cstring>

#include "kernels.h"

namespace worker::cpu {

namespace {

/* One row's columns of a group's record, which begin at its lane. */
template <typename Integer, TileKind kind, size_t lanes, size_t group> inline void write_columns(const Integer *q, std::byte *record, size_t lane) {
    if constexpr (kind == TileKind::Octets) {
        for (size_t k = 0; k < group; k += 8) std::memcpy(record + (k * lanes + 8 * lane), q + k, 8);
        return;
    }
    constexpr size_t line = lanes * 4; /* bytes */
    std::byte *to = record + 4 * lane;
    for (size_t k = 0; k < group; k += 4, q += 4, to += kind == TileKind::Bytes ? line : 2 * line) {
        if constexpr (kind == TileKind::Bytes) {
            std::memcpy(to, q, 4);
        } else if constexpr (kind == TileKind::Words) {
            const int16_t words[4] = {q[0], q[1], q[2], q[3]};
            std::memcpy(to, words, 4);
            std::memcpy(to + line, words + 2, 4);
        } else {
            int8_t low[4], high[4];
            for (size_t i = 0; i < 4; i++) {
                low[i] = static_cast<int8_t>(q[i]);
                high[i] = static_cast<int8_t>((q[i] + 128) >> 8);
            }
            std::memcpy(to, low, 4);
            std::memcpy(to + line, high, 4);
        }
    }
}

/* What minima are multiplied with, or what an offset takes. */
inline uint32_t correction_of(const TileShape &shape, float d, int32_t sum) {
    return shape.offset == 0 ? std::bit_cast<uint32_t>(d * static_cast<float>(sum)) : static_cast<uint32_t>(-static_cast<int32_t>(shape.offset) * sum);
}

/* `both`: for two lanes. */
template <bool both> void write_scales(const TileShape &shape, float d, int32_t sum, std::byte *scales, size_t lane) {
    constexpr size_t width = both ? 2 : 1;
    const uint32_t correction = correction_of(shape, d, sum), corrections[2] = {correction, shape.offset == 0 ? correction : 0};
    const float ds[2] = {d, d};
    std::memcpy(scales + lane * 4 * width, ds, 4 * width);
    std::memcpy(scales + (shape.lanes + lane) * 4 * width, corrections, 4 * width);
}

template <typename Integer, TileKind kind, size_t lanes, size_t group>
void interleave_all(const TileShape &shape, std::span<const std::byte *const> rows, uint64_t first, uint64_t columns, uint64_t all_columns, std::byte *tile) {
    const ChainStarts starts(all_columns / group);
    const size_t record_bytes = tile_record_bytes(shape), scales_at = record_bytes - lanes * (kind == TileKind::Octets ? 16 : 8);
    if (rows.size() < lanes)
        for (uint64_t g = first / group; g < (first + columns) / group; g++)
            std::memset(tile + (starts.start[g % chain_count] + g / chain_count) * record_bytes, 0, record_bytes);
    for (size_t lane = 0; lane < rows.size(); lane++) {
        const IntegerRow<Integer> row(rows[lane], columns);
        for (uint64_t g = 0; g < columns / group; g++) {
            const uint64_t number = first / group + g;
            std::byte *record = tile + (starts.start[number % chain_count] + number / chain_count) * record_bytes;
            const int32_t sum = group == 32 ? row.sums[2 * g] + row.sums[2 * g + 1] : row.sums[g];
            write_columns<Integer, kind, lanes, group>(row.q + g * group, record, lane);
            write_scales<kind == TileKind::Octets>(shape, row.d[g * group / 32], sum, record + scales_at, lane);
        }
    }
}

template <typename Integer, TileKind kind>
void interleave(const TileShape &shape, std::span<const std::byte *const> rows, uint64_t first, uint64_t columns, uint64_t all_columns, std::byte *tile) {
    const auto all = shape.lanes == 8 ? shape.group == 16 ? interleave_all<Integer, kind, 8, 16> : interleave_all<Integer, kind, 8, 32>
                     : shape.group == 16 ? interleave_all<Integer, kind, 16, 16> : interleave_all<Integer, kind, 16, 32>;
    all(shape, rows, first, columns, all_columns, tile);
}

template <typename Integer, size_t group>
void interleave_spread(const TileShape &shape, std::span<const std::byte *const> rows, uint64_t first, uint64_t columns, std::byte *tile) {
    constexpr size_t q_bytes = group * sizeof(Integer), lane_bytes = q_bytes + sizeof(float) + sizeof(int32_t);
    const size_t record_bytes = shape.lanes * lane_bytes;
    std::byte *record = tile + first / group * record_bytes;
    if (rows.size() < shape.lanes) std::memset(record, 0, columns / group * record_bytes);
    for (size_t lane = 0; lane < rows.size(); lane++) {
        const IntegerRow<Integer> row(rows[lane], columns);
        const Integer *q = row.q;
        std::byte *to = record + lane * lane_bytes;
        for (uint64_t g = 0; g < columns / group; g++, q += group, to += record_bytes) {
            const int32_t sum = group == 32 ? row.sums[2 * g] + row.sums[2 * g + 1] : row.sums[g];
            const float d = row.d[g * group / 32];
            const uint32_t correction = correction_of(shape, d, sum);
            if constexpr (sizeof(Integer) == 1) {
                std::memcpy(to, q, group);
            } else {
                int8_t low[group], high[group];
                for (size_t i = 0; i < group; i++) {
                    low[i] = static_cast<int8_t>(q[i]);
                    high[i] = static_cast<int8_t>((q[i] + 128) >> 8);
                }
                std::memcpy(to, low, group);
                std::memcpy(to + group, high, group);
            }
            std::memcpy(to + q_bytes, &d, sizeof d);
            std::memcpy(to + q_bytes + sizeof d, &correction, sizeof correction);
        }
    }
}

} // namespace

void interleave_bytes(const TileShape &shape, std::span<const std::byte *const> rows, uint64_t first, uint64_t columns, uint64_t all_columns, std::byte *tile) {
    if (shape.kind == TileKind::Spread)
        return (shape.group == 32 ? interleave_spread<int8_t, 32> : interleave_spread<int8_t, 16>)(shape, rows, first, columns, tile);
    const auto one = shape.kind == TileKind::Bytes    ? interleave<int8_t, TileKind::Bytes>
                     : shape.kind == TileKind::Octets ? interleave<int8_t, TileKind::Octets>
                                                      : interleave<int8_t, TileKind::Words>;
    one(shape, rows, first, columns, all_columns, tile);
}

void interleave_words(const TileShape &shape, std::span<const std::byte *const> rows, uint64_t first, uint64_t columns, uint64_t all_columns, std::byte *tile) {
    if (shape.kind == TileKind::SpreadHighLow)
        return (shape.group == 32 ? interleave_spread<int16_t, 32> : interleave_spread<int16_t, 16>)(shape, rows, first, columns, tile);
    const auto one = shape.kind == TileKind::HighLow ? interleave<int16_t, TileKind::HighLow> : interleave<int16_t, TileKind::Words>;
    one(shape, rows, first, columns, all_columns, tile);
}

void interleave_values(const TileShape &shape, std::span<const float *const> rows, uint64_t first, uint64_t columns, uint64_t all_columns, std::byte *tile) {
    const uint64_t chains = shape.group / 16, groups = (all_columns + 15) / 16, group_floats = rows.size() * 16;
    auto *values = reinterpret_cast<float *>(tile);
    for (uint64_t column = 0; column < columns; column += 16) {
        const uint64_t group = (first + column) / 16, chain = group % chains, used = std::min<uint64_t>(16, columns - column);
        float *to = values + (chain * ((groups + 1) / 2) + group / chains) * group_floats;
        for (const float *row : rows) {
            std::memcpy(to, row + first + column, used * sizeof(float));
            if (used < 16) std::fill(to + used, to + 16, 0.0f);
            to += 16;
        }
    }
}

} // namespace worker::cpu
