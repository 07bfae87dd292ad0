/*
 * The C entries: each checks its arguments, calls one thing, and turns exceptions into codes.
 */
#include "engine.h"

#include "cuda_error.h"
#include "device.h"
#include "kv_cache.h"
#include "model.h"

#include <cstring>
#include <memory>
#include <new>
#include <string>
#include <utility>

struct engine_device {
    std::unique_ptr<worker::Device> device;
};

struct engine_model {
    worker::Model model;

    engine_model(worker::Device &device, const engine_load &load) : model(device, load) {}
};

struct engine_cache {
    engine_model *model;
    worker::KvCache cache;
};

namespace {

using worker::CudaError;

/* Cuts at a whole UTF-8 character. */
int32_t report(engine_error *error, int32_t code, const char *message) noexcept {
    if (error == nullptr) return code;
    error->code = code;
    size_t length = std::strlen(message);
    if (length >= sizeof error->message) {
        length = sizeof error->message - 1;
        while (length > 0 && (static_cast<unsigned char>(message[length]) & 0xC0) == 0x80) --length;
    }
    std::memcpy(error->message, message, length);
    error->message[length] = '\0';
    return code;
}

/* The only way into the engine: nothing is thrown past it. */
template <typename Body> int32_t guard(engine_error *error, Body &&body) noexcept {
    try {
        body();
        return report(error, ENGINE_OK, "");
    } catch (const CudaError &failure) {
        return report(error, failure.code(), failure.detail());
    } catch (const std::bad_alloc &) {
        return report(error, ENGINE_OUT_OF_MEMORY, "the process has no memory left");
    } catch (const std::exception &failure) {
        return report(error, ENGINE_UNKNOWN, failure.what());
    } catch (...) {
        return report(error, ENGINE_UNKNOWN, "something that is no exception was thrown");
    }
}

void require(const void *argument, const char *name) {
    if (argument == nullptr) throw CudaError::invalid_parameter(std::string(name) + " is null");
}

void require_at_most(uint32_t value, uint32_t most, const char *name) {
    if (value > most) throw CudaError::invalid_parameter(std::string("there is no ") + name + " " + std::to_string(value));
}

void check_load(const engine_load &load) {
    require(load.description, "the model's description");
    require(load.tensors, "the tensor table");
    require_at_most(load.residency, ENGINE_RESIDENCY_LOCKED, "residency policy");
    require_at_most(load.mode, ENGINE_LOAD_COPY, "load mode");
    constexpr uint64_t most_tensors = 1u << 20;
    if (load.tensor_count > most_tensors) {
        throw CudaError::invalid_parameter("a table of " + std::to_string(load.tensor_count) + " tensors");
    }
    uint64_t total = 0;
    for (uint64_t index = 0; index < load.tensor_count; ++index) {
        const engine_tensor &tensor = load.tensors[index];
        const std::string which = "tensor " + std::to_string(index);
        require(tensor.name, (which + "'s name").c_str());
        if (tensor.bytes == 0) throw CudaError::model_load_failed(std::string(tensor.name) + " is empty");
        require(tensor.data, (which + "'s data").c_str());
        if (__builtin_add_overflow(total, tensor.bytes, &total) || total > (uint64_t{1} << 47)) {
            throw CudaError::model_load_failed("the tensors up to " + std::string(tensor.name) + " are larger than any memory");
        }
    }
}

engine_memory memory_of(const worker::VramUsage &usage) noexcept {
    return {usage.of(worker::VramPurpose::ModelWeights), usage.of(worker::VramPurpose::KVCache),
            usage.of(worker::VramPurpose::IntermediateBuffers), usage.of(worker::VramPurpose::Unknown), usage.allocations};
}

} // namespace

uint32_t engine_gpu_count(void) noexcept { return worker::Device::gpu_count(); }

int32_t engine_device_open(int32_t ordinal, uint32_t threads, engine_device **out, engine_error *error) noexcept {
    return guard(error, [&] {
        require(out, "out");
        *out = nullptr;
        auto opened = std::make_unique<engine_device>(engine_device{worker::Device::open(ordinal, threads)});
        *out = opened.release();
    });
}

void engine_device_close(engine_device *device) noexcept { const std::unique_ptr<engine_device> closed(device); }

int32_t engine_device_get_information(engine_device *device, engine_device_information *out, engine_error *error) noexcept {
    return guard(error, [&] {
        require(device, "device");
        require(out, "out");
        *out = device->device->information();
    });
}

