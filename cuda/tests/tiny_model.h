/*
 * A llama model of one layer, made by hand, small enough to be loaded hundreds of times.
 */
#ifndef WORKER_TEST_TINY_MODEL_H
#define WORKER_TEST_TINY_MODEL_H

#include "engine.h"

#include <cstdint>
#include <string>
#include <vector>

struct TinyModel {
    engine_model_description description{};
    std::vector<float> values;
    std::vector<std::string> names;
    std::vector<engine_tensor> tensors;
    engine_load load{};

    TinyModel() {
        description.vocabulary = 48;
        description.width = 32;
        description.layers = 1;
        description.heads = 2;
        description.kv_heads = 1;
        description.head_size = description.value_size = 16;
        description.feed_forward = 64;
        description.context_length = 256;
        description.gated = 1;
        description.rotary = ENGINE_ROTARY_ADJACENT;
        description.rotary_size = 16;
        description.norm_epsilon = 1e-5f;
        description.embedding_scale = 1;
        description.rotary_base = 10000;
        description.rotary_scale = description.rotary_scale_windowed = 1;
        description.yarn_attention = 1;

        add("token_embd.weight", ENGINE_TOKEN_EMBEDDING, -1, 32, 48);
        add("output_norm.weight", ENGINE_OUTPUT_NORM, -1, 32, 1);
        add("output.weight", ENGINE_OUTPUT, -1, 32, 48);
        add("blk.0.attn_norm.weight", ENGINE_ATTENTION_NORM, 0, 32, 1);
        add("blk.0.attn_q.weight", ENGINE_QUERY, 0, 32, 32);
        add("blk.0.attn_k.weight", ENGINE_KEY, 0, 32, 16);
        add("blk.0.attn_v.weight", ENGINE_VALUE, 0, 32, 16);
        add("blk.0.attn_output.weight", ENGINE_ATTENTION_OUTPUT, 0, 32, 32);
        add("blk.0.ffn_norm.weight", ENGINE_FEED_FORWARD_NORM, 0, 32, 1);
        add("blk.0.ffn_gate.weight", ENGINE_GATE, 0, 32, 64);
        add("blk.0.ffn_up.weight", ENGINE_UP, 0, 32, 64);
        add("blk.0.ffn_down.weight", ENGINE_DOWN, 0, 64, 32);

        uint64_t floats = 0;
        for (const engine_tensor &tensor : tensors) floats += tensor.bytes / sizeof(float);
        uint32_t state = 12345;
        for (uint64_t index = 0; index < floats; ++index) {
            state = state * 1664525 + 1013904223;
            values.push_back(static_cast<float>(state >> 8) / static_cast<float>(1 << 24) * 0.4f - 0.2f);
        }
        uint64_t at = 0;
        for (size_t index = 0; index < tensors.size(); ++index) {
            tensors[index].name = names[index].c_str();
            tensors[index].data = values.data() + at;
            at += tensors[index].bytes / sizeof(float);
        }
        load.description = &description;
        load.tensors = tensors.data();
        load.tensor_count = tensors.size();
        load.residency = ENGINE_RESIDENCY_VERIFY;
        load.mode = ENGINE_LOAD_MAP;
    }
    TinyModel(const TinyModel &) = delete;
    TinyModel &operator=(const TinyModel &) = delete;

    uint64_t bytes() const { return values.size() * sizeof(float); }

private:
    void add(const char *name, uint32_t role, int32_t layer, uint64_t columns, uint64_t rows) {
        names.emplace_back(name);
        engine_tensor tensor{};
        tensor.bytes = columns * rows * sizeof(float);
        tensor.shape[0] = columns;
        tensor.shape[1] = rows;
        tensor.shape[2] = tensor.shape[3] = 1;
        tensor.role = role;
        tensor.layer = layer;
        tensors.push_back(tensor);
    }
};

#endif
