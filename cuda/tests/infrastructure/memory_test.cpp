#include "device_memory.h"
#include "engine.h"
#include "harness.h"
#include "kv_cache.h"

#include <cstring>
#include <string>
#include <thread>
#include <vector>

using namespace worker;

namespace {

MemoryTag tag(VramPurpose purpose, const char *description, VramOwner owner = 0) { return {purpose, description, owner}; }

engine_model_description description_of(uint32_t layers, uint32_t kv_heads, uint32_t head_size, uint32_t value_size) {
    engine_model_description description{};
    description.layers = layers;
    description.kv_heads = kv_heads;
    description.head_size = head_size;
    description.value_size = value_size;
    return description;
}

} // namespace

TEST(errors_have_the_published_codes_and_the_seeds_prefixes) {
    const struct {
        CudaError error;
        int32_t code;
        const char *text;
    } expected[] = {
        {CudaError::invalid_device("x"), 1, "Invalid device: x"},
        {CudaError::out_of_memory("x"), 2, "Out of memory: x"},
        {CudaError::model_load_failed("x"), 3, "Model load failed: x"},
        {CudaError::model_unsupported("x"), 4, "Model unsupported: x"},
        {CudaError::inference_failed("x"), 5, "Inference failed: x"},
        {CudaError::invalid_parameter("x"), 6, "Invalid parameter: x"},
        {CudaError::kernel_launch_failed("x"), 7, "Kernel launch failed: x"},
        {CudaError::vram_residency_failed("x"), 8, "VRAM residency failed: x"},
        {CudaError::device_not_found("x"), 1, "Device not found: x"},
        {CudaError::cancelled("x"), 130, "Cancelled: x"},
    };
    for (const auto &one : expected) {
        CHECK_EQUAL(one.error.code(), one.code);
        CHECK_EQUAL(std::string(one.error.what()), one.text);
        CHECK_EQUAL(std::string(one.error.detail()), "x");
    }
    const CudaError copy = expected[1].error;
    CHECK_EQUAL(copy.what(), expected[1].error.what()); /* the copy shares the text */
}

TEST(the_ledger_adds_up_by_purpose_and_owner) {
    VramTracker tracker;
    int a, b, c;
    tracker.record_allocation(&a, 100, tag(VramPurpose::ModelWeights, "a", 1));
    tracker.record_allocation(&b, 20, tag(VramPurpose::KVCache, "b", 1));
    tracker.record_allocation(&c, 3, tag(VramPurpose::ModelWeights, "c", 2));
    CHECK_EQUAL(tracker.total_usage(), 123u);
    CHECK_EQUAL(tracker.usage_by_purpose(VramPurpose::ModelWeights), 103u);
    CHECK_EQUAL(tracker.usage_by_purpose(VramPurpose::IntermediateBuffers), 0u);
    CHECK_EQUAL(tracker.allocation_count(), 3u);
    CHECK_EQUAL(tracker.usage_breakdown(1).total(), 120u);
    CHECK_EQUAL(tracker.usage_breakdown(1).allocations, 2u);
    CHECK_EQUAL(tracker.usage_breakdown(2).of(VramPurpose::ModelWeights), 3u);
    const std::string report = tracker.usage_report();
    CHECK(report.find("model weights 0.00 MB (103 bytes)") != std::string::npos);
    CHECK(report.find("3 allocations") != std::string::npos);

    CHECK_THROWS(6, "recorded already", tracker.record_allocation(&a, 1, tag(VramPurpose::Unknown, "again")));
    CHECK_THROWS(6, "null", tracker.record_allocation(nullptr, 1, tag(VramPurpose::Unknown, "nothing")));
    tracker.record_deallocation(&a);
    tracker.record_deallocation(&a);
    CHECK_EQUAL(tracker.total_usage(), 23u);
}

