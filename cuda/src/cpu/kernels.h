/*
 * The CPU's kernels, behind one table per instruction set.
 *
 * The same sources are compiled once per instruction set (isa_*.cpp); cpu_kernels() chooses a table by CPUID. Whatever a
 * function computes for one row depends on that row alone: never on the other rows of the call, on how rows and tasks are
 * split, or on threads.
 */
#ifndef WORKER_KERNELS_H
#define WORKER_KERNELS_H

#include <cstddef>
#include <cstdint>
#include <span>

#include "../formats/tensor_type.h"
#include "engine.h"
#include "tiles.h"

namespace worker::cpu {

/* Prompt rows come many at a time and are bound by arithmetic; decode rows come few at a time and are bound by the
 * reading of the weights. A row's arithmetic follows its role, so a kernel may be chosen for each. */
enum class Role : uint32_t { Prompt = ENGINE_ROLE_PROMPT, Decode = ENGINE_ROLE_DECODE };

/* Exact multiplies floats, as an F32 cache asks. Fast rounds the activations that meet quantised weights to 8 bits, Careful
 * to 16. Fine is for the products that make half of the error: as Careful, but as Fast for types with blocks of 256, whose
 * tolerated error is larger, and with a unit for bf16, which has more bits than 8, where there is one. On a CPU that multiplies
 * bf16, Fast rounds the activations that meet BF16 weights to that. */
enum class Arithmetic : uint32_t { Exact, Careful, Fine, Fast };

/* How activations are laid out for a product; chosen by weight type, role and arithmetic alone. */
enum class PreparedForm : uint32_t {
    Floats, /* as they are, with zeros up to a multiple of 16 */
    BfloatRow,
    Bytes,  /* IntegerRow<int8_t> */
    Words,  /* IntegerRow<int16_t> */
    /* Bytes and Words as a path's own kernels for few rows like them; only from and for the same table. */
    ByteStreamOf32,
    ByteStreamOf16,
    ByteStreamOfPairs,
    ByteStreamOfQuads,
    WordStreamOf32,
    WordStreamOf16,
    WordStreamOfPairs,
    WordStreamOfQuads,
    Bfloats, /* bf16, in tiles only */
};
constexpr size_t prepared_forms = 12; /* that rows have by themselves */

/* The form with the same numbers in the columns' order, which tiles are made of. */
constexpr PreparedForm plain_form(PreparedForm form) {
    switch (form) {
    case PreparedForm::ByteStreamOf32:
    case PreparedForm::ByteStreamOf16:
    case PreparedForm::ByteStreamOfPairs:
    case PreparedForm::ByteStreamOfQuads: return PreparedForm::Bytes;
    case PreparedForm::WordStreamOf32:
    case PreparedForm::WordStreamOf16:
    case PreparedForm::WordStreamOfPairs:
    case PreparedForm::WordStreamOfQuads: return PreparedForm::Words;
    default: return form;
    }
}

/*
 * PreparedForm::Bytes and Words, in the columns' order; and with it the integer product, which has one meaning on every path
 * and for any number of rows at once, to the last bit:
 *
 * Of each 32 columns, m = max |x|, d = m / most and q = x * (most / m) rounded to the nearest, ties to even; q = 0 where m
 * is below 2^-110, and q = 0 with d = NaN where an x is not finite. A weight is scale * (level - offset) - minimum, with
 * scale and minimum the same for a group of 16 or 32 columns (isa_integers.inc). Group g adds to chain[g % 16], by rising g
 * and with each operation rounded once:
 *     fma(float(sum(level * q) - offset * sum(q)), scale * d, chain)
 *     fma(-minimum, d * float(sum(q)), chain), for types with minima
 * The sums of integers are exact in 32 bits. The chains end in the tree of sum() (lanes 8 apart, then 4, 2, 1); the bias is
 * added last.
 */
template <typename Integer> struct IntegerRow {
    /* A word is 256 * high + low, both of a byte, for kernels that multiply bytes. */
    static constexpr int most = sizeof(Integer) == 1 ? 127 : 127 * 256;

    static constexpr uint64_t padded(uint64_t columns) { return (columns + 511) / 512 * 512; }
    static constexpr size_t bytes(uint64_t columns) {
        return padded(columns) * sizeof(Integer) + padded(columns) / 32 * sizeof(float) + padded(columns) / 16 * sizeof(int32_t);
    }

    IntegerRow() = default;
    IntegerRow(const std::byte *prepared, uint64_t columns)
        : q(reinterpret_cast<const Integer *>(prepared)), d(reinterpret_cast<const float *>(q + padded(columns))),
          sums(reinterpret_cast<const int32_t *>(d + padded(columns) / 32)) {}

    const Integer *q = nullptr;    /* [padded], with zeros behind the columns, as in the others */
    const float *d = nullptr;      /* [padded / 32] */
    const int32_t *sums = nullptr; /* [padded / 16]: of q */
};

/*
 * PreparedForm::BfloatRow: bf16 nearest to each x, ties to even, with zeros up to a multiple of 32; and with it the product of
 * such a CPU with BF16 weights, to the last bit: lane i of sixteen has, of each 32 columns and by rising column,
 *     sum = fma(weight[2i], x[2i], fma(weight[2i + 1], x[2i + 1], sum))
 * where whatever is smaller than the smallest normal float counts as zero, and so do such results. The lanes end in the tree of
 * sum(); the bias is added last.
 */

/* outputs[i][row] = sum over k of weights[row][k] * inputs[i][k], + bias[row], for row in [first_row, last_row). */
struct ProductTask {
    TensorType type;
    Role role;
    PreparedForm form; /* of the inputs: prepared_form() of type, role and the call's arithmetic */
    const std::byte *weights;
    size_t row_bytes;
    uint64_t columns;
    uint64_t first_row;
    uint64_t last_row;
    const float *bias; /* may be null */
    const std::byte *const *inputs; /* prepared rows, 64-byte aligned */
    float *const *outputs;
    uint64_t count;
    float *scratch; /* product_scratch floats, or tile_scratch, 64-byte aligned */
    TileShape shape = {};             /* where there are tiles, they stand for the inputs */
    const std::byte *tiles = nullptr; /* tile_bytes apart, 64-byte aligned */
    const std::byte *next_weights = nullptr; /* what the thread will probably read after this task, or null */
    size_t next_bytes = 0;
};

/* Positions that attention takes at once, aligned: their results are joined in order, so that a long context can be shared out. */
constexpr uint32_t attention_span = 512;

/* Attention of some query rows of one sequence to the cached positions, for one KV head. */
struct AttentionTask {
    const float *queries; /* [rows][row_stride], starting at the KV head's first query head */
    float *outputs;       /* [rows][output_stride], likewise */
    size_t row_stride;
    size_t output_stride;
    const uint32_t *positions; /* [rows], rising */
    uint32_t rows;
    uint32_t group;            /* query heads of the KV head */
    uint32_t head_size;
    uint32_t value_size;
    uint32_t window; /* 0: none */
    float scale;
    float softcap;       /* 0: none */
    const float *sinks;  /* [group]; may be null */
    uint32_t kind;       /* ENGINE_KV_* */
    const std::byte *keys;   /* the KV head's, on page 0 */
    const std::byte *values;
    size_t page_stride;
    size_t key_row_bytes; /* bytes of one key, wherever they lie in its page */
    size_t value_row_bytes;
    const uint32_t *pages; /* of the sequence */
    float *scratch;        /* attention_scratch floats, 64-byte aligned */
    const std::byte *next[2]; /* pages of keys that the thread will probably read after this span, or null */
};

enum class Activation : uint32_t { Silu, Gelu, SwigluClamped };

struct ActivationTask {
    Activation activation;
    const float *gate;
    const float *up; /* null: the plain activation of gate */
    float *output;   /* may be gate or up */
    uint64_t count;
    float alpha; /* of SwigluClamped */
    float limit;
    const float *gelu_table; /* by the bits of the half nearest to the argument; see row_operations.h */
};

struct KernelTable {
    const char *name;

