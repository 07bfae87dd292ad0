/*
 * Token and position embeddings, from their stored form.
 */
#include "kernels.h"
#include "stored_formats.h"

namespace worker::gpu {

namespace {

constexpr unsigned block_threads = 128;
constexpr unsigned block_halves = block_threads / half_lanes;

enum class Table : uint32_t { Tokens, Positions };

/* A block of threads has a row; each half of a warp takes every eighth block of stored values. */
template <TensorType type> __global__ void __launch_bounds__(block_threads) embed_kernel(EmbedTask task, Table table) {
    using Format = StoredFormat<type>;
    const unsigned lane = threadIdx.x % half_lanes, half = threadIdx.x / half_lanes;
    const BatchRow row = task.rows[blockIdx.x];
    const bool tokens = table == Table::Tokens;
    const std::byte *stored = tokens ? task.tokens.data + row.token * task.tokens.row_bytes : task.positions.data + row.position * task.positions.row_bytes;
    float *output = task.output + static_cast<size_t>(blockIdx.x) * task.width;
    for (uint32_t block = half; block * Format::groups * 16 < task.width; block += block_halves) {
        const uint32_t column = block * Format::groups * 16 + lane;
        if (column >= task.width) continue;
        float values[Format::groups];
        Format::expand(stored + static_cast<size_t>(block) * Format::bytes, lane, values);
        UNROLL
        for (unsigned g = 0; g < Format::groups; g++) {
            float &place = output[column + 16 * g];
            place = tokens ? values[g] * task.scale : place + values[g];
        }
    }
}

void start(const EmbedTask &task, const StoredRows &rows, Table table, Stream stream) {
    with_type(rows.type, [&]<TensorType type>() { launch("embed", embed_kernel<type>, {task.count}, {block_threads}, stream, task, table); });
}

} // namespace

void embed(const EmbedTask &task, Stream stream) {
    start(task, task.tokens, Table::Tokens, stream);
    if (task.positions.data != nullptr) start(task, task.positions, Table::Positions, stream);
}

} // namespace worker::gpu
