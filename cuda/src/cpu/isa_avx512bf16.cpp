/*
 * Products of BF16 weights with activations rounded to BF16, for CPUs that have AVX512_BF16 beside what isa_avx512vnni.cpp
 * needs; its other kernels are that one's. What they give is said in kernels.h, BfloatRow.
 */
#include "isa_begin_avx512bf16.inc"

namespace worker::cpu::avx512vnni {
extern const KernelTable table;
}

namespace worker::cpu::avx512bf16 {

namespace {

#include "isa_vector_avx512.inc"

#include "isa_formats.inc"

#include "isa_expansion.inc"
#include "isa_float_parts_avx512.inc"
#include "isa_register_tiles.inc"

constexpr uint64_t group_columns = 32;
constexpr size_t group_bytes = 64;

INLINE uint64_t groups_in(uint64_t columns) { return (columns + group_columns - 1) / group_columns; }

INLINE __m256bh as_pairs(__m256i bits) { return reinterpret_cast<__m256bh>(bits); }
INLINE __m512bh as_pairs(__m512 bits) { return reinterpret_cast<__m512bh>(bits); }

/* ---- the activations ---- */

INLINE void round_group(__m512 first, __m512 second, std::byte *to) {
    _mm512_storeu_si512(to, reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(second, first)));
}

/* Every group of a row, with zeros behind its columns, `stride` bytes apart. */
void round_row(const float *row, uint64_t columns, std::byte *to, size_t stride) {
    for (; columns >= group_columns; columns -= group_columns, row += group_columns, to += stride) round_group(_mm512_loadu_ps(row), _mm512_loadu_ps(row + 16), to);
    if (columns == 0) return;
    const uint32_t used = (1u << columns) - 1;
    round_group(_mm512_maskz_loadu_ps(static_cast<__mmask16>(used), row), _mm512_maskz_loadu_ps(static_cast<__mmask16>(used >> 16), row + 16), to);
}

/* KernelTable::interleave_floats */
void interleave(const TileShape &, const float *const *rows, size_t count, uint64_t first, uint64_t columns, std::byte *tile) {
    const size_t stride = count * group_bytes;
    for (size_t i = 0; i < count; i++) round_row(rows[i] + first, columns, tile + first / group_columns * stride + i * group_bytes, stride);
}

/* ---- one activation row ---- */

/* In registers of half the width, as short rows come faster from memory so: the lower one is of the lower eight lanes. */
struct HalfSums {
    __m256 low, high;

