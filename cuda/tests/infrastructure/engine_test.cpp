/*
 * The C entries, with a forward pass that only pretends.
 */
#include "engine.h"

#include "allocation_faults.h"
#include "device_memory.h"
#include "harness.h"

#include <array>
#include <cstring>
#include <functional>
#include <string>
#include <thread>
#include <vector>

namespace {

/* A device, a model on it and a cache, closed in order. */
struct Opened {
    TinyModel model;
    engine_error error{};
    engine_device *device = nullptr;
    engine_model *loaded = nullptr;
    engine_cache *cache = nullptr;

    explicit Opened(uint32_t mode = ENGINE_LOAD_MAP) {
        model.load.mode = mode;
        CHECK_EQUAL(engine_device_open(-1, 2, &device, &error), 0);
        CHECK_EQUAL(engine_model_load(device, &model.load, &loaded, &error), 0);
        CHECK_EQUAL(std::string(error.message), "");
        CHECK_EQUAL(engine_cache_create(loaded, 4, ENGINE_KV_F16, &cache, &error), 0);
    }
    Opened(const Opened &) = delete;
    Opened &operator=(const Opened &) = delete;
    ~Opened() {
        engine_cache_free(cache);
        engine_model_unload(loaded);
        engine_device_close(device);
    }
};

/* A good batch of two sequences, to be spoilt. */
struct Batch {
    std::vector<engine_row> rows{{1, 0, 0, ENGINE_ROLE_PROMPT, ENGINE_OUTPUT_NONE},
                                 {2, 1, 0, ENGINE_ROLE_PROMPT, ENGINE_OUTPUT_LOGITS},
                                 {3, 40, 1, ENGINE_ROLE_DECODE, ENGINE_OUTPUT_HIDDEN}};
    std::vector<uint32_t> first{2};
    std::vector<uint32_t> second{0, 3};
    std::array<const uint32_t *, 2> tables{first.data(), second.data()};
    std::array<uint32_t, 2> counts{1, 2};
    uint32_t cancel = 0;
    std::vector<float> outputs = std::vector<float>(48 + 32, -1.0f);
    engine_batch batch{rows.data(), rows.size(), tables.data(), counts.data(), 2, &cancel, outputs.data(), outputs.size(), nullptr, nullptr, 0};
};

} // namespace

TEST(only_devices_that_exist_open) {
    engine_error error{};
    engine_device *device = reinterpret_cast<engine_device *>(1);
    CHECK_EQUAL(engine_gpu_count(), 0u);
    CHECK_EQUAL(engine_device_open(0, 0, &device, &error), ENGINE_INVALID_DEVICE);
    CHECK(device == nullptr);
    CHECK(std::strstr(error.message, "no GPU 0") != nullptr && std::strstr(error.message, "without GPU support") != nullptr &&
          std::strstr(error.message, "-1 is the CPU") != nullptr);
    CHECK_EQUAL(error.code, ENGINE_INVALID_DEVICE);
    CHECK_EQUAL(engine_device_open(-2, 0, &device, &error), ENGINE_INVALID_DEVICE);
    CHECK_EQUAL(engine_device_open(INT32_MAX, 0, &device, nullptr), ENGINE_INVALID_DEVICE);
    CHECK_EQUAL(engine_device_open(-1, 5000, &device, &error), ENGINE_INVALID_PARAMETER);
    CHECK_EQUAL(engine_device_open(-1, 0, nullptr, &error), ENGINE_INVALID_PARAMETER);
    CHECK_EQUAL(engine_device_open(-1, 0, &device, &error), ENGINE_OK);
    CHECK_EQUAL(engine_device_check_health(device, &error), ENGINE_OK);
    engine_device_close(device);
}

