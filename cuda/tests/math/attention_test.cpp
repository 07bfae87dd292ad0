/* The attention kernel of every path against plain double precision, and its independence of company. */
#include "../../src/cpu/kernels.h"
#include "../../src/formats/dequantise.h"
#include "../harness.h"
#include "random_data.h"

#include <cmath>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>

using worker::cpu::AttentionTask;
using worker::cpu::KernelTable;

namespace {

struct Setting {
    uint32_t head_size, value_size, group, kind, window;
    float softcap;
    bool sinks;
};

worker::TensorType stored_type(uint32_t kind) {
    return kind == ENGINE_KV_F32 ? worker::TensorType::F32 : kind == ENGINE_KV_F16 ? worker::TensorType::F16 : worker::TensorType::Q8_0;
}

constexpr uint32_t context = 77, page_count = 3;
/* The sequence's pages lie out of order among others. */
constexpr uint32_t pages[page_count] = {4, 0, 2};

struct Fixture {
    const KernelTable &table;
    Setting setting;
    std::vector<std::byte> cache; /* pages of keys, then values, of one head */
    size_t key_row, value_row, page_bytes;
    std::vector<float> queries, sinks;
    std::vector<uint32_t> positions;
    std::vector<float> scratch_memory;

    Fixture(const KernelTable &kernels, const Setting &with) : table(kernels), setting(with) {
        Random random(setting.head_size * 100 + setting.window);
        key_row = worker::row_bytes(stored_type(setting.kind), setting.head_size);
        value_row = worker::row_bytes(stored_type(setting.kind), setting.value_size);
        page_bytes = ENGINE_PAGE_TOKENS * (key_row + value_row);
        cache.assign(5 * page_bytes, std::byte{0xff}); /* what was never written is not a number */
        for (uint32_t position = 0; position < context; position++) {
            std::byte *page = cache.data() + pages[position / ENGINE_PAGE_TOKENS] * page_bytes;
            const size_t slot = position % ENGINE_PAGE_TOKENS;
            const std::vector<float> key = random_numbers(random, setting.head_size), value = random_numbers(random, setting.value_size);
            table.store_kv(setting.kind, key.data(), setting.head_size, page + slot * key_row);
            table.store_kv(setting.kind, value.data(), setting.value_size, page + ENGINE_PAGE_TOKENS * key_row + slot * value_row);
        }
        positions = {0, 1, 15, 31, 32, 33, 64, 76};
        queries = random_numbers(random, positions.size() * setting.group * setting.head_size);
        for (float &query : queries) query *= 3.0f;
        sinks = random_numbers(random, setting.group);
        scratch_memory.resize(table.attention_scratch(setting.head_size, setting.value_size, static_cast<uint32_t>(positions.size()) * setting.group, context) + 16);
    }

    std::vector<float> attend(size_t first, size_t count) {
        std::vector<float> outputs(count * setting.group * setting.value_size);
        float *scratch = scratch_memory.data();
        while (reinterpret_cast<uintptr_t>(scratch) % 64 != 0) scratch++;
        AttentionTask task{};
        task.row_stride = setting.group * setting.head_size;
        task.output_stride = setting.group * setting.value_size;
        task.queries = queries.data() + first * task.row_stride;
        task.outputs = outputs.data();
        task.positions = positions.data() + first;
        task.rows = static_cast<uint32_t>(count);
        task.group = setting.group;
        task.head_size = setting.head_size;
        task.value_size = setting.value_size;
        task.window = setting.window;
        task.scale = 0.3f;
        task.softcap = setting.softcap;
        task.sinks = setting.sinks ? sinks.data() : nullptr;
        task.kind = setting.kind;
        task.keys = cache.data();
        task.values = cache.data() + ENGINE_PAGE_TOKENS * key_row;
        task.page_stride = page_bytes;
        task.key_row_bytes = key_row;
        task.value_row_bytes = value_row;
        task.pages = pages;
        task.scratch = scratch;
        table.attend(task);
        return outputs;
    }

    std::vector<float> stored(uint32_t position, bool value) const {
        const uint32_t size = value ? setting.value_size : setting.head_size;
        const std::byte *page = cache.data() + pages[position / ENGINE_PAGE_TOKENS] * page_bytes;
        const size_t slot = position % ENGINE_PAGE_TOKENS;
        std::vector<float> row(size);
        worker::dequantise(stored_type(setting.kind), value ? page + ENGINE_PAGE_TOKENS * key_row + slot * value_row : page + slot * key_row, size, row.data());
        return row;
    }