    INLINE void add(__m256i low_weights, __m256i high_weights, const std::byte *activations) {
        const auto *pairs = reinterpret_cast<const __m256i *>(activations);
        low = _mm256_dpbf16_ps(low, as_pairs(low_weights), as_pairs(_mm256_load_si256(pairs)));
        high = _mm256_dpbf16_ps(high, as_pairs(high_weights), as_pairs(_mm256_load_si256(pairs + 1)));
    }
    INLINE float total() const { return sum(Lanes{_mm512_insertf32x8(_mm512_castps256_ps512(low), high, 1)}); }
};

INLINE float row_with_one(const std::byte *row, uint64_t columns, const std::byte *input, size_t ahead) {
    constexpr unsigned unrolled = 4;
    HalfSums sums{_mm256_setzero_ps(), _mm256_setzero_ps()};
    const auto whole_group = [&](unsigned group) INLINE_LAMBDA {
        const auto *pairs = reinterpret_cast<const __m256i *>(row + group * group_bytes);
        sums.add(_mm256_loadu_si256(pairs), _mm256_loadu_si256(pairs + 1), input + group * group_bytes);
    };
    for (; columns >= unrolled * group_columns; columns -= unrolled * group_columns, row += unrolled * group_bytes, input += unrolled * group_bytes)
        repeat<0, unrolled>([&]<unsigned group>(Index<group>) INLINE_LAMBDA {
            prefetch(row + ahead + group * group_bytes);
            whole_group(group);
        });
    for (; columns >= group_columns; columns -= group_columns, row += group_bytes, input += group_bytes) whole_group(0);
    if (columns != 0) {
        const uint32_t used = (1u << columns) - 1;
        sums.add(_mm256_maskz_loadu_epi16(static_cast<__mmask16>(used), row), _mm256_maskz_loadu_epi16(static_cast<__mmask16>(used >> 16), row + 32), input);
    }
    return sums.total();
}

/* ---- the product ---- */

struct PairsGroup {
    static constexpr uint64_t columns = group_columns;
    static constexpr size_t bytes = group_bytes;
    static INLINE Part weights(const std::byte *from) { return {_mm512_loadu_ps(from)}; }
    static INLINE Part add_product(Part weights, Part activations, Part sums) {
        return {_mm512_dpbf16_ps(sums.value, as_pairs(weights.value), as_pairs(activations.value))};
    }
};

constexpr unsigned chains = 1;

void tiled_product(const ProductTask &task) {
    if (task.columns % group_columns == 0)
        return product_by_blocks<PairsGroup, chains>(task, rows_of_block(task.row_bytes, block_bytes), [&](uint64_t row, uint64_t rows) { return stored_rows(task, row, rows); });
    product_by_blocks<PairsGroup, chains>(task, TileScratch::panel_rows(task.columns), [&](uint64_t row, uint64_t rows) {
        return panel_of_rows(task, row, rows, [&](const std::byte *stored, float *to) {
            __builtin_memset(to, 0, groups_in(task.columns) * group_bytes);
            __builtin_memcpy(to, stored, task.columns * 2);
        });
    });
}

/* An activation row is a tile by itself. Where it leaves the first-level cache no room for weights, four rows share it. */
constexpr uint64_t most_columns_of_lines = 5120;

void plain_product(const ProductTask &task) {
    if (task.columns > most_columns_of_lines && task.count == 1) {
        ProductTask tiled = task;
        tiled.tiles = task.inputs[0];
        return tiled_product(tiled);
    }
    const size_t ahead = prefetch_distance() + 64;
    for (uint64_t i = 0; i < task.count; i++)
        for (uint64_t row = task.first_row; row < task.last_row; row++) {
            const float total = row_with_one(task.weights + row * task.row_bytes, task.columns, task.inputs[i], ahead);
            task.outputs[i][row] = task.bias != nullptr ? total + task.bias[row] : total;
        }
}

/* ---- the table ---- */

/* Exact and careful products keep the bits of activations. */
PreparedForm prepared_form(TensorType type, Role role, Arithmetic arithmetic) {
    const bool rounded = type == TensorType::BF16 && arithmetic == Arithmetic::Fast;
    return rounded ? PreparedForm::BfloatRow : avx512vnni::table.prepared_form(type, role, arithmetic);
}

size_t prepared_bytes(PreparedForm form, uint64_t columns) {
    return form == PreparedForm::BfloatRow ? groups_in(columns) * group_bytes : avx512vnni::table.prepared_bytes(form, columns);
}

void prepare(PreparedForm form, const float *row, uint64_t columns, std::byte *prepared) {
    form == PreparedForm::BfloatRow ? round_row(row, columns, prepared, group_bytes) : avx512vnni::table.prepare(form, row, columns, prepared);
}

void product(const ProductTask &task) { task.form == PreparedForm::BfloatRow ? plain_product(task) : avx512vnni::table.product(task); }

size_t product_scratch(uint64_t columns) {
    const size_t own = TileScratch::floats(columns), others = avx512vnni::table.product_scratch(columns);
    return own > others ? own : others;
}

TileShape tile_shape(TensorType type, PreparedForm form, uint64_t count) {
    if (form != PreparedForm::BfloatRow) return avx512vnni::tile_shape(type, form, count);
    return count < least_tile_vectors ? TileShape{} : TileShape{TileKind::BfloatRows, tile_vectors, group_columns, 0};
}

size_t tile_scratch(uint64_t columns) {
    const size_t own = TileScratch::floats(columns), others = avx512vnni::tile_scratch(columns);
    return own > others ? own : others;
}

void tile_product(const ProductTask &task) { task.form == PreparedForm::BfloatRow ? tiled_product(task) : avx512vnni::tile_product(task); }

} // namespace

KernelTable table() noexcept {
    KernelTable table = avx512vnni::table;
    table.name = "avx512bf16";
    table.prepared_form = prepared_form;
    table.prepared_bytes = prepared_bytes;
    table.prepare = prepare;
    table.product_scratch = product_scratch;
    table.product = product;
    table.tile_shape = tile_shape;
    table.tile_scratch = tile_scratch;
    table.tile_product = tile_product;
    table.interleave_floats = interleave;
    return table;
}

} // namespace worker::cpu::avx512bf16

#include "isa_end.inc"