TEST(null_arguments_are_refused_or_do_nothing) {
    Opened opened;
    engine_error error{};
    engine_device_information information{};
    engine_memory memory{1, 1, 1, 1, 1};
    engine_residency residency{};
    engine_model *model = nullptr;
    engine_cache *cache = nullptr;
    Batch batch;
    CHECK_EQUAL(engine_device_get_information(nullptr, &information, &error), 6);
    CHECK_EQUAL(engine_device_get_information(opened.device, nullptr, &error), 6);
    CHECK_EQUAL(engine_device_process_memory(nullptr), 0u);
    engine_device_memory(nullptr, &memory);
    CHECK_EQUAL(memory.weights, 0u);
    engine_device_memory(opened.device, nullptr);
    CHECK_EQUAL(engine_device_check_health(nullptr, nullptr), 6);
    CHECK_EQUAL(engine_model_load(nullptr, &opened.model.load, &model, &error), 6);
    CHECK_EQUAL(engine_model_load(opened.device, nullptr, &model, &error), 6);
    CHECK_EQUAL(engine_model_load(opened.device, &opened.model.load, nullptr, &error), 6);
    engine_model_memory(nullptr, &memory);
    engine_model_memory(opened.loaded, nullptr);
    CHECK_EQUAL(engine_model_check_residency(nullptr, &residency, &error), 6);
    CHECK_EQUAL(engine_model_check_residency(opened.loaded, nullptr, &error), 6);
    CHECK_EQUAL(engine_model_repair_residency(nullptr, &residency, &error), 6);
    CHECK_EQUAL(engine_cache_page_bytes(nullptr, 0), 0u);
    CHECK_EQUAL(engine_cache_create(nullptr, 1, 0, &cache, &error), 6);
    CHECK_EQUAL(engine_cache_create(opened.loaded, 1, 0, nullptr, &error), 6);
    CHECK_EQUAL(engine_cache_copy_page(nullptr, 0, 0, &error), 6);
    CHECK_EQUAL(engine_forward(nullptr, opened.cache, &batch.batch, &error), 6);
    CHECK_EQUAL(engine_forward(opened.loaded, nullptr, &batch.batch, &error), 6);
    CHECK_EQUAL(engine_forward(opened.loaded, opened.cache, nullptr, &error), 6);
    engine_cache_free(nullptr);
    engine_model_unload(nullptr);
    engine_device_close(nullptr);
}

TEST(bad_loads_are_refused_and_leave_nothing) {
    TinyModel model;
    engine_error error{};
    engine_device *device = nullptr;
    CHECK_EQUAL(engine_device_open(-1, 1, &device, &error), 0);
    const auto refused = [&](int32_t code, const char *fragment, const std::function<void(engine_load &, std::vector<engine_tensor> &)> &spoil) {
        engine_load load = model.load;
        std::vector<engine_tensor> tensors = model.tensors;
        load.tensors = tensors.data();
        spoil(load, tensors);
        engine_model *loaded = reinterpret_cast<engine_model *>(1);
        CHECK_EQUAL(engine_model_load(device, &load, &loaded, &error), code);
        CHECK(loaded == nullptr);
        if (std::strstr(error.message, fragment) == nullptr) harness::fail(__FILE__, __LINE__, error.message);
        engine_memory memory{};
        engine_device_memory(device, &memory);
        CHECK_EQUAL(memory.allocations, 0u);
    };
    using Tensors = std::vector<engine_tensor>;
    refused(6, "description", [](engine_load &load, Tensors &) { load.description = nullptr; });
    refused(6, "tensor table", [](engine_load &load, Tensors &) { load.tensors = nullptr; });
    refused(6, "residency policy 3", [](engine_load &load, Tensors &) { load.residency = 3; });
    refused(6, "load mode 2", [](engine_load &load, Tensors &) { load.mode = 2; });
    refused(6, "tensors", [](engine_load &load, Tensors &) { load.tensor_count = UINT64_MAX; });
    refused(6, "tensor 3's name", [](engine_load &, Tensors &tensors) { tensors[3].name = nullptr; });
    refused(6, "tensor 2's data", [](engine_load &, Tensors &tensors) { tensors[2].data = nullptr; });
    refused(3, "blk.0.attn_q.weight is empty", [](engine_load &, Tensors &tensors) { tensors[4].bytes = 0; });
    refused(3, "larger than any memory", [](engine_load &, Tensors &tensors) { tensors[5].bytes = UINT64_MAX; });
    refused(3, "token_embd", [](engine_load &, Tensors &tensors) { tensors.front().role = ENGINE_OUTPUT; });
    for (const uint32_t mode : {ENGINE_LOAD_MAP, ENGINE_LOAD_COPY}) {
        refused(130, "cancelled", [mode](engine_load &load, Tensors &) {
            load.mode = mode;
            load.progress = [](void *, uint64_t done, uint64_t) -> int32_t { return done > 5000; };
        });
    }
    engine_device_close(device);
}

