/* Products with tiles, on every kernel path, against the plain product of single rows: the same bits. */
#include "../../src/cpu/kernels.h"
#include "../harness.h"
#include "aligned.h"
#include "random_data.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>

using worker::TensorType;
using worker::cpu::Arithmetic;
using worker::cpu::KernelTable;
using worker::cpu::PreparedForm;
using worker::cpu::ProductTask;
using worker::cpu::Role;
using worker::cpu::TileShape;

namespace {

/* A matrix and some activation rows in one form. */
struct Problem {
    TensorType type;
    PreparedForm form;
    uint64_t rows, columns, count;
    std::vector<std::byte> weights;
    std::vector<float> bias;
    std::vector<std::vector<float>> activations;

    Problem(TensorType stored, PreparedForm prepared, uint64_t row_count, uint64_t column_count, uint64_t vectors)
        : type(stored), form(prepared), rows(row_count), columns(column_count), count(vectors) {
        Random random(rows * 1000 + columns + static_cast<uint64_t>(type));
        weights = random_rows(type, rows, columns, random);
        bias = random_numbers(random, rows);
        for (uint64_t i = 0; i < count; i++) activations.push_back(random_numbers(random, columns));
    }

    typedef std::vector<std::vector<float>> Outputs;

    ProductTask task(uint64_t first_row, uint64_t last_row, std::vector<float *> &places, Outputs &outputs, void *scratch) const {
        for (std::vector<float> &output : outputs) places.push_back(output.data());
        return {type,      Role::Prompt, form,        weights.data(), worker::row_bytes(type, columns), columns, first_row, last_row,
                bias.data(), nullptr,      places.data(), count,          static_cast<float *>(scratch)};
    }

    /* By the scalar table, one row after the other. */
    Outputs plain() const {
        const KernelTable &scalar = *worker::cpu::supported_cpu_kernels().front();
        const size_t bytes = scalar.prepared_bytes(form, columns);
        const Aligned prepared = aligned(bytes * count), scratch = aligned(scalar.product_scratch(columns) * sizeof(float));
        std::vector<const std::byte *> inputs;
        for (uint64_t i = 0; i < count; i++) {
            std::byte *place = static_cast<std::byte *>(prepared.get()) + i * bytes;
            scalar.prepare(form, activations[i].data(), columns, place);
            inputs.push_back(place);
        }
        Outputs outputs(count, std::vector<float>(rows));
        std::vector<float *> places;
        ProductTask whole = task(0, rows, places, outputs, scratch.get());
        whole.inputs = inputs.data();
        scalar.product(whole);
        return outputs;
    }

    /* With tiles of the shape, the matrix in uneven parts. */
    Outputs tiled(const KernelTable &table, const TileShape &shape) const {
        const size_t bytes = worker::cpu::tile_bytes(shape, columns), tiles = (count + shape.lanes - 1) / shape.lanes;
        const Aligned tile = aligned(bytes * tiles), scratch = aligned(table.tile_scratch(columns) * sizeof(float));
        std::memset(tile.get(), 0xff, bytes * tiles);
        for (uint64_t first = 0; first < count; first += shape.lanes)
            fill(table, shape, first, static_cast<std::byte *>(tile.get()) + first / shape.lanes * bytes);
        Outputs outputs(count, std::vector<float>(rows));
        for (uint64_t row = 0, part = 1; row < rows; row += part, part = part * 2 + 1) {
            std::vector<float *> places;
            ProductTask some = task(row, std::min(rows, row + part), places, outputs, scratch.get());
            some.shape = shape;
            some.tiles = static_cast<const std::byte *>(tile.get());
            table.tile_product(some);
        }
        return outputs;
    }

