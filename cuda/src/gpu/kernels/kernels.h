/*
 * The forward pass's kernels, as functions that the host calls. Plain C++: nothing of CUDA's is needed to include this.
 *
 * All addresses are the device's unless said otherwise. A function starts its kernel on the stream and returns before it has
 * run; it throws kernel_launch_failed when it cannot be started. Sizes are trusted: the model was checked at load.
 *
 * Whatever a kernel computes for one row depends on that row alone, never on the other rows of the call: sums have one
 * order, fixed by columns and positions, and there are no floating-point atomics. The orders are those of the CPU's exact
 * products (one chain of fused multiplications per column modulo sixteen, then a tree), so that both devices give the same
 * bits where their mathematical functions do.
 */
#ifndef WORKER_GPU_KERNELS_H
#define WORKER_GPU_KERNELS_H

#include <cstddef>
#include <cstdint>

#include "../../formats/tensor_type.h"
#include "../runtime.h"
#include "engine.h"

namespace worker::gpu {

/* One token of a batch. */
struct BatchRow {
    uint32_t token;
    uint32_t position;
    uint32_t first_page; /* where its sequence's page table begins in the batch's `pages` */
};

/* Rows in their stored form; null data: there is none. */
struct StoredRows {
    TensorType type = TensorType::F32;
    const std::byte *data = nullptr;
    size_t row_bytes = 0;
};

/* ---- embeddings ---- */

/* output[i] = scale * tokens[rows[i].token] + positions[rows[i].position] */
struct EmbedTask {
    StoredRows tokens;
    StoredRows positions; /* may be none */
    float scale;          /* 1: none */
    uint32_t width;
    const BatchRow *rows; /* [count] */
    uint32_t count;
    float *output; /* [count][width] */
};
void embed(const EmbedTask &task, Stream stream);

/* ---- norms ---- */

/* Row i of the output is the norm of input row chosen[i], or of row i. Output may be the input where nothing is chosen.
 * A query's or key's norm by heads takes rows * heads rows of head_size. */
struct NormTask {
    uint32_t kind; /* ENGINE_NORM_* */
    const float *input;
    const uint32_t *chosen; /* [count]; may be null */
    const float *weight;    /* [width] */
    const float *bias;      /* [width]; may be null; of layer norms */
    float epsilon;
    uint32_t width;
    uint64_t count;
    size_t input_stride; /* floats from row to row */
    size_t output_stride;
    float *output;
};
void normalise(const NormTask &task, Stream stream);

/* ---- rotation, and the cache's rows ---- */

/* Turns `heads` heads of every row in place. angles: [count][2 * pairs], as Rotary::angles() writes them: cosines, then
 * sines. pairs = 0 does nothing. */
struct TurnTask {
    uint32_t kind; /* ENGINE_ROTARY_* */
    float *rows;   /* [count][heads * head_size] */
    uint32_t count;
    uint32_t heads;
    uint32_t head_size;
    uint32_t pairs;
    const float *angles;
};
void turn(const TurnTask &task, Stream stream);

/* One layer of the KV cache; the members are KvLayout's. */
struct CacheLayer {
    std::byte *base; /* KvCache::address(layer, 0, 0, KvPart::Key) */
    uint32_t kind;   /* ENGINE_KV_* */
    uint32_t kv_heads;
    uint32_t head_size;
    uint32_t value_size;
    size_t page_bytes;
    size_t head_bytes;
    size_t key_bytes;
    size_t key_row_bytes;
    size_t value_row_bytes;
};

/* Keys and values of every row to its position's place. */
struct StoreTask {
    CacheLayer cache;
    const float *keys;   /* [count][kv_heads * head_size] */
    const float *values; /* [count][kv_heads * value_size] */
    const BatchRow *rows;
    const uint32_t *pages; /* of all the batch's sequences; BatchRow::first_page */
    uint32_t count;
};
void store_kv(const StoreTask &task, Stream stream);

/* ---- attention ---- */

/* Every row's attention to its sequence's cached positions up to its own. */
struct AttendTask {
    CacheLayer cache;
    const float *queries; /* [count][heads * head_size] */
    float *outputs;       /* [count][heads * value_size] */
    const BatchRow *rows;
    const uint32_t *pages;
    uint32_t count;
    uint32_t heads;
    uint32_t window; /* 0: none */
    float scale;
    float softcap;      /* 0: none */
    const float *sinks; /* [heads]; may be null */
    uint32_t positions; /* more than the highest position of the rows */
    float *scratch;     /* attention_scratch_floats() */
    uint32_t slots;     /* as given to attention_scratch_floats() */
};
/* Floats of scratch with which `slots` heads of rows are worked on at once: at least 1; more than count * heads are of no
 * use. The results do not depend on it. */
uint64_t attention_scratch_floats(uint32_t slots, uint32_t positions, uint32_t value_size) noexcept;
void attend(const AttendTask &task, Stream stream);

/* ---- products ---- */

/* outputs[i][row] = sum over k of weights[row][k] * inputs[i][k], + bias[row].
 *
 * With experts, output i is made by the expert chosen[i], whose weights are the rows [chosen[i] * rows, (chosen[i] + 1) * rows)
 * and whose bias lies likewise, from input i / outputs_per_input. */
struct ProductTask {
    StoredRows weights;
    uint64_t columns;
    uint32_t rows; /* of one expert */
    const float *bias; /* may be null */
    const float *inputs;
    size_t input_stride; /* floats */
    float *outputs;
    size_t output_stride;
    uint32_t count; /* of outputs */
    const uint32_t *chosen = nullptr; /* [count]; null: no experts */
    uint32_t outputs_per_input = 1;   /* with experts */
};
void multiply(const ProductTask &task, Stream stream);

/* ---- experts ---- */

/* The `used` largest scores of each row, falling, lower index first among equals, and their softmax. */
struct ChooseTask {
    const float *scores; /* [count][experts] */
    uint32_t experts;
    uint32_t used;
    uint32_t count;
    uint32_t *chosen; /* [count][used] */
    float *weights;   /* [count][used] */
};
void choose_experts(const ChooseTask &task, Stream stream);

/* output[i] = sum over rank of weights[i][rank] * inputs[i * used + rank], in the order of the ranks. */
struct CombineTask {
    const float *inputs;  /* [count * used][width] */
    const float *weights; /* [count][used] */
    uint32_t used;
    uint32_t width;
    uint32_t count;
    float *output; /* [count][width] */
};
void combine_experts(const CombineTask &task, Stream stream);

/* ---- element by element ---- */

/* output = activation(gate) * up. */
struct ActivateTask {
    uint32_t activation; /* ENGINE_ACTIVATION_* */
    const float *gate;
    const float *up; /* null: the plain activation of gate */
    float *output;   /* may be gate or up */
    uint64_t count;
    float alpha; /* of the clamped activation */
    float limit;
    const float *gelu_table; /* of the GELU: cpu::fill_gelu_table()'s 65536 numbers */
};
void activate(const ActivateTask &task, Stream stream);

/* rows += scale * addends; scale 0 or 1: none. */
void add_rows(float *rows, const float *addends, float scale, uint64_t count, Stream stream);

/* logits = cap(scale * logits); scale 0 or 1: none; cap 0: none, otherwise cap * tanh(x / cap). */
void finish_logits(float *logits, float scale, float softcap, uint64_t count, Stream stream);

} // namespace worker::gpu

#endif
