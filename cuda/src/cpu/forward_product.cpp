#include "forward_product.h"

#include <algorithm>

namespace worker::cpu {

size_t Products::prepared_bytes(uint64_t rows, uint64_t columns) const {
    size_t bytes = 0;
    for (size_t form = 0; form < prepared_forms; form++) bytes += rows * kernels_.prepared_bytes(static_cast<PreparedForm>(form), columns);
    return bytes;
}

void Products::use(Arithmetic arithmetic, std::byte *prepared, float *scratch, size_t scratch_stride) {
    arithmetic_ = arithmetic;
    prepared_ = prepared;
    scratch_ = scratch;
    scratch_stride_ = scratch_stride;
}

/* Fills inputs_: jobs with the very same rows and form, as query, key and value have, share what is prepared. */
void Products::prepare(std::span<const ProductJob> jobs, uint64_t columns) {
    sources_.clear();
    inputs_.clear();
    std::byte *place = prepared_;
    for (size_t j = 0; j < jobs.size(); j++) {
        const ProductJob &job = jobs[j];
        const PreparedForm form = form_of(job);
        size_t same = j, same_start = 0;
        for (size_t other = 0, start = 0; other < j && same == j; start += jobs[other].inputs.size(), other++) {
            if (jobs[other].inputs.data() != job.inputs.data() || jobs[other].inputs.size() != job.inputs.size()) continue;
            if (form_of(jobs[other]) != form) continue;
            same = other;
            same_start = start;
        }
        if (same != j) {
            for (size_t i = 0; i < job.inputs.size(); i++) inputs_.push_back(inputs_[same_start + i]);
            continue;
        }
        for (const float *row : job.inputs) {
            sources_.push_back({form, row, place});
            inputs_.push_back(place);
            place += kernels_.prepared_bytes(form, columns);
        }
    }
    parallel_.run_rows(sources_.size(), columns * 2, [&](unsigned, uint64_t i) { kernels_.prepare(sources_[i].form, sources_[i].row, columns, sources_[i].prepared); });
}

/* Long lines of weights for decoding, panels for prompts; several turns per thread, so that they end together. */
uint64_t Products::rows_at_once(const ProductJob &job) const {
    constexpr uint64_t decode_bytes = 128 * 1024;
    const Matrix &matrix = job.weights.matrix;
    const uint64_t padded_columns = (matrix.columns + 15) / 16 * 16;
    const uint64_t most = job.role == Role::Decode ? decode_bytes / matrix.row_bytes : kernels_.product_scratch(matrix.columns) / padded_columns;
    const uint64_t fair = matrix.rows / (uint64_t{parallel_.threads()} * 4);
    return std::max<uint64_t>(4, std::min(most, fair) / 4 * 4);
}

void Products::run(std::span<const ProductJob> jobs, uint64_t columns) {
    prepare(jobs, columns);
    pieces_.clear();
    uint64_t numbers = 0, first_input = 0, work = 0;
    for (const ProductJob &job : jobs) {
        const Matrix &matrix = job.weights.matrix;
        if (!job.inputs.empty()) {
            const uint64_t at_once = rows_at_once(job);
            pieces_.push_back({{matrix.type, job.role, form_of(job), matrix.data, matrix.row_bytes, matrix.columns, 0, matrix.rows, job.weights.bias,
                                inputs_.data() + first_input, job.outputs.data(), job.inputs.size(), nullptr},
                               at_once,
                               numbers});
            numbers += (matrix.rows + at_once - 1) / at_once;
            work += matrix.rows * matrix.columns * job.inputs.size();
        }
        first_input += job.inputs.size();
    }
    parallel_.run(numbers, work, [&](unsigned thread, uint64_t number) {
        const auto after = std::upper_bound(pieces_.begin(), pieces_.end(), number, [](uint64_t n, const Piece &piece) { return n < piece.first_number; });
        const Piece &piece = *(after - 1);
        ProductTask task = piece.task;
        task.first_row = (number - piece.first_number) * piece.rows_at_once;
        task.last_row = std::min(task.last_row, task.first_row + piece.rows_at_once);
        task.scratch = scratch_ + thread * scratch_stride_;
        kernels_.product(task);
    });
}

} // namespace worker::cpu
