/*
 * Small models with random weights, made in memory: right shapes, no meaning.
 */
#ifndef WORKER_TEST_RANDOM_MODEL_H
#define WORKER_TEST_RANDOM_MODEL_H

#include "engine.h"
#include "random_data.h"

#include <deque>
#include <string>
#include <vector>

struct RandomModel {
    engine_model_description description{};
    std::vector<engine_tensor> tensors;

    void add(const std::string &name, uint32_t role, int32_t layer, worker::TensorType type, uint64_t columns, uint64_t rows = 1, uint64_t slabs = 1) {
        std::vector<std::byte> &data = data_.emplace_back(random_rows(type, rows * slabs, columns, random_));
        engine_tensor tensor{};
        tensor.name = names_.emplace_back(name).c_str();
        tensor.data = data.data();
        tensor.bytes = data.size();
        tensor.shape[0] = columns;
        tensor.shape[1] = rows;
        tensor.shape[2] = slabs;
        tensor.shape[3] = 1;
        tensor.type = static_cast<uint32_t>(type);
        tensor.role = role;
        tensor.layer = layer;
        tensors.push_back(tensor);
    }

    engine_tensor &tensor(uint32_t role, int32_t layer) {
        for (engine_tensor &tensor : tensors)
            if (tensor.role == role && tensor.layer == layer) return tensor;
        return tensors.front();
    }

    void drop(uint32_t role, int32_t layer) {
        std::erase_if(tensors, [&](const engine_tensor &tensor) { return tensor.role == role && tensor.layer == layer; });
    }

private:
    Random random_{42};
    std::deque<std::string> names_;
    std::deque<std::vector<std::byte>> data_;
};

inline engine_model_description small_description() {
    engine_model_description d{};
    d.vocabulary = 101;
    d.width = 64;
    d.layers = 2;
    d.heads = 4;
    d.kv_heads = 2;
    d.head_size = d.value_size = 32;
    d.feed_forward = 96;
    d.context_length = 4096;
    d.gated = 1;
    d.rotary = ENGINE_ROTARY_HALVES;
    d.rotary_size = 32;
    d.rotary_base = 10000.0f;
    d.rotary_scale = d.rotary_scale_windowed = 1.0f;
    d.norm_epsilon = 1e-5f;
    return d;
}

inline void add_attention(RandomModel &model, int32_t layer, worker::TensorType type, bool biases) {
    using worker::TensorType;
    const engine_model_description &d = model.description;
    const std::string prefix = "blk." + std::to_string(layer) + ".";
    model.add(prefix + "attn_norm.weight", ENGINE_ATTENTION_NORM, layer, TensorType::F32, d.width);
    model.add(prefix + "attn_q.weight", ENGINE_QUERY, layer, type, d.width, d.heads * d.head_size);
    model.add(prefix + "attn_k.weight", ENGINE_KEY, layer, type, d.width, d.kv_heads * d.head_size);
    model.add(prefix + "attn_v.weight", ENGINE_VALUE, layer, type, d.width, d.kv_heads * d.value_size);
    model.add(prefix + "attn_output.weight", ENGINE_ATTENTION_OUTPUT, layer, type, d.heads * d.value_size, d.width);
    model.add(prefix + "ffn_norm.weight", ENGINE_FEED_FORWARD_NORM, layer, TensorType::F32, d.width);
    if (!biases) return;
    model.add(prefix + "attn_q.bias", ENGINE_QUERY_BIAS, layer, TensorType::F32, d.heads * d.head_size);
    model.add(prefix + "attn_output.bias", ENGINE_ATTENTION_OUTPUT_BIAS, layer, TensorType::F32, d.width);
    model.add(prefix + "attn_sinks.weight", ENGINE_ATTENTION_SINKS, layer, TensorType::F32, d.heads);
}

constexpr uint32_t wide = 1024; /* enough for prompt rows in the fastest arithmetic */

/* What the description asks for, of llama's kind: gated, no biases, no windows. */
inline void add_dense_tensors(RandomModel &model, worker::TensorType type) {
    using worker::TensorType;
    const engine_model_description &d = model.description;
    model.add("token_embd.weight", ENGINE_TOKEN_EMBEDDING, -1, type, d.width, d.vocabulary);
    model.add("output_norm.weight", ENGINE_OUTPUT_NORM, -1, TensorType::F32, d.width);
    for (int32_t layer = 0; layer < static_cast<int32_t>(d.layers); layer++) {
        const std::string prefix = "blk." + std::to_string(layer) + ".";
        add_attention(model, layer, type, false);
        model.add(prefix + "ffn_gate.weight", ENGINE_GATE, layer, type, d.width, d.feed_forward);
        model.add(prefix + "ffn_up.weight", ENGINE_UP, layer, type, d.width, d.feed_forward);
        model.add(prefix + "ffn_down.weight", ENGINE_DOWN, layer, type, d.feed_forward, d.width);
    }
}

inline RandomModel dense_model(worker::TensorType type, uint32_t width = 64) {
    RandomModel model;
    model.description = small_description();
    model.description.width = width;
    add_dense_tensors(model, type);
    return model;
}

/* gpt-oss's kind: experts, biases, sinks, every other layer windowed, YaRN. */
inline RandomModel expert_model(worker::TensorType type) {
    using worker::TensorType;
    RandomModel model;
    engine_model_description &d = model.description = small_description();
    d.activation = ENGINE_ACTIVATION_SWIGLU_CLAMPED;
    d.swiglu_alpha = 1.702f;
    d.swiglu_limit = 7.0f;
    d.experts = 5;
    d.experts_used = 2;
    d.experts_softmax_after = 1;
    d.window = 20;
    d.window_period = 2;
    d.original_context = 64;
    d.rotary_scale = d.rotary_scale_windowed = 0.125f;
    d.yarn_factor = 1.0f;
    d.yarn_attention = 1.2f;
    d.yarn_beta_fast = 32.0f;
    d.yarn_beta_slow = 1.0f;
    model.add("token_embd.weight", ENGINE_TOKEN_EMBEDDING, -1, type, d.width, d.vocabulary);
    model.add("output_norm.weight", ENGINE_OUTPUT_NORM, -1, TensorType::F32, d.width);
    model.add("output.weight", ENGINE_OUTPUT, -1, type, d.width, d.vocabulary);
    for (int32_t layer = 0; layer < 2; layer++) {
        const std::string prefix = "blk." + std::to_string(layer) + ".";
        add_attention(model, layer, type, true);
        model.add(prefix + "ffn_gate_inp.weight", ENGINE_ROUTER, layer, TensorType::F32, d.width, d.experts);
        model.add(prefix + "ffn_gate_inp.bias", ENGINE_ROUTER_BIAS, layer, TensorType::F32, d.experts);
        model.add(prefix + "ffn_gate_exps.weight", ENGINE_EXPERTS_GATE, layer, type, d.width, d.feed_forward, d.experts);
        model.add(prefix + "ffn_up_exps.weight", ENGINE_EXPERTS_UP, layer, type, d.width, d.feed_forward, d.experts);
        model.add(prefix + "ffn_up_exps.bias", ENGINE_EXPERTS_UP_BIAS, layer, TensorType::F32, d.feed_forward, d.experts);
        model.add(prefix + "ffn_down_exps.weight", ENGINE_EXPERTS_DOWN, layer, type, d.feed_forward, d.width, d.experts);
    }
    return model;
}

#endif