TEST(the_ledger_may_be_used_from_many_threads) {
    VramTracker tracker;
    std::vector<std::thread> threads;
    static char places[8][100];
    for (auto &row : places) {
        threads.emplace_back([&tracker, &row] {
            for (char &place : row) tracker.record_allocation(&place, 2, tag(VramPurpose::Unknown, "one of many"));
            for (size_t index = 0; index < 50; ++index) tracker.record_deallocation(&row[index]);
            CHECK(!tracker.usage_report().empty());
        });
    }
    for (std::thread &thread : threads) thread.join();
    CHECK_EQUAL(tracker.allocation_count(), 400u);
    CHECK_EQUAL(tracker.total_usage(), 800u);
}

TEST(memory_is_aligned_zeroed_where_asked_and_in_the_ledger) {
    CpuDevice device(1);
    for (const size_t bytes : {size_t{1}, size_t{4096}, size_t{1} << 20, (size_t{5} << 20) + 3}) {
        for (const size_t alignment : {size_t{1}, size_t{64}, size_t{256}, size_t{4096}, size_t{4} << 20}) {
            const DeviceMemory memory(device, bytes, tag(VramPurpose::KVCache, "aligned"), {alignment, true});
            CHECK(memory.is_allocated());
            CHECK_EQUAL(memory.size(), bytes);
            CHECK_EQUAL(reinterpret_cast<uintptr_t>(memory.get()) % alignment, 0u);
            CHECK_EQUAL(memory.get_as<char>()[0], 0);
            CHECK_EQUAL(memory.get_as<char>()[bytes - 1], 0);
            memory.get_as<char>()[bytes - 1] = 1;
            CHECK_EQUAL(device.tracker().usage_by_purpose(VramPurpose::KVCache), bytes);
        }
    }
    const DeviceMemory plain(device, 10, tag(VramPurpose::Unknown, "plain"));
    CHECK_EQUAL(reinterpret_cast<uintptr_t>(plain.get()) % 256, 0u);
    CHECK_EQUAL(device.tracker().total_usage(), 10u);
}

TEST(bad_requests_for_memory_are_refused) {
    CpuDevice device(1);
    CHECK_THROWS(6, "0 bytes", DeviceMemory(device, 0, tag(VramPurpose::Unknown, "nothing")));
    CHECK_THROWS(6, "power of two", DeviceMemory(device, 8, tag(VramPurpose::Unknown, "odd"), {3, false}));
    CHECK_THROWS(6, "power of two", DeviceMemory(device, 8, tag(VramPurpose::Unknown, "none"), {0, false}));
    const DeviceMemory held(device, 1000, tag(VramPurpose::ModelWeights, "held"));
    for (const size_t bytes : {SIZE_MAX, SIZE_MAX / 2, size_t{1} << 50}) {
        CHECK_THROWS(2, "1000 bytes", DeviceMemory(device, bytes, tag(VramPurpose::Unknown, "far too much")));
    }
    CHECK_EQUAL(device.tracker().allocation_count(), 1u);
}

TEST(memory_moves_and_is_freed_once) {
    CpuDevice device(1);
    DeviceMemory first(device, 100, tag(VramPurpose::Unknown, "first"));
    void *address = first.get();
    DeviceMemory second(std::move(first));
    CHECK(!first.is_allocated());
    CHECK_EQUAL(second.get(), address);
    DeviceMemory third(device, 50, tag(VramPurpose::Unknown, "third"));
    third = std::move(second);
    CHECK_EQUAL(third.get(), address);
    CHECK_EQUAL(device.tracker().total_usage(), 100u);
    third.release();
    third.release();
    CHECK_EQUAL(third.size(), 0u);
    CHECK_EQUAL(device.tracker().allocation_count(), 0u);
}