TEST(a_model_reports_its_own_memory) {
    for (const uint32_t mode : {ENGINE_LOAD_MAP, ENGINE_LOAD_COPY}) {
        Opened opened(mode);
        engine_model *other = nullptr;
        CHECK_EQUAL(engine_model_load(opened.device, &opened.model.load, &other, &opened.error), 0);
        engine_memory memory{};
        engine_model_memory(opened.loaded, &memory);
        CHECK(memory.weights >= opened.model.bytes());
        CHECK(mode == ENGINE_LOAD_COPY || memory.weights == opened.model.bytes());
        CHECK_EQUAL(memory.kv_cache, engine_cache_page_bytes(opened.loaded, ENGINE_KV_F16) * 4);
        CHECK_EQUAL(memory.workspace, 0u);
        Batch batch;
        CHECK_EQUAL(engine_forward(opened.loaded, opened.cache, &batch.batch, &opened.error), 0);
        engine_model_memory(opened.loaded, &memory);
        CHECK(memory.workspace > 0);

        engine_memory of_other{};
        engine_memory whole{};
        engine_model_memory(other, &of_other);
        engine_device_memory(opened.device, &whole);
        CHECK_EQUAL(of_other.kv_cache, 0u);
        CHECK_EQUAL(whole.weights, memory.weights + of_other.weights);
        CHECK_EQUAL(whole.allocations, memory.allocations + of_other.allocations);
        engine_model_unload(other);

        engine_residency residency{};
        CHECK_EQUAL(engine_model_check_residency(opened.loaded, &residency, &opened.error), 0);
        CHECK_EQUAL(residency.resident, 1u);
        CHECK_EQUAL(residency.checked_bytes, opened.model.bytes());
        CHECK_EQUAL(residency.allocations, opened.model.tensors.size());
        CHECK_EQUAL(engine_model_repair_residency(opened.loaded, &residency, &opened.error), 0);
        CHECK_EQUAL(residency.resident, 1u);
    }
}

TEST(a_copied_model_no_longer_needs_its_source) {
    TinyModel model;
    engine_error error{};
    engine_device *device = nullptr;
    engine_model *loaded = nullptr;
    CHECK_EQUAL(engine_device_open(-1, 1, &device, &error), 0);
    model.load.mode = ENGINE_LOAD_COPY;
    CHECK_EQUAL(engine_model_load(device, &model.load, &loaded, &error), 0);
    model.values.clear();
    model.values.shrink_to_fit();
    engine_residency residency{};
    CHECK_EQUAL(engine_model_check_residency(loaded, &residency, &error), 0);
    CHECK_EQUAL(residency.resident, 1u);
    engine_model_unload(loaded);
    engine_device_close(device);
}

