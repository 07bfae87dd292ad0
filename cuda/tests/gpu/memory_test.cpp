/*
 * Memory of a GPU: the pool, copies through staging, and proving of what kind it is.
 */
#include "device_memory.h"
#include "emulated_machine.h"
#include "gpu/device_gpu.h"
#include "health.h"

#include <algorithm>
#include <cstring>
#include <map>
#include <numeric>
#include <random>
#include <string>
#include <vector>

using namespace worker;
using gpu::MemoryKind;

namespace {

MemoryTag tag(const char *description, VramOwner owner = 0) { return {VramPurpose::Unknown, description, owner}; }

std::vector<unsigned char> numbered(size_t bytes) {
    std::vector<unsigned char> values(bytes);
    uint32_t state = 7;
    for (unsigned char &value : values) {
        state = state * 1664525 + 1013904223;
        value = static_cast<unsigned char>(state >> 24);
    }
    return values;
}

} // namespace

TEST(blocks_of_the_pool_do_not_overlap_and_all_go_back) {
    const EmulatedMachine emulated;
    const auto device = Device::open(0, 0);
    std::mt19937 random(1);
    std::map<uintptr_t, DeviceMemory> blocks;
    for (int step = 0; step < 3000; ++step) {
        if (blocks.size() < 100 || random() % 2 == 0) {
            const size_t bytes = 1 + (random() % 10 == 0 ? random() % (1 << 20) : random() % 20000);
            const size_t alignment = size_t{1} << (random() % 14);
            DeviceMemory block(*device, bytes, tag("block"), {alignment, false});
            const auto begin = reinterpret_cast<uintptr_t>(block.get());
            CHECK_EQUAL(begin % alignment, 0u);
            const auto next = blocks.lower_bound(begin);
            CHECK(next == blocks.end() || begin + bytes <= next->first);
            CHECK(next == blocks.begin() || std::prev(next)->first + std::prev(next)->second.size() <= begin);
            blocks.emplace(begin, std::move(block));
        } else {
            blocks.erase(std::next(blocks.begin(), static_cast<std::ptrdiff_t>(random() % blocks.size())));
        }
    }
    CHECK(emulation::census().device_blocks < blocks.size()); /* small ones share */
    blocks.clear();
    CHECK_EQUAL(emulation::census().device_blocks, 0u);
    CHECK_EQUAL(device->tracker().allocation_count(), 0u);
}

TEST(copies_of_any_length_arrive_whole) {
    const EmulatedMachine emulated;
    const auto device = Device::open(0, 0);
    constexpr size_t buffer = gpu::Staging::buffer_bytes;
    for (const size_t bytes : {size_t{1}, size_t{4095}, buffer - 1, buffer, buffer + 1, 2 * buffer, 3 * buffer + 17}) {
        const std::vector<unsigned char> source = numbered(bytes + 1);
        DeviceMemory block(*device, bytes + 64, tag("block"));
        block.copy_from_host(source.data() + 1, bytes, 64); /* unaligned on the host */
        std::vector<unsigned char> back(bytes);
        block.copy_to_host(back.data(), bytes, 64);
        CHECK(std::memcmp(back.data(), source.data() + 1, bytes) == 0);
        block.zero();
        block.copy_to_host(back.data(), bytes, 64);
        CHECK(std::all_of(back.begin(), back.end(), [](unsigned char value) { return value == 0; }));
    }
    CHECK_EQUAL(emulation::census().pinned_blocks, 2u); /* bounded, whatever the length */
}

TEST(zeroed_blocks_are_zero_and_others_hold_nothing_useful) {
    const EmulatedMachine emulated;
    const auto device = Device::open(0, 0);
    const DeviceMemory block(*device, 1000, tag("block"), {256, true});
    std::vector<unsigned char> back(1000, 1);
    block.copy_to_host(back.data(), back.size());
    CHECK_EQUAL(std::accumulate(back.begin(), back.end(), 0), 0);
    emulation::fail("fill", 0, gpu::Status::InvalidValue, emulation::Lasting::Once);
    CHECK_THROWS(ENGINE_OUT_OF_MEMORY, "zeroed", DeviceMemory(*device, 1000, tag("zeroed"), {256, true}));
}