    std::vector<double> exact(size_t row, uint32_t head) const {
        const uint32_t position = positions[row];
        const float *query = queries.data() + (row * setting.group + head) * setting.head_size;
        double total = setting.sinks ? std::exp(static_cast<double>(sinks[head])) : 0.0;
        std::vector<double> result(setting.value_size);
        for (uint32_t seen = 0; seen <= position; seen++) {
            if (setting.window != 0 && position - seen >= setting.window) continue;
            double score = 0;
            const std::vector<float> key = stored(seen, false), value = stored(seen, true);
            for (uint32_t i = 0; i < setting.head_size; i++) score += static_cast<double>(query[i]) * key[i];
            score *= 0.3f;
            if (setting.softcap != 0) score = setting.softcap * std::tanh(score / setting.softcap);
            total += std::exp(score);
            for (uint32_t i = 0; i < setting.value_size; i++) result[i] += std::exp(score) * value[i];
        }
        for (double &value : result) value /= total;
        return result;
    }
};

} // namespace

TEST(attention_is_right_and_independent_of_its_company) {
    const Setting settings[] = {
        {64, 64, 4, ENGINE_KV_F16, 0, 0, false},   {64, 32, 1, ENGINE_KV_F32, 0, 0, false}, {128, 128, 2, ENGINE_KV_Q8_0, 0, 0, false},
        {20, 12, 3, ENGINE_KV_F32, 0, 0, true},    {80, 80, 2, ENGINE_KV_F16, 16, 0, false}, {64, 64, 8, ENGINE_KV_F16, 33, 0, true},
        {96, 96, 1, ENGINE_KV_F32, 0, 2.5f, false}, {16, 16, 5, ENGINE_KV_F16, 1, 5.0f, true}, {7, 5, 2, ENGINE_KV_F16, 40, 0, false},
    };
    for (const KernelTable *table : worker::cpu::supported_cpu_kernels())
        for (const Setting &setting : settings) {
            Fixture fixture(*table, setting);
            const std::vector<float> together = fixture.attend(0, fixture.positions.size());
            const size_t width = setting.group * setting.value_size;
            for (size_t row = 0; row < fixture.positions.size(); row++) {
                const std::vector<float> alone = fixture.attend(row, 1);
                CHECK(std::memcmp(alone.data(), together.data() + row * width, width * sizeof(float)) == 0);
                for (uint32_t head = 0; head < setting.group; head++) {
                    const std::vector<double> exact = fixture.exact(row, head);
                    for (uint32_t i = 0; i < setting.value_size; i++) {
                        const float value = alone[head * setting.value_size + i];
                        if (!(std::fabs(value - exact[i]) <= 3e-6))
                            harness::fail(__FILE__, __LINE__, std::string(table->name) + ", head size " + std::to_string(setting.head_size) + ": " +
                                                                  std::to_string(value) + ", exactly " + std::to_string(exact[i]));
                    }
                }
            }
        }
}

TEST(cache_rows_round_as_their_kind_says) {
    for (const KernelTable *table : worker::cpu::supported_cpu_kernels()) {
        Random random(5);
        const std::vector<float> row = random_numbers(random, 96);
        std::vector<std::byte> halves(192), blocks(3 * 34);
        table->store_kv(ENGINE_KV_F16, row.data(), 95, halves.data()); /* an odd number */
        table->store_kv(ENGINE_KV_Q8_0, row.data(), 96, blocks.data());
        std::vector<float> expanded(96);
        worker::dequantise(worker::TensorType::Q8_0, blocks.data(), 96, expanded.data());
        for (size_t i = 0; i < 95; i++) {
            uint16_t half;
            std::memcpy(&half, halves.data() + 2 * i, 2);
            CHECK_EQUAL(half, worker::float_to_half(row[i]));
            CHECK(std::fabs(expanded[i] - row[i]) <= 0.6f / 127);
        }
        CHECK(halves[190] == std::byte{0} && halves[191] == std::byte{0}); /* nothing past the row */
    }
}
