/* How far the rounding of activations takes a wide model's logits from those of its exact arithmetic. */
#include "../../src/formats/dequantise.h"
#include "../harness.h"
#include "cuda_error.h"
#include "device.h"
#include "forward.h"
#include "kv_cache.h"
#include "random_model.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

using worker::TensorType;

namespace {

constexpr uint32_t positions = ENGINE_PAGE_TOKENS + 8; /* more take minutes where the CPU is emulated */

/* What a random weight is in the mean (root of squares), where the block's scale, if it has one, is 1. */
double size_of_levels(TensorType type) {
    switch (type) {
    case TensorType::Q8_0: return 73.9;        /* -128 to 127 */
    case TensorType::Q4_0: return 4.64;        /* -8 to 7 */
    case TensorType::Q6_K: return 73.9 * 18.5; /* times -32 to 31 */
    case TensorType::F32: return 0.577;        /* -1 to 1 */
    case TensorType::F16: return 0.0755;       /* 2^-5 to 2^-3 */
    case TensorType::BF16: return 0.302;       /* 2^-3 to 2^-1 */
    default: return 0;
    }
}

void set_size(std::byte *rows, uint64_t bytes, TensorType type, double size) {
    const worker::TensorTypeTraits &traits = worker::traits_of(type);
    const auto factor = static_cast<float>(size / size_of_levels(type));
    for (uint64_t block = 0; block < bytes; block += traits.block_bytes) {
        if (type == TensorType::F32 || type == TensorType::BF16) { /* which is the upper half of the other */
            float weight = 0;
            std::byte *stored = reinterpret_cast<std::byte *>(&weight) + (sizeof weight - traits.block_bytes);
            std::memcpy(stored, rows + block, traits.block_bytes);
            weight *= factor;
            std::memcpy(rows + block, stored, traits.block_bytes);
            continue;
        }
        std::byte *place = rows + block + half_offsets(type).front();
        uint16_t half;
        std::memcpy(&half, place, sizeof half);
        half = worker::float_to_half(type == TensorType::F16 ? factor * worker::half_to_float(half) : factor);
        std::memcpy(place, &half, sizeof half);
    }
}

/* Weights of such a size that activations keep theirs, as trained ones do. */
RandomModel even_model(TensorType type, uint32_t layers) {
    RandomModel model;
    engine_model_description &d = model.description = small_description();
    d.width = wide;
    d.heads = 16;
    d.kv_heads = 4;
    d.head_size = d.value_size = d.rotary_size = 64;
    d.feed_forward = 2816;
    d.layers = layers;
    add_dense_tensors(model, type);
    for (engine_tensor &tensor : model.tensors) {
        auto *data = static_cast<std::byte *>(const_cast<void *>(tensor.data));
        if (tensor.shape[1] != 1) {
            set_size(data, tensor.bytes, type, tensor.role == ENGINE_TOKEN_EMBEDDING ? 0.1 : 1 / std::sqrt(static_cast<double>(tensor.shape[0])));
            continue;
        }
        auto *norm = reinterpret_cast<float *>(data);
        for (uint64_t i = 0; i < tensor.shape[0]; i++) norm[i] = 1.0f + 0.17f * norm[i];
    }
    return model;
}

std::vector<float> logits(worker::Forward &forward, worker::CpuDevice &device, const engine_model_description &d, uint32_t kv_kind, uint32_t role, uint32_t at_once) {
    worker::KvCache cache(device, d, (positions + ENGINE_PAGE_TOKENS - 1) / ENGINE_PAGE_TOKENS, kv_kind, 1);
    std::vector<uint32_t> pages(cache.pages());
    std::iota(pages.begin(), pages.end(), 0u);
    const uint32_t *const tables[] = {pages.data()};
    const uint32_t counts[] = {cache.pages()};
    std::vector<float> all(size_t{positions} * d.vocabulary);
    for (uint32_t first = 0; first < positions; first += at_once) {
        std::vector<engine_row> rows;
        for (uint32_t position = first; position < first + at_once; position++)
            rows.push_back({(position * 37 + 5) % d.vocabulary, position, 0, role, ENGINE_OUTPUT_LOGITS});
        float *outputs = all.data() + size_t{first} * d.vocabulary;
        forward.run({rows.data(), rows.size(), tables, counts, 1, nullptr, outputs, size_t{at_once} * d.vocabulary, nullptr, nullptr, 0}, cache);
    }
    return all;
}

/* ||found - exact|| / ||exact - mean(exact)|| */
double error_of(const std::vector<float> &found, const std::vector<float> &exact) {
    const double mean = std::accumulate(exact.begin(), exact.end(), 0.0) / static_cast<double>(exact.size());
    double difference = 0, spread = 0;
    for (size_t i = 0; i < exact.size(); i++) {
        difference += (found[i] - exact[i]) * (found[i] - exact[i]);
        spread += (exact[i] - mean) * (exact[i] - mean);
    }
    return std::sqrt(difference / spread);
}

} // namespace