TEST(a_request_beyond_the_device_names_what_is_needed_free_and_in_use) {
    emulation::Machine machine;
    machine.memory = 64 << 20;
    machine.foreign_memory = 30 << 20;
    const EmulatedMachine emulated(machine);
    const auto device = Device::open(0, 0);
    const DeviceMemory block(*device, 20 << 20, {VramPurpose::KVCache, "KV cache", 3});
    const std::string expected = "20000000 bytes for model weights could not be allocated; " + std::to_string(14 << 20) +
                                 " bytes are free; in use: total 20.97 MB";
    CHECK_THROWS(ENGINE_OUT_OF_MEMORY, expected, DeviceMemory(*device, 20000000, {VramPurpose::ModelWeights, "model weights", 4}));
    CHECK_THROWS(ENGINE_OUT_OF_MEMORY, "KV cache 20.97 MB", DeviceMemory(*device, 20000000, tag("more")));
    const DeviceMemory smaller(*device, 10 << 20, tag("less")); /* and all goes on */
    CHECK_THROWS(ENGINE_OUT_OF_MEMORY, "", DeviceMemory(*device, SIZE_MAX, tag("everything")));
    CHECK_THROWS(ENGINE_OUT_OF_MEMORY, "", DeviceMemory(*device, SIZE_MAX, tag("everything"), {4096, false}));
}

TEST(only_plain_memory_of_this_very_device_is_resident) {
    const EmulatedMachine emulated(2);
    const auto device = Device::open(0, 0);
    const auto other = Device::open(1, 0);
    const DeviceMemory block(*device, size_t{1} << 20, tag("block"));
    const DeviceMemory elsewhere(*other, size_t{1} << 20, tag("block"));
    CHECK_EQUAL(device->resident_bytes(block.get(), block.size()), block.size());
    CHECK_EQUAL(device->resident_bytes(elsewhere.get(), elsewhere.size()), 0u);
    std::vector<char> ordinary(100);
    CHECK_EQUAL(device->resident_bytes(ordinary.data(), ordinary.size()), 0u);
    for (const MemoryKind kind : {MemoryKind::Managed, MemoryKind::Host, MemoryKind::Unregistered}) {
        CHECK(emulation::set_kind_of(block.get(), kind));
        CHECK_EQUAL(device->resident_bytes(block.get(), block.size()), 0u);
    }
    CHECK(emulation::set_kind_of(block.get(), MemoryKind::Device));
    CHECK_EQUAL(device->resident_bytes(block.get(), block.size()), block.size());

    /* A question that fails proves nothing, and leaves no error behind. */
    emulation::fail("pointer_attributes", 0, gpu::Status::InvalidValue, emulation::Lasting::Once);
    CHECK_EQUAL(device->resident_bytes(block.get(), block.size()), 0u);
    CHECK(gpu::runtime().take_last_error() == gpu::Status::Success);
    CHECK_EQUAL(device->resident_bytes(block.get(), block.size()), block.size());
}

TEST(a_check_asks_a_few_questions_however_many_tensors_there_are) {
    const EmulatedMachine emulated;
    const auto device = Device::open(0, 0);
    constexpr VramOwner owner = 5;
    const DeviceMemory weights(*device, 32 << 20, {VramPurpose::ModelWeights, "model weights", owner});
    const DeviceMemory cache(*device, 4 << 20, {VramPurpose::KVCache, "KV cache of 16 pages", owner});
    const DeviceMemory stranger(*device, 4 << 20, {VramPurpose::KVCache, "another model's", owner + 1});
    std::vector<WeightRange> ranges;
    for (int tensor = 0; tensor < 1000; ++tensor) {
        ranges.push_back({"tensor " + std::to_string(tensor), weights.get_as<char>() + tensor * 32768, 32768});
    }
    const Health health(*device, std::move(ranges), {}, ENGINE_RESIDENCY_LOCKED, owner);
    const uint64_t before = emulation::census().pointer_questions;
    engine_residency found = health.check();
    CHECK_EQUAL(emulation::census().pointer_questions - before, 4u);
    CHECK_EQUAL(found.resident, 1u);
    CHECK_EQUAL(found.allocations, 2u);
    CHECK_EQUAL(found.checked_bytes, weights.size() + cache.size());
    CHECK_EQUAL(found.resident_bytes, found.checked_bytes);

    CHECK(emulation::set_kind_of(cache.get(), MemoryKind::Managed));
    found = health.check();
    CHECK_EQUAL(found.resident, 0u);
    CHECK_EQUAL(found.violations, 1u);
    CHECK_EQUAL(found.violating_bytes, cache.size());
    CHECK_EQUAL(std::string(found.violating), "KV cache of 16 pages");
}

TEST(a_model_without_any_allocation_is_not_resident) {
    const EmulatedMachine emulated;
    const auto device = Device::open(0, 0);
    const Health health(*device, {}, {}, ENGINE_RESIDENCY_VERIFY, 9);
    CHECK_EQUAL(health.check().resident, 0u);
}
