/* The cache's rows and attention, against the CPU's scalar kernels, and their independence of company. */
#include "kernel_test.h"

#include <algorithm>

using namespace worker::gpu;

namespace {

struct Setting {
    uint32_t head_size, value_size, heads, kv_heads, kind, window;
    float softcap;
    bool sinks;
};

/* As KvLayout has it, for one layer. */
CacheLayer layer_of(const Setting &s) {
    const auto row_bytes = [&](uint32_t values) -> size_t {
        return s.kind == ENGINE_KV_F16 ? size_t{values} * 2 : s.kind == ENGINE_KV_F32 ? size_t{values} * 4 : size_t{values} / 32 * 34;
    };
    const auto lines = [](size_t bytes) { return (bytes + 63) / 64 * 64; };
    CacheLayer layer{};
    layer.kind = s.kind;
    layer.kv_heads = s.kv_heads;
    layer.head_size = s.head_size;
    layer.value_size = s.value_size;
    layer.key_row_bytes = row_bytes(s.head_size);
    layer.value_row_bytes = row_bytes(s.value_size);
    layer.key_bytes = lines(layer.key_row_bytes * ENGINE_PAGE_TOKENS);
    layer.head_bytes = layer.key_bytes + lines(layer.value_row_bytes * ENGINE_PAGE_TOKENS);
    layer.page_bytes = layer.head_bytes * s.kv_heads;
    return layer;
}

/* Two sequences, whose pages lie among each other's in no order, and their positions' keys and values. */
struct Fixture {
    static constexpr uint32_t sequences = 2;
    Setting setting;
    uint32_t context, sequence_pages;
    std::vector<std::byte> memory;
    std::vector<uint32_t> pages;
    CacheLayer layer;
    std::vector<float> keys, values, sinks;

    Fixture(const Setting &with, uint32_t positions)
        : setting(with), context(positions), sequence_pages((positions + ENGINE_PAGE_TOKENS - 1) / ENGINE_PAGE_TOKENS), layer(layer_of(with)) {
        Random random(context + setting.head_size);
        for (uint32_t page = 0; page < sequences * sequence_pages; page++) pages.push_back(page);
        for (size_t i = pages.size(); i > 1; i--) std::swap(pages[i - 1], pages[random.below(static_cast<uint32_t>(i))]);
        memory.assign(pages.size() * layer.page_bytes, std::byte{0xff}); /* what was never written is not a number */
        layer.base = memory.data();
        keys = random_numbers(random, size_t{sequences} * context * setting.kv_heads * setting.head_size);
        values = random_numbers(random, size_t{sequences} * context * setting.kv_heads * setting.value_size);
        sinks = random_numbers(random, setting.heads);
    }

    void store_all() {
        std::vector<BatchRow> rows;
        for (uint32_t sequence = 0; sequence < sequences; sequence++)
            for (uint32_t position = 0; position < context; position++) rows.push_back({0, position, sequence * sequence_pages});
        store_kv({layer, keys.data(), values.data(), rows.data(), pages.data(), static_cast<uint32_t>(rows.size())}, stream());
        settle();
    }

    /* With keys in rows, as a GPU has them, or as the CPU does. */
    std::vector<std::byte> stored_by_cpu(bool key_rows) const {
        std::vector<std::byte> expected(memory.size(), std::byte{0xff});
        for (uint32_t number = 0; number < sequences * context; number++) {
            const uint32_t position = number % context, slot = position % ENGINE_PAGE_TOKENS;
            const uint32_t page = pages[number / context * sequence_pages + position / ENGINE_PAGE_TOKENS];
            for (uint32_t head = 0; head < setting.kv_heads; head++) {
                std::byte *place = expected.data() + page * layer.page_bytes + head * layer.head_bytes;
                const size_t of_head = size_t{number} * setting.kv_heads + head;
                const float *key = keys.data() + of_head * setting.head_size;
                if (key_rows)
                    scalar().store_kv(setting.kind, key, setting.head_size, place + slot * layer.key_row_bytes);
                else
                    scalar().store_key(setting.kind, key, setting.head_size, slot, place);
                scalar().store_kv(setting.kind, values.data() + of_head * setting.value_size, setting.value_size,
                                  place + layer.key_bytes + slot * layer.value_row_bytes);
            }
        }
        return expected;
    }

    std::vector<float> attend_rows(const std::vector<float> &queries, const std::vector<BatchRow> &rows, uint32_t slots) {
        const auto count = static_cast<uint32_t>(rows.size());
        uint32_t positions = 0;
        for (const BatchRow &row : rows) positions = std::max(positions, row.position + 1);
        std::vector<float> outputs(size_t{count} * setting.heads * setting.value_size, NAN);
        std::vector<float> scratch(attention_scratch_floats(slots, positions, setting.value_size), NAN);
        attend({.cache = layer,
                .queries = queries.data(),
                .outputs = outputs.data(),
                .rows = rows.data(),
                .pages = pages.data(),
                .count = count,
                .heads = setting.heads,
                .window = setting.window,
                .scale = scale(),
                .softcap = setting.softcap,
                .sinks = setting.sinks ? sinks.data() : nullptr,
                .positions = positions,
                .scratch = scratch.data(),
                .slots = slots},
               stream());
        settle();
        return outputs;
    }

