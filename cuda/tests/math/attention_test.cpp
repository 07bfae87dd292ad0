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

/* A page's key as a row of its kind: halves and blocks lie turned over. */
std::vector<std::byte> key_row_of(uint32_t kind, const std::byte *page, size_t slot, uint32_t size) {
    const size_t slots = ENGINE_PAGE_TOKENS, bytes = worker::row_bytes(stored_type(kind), size);
    if (kind == ENGINE_KV_F32) return {page + slot * bytes, page + (slot + 1) * bytes};
    std::vector<std::byte> row;
    const auto take = [&](size_t place, size_t count) { row.insert(row.end(), page + place, page + place + count); };
    if (kind == ENGINE_KV_F16)
        for (size_t i = 0; i < size; i++) take((i * slots + slot) * 2, 2);
    else
        for (size_t i = 0; i < size; i++) {
            const size_t block = i / 32 * slots * 34;
            if (i % 32 == 0) take(block + slot * 2, 2);
            take(block + slots * 2 + i % 32 * slots + slot, 1);
        }
    return row;
}

/* The sequence's pages lie out of order among others. */
std::vector<uint32_t> pages_of(uint32_t context) {
    const uint32_t count = (context + ENGINE_PAGE_TOKENS - 1) / ENGINE_PAGE_TOKENS;
    std::vector<uint32_t> pages;
    for (uint32_t page = 0; page < count; page++) pages.push_back(count - 1 - page + (page % 2 == 0 ? 2 : 0));
    return pages;
}

struct Fixture {
    const KernelTable &table;
    Setting setting;
    std::vector<uint32_t> pages;
    std::vector<std::byte> cache; /* pages of keys, then values, of one head */
    size_t key_row, value_row, page_bytes;
    std::vector<float> queries, sinks;
    std::vector<uint32_t> positions;
    std::vector<float> scratch_memory;

    Fixture(const KernelTable &kernels, const Setting &with, std::vector<uint32_t> at) : table(kernels), setting(with), positions(std::move(at)) {
        const uint32_t context = positions.back() + 1;
        pages = pages_of(context);
        Random random(setting.head_size * 100 + setting.window);
        key_row = worker::row_bytes(stored_type(setting.kind), setting.head_size);
        value_row = worker::row_bytes(stored_type(setting.kind), setting.value_size);
        page_bytes = ENGINE_PAGE_TOKENS * (key_row + value_row);
        cache.assign((pages.size() + 2) * page_bytes, std::byte{0xff}); /* what was never written is not a number */
        for (uint32_t position = 0; position < context; position++) {
            std::byte *page = cache.data() + pages[position / ENGINE_PAGE_TOKENS] * page_bytes;
            const size_t slot = position % ENGINE_PAGE_TOKENS;
            const std::vector<float> key = random_numbers(random, setting.head_size), value = random_numbers(random, setting.value_size);
            table.store_key(setting.kind, key.data(), setting.head_size, static_cast<uint32_t>(slot), page);
            table.store_kv(setting.kind, value.data(), setting.value_size, page + ENGINE_PAGE_TOKENS * key_row + slot * value_row);
        }
        queries = random_numbers(random, positions.size() * setting.group * setting.head_size);
        for (float &query : queries) query *= 3.0f;
        sinks = random_numbers(random, setting.group);
        scratch_memory.resize(table.attention_scratch(setting.kind, setting.head_size, setting.value_size, static_cast<uint32_t>(positions.size()) * setting.group, context) + 16);
    }

    static float *aligned(std::vector<float> &memory) {
        float *place = memory.data();
        while (reinterpret_cast<uintptr_t>(place) % 64 != 0) place++;
        return place;
    }

    AttentionTask task_of(size_t first, size_t count, std::vector<float> &outputs) {
        outputs.assign(count * setting.group * setting.value_size, 0.0f);
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
        task.pages = pages.data();
        task.scratch = aligned(scratch_memory);
        return task;
    }

    std::vector<float> attend(size_t first, size_t count) {
        std::vector<float> outputs;
        table.attend(task_of(first, count, outputs));
        return outputs;
    }

    /* The last span first. */
    std::vector<float> attend_in_spans(size_t first, size_t count) {
        using worker::cpu::attention_span;
        std::vector<float> outputs;
        AttentionTask task = task_of(first, count, outputs);
        task.next[0] = task.keys + pages.back() * page_bytes; /* is fetched, and changes nothing */
        const uint32_t position = positions[first], seen = setting.window != 0 && position >= setting.window ? position - setting.window + 1 : 0;
        const uint32_t begin = seen / attention_span, spans = positions[first + count - 1] / attention_span + 1 - begin;
        const size_t partial = table.attention_partial(setting.value_size, static_cast<uint32_t>(count) * setting.group);
        std::vector<float> partials(spans * partial + 16);
        for (uint32_t span = spans; span-- > 0;) table.attend_span(task, begin + span, aligned(partials) + span * partial);
        table.join_spans(task, spans, aligned(partials));
        return outputs;
    }