    /* One row of stored values as floats; columns as the row has, any address. */
    void (*expand_row)(TensorType type, const std::byte *row, uint64_t columns, float *output);

    PreparedForm (*prepared_form)(TensorType type, Role role, Arithmetic arithmetic);
    /* Whether product() and tile_product() give the same bits for both roles. */
    bool (*roles_agree)(TensorType type, Arithmetic arithmetic);
    size_t (*prepared_bytes)(PreparedForm form, uint64_t columns); /* a multiple of 64 */
    void (*prepare)(PreparedForm form, const float *row, uint64_t columns, std::byte *prepared);
    size_t (*product_scratch)(uint64_t columns);
    void (*product)(const ProductTask &task);

    /* The tiles that are best for so many rows, whose prepared form this is, or none: product() is then. Both give the same
     * bits. */
    TileShape (*tile_shape)(TensorType type, PreparedForm form, uint64_t count);
    size_t (*tile_scratch)(uint64_t columns);
    void (*tile_product)(const ProductTask &task);

    /* For tasks of at most so many queries (rows * group) that see at most so many positions, from the first row's first to
     * the last row's last. */
    size_t (*attention_scratch)(uint32_t kind, uint32_t head_size, uint32_t value_size, uint32_t queries, uint64_t positions);
    void (*attend)(const AttentionTask &task);
    /* attend() in parts, with the same bits, for caches that do not hold floats: each span that the rows see into
     * attention_partial floats (64-byte aligned), then the first such span's and those after it together. */
    size_t (*attention_partial)(uint32_t value_size, uint32_t queries);
    void (*attend_span)(const AttentionTask &task, uint32_t span, float *partial);
    void (*join_spans)(const AttentionTask &task, uint32_t spans, float *partials);
    /* One head's value into a row of the cache; or a key where keys lie in rows. */
    void (*store_kv)(uint32_t kind, const float *row, uint32_t count, std::byte *output);
    /* One head's key into its place among a page's, which lie in rows only where the cache holds floats: isa_attention_keys.inc. */
    void (*store_key)(uint32_t kind, const float *row, uint32_t count, uint32_t slot, std::byte *page);

    void (*rms_norm)(const float *input, const float *weight, uint64_t count, float epsilon, float *output);
    void (*layer_norm)(const float *input, const float *weight, const float *bias /* may be null */, uint64_t count, float epsilon,
                       float *output);
    /* Turns a head in place by what Rotary::angles() wrote; kind: ENGINE_ROTARY_*. */
    void (*turn)(uint32_t kind, float *head, uint32_t pairs, const float *angles);
    void (*activate)(const ActivationTask &task);

    /* As interleave_bytes(), of floats to tiles of bf16 of its own, columns [first, first + columns); null where there are no such tiles. */
    void (*interleave_floats)(const TileShape &shape, const float *const *rows, size_t count, uint64_t first, uint64_t columns, std::byte *tile);
};

/* How many bytes ahead of the reading of weights to ask for them: where the CPU's own prefetching is disturbed by that, 0, which
 * asks for what is read anyway. */
size_t prefetch_distance() noexcept;

/* The table in use. The first call decides: by CPUID, or by WORKER_CPU_PATH; throws invalid parameter for a value that is
 * unknown or not supported here. */
const KernelTable &cpu_kernels();

/* Every table this CPU can run, the scalar one first. */
std::span<const KernelTable *const> supported_cpu_kernels() noexcept;

} // namespace worker::cpu

#endif