uint64_t engine_device_process_memory(engine_device *device) noexcept {
    return device == nullptr ? 0 : device->device->process_memory();
}

void engine_device_memory(engine_device *device, engine_memory *out) noexcept {
    guard(nullptr, [&] {
        require(out, "out");
        *out = engine_memory{};
        require(device, "device");
        *out = memory_of(device->device->tracker().usage_breakdown());
    });
}

int32_t engine_device_get_usage(engine_device *device, engine_device_usage *out, engine_error *error) noexcept {
    return guard(error, [&] {
        require(device, "device");
        require(out, "out");
        const engine_device_information information = device->device->information();
        const worker::Device::ProcessUsage process = device->device->process_usage();
        *out = {process.bytes, information.total_memory - information.free_memory, process.source, 0};
    });
}

int32_t engine_device_check_health(engine_device *device, engine_error *error) noexcept {
    return guard(error, [&] {
        require(device, "device");
        device->device->check_health();
    });
}

int32_t engine_model_load(engine_device *device, const engine_load *load, engine_model **out, engine_error *error) noexcept {
    return guard(error, [&] {
        require(out, "out");
        *out = nullptr;
        require(device, "device");
        require(load, "load");
        check_load(*load);
        auto loaded = std::make_unique<engine_model>(*device->device, *load);
        *out = loaded.release();
    });
}

void engine_model_unload(engine_model *model) noexcept { const std::unique_ptr<engine_model> unloaded(model); }

void engine_model_memory(engine_model *model, engine_memory *out) noexcept {
    guard(nullptr, [&] {
        require(out, "out");
        *out = engine_memory{};
        require(model, "model");
        /* Member by member: hosts ask often, and a copy of a whole struct would wait for each of its stores. */
        const worker::VramLedger &ledger = model->model.memory();
        out->weights = ledger.bytes(worker::VramPurpose::ModelWeights);
        out->kv_cache = ledger.bytes(worker::VramPurpose::KVCache);
        out->workspace = ledger.bytes(worker::VramPurpose::IntermediateBuffers);
        out->other = ledger.bytes(worker::VramPurpose::Unknown);
        out->allocations = ledger.allocations();
    });
}

int32_t engine_model_check_residency(engine_model *model, engine_residency *out, engine_error *error) noexcept {
    return guard(error, [&] {
        require(model, "model");
        require(out, "out");
        *out = model->model.check_residency();
    });
}

int32_t engine_model_repair_residency(engine_model *model, engine_residency *out, engine_error *error) noexcept {
    return guard(error, [&] {
        require(model, "model");
        require(out, "out");
        *out = model->model.repair_residency();
    });
}

uint64_t engine_cache_page_bytes(engine_model *model, uint32_t kind) noexcept {
    uint64_t bytes = 0;
    guard(nullptr, [&] {
        require(model, "model");
        bytes = worker::KvLayout::of(model->model.description(), kind).page_bytes;
    });
    return bytes;
}

int32_t engine_cache_create(engine_model *model, uint32_t pages, uint32_t kind, engine_cache **out, engine_error *error) noexcept {
    return guard(error, [&] {
        require(out, "out");
        *out = nullptr;
        require(model, "model");
        worker::KvCache cache(model->model.device(), model->model.description(), pages, kind, model->model.owner());
        auto created = std::make_unique<engine_cache>(engine_cache{model, std::move(cache)});
        *out = created.release();
    });
}

void engine_cache_free(engine_cache *cache) noexcept { const std::unique_ptr<engine_cache> freed(cache); }

int32_t engine_cache_copy_page(engine_cache *cache, uint32_t from, uint32_t to, engine_error *error) noexcept {
    return guard(error, [&] {
        require(cache, "cache");
        cache->model->model.copy_page(cache->cache, from, to);
    });
}

uint32_t engine_model_roles_agree(engine_model *model, uint32_t kind) noexcept { return model != nullptr && model->model.roles_agree(kind) ? 1 : 0; }

uint32_t engine_model_samples(engine_model *model) noexcept { return model != nullptr && model->model.samples() ? 1 : 0; }

int32_t engine_forward(engine_model *model, engine_cache *cache, const engine_batch *batch, engine_error *error) noexcept {
    return guard(error, [&] {
        require(model, "model");
        require(cache, "cache");
        require(batch, "batch");
        if (cache->model != model) throw CudaError::invalid_parameter("the KV cache belongs to another model");
        model->model.run(cache->cache, *batch);
    });
}