/* The limits are 0.8 of what is tolerated. */
TEST(wide_models_stay_near_their_exact_logits_in_both_roles) {
    for (const TensorType type : {TensorType::Q8_0, TensorType::Q4_0, TensorType::Q6_K, TensorType::BF16}) {
        const double limit = 0.8 * (type == TensorType::BF16 ? 6e-3 : worker::traits_of(type).block_length == 256 ? 3.1e-2 : 2.2e-2);
        const RandomModel model = even_model(type, 4);
        worker::CpuDevice device(2);
        const auto forward = worker::make_cpu_forward(model.description, model.tensors, device, 1);
        const auto run = [&](uint32_t kv_kind, uint32_t role, uint32_t at_once) { return logits(*forward, device, model.description, kv_kind, role, at_once); };
        const std::vector<float> exact = run(ENGINE_KV_F32, ENGINE_ROLE_PROMPT, positions);
        const std::vector<float> prompt = run(ENGINE_KV_F16, ENGINE_ROLE_PROMPT, positions), decode = run(ENGINE_KV_F16, ENGINE_ROLE_DECODE, 1);
        for (const auto &[name, found] : {std::pair{"prompt", &prompt}, std::pair{"decode", &decode}}) {
            const double error = error_of(*found, exact);
            if (!(error > 1e-4 && error < limit))
                harness::fail(__FILE__, __LINE__, std::string(name) + " rows, type " + std::to_string(static_cast<int>(type)) + ": " + std::to_string(error));
        }
    }
}

TEST(where_the_roles_are_said_to_agree_they_give_the_same_bits) {
    const bool unit = std::strcmp(worker::cpu_kernel_path(), "amx") == 0;
    for (const TensorType type : {TensorType::Q8_0, TensorType::Q6_K, TensorType::F32, TensorType::F16, TensorType::BF16})
        for (const bool experts : {false, true})
            for (const uint32_t width : {64u, wide}) {
                if (width % worker::traits_of(type).block_length != 0 || (experts && (width == wide || worker::traits_of(type).block_length > 32))) continue;
                const RandomModel model = experts ? expert_model(type) : width == 64 ? dense_model(type) : even_model(type, 1);
                worker::CpuDevice device(2);
                const auto forward = worker::make_cpu_forward(model.description, model.tensors, device, 1);
                for (const uint32_t kv_kind : {ENGINE_KV_F16, ENGINE_KV_F32, ENGINE_KV_Q8_0}) {
                    const bool by_unit = unit && width == wide && kv_kind != ENGINE_KV_F32 && type != TensorType::F32;
                    CHECK_EQUAL(forward->roles_agree(kv_kind), !by_unit);
                    if (by_unit) continue;
                    const auto run = [&](uint32_t role, uint32_t at_once) { return logits(*forward, device, model.description, kv_kind, role, at_once); };
                    const std::vector<float> prompt = run(ENGINE_ROLE_PROMPT, positions), decode = run(ENGINE_ROLE_DECODE, 1);
                    /* What is not a number may have any sign. */
                    const bool finite = std::ranges::all_of(prompt, [](float logit) { return std::isfinite(logit); });
                    if (!finite || std::memcmp(prompt.data(), decode.data(), prompt.size() * sizeof(float)) != 0)
                        harness::fail(__FILE__, __LINE__, std::string(finite ? "the roles differ" : "not finite") + ", type " + worker::traits_of(type).name + ", width " +
                                                             std::to_string(width) + (experts ? ", experts" : "") + ", cache " + std::to_string(kv_kind));
                }
            }
}
