#include "forward_product.h"

#include <algorithm>

namespace worker::cpu {

namespace {

constexpr size_t most_tile_lanes = 16;

} // namespace

/* Tiles of integers have at least half of their lanes in use, and so take less than twice the place of their rows; those of floats take
 * just that. */
size_t Products::prepared_bytes(uint64_t columns, unsigned types) const {
    size_t bytes = 2 * largest_lane_bytes(columns);
    for (size_t form = 0; form < prepared_forms; form++) bytes = std::max(bytes, kernels_.prepared_bytes(static_cast<PreparedForm>(form), columns));
    return bytes * types;
}

/* but where there are no experts, with fewer: for the prompt rows and for the decode rows. */
size_t Products::prepared_rest_bytes(uint64_t columns, unsigned types) const { return 2 * most_tile_lanes * largest_lane_bytes(columns) * types; }

size_t Products::largest_lane_bytes(uint64_t columns) const {
    const bool unit = static_cast<bool>(kernels_.tile_shape(TensorType::BF16, PreparedForm::Bfloats, 1));
    return tile_bytes(unit ? TileShape{TileKind::BfloatPairs, 1, 0, 0} : TileShape{TileKind::Words, 1, 16, 0}, columns);
}

size_t Products::scratch_floats(uint64_t columns) const {
    size_t segment = 0;
    for (size_t form = 0; form < prepared_forms; form++) segment = std::max(segment, kernels_.prepared_bytes(plain_form(static_cast<PreparedForm>(form)), tile_segment));
    return std::max({kernels_.product_scratch(columns), kernels_.tile_scratch(columns), most_tile_lanes * segment / sizeof(float)});
}

void Products::use(std::byte *prepared, float *scratch, size_t scratch_stride) {
    prepared_ = prepared;
    scratch_ = scratch;
    scratch_stride_ = scratch_stride;
}

/* Jobs with the very same rows, form and shape, as query, key and value have, share what is prepared. */
void Products::prepare(std::span<const ProductJob> jobs, uint64_t columns, Arithmetic arithmetic) {
    prepared_jobs_.clear();
    sources_.clear();
    inputs_.clear();
    std::byte *place = prepared_;
    for (const ProductJob &job : jobs) prepared_jobs_.push_back(prepare_job(job, columns, arithmetic, place));
    uint64_t values = 0;
    for (const Source &source : sources_) values += source.shape ? source.count * tile_segment : columns;
    parallel_.run(sources_.size(), values * 4, [&](unsigned thread, uint64_t i) { run_source(sources_[i], columns, scratch_ + thread * scratch_stride_); });
}

Products::Preparation Products::prepare_job(const ProductJob &job, uint64_t columns, Arithmetic arithmetic, std::byte *&place) {
    const TensorType type = job.weights.matrix.type;
    PreparedForm form = kernels_.prepared_form(type, job.role, arithmetic);
    const TileShape shape = kernels_.tile_shape(type, form, job.inputs.size());
    if (shape) form = plain_form(form);
    for (const Preparation &other : prepared_jobs_)
        if (other.rows.data() == job.inputs.data() && other.rows.size() == job.inputs.size() && other.form == form && other.shape == shape) return other;
    const Preparation prepared{job.inputs, form, shape, inputs_.size(), place};
    if (!shape) {
        for (const float *const &row : job.inputs) {
            sources_.push_back({form, {}, &row, 1, 0, place});
            inputs_.push_back(place);
            place += kernels_.prepared_bytes(form, columns);
        }
        return prepared;
    }
    for (size_t first = 0; first < job.inputs.size(); first += shape.lanes) {
        const size_t count = std::min<size_t>(shape.lanes, job.inputs.size() - first);
        for (uint64_t column = 0; column < columns; column += tile_segment) sources_.push_back({form, shape, job.inputs.data() + first, count, column, place});
        TileShape used = shape;
        if (shape.kind == TileKind::Floats || shape.kind == TileKind::BfloatRows) used.lanes = static_cast<uint32_t>(count);
        place += tile_bytes(used, columns);
    }
    return prepared;
}

/* A segment of columns is prepared as a row of its own: rows are rounded in blocks of 32. */
void Products::run_source(const Source &source, uint64_t columns, float *scratch) const {
    if (!source.shape) return kernels_.prepare(source.form, source.rows[0], columns, source.place);
    const uint64_t segment = std::min(tile_segment, columns - source.first_column);
    if (source.form == PreparedForm::Floats) return interleave_values(source.shape, {source.rows, source.count}, source.first_column, segment, columns, source.place);
    if (source.form == PreparedForm::Bfloats || source.form == PreparedForm::BfloatRow) return kernels_.interleave_floats(source.shape, source.rows, source.count, source.first_column, segment, source.place);
    const size_t bytes = kernels_.prepared_bytes(source.form, segment);
    const std::byte *rows[most_tile_lanes];
    for (size_t i = 0; i < source.count; i++) {
        std::byte *row = reinterpret_cast<std::byte *>(scratch) + i * bytes;
        kernels_.prepare(source.form, source.rows[i] + source.first_column, segment, row);
        rows[i] = row;
    }
    const auto interleave = source.form == PreparedForm::Bytes ? interleave_bytes : interleave_words;
    interleave(source.shape, {rows, source.count}, source.first_column, segment, columns, source.place);
}

/* Long lines of weights for few rows, panels for many; several turns per thread, so that they end together. */
uint64_t Products::rows_at_once(const ProductJob &job, const Preparation &prepared) const {
    constexpr uint64_t line_bytes = 512 * 1024, panel = 64, part_of_panel = 16;
    const Matrix &matrix = job.weights.matrix;
    const uint64_t fair = matrix.rows / (uint64_t{parallel_.threads()} * 4);
    if (prepared.form == PreparedForm::Bfloats) return std::clamp<uint64_t>(fair * 2 / 32 * 32, 32, 256);
    if (prepared.shape) {
        const bool many = job.inputs.size() > 32 || prepared.form == PreparedForm::Floats || prepared.form == PreparedForm::BfloatRow;
        const uint64_t most = many ? panel : 4 * panel;
        return std::max(part_of_panel, std::min(most, fair) / part_of_panel * part_of_panel);
    }
    return std::max<uint64_t>(4, std::min(line_bytes / matrix.row_bytes, fair) / 4 * 4);
}

void Products::run(std::span<const ProductJob> jobs, uint64_t columns, Arithmetic arithmetic) {
    prepare(jobs, columns, arithmetic);
    pieces_.clear();
    uint64_t numbers = 0, work = 0;
    for (size_t j = 0; j < jobs.size(); j++) {
        const ProductJob &job = jobs[j];
        const Preparation &prepared = prepared_jobs_[j];
        const Matrix &matrix = job.weights.matrix;
        if (job.inputs.empty()) continue;
        const uint64_t at_once = rows_at_once(job, prepared);
        pieces_.push_back({{matrix.type, job.role, prepared.form, matrix.data, matrix.row_bytes, matrix.columns, 0, matrix.rows, job.weights.bias,
                            inputs_.data() + prepared.first_input, job.outputs.data(), job.inputs.size(), nullptr, prepared.shape, prepared.tiles},
                           at_once,
                           numbers});
        numbers += (matrix.rows + at_once - 1) / at_once;
        work += matrix.rows * matrix.columns * job.inputs.size();
    }
    const auto task_of = [&](uint64_t number) {
        const auto after = std::upper_bound(pieces_.begin(), pieces_.end(), number, [](uint64_t n, const Piece &piece) { return n < piece.first_number; });
        const Piece &piece = *(after - 1);
        ProductTask task = piece.task;
        task.first_row = (number - piece.first_number) * piece.rows_at_once;
        task.last_row = std::min(task.last_row, task.first_row + piece.rows_at_once);
        return task;
    };
    parallel_.run_lines(numbers, work, [&](unsigned thread, uint64_t number) {
        ProductTask task = task_of(number);
        task.scratch = scratch_ + thread * scratch_stride_;
        /* The same thread's, but at the end of its line. */
        if (number + 1 < numbers) {
            const ProductTask next = task_of(number + 1);
            task.next_weights = next.weights + next.first_row * next.row_bytes;
            task.next_bytes = (next.last_row - next.first_row) * next.row_bytes;
        }
        task.shape ? kernels_.tile_product(task) : kernels_.product(task);
    });
}

} // namespace worker::cpu