    void fill(const KernelTable &table, const TileShape &shape, uint64_t first, std::byte *tile) const {
        const auto interleave = form == PreparedForm::Bytes ? worker::cpu::interleave_bytes : worker::cpu::interleave_words;
        for (uint64_t column = 0; column < columns; column += worker::cpu::tile_segment) {
            const uint64_t segment = std::min(worker::cpu::tile_segment, columns - column), used = std::min<uint64_t>(shape.lanes, count - first);
            const size_t bytes = table.prepared_bytes(form, segment);
            const Aligned prepared = aligned(bytes * used);
            std::vector<const std::byte *> rows_of_tile;
            for (uint64_t i = 0; i < used; i++) {
                std::byte *place = static_cast<std::byte *>(prepared.get()) + i * bytes;
                table.prepare(form, activations[first + i].data() + column, segment, place);
                rows_of_tile.push_back(place);
            }
            interleave(shape, rows_of_tile, column, segment, columns, tile);
        }
    }
};

bool same(float a, float b) { return std::memcmp(&a, &b, sizeof a) == 0 || (std::isnan(a) && std::isnan(b)); }

/* How many problems were compared. */
unsigned compare(const Problem &problem) {
    unsigned compared = 0;
    const Problem::Outputs expected = problem.plain();
    for (const KernelTable *table : worker::cpu::supported_cpu_kernels()) {
        const TileShape shape = table->tile_shape(problem.type, problem.form, problem.count);
        if (!shape) continue;
        compared++;
        const Problem::Outputs outputs = problem.tiled(*table, shape);
        for (uint64_t i = 0; i < problem.count; i++)
            for (uint64_t row = 0; row < problem.rows; row++)
                if (!same(outputs[i][row], expected[i][row]))
                    harness::fail(__FILE__, __LINE__, std::string(table->name) + " " + worker::traits_of(problem.type).name +
                                                          (problem.form == PreparedForm::Bytes ? " bytes " : " words ") + std::to_string(problem.rows) + "x" +
                                                          std::to_string(problem.columns) + " by " + std::to_string(problem.count) + ": row " + std::to_string(row) +
                                                          " of vector " + std::to_string(i) + " is " + std::to_string(outputs[i][row]) + ", not " +
                                                          std::to_string(expected[i][row]));
    }
    return compared;
}

bool is_quantised(TensorType type) { return worker::traits_of(type).block_length != 1; }

bool any_path_has_tiles() { return worker::cpu::supported_cpu_kernels().size() > 1; }

} // namespace

TEST(products_with_tiles_have_the_bits_of_single_rows) {
    unsigned compared = 0;
    for (const worker::TensorTypeTraits &traits : worker::tensor_types())
        for (const PreparedForm form : {PreparedForm::Bytes, PreparedForm::Words})
            for (const uint64_t count : {1u, 3u, 4u, 5u, 7u, 8u, 9u, 16u, 17u, 32u, 48u, 49u})
                for (const uint64_t blocks : {1u, 3u, 21u})
                    if (is_quantised(traits.type)) compared += compare({traits.type, form, 1 + blocks * 5, blocks * traits.block_length, count});
    CHECK(compared != 0 || !any_path_has_tiles());
}

TEST(products_with_tiles_and_long_rows_have_the_bits_of_single_rows) {
    for (const TensorType type : {TensorType::Q8_0, TensorType::Q4_K, TensorType::Q6_K})
        for (const PreparedForm form : {PreparedForm::Bytes, PreparedForm::Words}) compare({type, form, 19, 19200 / 256 * 256, 20});
}

/* The largest levels and activations, of one sign, are where sums of 16 bits would overflow. */
TEST(products_with_tiles_do_not_overflow) {
    for (const worker::TensorTypeTraits &traits : worker::tensor_types())
        for (const PreparedForm form : {PreparedForm::Bytes, PreparedForm::Words})
            for (const float sign : {1.0f, -1.0f}) {
                if (!is_quantised(traits.type)) continue;
                Problem problem(traits.type, form, 9, traits.block_length * 2, 9);
                for (std::byte &byte : problem.weights) byte = std::byte{0xff};
                const std::vector<uint32_t> halves = half_offsets(traits.type);
                for (size_t block = 0; block < problem.weights.size(); block += traits.block_bytes)
                    for (const uint32_t offset : halves) problem.weights[block + offset + 1] = std::byte{0x2b};
                if (traits.type == TensorType::Q8_0)
                    for (size_t i = 0; i < problem.weights.size(); i++)
                        if (i % 34 >= 2) problem.weights[i] = std::byte{0x7f};
                if (traits.type == TensorType::MXFP4)
                    for (size_t i = 0; i < problem.weights.size(); i++) problem.weights[i] = i % 17 == 0 ? std::byte{120} : std::byte{0x77};
                for (std::vector<float> &row : problem.activations)
                    for (float &value : row) value = sign;
                compare(problem);
            }
}

TEST(products_with_tiles_keep_what_is_not_finite) {
    for (const TensorType type : {TensorType::Q8_0, TensorType::Q5_K}) {
        Problem problem(type, PreparedForm::Bytes, 9, 512, 9);
        problem.activations[2][40] = std::numeric_limits<float>::infinity();
        problem.activations[8][500] = std::numeric_limits<float>::quiet_NaN();
        compare(problem);
        CHECK(std::isnan(problem.plain()[2][0]) && std::isnan(problem.plain()[8][0]));
        CHECK(!std::isnan(problem.plain()[3][0]));
    }
}