    std::vector<float> attend_by_cpu(const std::vector<float> &queries, const std::vector<BatchRow> &rows) const {
        const std::vector<std::byte> cache = stored_by_cpu(false);
        const uint32_t group = setting.heads / setting.kv_heads;
        std::vector<float> outputs(rows.size() * setting.heads * setting.value_size);
        std::vector<float> scratch(scalar().attention_scratch(setting.kind, setting.head_size, setting.value_size, group, context) + 16);
        float *aligned = scratch.data();
        while (reinterpret_cast<uintptr_t>(aligned) % 64 != 0) aligned++;
        for (size_t row = 0; row < rows.size(); row++)
            for (uint32_t head = 0; head < setting.kv_heads; head++) {
                worker::cpu::AttentionTask task{};
                task.queries = queries.data() + (row * setting.heads + head * group) * setting.head_size;
                task.outputs = outputs.data() + (row * setting.heads + head * group) * setting.value_size;
                task.row_stride = size_t{setting.heads} * setting.head_size;
                task.output_stride = size_t{setting.heads} * setting.value_size;
                task.positions = &rows[row].position;
                task.rows = 1;
                task.group = group;
                task.head_size = setting.head_size;
                task.value_size = setting.value_size;
                task.window = setting.window;
                task.scale = scale();
                task.softcap = setting.softcap;
                task.sinks = setting.sinks ? sinks.data() + head * group : nullptr;
                task.kind = setting.kind;
                task.keys = cache.data() + head * layer.head_bytes;
                task.values = task.keys + layer.key_bytes;
                task.page_stride = layer.page_bytes;
                task.key_row_bytes = layer.key_row_bytes;
                task.value_row_bytes = layer.value_row_bytes;
                task.pages = pages.data() + rows[row].first_page;
                task.scratch = aligned;
                scalar().attend(task);
            }
        return outputs;
    }

    float scale() const { return 1.0f / std::sqrt(static_cast<float>(setting.head_size)); }
};

std::string name_of(const Setting &s) {
    return "heads of " + std::to_string(s.head_size) + ", cache kind " + std::to_string(s.kind) + ", window " + std::to_string(s.window);
}

void check_setting(const Setting &setting, const std::vector<uint32_t> &positions, float tolerance) {
    Fixture fixture(setting, *std::max_element(positions.begin(), positions.end()) + 1);
    fixture.store_all();
    if (fixture.memory != fixture.stored_by_cpu(true)) harness::fail(__FILE__, __LINE__, name_of(setting) + ": the stored rows are not the CPU's");

    Random random(7);
    std::vector<BatchRow> rows;
    for (size_t i = 0; i < positions.size(); i++) rows.push_back({0, positions[i], static_cast<uint32_t>(i % Fixture::sequences) * fixture.sequence_pages});
    std::vector<float> queries = random_numbers(random, rows.size() * setting.heads * setting.head_size);
    for (float &query : queries) query *= 3.0f;
    const std::vector<float> together = in_any_order(name_of(setting), [&] { return fixture.attend_rows(queries, rows, 1000); });
    check_close(name_of(setting), together, fixture.attend_by_cpu(queries, rows), tolerance);
    check_same(name_of(setting) + ", few slots", fixture.attend_rows(queries, rows, 3), together);

    std::vector<float> alone;
    for (size_t row = 0; row < rows.size(); row++) {
        const auto first = queries.begin() + static_cast<std::ptrdiff_t>(row * setting.heads * setting.head_size);
        const std::vector<float> output = fixture.attend_rows({first, first + setting.heads * setting.head_size}, {rows[row]}, 2);
        alone.insert(alone.end(), output.begin(), output.end());
    }
    check_same(name_of(setting) + ", row by row", alone, together);
}

} // namespace

TEST(gpu_attention_is_that_of_the_cpu) {
    const Setting settings[] = {
        {64, 64, 4, 2, ENGINE_KV_F16, 0, 0.0f, false},    {32, 32, 4, 4, ENGINE_KV_F16, 16, 0.0f, false},  {96, 96, 2, 1, ENGINE_KV_Q8_0, 0, 0.0f, false},
        {80, 48, 3, 1, ENGINE_KV_F32, 0, 50.0f, false},   {64, 64, 8, 1, ENGINE_KV_F16, 5, 0.0f, true},    {256, 256, 2, 1, ENGINE_KV_F32, 40, 30.0f, true},
        {7, 5, 2, 2, ENGINE_KV_F32, 1, 0.0f, false},      {128, 64, 2, 2, ENGINE_KV_Q8_0, 33, 0.0f, true},
    };
    for (const Setting &setting : settings) check_setting(setting, {0, 1, 14, 15, 16, 31, 32, 63, 70}, 2e-6f);
}

TEST(gpu_attention_of_random_shapes_is_that_of_the_cpu) {
    Random random(5);
    for (int i = 0; i < 25; i++) {
        Setting setting{};
        setting.kind = random.below(3);
        const uint32_t unit = setting.kind == ENGINE_KV_Q8_0 ? 32 : 1 + random.below(8);
        setting.head_size = unit * (1 + random.below(4));
        setting.value_size = unit * (1 + random.below(4));
        setting.kv_heads = 1 + random.below(3);
        setting.heads = setting.kv_heads * (1 + random.below(3));
        setting.window = random.below(2) * random.below(50);
        setting.softcap = static_cast<float>(random.below(2)) * 20.0f;
        setting.sinks = random.below(2) == 1;
        std::vector<uint32_t> positions;
        for (uint32_t count = 1 + random.below(6); count > 0; count--) positions.push_back(random.below(120));
        check_setting(setting, positions, 2e-6f);
    }
}

TEST(gpu_attention_to_a_long_context_is_that_of_the_cpu) {
    check_setting({64, 64, 2, 1, ENGINE_KV_F16, 0, 0.0f, false}, {1500, 700}, 5e-6f);
    check_setting({64, 64, 2, 1, ENGINE_KV_F32, 600, 0.0f, true}, {1400, 511}, 5e-6f);
}