TEST(copies_stay_within_the_block) {
    CpuDevice device(1);
    DeviceMemory memory(device, 100, tag(VramPurpose::Unknown, "block"));
    char host[101] = {};
    std::memset(host, 7, sizeof host);
    memory.copy_from_host(host, 100);
    memory.copy_from_host(host, 0, 100);
    char back[100] = {};
    memory.copy_to_host(back, 10, 90);
    CHECK_EQUAL(back[9], 7);
    CHECK_EQUAL(back[10], 0);
    CHECK_THROWS(6, "does not fit", memory.copy_from_host(host, 101));
    CHECK_THROWS(6, "does not fit", memory.copy_from_host(host, 100, 1));
    CHECK_THROWS(6, "does not fit", memory.copy_to_host(host, 1, 100));
    CHECK_THROWS(6, "does not fit", memory.copy_to_host(host, 2, SIZE_MAX));
    CHECK_THROWS(6, "null", memory.copy_from_host(nullptr, 1));
    memory.zero();
    CHECK_EQUAL(memory.get_as<char>()[99], 0);
    memory.release();
    CHECK_THROWS(6, "nothing is allocated", memory.copy_from_host(host, 1));
    CHECK_THROWS(6, "nothing is allocated", memory.zero());
}

TEST(cache_pages_are_laid_out_as_documented_and_do_not_overlap) {
    CpuDevice device(1);
    const struct {
        uint32_t kind, key_row, value_row;
    } kinds[] = {{ENGINE_KV_F16, 128, 64}, {ENGINE_KV_F32, 256, 128}, {ENGINE_KV_Q8_0, 68, 34}};
    for (const auto &expected : kinds) {
        const engine_model_description description = description_of(2, 3, 64, 32);
        KvCache cache(device, description, 5, expected.kind, 9);
        CHECK_EQUAL(cache.layout().key_row_bytes, expected.key_row);
        CHECK_EQUAL(cache.layout().value_row_bytes, expected.value_row);
        CHECK_EQUAL(device.tracker().usage_breakdown(9).of(VramPurpose::KVCache), cache.layout().page_bytes * 5);
        /* Every chunk gets its own mark; each must still be whole when all are written. */
        const auto each = [&](auto &&visit) {
            unsigned char mark = 1;
            for (uint32_t page = 0; page < 5; ++page)
                for (uint32_t layer = 0; layer < 2; ++layer)
                    for (uint32_t head = 0; head < 3; ++head)
                        for (const KvPart part : {KvPart::Key, KvPart::Value}) {
                            const size_t row = part == KvPart::Key ? expected.key_row : expected.value_row;
                            visit(cache.address(layer, page, head, part), row * ENGINE_PAGE_TOKENS, mark++);
                        }
        };
        each([](std::byte *at, size_t bytes, unsigned char mark) {
            CHECK_EQUAL(reinterpret_cast<uintptr_t>(at) % 64, 0u);
            std::memset(at, mark, bytes);
        });
        each([](std::byte *at, size_t bytes, unsigned char mark) {
            for (size_t index = 0; index < bytes; ++index) CHECK_EQUAL(std::to_integer<unsigned>(at[index]), unsigned{mark});
        });
        cache.copy_page(0, 4);
        CHECK_EQUAL(std::memcmp(cache.address(0, 0, 0, KvPart::Key), cache.address(0, 4, 0, KvPart::Key), cache.layout().page_bytes), 0);
        CHECK_EQUAL(std::to_integer<unsigned>(*cache.address(0, 3, 0, KvPart::Key)), 37u);
        CHECK_THROWS(6, "page 5 of 5", cache.copy_page(0, 5));
        CHECK_THROWS(6, "page 5 of 5", cache.copy_page(5, 0));
    }
}

TEST(impossible_caches_are_refused) {
    CpuDevice device(1);
    CHECK_THROWS(6, "no KV cache type 3", KvCache(device, description_of(1, 1, 64, 64), 1, 3, 0));
    CHECK_THROWS(6, "multiples of 32", KvCache(device, description_of(1, 1, 48, 48), 1, ENGINE_KV_Q8_0, 0));
    CHECK_THROWS(6, "at least one page", KvCache(device, description_of(1, 1, 64, 64), 0, ENGINE_KV_F16, 0));
    CHECK_THROWS(2, "", KvCache(device, description_of(200, 128, 128, 128), UINT32_MAX, ENGINE_KV_F32, 0));
    CHECK_EQUAL(device.tracker().allocation_count(), 0u);
}
