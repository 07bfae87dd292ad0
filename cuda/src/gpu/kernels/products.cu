/*
 * Products of stored weight rows with activation rows.
 *
 * A half of a warp makes a few outputs: lane l has the columns l, l + 16, l + 32, ... in one chain of fused multiplications
 * by rising column, then the tree over the lanes. That is the order of the CPU's exact products, whatever the number of rows
 * and vectors that share a reading.
 */
#include "kernels.h"
#include "stored_formats.h"

namespace worker::gpu {

namespace {

constexpr unsigned block_threads = 128;
constexpr unsigned block_halves = block_threads / half_lanes;

/* Weight rows that a half works on at once, so that an activation read serves several. */
constexpr unsigned rows_at_once = 2;

/* The last columns, which are no whole block of sixteen, of a type without blocks. */
template <TensorType type, unsigned vectors>
__device__ __forceinline__ void add_rest(const std::byte *const (&weights)[rows_at_once], const float *const (&inputs)[vectors], uint64_t columns,
                                         unsigned lane, float (&chains)[rows_at_once][vectors]) {
    if constexpr (StoredFormat<type>::groups == 1) {
        const uint64_t whole = columns / 16;
        if (lane >= columns % 16) return;
        UNROLL
        for (unsigned r = 0; r < rows_at_once; r++) {
            float weight[1];
            StoredFormat<type>::expand(weights[r] + whole * StoredFormat<type>::bytes, lane, weight);
            UNROLL
            for (unsigned v = 0; v < vectors; v++) chains[r][v] = fmaf(weight[0], inputs[v][whole * 16 + lane], chains[r][v]);
        }
    }
}

template <TensorType type, unsigned vectors> __global__ void __launch_bounds__(block_threads) multiply_kernel(ProductTask task, uint32_t vector_groups) {
    using Format = StoredFormat<type>;
    const unsigned lane = threadIdx.x % half_lanes, half = threadIdx.x / half_lanes;
    const uint32_t first = blockIdx.x % vector_groups * vectors;
    const uint32_t first_row = (blockIdx.x / vector_groups * block_halves + half) * rows_at_once;

    /* Beyond the end, the last one's work is done again and not kept: a warp stays together. */
    const uint64_t expert_row = task.chosen != nullptr ? static_cast<uint64_t>(task.chosen[first]) * task.rows : 0;
    const std::byte *weights[rows_at_once];
    const float *inputs[vectors];
    UNROLL
    for (unsigned r = 0; r < rows_at_once; r++) weights[r] = task.weights.data + (expert_row + min(first_row + r, task.rows - 1)) * task.weights.row_bytes;
    UNROLL
    for (unsigned v = 0; v < vectors; v++) inputs[v] = task.inputs + min(first + v, task.count - 1) / task.outputs_per_input * task.input_stride;

    float chains[rows_at_once][vectors] = {};
    const uint64_t blocks = task.columns / (Format::groups * 16);
    for (uint64_t block = 0; block < blocks; block++) {
        float values[rows_at_once][Format::groups];
        UNROLL
        for (unsigned r = 0; r < rows_at_once; r++) Format::expand(weights[r] + block * Format::bytes, lane, values[r]);
        UNROLL
        for (unsigned g = 0; g < Format::groups; g++) {
            UNROLL
            for (unsigned v = 0; v < vectors; v++) {
                const float input = inputs[v][(block * Format::groups + g) * 16 + lane];
                UNROLL
                for (unsigned r = 0; r < rows_at_once; r++) chains[r][v] = fmaf(values[r][g], input, chains[r][v]);
            }
        }
    }
    add_rest<type, vectors>(weights, inputs, task.columns, lane, chains);

    UNROLL
    for (unsigned r = 0; r < rows_at_once; r++) {
        UNROLL
        for (unsigned v = 0; v < vectors; v++) {
            const float sum = sum_of_half(chains[r][v], whole_warp);
            const uint32_t row = first_row + r;
            if (lane != 0 || row >= task.rows || first + v >= task.count) continue;
            task.outputs[(first + v) * task.output_stride + row] = task.bias != nullptr ? sum + task.bias[expert_row + row] : sum;
        }
    }
}

template <TensorType type, unsigned vectors> void start(const ProductTask &task, Stream stream) {
    const uint32_t vector_groups = blocks_for(task.count, vectors);
    launch("multiply", multiply_kernel<type, vectors>, {vector_groups * blocks_for(task.rows, block_halves * rows_at_once)}, {block_threads}, stream, task,
           vector_groups);
}

} // namespace

void multiply(const ProductTask &task, Stream stream) {
    if (task.count == 0) return;
    /* With experts each output may have weights of its own. */
    const bool alone = task.count == 1 || task.chosen != nullptr;
    with_type(task.weights.type, [&]<TensorType type>() {
        if (alone)
            start<type, 1>(task, stream);
        else
            start<type, 8>(task, stream);
    });
}

} // namespace worker::gpu