TEST(a_batch_is_checked_whole_before_anything_runs) {
    Opened opened;
    const auto refused = [&](const char *fragment, const std::function<void(Batch &)> &spoil) {
        Batch batch;
        spoil(batch);
        CHECK_EQUAL(engine_forward(opened.loaded, opened.cache, &batch.batch, &opened.error), 6);
        if (std::strstr(opened.error.message, fragment) == nullptr) harness::fail(__FILE__, __LINE__, opened.error.message);
        for (const float value : batch.outputs) CHECK_EQUAL(value, -1.0f);
    };
    refused("token 48", [](Batch &batch) { batch.rows[1].token = 48; });
    refused("token 4294967295", [](Batch &batch) { batch.rows[0].token = UINT32_MAX; });
    refused("role 2", [](Batch &batch) { batch.rows[2].role = 2; });
    refused("output 4", [](Batch &batch) { batch.rows[2].output = 4; });
    refused("gives logits only", [](Batch &batch) { batch.rows[2].output = ENGINE_OUTPUT_TOKEN; });
    refused("0 rows ask for tokens, and there are 1 samplings", [](Batch &batch) { batch.batch.sampling_count = 1; });
    refused("sequence 2 of 2", [](Batch &batch) { batch.rows[2].sequence = 2; });
    refused("position 64", [](Batch &batch) { batch.rows[2].position = 64; });
    refused("position 32", [](Batch &batch) { batch.rows[1].position = 32; });
    refused("position 0 comes after position 0", [](Batch &batch) { batch.rows[1].position = 0; });
    refused("page 4 of a cache of 4", [](Batch &batch) { batch.second[0] = 4; });
    refused("page 9 of a cache of 4", [](Batch &batch) { batch.second[1] = 9; });
    refused("80 floats", [](Batch &batch) { batch.batch.output_capacity = 79; });
    refused("80 floats", [](Batch &batch) { batch.batch.outputs = nullptr; });
    refused("rows are null", [](Batch &batch) { batch.batch.rows = nullptr; });
    refused("page tables are null", [](Batch &batch) { batch.batch.page_tables = nullptr; });
    refused("page tables are null", [](Batch &batch) { batch.batch.page_counts = nullptr; });
    refused("page table of sequence 1 is null", [](Batch &batch) { batch.tables[1] = nullptr; });
    refused("sequences", [](Batch &batch) { batch.batch.sequence_count = UINT64_MAX; });
    refused("rows", [](Batch &batch) { batch.batch.row_count = UINT64_MAX; });

    Batch good;
    CHECK_EQUAL(engine_forward(opened.loaded, opened.cache, &good.batch, &opened.error), 0);
    CHECK_EQUAL(good.outputs[1], 2001.0f);
    CHECK_EQUAL(good.outputs[48 + 31], 3031.0f);
    Batch none;
    none.batch.row_count = 0;
    CHECK_EQUAL(engine_forward(opened.loaded, opened.cache, &none.batch, &opened.error), 0);
    Batch cancelled;
    cancelled.cancel = 1;
    CHECK_EQUAL(engine_forward(opened.loaded, opened.cache, &cancelled.batch, &opened.error), 130);
}

TEST(a_cache_serves_its_own_model_alone) {
    Opened opened;
    engine_model *other = nullptr;
    CHECK_EQUAL(engine_model_load(opened.device, &opened.model.load, &other, &opened.error), 0);
    Batch batch;
    CHECK_EQUAL(engine_forward(other, opened.cache, &batch.batch, &opened.error), 6);
    CHECK(std::strstr(opened.error.message, "another model") != nullptr);
    engine_model_unload(other);
    CHECK_EQUAL(engine_cache_copy_page(opened.cache, 0, 4, &opened.error), 6);
    CHECK_EQUAL(engine_cache_copy_page(opened.cache, 3, 1, &opened.error), 0);
    CHECK_EQUAL(engine_cache_page_bytes(opened.loaded, 3), 0u);
    CHECK_EQUAL(engine_cache_page_bytes(opened.loaded, ENGINE_KV_Q8_0), 0u); /* heads of 16 */
}

TEST(forward_passes_from_many_threads_take_turns) {
    Opened opened;
    std::vector<std::thread> threads;
    for (uint32_t thread = 0; thread < 4; ++thread) {
        threads.emplace_back([&opened, thread] {
            for (int round = 0; round < 50; ++round) {
                Batch batch;
                batch.rows[1].token = thread;
                engine_error error{};
                CHECK_EQUAL(engine_forward(opened.loaded, opened.cache, &batch.batch, &error), 0);
                CHECK_EQUAL(batch.outputs[5], static_cast<float>(thread * 1000 + 5));
                CHECK_EQUAL(engine_cache_copy_page(opened.cache, 3, 1, &error), 0);
            }
        });
    }
    for (std::thread &thread : threads) thread.join();
}

TEST(a_long_message_is_cut_at_a_whole_character) {
    Opened opened;
    std::string name(1000, 'n');
    for (int index = 0; index < 100; ++index) name += "\xC3\xA4";
    TinyModel model;
    model.tensors[4].name = name.c_str();
    model.tensors[4].bytes = 0;
    engine_model *loaded = nullptr;
    CHECK_EQUAL(engine_model_load(opened.device, &model.load, &loaded, &opened.error), 3);
    const std::string message = opened.error.message;
    CHECK(message.size() >= 1017 && message.size() < sizeof opened.error.message);
    CHECK_EQUAL(message.substr(message.size() - 2), "\xC3\xA4");
}