    std::vector<float> stored(uint32_t position, bool value) const {
        const uint32_t size = value ? setting.value_size : setting.head_size;
        const std::byte *page = cache.data() + pages[position / ENGINE_PAGE_TOKENS] * page_bytes;
        const size_t slot = position % ENGINE_PAGE_TOKENS;
        std::vector<float> row(size);
        const std::vector<std::byte> key = key_row_of(setting.kind, page, slot, setting.head_size);
        worker::dequantise(stored_type(setting.kind), value ? page + ENGINE_PAGE_TOKENS * key_row + slot * value_row : key.data(), size, row.data());
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

/* Rows together, alone, and in spans: the same bits; against double precision: close. */
void check_attention(const KernelTable &table, const Setting &setting, const std::vector<uint32_t> &positions) {
    Fixture fixture(table, setting, positions);
    const std::vector<float> together = fixture.attend(0, positions.size());
    const size_t width = setting.group * setting.value_size;
    if (setting.kind != ENGINE_KV_F32) CHECK(fixture.attend_in_spans(0, positions.size()) == together);
    for (size_t row = 0; row < positions.size(); row++) {
        const std::vector<float> alone = fixture.attend(row, 1);
        CHECK(std::memcmp(alone.data(), together.data() + row * width, width * sizeof(float)) == 0);
        if (setting.kind != ENGINE_KV_F32) CHECK(fixture.attend_in_spans(row, 1) == alone);
        for (uint32_t head = 0; head < setting.group; head++) {
            const std::vector<double> exact = fixture.exact(row, head);
            for (uint32_t i = 0; i < setting.value_size; i++) {
                const float value = alone[head * setting.value_size + i];
                if (!(std::fabs(value - exact[i]) <= 3e-6))
                    harness::fail(__FILE__, __LINE__, std::string(table.name) + ", head size " + std::to_string(setting.head_size) + ": " + std::to_string(value) +
                                                          ", exactly " + std::to_string(exact[i]));
            }
        }
    }
}

} // namespace

TEST(attention_is_right_and_independent_of_its_company) {
    const Setting settings[] = {
        {64, 64, 4, ENGINE_KV_F16, 0, 0, false},   {64, 32, 1, ENGINE_KV_F32, 0, 0, false}, {128, 128, 2, ENGINE_KV_Q8_0, 0, 0, false},
        {20, 12, 3, ENGINE_KV_F32, 0, 0, true},    {80, 80, 2, ENGINE_KV_F16, 16, 0, false}, {64, 64, 8, ENGINE_KV_F16, 33, 0, true},
        {96, 96, 1, ENGINE_KV_F32, 0, 2.5f, false}, {16, 16, 5, ENGINE_KV_F16, 1, 5.0f, true}, {7, 5, 2, ENGINE_KV_F16, 40, 0, false},
        {64, 64, 7, ENGINE_KV_F16, 0, 0, true},    {64, 96, 7, ENGINE_KV_Q8_0, 20, 0, false},
    };
    for (const KernelTable *table : worker::cpu::supported_cpu_kernels())
        for (const Setting &setting : settings) check_attention(*table, setting, {0, 1, 15, 31, 32, 33, 64, 76});
}

TEST(keys_have_the_bits_of_rows_and_lie_where_no_other_does) {
    for (const KernelTable *table : worker::cpu::supported_cpu_kernels())
        for (const auto &[kind, size] : {std::pair{ENGINE_KV_F16, 23u}, {ENGINE_KV_F16, 64u}, {ENGINE_KV_F32, 20u}, {ENGINE_KV_Q8_0, 96u}}) {
            Random random(size);
            const size_t bytes = worker::row_bytes(stored_type(kind), size);
            std::vector<std::byte> page(ENGINE_PAGE_TOKENS * bytes), row(bytes);
            std::vector<std::vector<float>> keys;
            for (uint32_t slot = 0; slot < ENGINE_PAGE_TOKENS; slot++) {
                keys.push_back(random_numbers(random, size));
                table->store_key(kind, keys.back().data(), size, slot, page.data());
            }
            for (uint32_t slot = 0; slot < ENGINE_PAGE_TOKENS; slot++) {
                table->store_kv(kind, keys[slot].data(), size, row.data());
                CHECK(key_row_of(kind, page.data(), slot, size) == row);
            }
        }
}

TEST(attention_to_several_spans_is_right) {
    const Setting settings[] = {
        {64, 64, 4, ENGINE_KV_F16, 0, 0, true}, {32, 32, 3, ENGINE_KV_Q8_0, 0, 3.0f, false}, {32, 48, 1, ENGINE_KV_F16, 700, 0, true}, {16, 16, 2, ENGINE_KV_F32, 0, 0, false},
    };
    for (const KernelTable *table : worker::cpu::supported_cpu_kernels())
        for (const Setting &setting : settings) check_attention(*table, setting, {3, 511, 512, 1023, 1024, 1100});
}

/* Tiles of every size, in place and expanded. */
TEST(attention_of_any_number_of_queries_is_right) {
    for (const KernelTable *table : worker::cpu::supported_cpu_kernels())
        for (uint32_t group = 1; group <= 9; group++)
            for (const uint32_t kind : {ENGINE_KV_F16, ENGINE_KV_Q8_0}) check_attention(*table, {32, 64, group, kind, 0, 0, false}, {14, 40, 47, 66});
}

TEST(what_is_not_a_number_spreads) {
    for (const KernelTable *table : worker::cpu::supported_cpu_kernels())
        for (const float bad : {NAN, INFINITY}) {
            Fixture fixture(*table, {64, 64, 2, ENGINE_KV_F16, 0, 0, false}, {600});
            fixture.queries[3] = bad;
            const std::vector<float> outputs = fixture.attend(0, 1);
            for (size_t i = 0; i < 64; i++) CHECK(!std::isfinite(outputs[i]));
            for (size_t i = 64; i < 128; i++) CHECK(std::isfinite(outputs[i]));
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
