#include "bound_model.h"

#include <cmath>
#include <map>
#include <string>
#include <utility>

#include "../formats/dequantise.h"
#include "cuda_error.h"
#include "forward.h"

namespace worker {

namespace {

/* ---- the description ---- */

void require(bool holds, const std::string &what) {
    if (!holds) throw CudaError::model_unsupported("the model's description: " + what);
}

void require_size(uint32_t value, const char *name) {
    constexpr uint32_t most = 1u << 24; /* so that products of two sizes fit 64 bits with room to spare */
    require(value >= 1 && value <= most, std::string(name) + " is " + std::to_string(value) + ", not within 1 to " + std::to_string(most));
}

void require_finite(float value, const char *name) { require(std::isfinite(value), std::string(name) + " is not a finite number"); }

void check_description(const engine_model_description &d) {
    require_size(d.vocabulary, "vocabulary");
    require_size(d.width, "width");
    require_size(d.layers, "the number of layers");
    require(d.layers <= 4096, "there are " + std::to_string(d.layers) + " layers");
    require_size(d.heads, "the number of heads");
    require_size(d.kv_heads, "the number of KV heads");
    require_size(d.head_size, "the head size");
    require_size(d.value_size, "the value size");
    require_size(d.feed_forward, "the feed-forward length");
    require(d.heads % d.kv_heads == 0,
            std::to_string(d.heads) + " heads cannot share " + std::to_string(d.kv_heads) + " KV heads evenly");
    require(uint64_t{d.heads} * d.head_size <= (1u << 24) && uint64_t{d.heads} * d.value_size <= (1u << 24), "the heads are too wide");
    require(d.norm <= ENGINE_NORM_LAYER, "there is no norm " + std::to_string(d.norm));
    require(d.activation <= ENGINE_ACTIVATION_SWIGLU_CLAMPED, "there is no activation " + std::to_string(d.activation));
    require(d.activation != ENGINE_ACTIVATION_SWIGLU_CLAMPED || d.gated == 1, "the clamped activation needs a gate");
    require(d.rotary <= ENGINE_ROTARY_HALVES, "there is no rotary kind " + std::to_string(d.rotary));
    if (d.rotary != ENGINE_ROTARY_NONE) {
        require(d.rotary_size >= 2 && d.rotary_size % 2 == 0 && d.rotary_size <= d.head_size,
                "the rotary size is " + std::to_string(d.rotary_size) + " in heads of " + std::to_string(d.head_size));
        require(d.rotary_base > 0, "the rotary base is not above zero");
    }
    if (d.experts != 0) {
        require(d.experts <= 4096 && d.experts_used >= 1 && d.experts_used <= d.experts,
                std::to_string(d.experts_used) + " of " + std::to_string(d.experts) + " experts are used");
        require(d.gated == 1, "experts without a gate");
    }
    require(d.norm_epsilon >= 0, "the norm epsilon is below zero");
    for (const auto &[value, name] : std::initializer_list<std::pair<float, const char *>>{
             {d.norm_epsilon, "the norm epsilon"},
             {d.embedding_scale, "the embedding scale"},
             {d.attention_scale, "the attention scale"},
             {d.attention_softcap, "the attention soft cap"},
             {d.final_softcap, "the final soft cap"},
             {d.rotary_base, "the rotary base"},
             {d.rotary_base_windowed, "the windowed rotary base"},
             {d.rotary_scale, "the rotary scale"},
             {d.rotary_scale_windowed, "the windowed rotary scale"},
             {d.yarn_factor, "the YaRN factor"},
             {d.yarn_attention, "the YaRN attention factor"},
             {d.yarn_beta_fast, "the YaRN fast beta"},
             {d.yarn_beta_slow, "the YaRN slow beta"},
             {d.residual_scale, "the residual scale"},
             {d.logit_scale, "the logit scale"},
             {d.swiglu_alpha, "the activation's alpha"},
             {d.swiglu_limit, "the activation's limit"},
         })
        require_finite(value, name);
}

/* ---- tensors ---- */

std::string shape_text(const uint64_t *shape) {
    unsigned dimensions = 4;
    while (dimensions > 1 && shape[dimensions - 1] == 1) dimensions--;
    std::string text;
    for (unsigned i = 0; i < dimensions; i++) text += (i == 0 ? "" : "x") + std::to_string(shape[i]);
    return text;
}

std::string role_text(uint32_t role, int32_t layer) {
    static constexpr std::pair<uint32_t, const char *> names[] = {
        {ENGINE_TOKEN_EMBEDDING, "token embedding"},
        {ENGINE_OUTPUT_NORM, "output norm"},
        {ENGINE_ATTENTION_NORM, "attention norm"},
        {ENGINE_QUERY, "query"},
        {ENGINE_KEY, "key"},
        {ENGINE_VALUE, "value"},
        {ENGINE_ATTENTION_OUTPUT, "attention output"},
        {ENGINE_FEED_FORWARD_NORM, "feed-forward norm"},
        {ENGINE_GATE, "feed-forward gate"},
        {ENGINE_UP, "feed-forward up"},
        {ENGINE_DOWN, "feed-forward down"},
        {ENGINE_ROUTER, "expert router"},
        {ENGINE_EXPERTS_GATE, "experts' gate"},
        {ENGINE_EXPERTS_UP, "experts' up"},
        {ENGINE_EXPERTS_DOWN, "experts' down"},
    };
    std::string text = "tensor role " + std::to_string(role);
    for (const auto &[known, name] : names)
        if (known == role) text = std::string(name) + " tensor";
    return layer < 0 ? text : "layer " + std::to_string(layer) + "'s " + text;
}

class Binder {
public:
    Binder(std::span<const engine_tensor> tensors, BoundModel &model, const Converter &converter) : model_(model), converter_(converter) {
        for (const engine_tensor &tensor : tensors) {
            const auto [place, added] = by_role_.try_emplace({tensor.role, tensor.layer}, &tensor);
            if (!added)
                throw CudaError::model_load_failed(std::string(tensor.name) + ": " + place->second->name + " has the same place in the model");
        }
    }

    bool has(uint32_t role, int32_t layer) const { return by_role_.contains({role, layer}); }

    Matrix matrix(uint32_t role, int32_t layer, uint64_t columns, uint64_t rows, uint64_t slabs = 1) const {
        const engine_tensor *tensor = find(role, layer);
        if (tensor == nullptr) throw CudaError::model_load_failed("the " + role_text(role, layer) + " is missing");
        check(*tensor, columns, rows, slabs);
        const auto type = static_cast<TensorType>(tensor->type);
        return {static_cast<const std::byte *>(tensor->data), type, columns, rows * slabs, row_bytes(type, columns)};
    }

    Matrix optional_matrix(uint32_t role, int32_t layer, uint64_t columns, uint64_t rows) const {
        return has(role, layer) ? matrix(role, layer, columns, rows) : Matrix{};
    }

    Vector optional_vector(uint32_t role, int32_t layer, uint64_t count, uint64_t slabs = 1) {
        const engine_tensor *tensor = find(role, layer);
        return tensor == nullptr ? nullptr : floats(*tensor, count, slabs);
    }

    Vector vector(uint32_t role, int32_t layer, uint64_t count) {
        const Vector bound = optional_vector(role, layer, count);
        if (bound == nullptr) throw CudaError::model_load_failed("the " + role_text(role, layer) + " is missing");
        return bound;
    }

    Affine affine(uint32_t role, uint32_t bias_role, int32_t layer, uint64_t columns, uint64_t rows, uint64_t slabs = 1) {
        return {matrix(role, layer, columns, rows, slabs), optional_vector(bias_role, layer, rows, slabs)};
    }

    /* As many rows as the file has. */
    Matrix table(uint32_t role, uint64_t columns) const {
        const engine_tensor *tensor = find(role, -1);
        return tensor == nullptr ? Matrix{} : matrix(role, -1, columns, tensor->shape[1]);
    }

private:
    const engine_tensor *find(uint32_t role, int32_t layer) const {
        const auto found = by_role_.find({role, layer});
        return found == by_role_.end() ? nullptr : found->second;
    }

    static void check(const engine_tensor &tensor, uint64_t columns, uint64_t rows, uint64_t slabs) {
        const std::string name = tensor.name;
        const TensorTypeTraits *traits = find_tensor_type(tensor.type);
        if (traits == nullptr)
            throw CudaError::model_unsupported(name + ": type " + std::to_string(tensor.type) + " is not among the supported " + supported_tensor_types());
        const uint64_t expected[4] = {columns, rows, slabs, 1};
        for (unsigned i = 0; i < 4; i++) {
            if (tensor.shape[i] == expected[i]) continue;
            throw CudaError::model_load_failed(name + ": expected shape " + shape_text(expected) + ", found " + shape_text(tensor.shape));
        }
        if (columns % traits->block_length != 0)
            throw CudaError::model_load_failed(name + ": rows of " + std::to_string(columns) + " are no multiple of " + traits->name + "'s block of " +
                                               std::to_string(traits->block_length));
        /* Sizes are at most 2^24 each, and experts 2^12, but for embedding tables whose bytes bound their rows. */
        const uint64_t row = row_bytes(traits->type, columns);
        if (tensor.bytes / row != rows * slabs || tensor.bytes % row != 0)
            throw CudaError::model_load_failed(name + ": expected " + std::to_string(rows * slabs) + " rows of " + std::to_string(row) + " bytes, found " +
                                               std::to_string(tensor.bytes) + " bytes");
    }

    Vector floats(const engine_tensor &tensor, uint64_t count, uint64_t slabs) {
        check(tensor, count, slabs, 1);
        const auto type = static_cast<TensorType>(tensor.type);
        if (type == TensorType::F32 && reinterpret_cast<uintptr_t>(tensor.data) % alignof(float) == 0) return static_cast<const float *>(tensor.data);
        if (converter_) return converter_(tensor, count * slabs);
        std::vector<float> &converted = model_.converted.emplace_back(count * slabs);
        dequantise(type, tensor.data, count * slabs, converted.data());
        return converted.data(); /* moves of the outer vector leave it in place */
    }

    BoundModel &model_;
    const Converter &converter_;
    std::map<std::pair<uint32_t, int32_t>, const engine_tensor *> by_role_;
};

void bind_attention(Binder &binder, const engine_model_description &d, int32_t l, Layer &layer) {
    const uint64_t queries = uint64_t{d.heads} * d.head_size, keys = uint64_t{d.kv_heads} * d.head_size, values = uint64_t{d.kv_heads} * d.value_size;
    layer.attention_norm = {binder.vector(ENGINE_ATTENTION_NORM, l, d.width), binder.optional_vector(ENGINE_ATTENTION_NORM_BIAS, l, d.width)};
    if (binder.has(ENGINE_QKV, l)) {
        const Affine fused = binder.affine(ENGINE_QKV, ENGINE_QKV_BIAS, l, d.width, queries + keys + values);
        layer.query = fused.slice(0, queries);
        layer.key = fused.slice(queries, keys);
        layer.value = fused.slice(queries + keys, values);
    } else {
        layer.query = binder.affine(ENGINE_QUERY, ENGINE_QUERY_BIAS, l, d.width, queries);
        layer.key = binder.affine(ENGINE_KEY, ENGINE_KEY_BIAS, l, d.width, keys);
        layer.value = binder.affine(ENGINE_VALUE, ENGINE_VALUE_BIAS, l, d.width, values);
    }
    layer.query_norm = binder.optional_vector(ENGINE_QUERY_NORM, l, d.head_size);
    layer.key_norm = binder.optional_vector(ENGINE_KEY_NORM, l, d.head_size);
    layer.attention_output = binder.affine(ENGINE_ATTENTION_OUTPUT, ENGINE_ATTENTION_OUTPUT_BIAS, l, uint64_t{d.heads} * d.value_size, d.width);
    layer.sinks = binder.optional_vector(ENGINE_ATTENTION_SINKS, l, d.heads);
    layer.post_attention_norm = {binder.optional_vector(ENGINE_POST_ATTENTION_NORM, l, d.width)};
    layer.windowed = d.window != 0 && (d.window_period == 1 || (d.window_period > 1 && static_cast<uint32_t>(l) % d.window_period < d.window_period - 1));
}

void bind_feed_forward(Binder &binder, const engine_model_description &d, int32_t l, Layer &layer) {
    layer.feed_forward_norm = {binder.vector(ENGINE_FEED_FORWARD_NORM, l, d.width), binder.optional_vector(ENGINE_FEED_FORWARD_NORM_BIAS, l, d.width)};
    layer.post_feed_forward_norm = {binder.optional_vector(ENGINE_POST_FEED_FORWARD_NORM, l, d.width)};
    if (d.experts != 0) {
        layer.router = binder.affine(ENGINE_ROUTER, ENGINE_ROUTER_BIAS, l, d.width, d.experts);
        layer.gate = binder.affine(ENGINE_EXPERTS_GATE, ENGINE_EXPERTS_GATE_BIAS, l, d.width, d.feed_forward, d.experts);
        layer.up = binder.affine(ENGINE_EXPERTS_UP, ENGINE_EXPERTS_UP_BIAS, l, d.width, d.feed_forward, d.experts);
        layer.down = binder.affine(ENGINE_EXPERTS_DOWN, ENGINE_EXPERTS_DOWN_BIAS, l, d.feed_forward, d.width, d.experts);
        return;
    }
    if (d.gated == 1 && binder.has(ENGINE_GATE_UP, l)) {
        const Matrix fused = binder.matrix(ENGINE_GATE_UP, l, d.width, 2 * uint64_t{d.feed_forward});
        layer.gate = {fused.slice(0, d.feed_forward)};
        layer.up = {fused.slice(d.feed_forward, d.feed_forward)};
    } else {
        if (d.gated == 1) layer.gate = binder.affine(ENGINE_GATE, ENGINE_GATE_BIAS, l, d.width, d.feed_forward);
        layer.up = binder.affine(ENGINE_UP, ENGINE_UP_BIAS, l, d.width, d.feed_forward);
    }
    layer.down = binder.affine(ENGINE_DOWN, ENGINE_DOWN_BIAS, l, d.feed_forward, d.width);
}

/* Long factors beyond the original context, short ones within, or the one set that holds for any. */
Vector bind_rotary_factors(Binder &binder, const engine_model_description &d) {
    const uint64_t pairs = d.rotary_size / 2;
    const Vector longer = binder.optional_vector(ENGINE_ROTARY_FACTORS_LONG, -1, pairs);
    const Vector shorter = binder.optional_vector(ENGINE_ROTARY_FACTORS_SHORT, -1, pairs);
    const Vector any = binder.optional_vector(ENGINE_ROTARY_FACTORS, -1, pairs);
    if (any != nullptr) return any;
    return d.original_context != 0 && d.context_length > d.original_context ? longer : shorter;
}

} // namespace

BoundModel bind_model(const engine_model_description &description, std::span<const engine_tensor> tensors, const Converter &converter) {
    const engine_model_description &d = description;
    check_description(d);
    BoundModel model;
    model.description = d;
    Binder binder(tensors, model, converter);
    model.token_embedding = binder.matrix(ENGINE_TOKEN_EMBEDDING, -1, d.width, d.vocabulary);
    model.position_embedding = binder.table(ENGINE_POSITION_EMBEDDING, d.width);
    model.output_norm = {binder.vector(ENGINE_OUTPUT_NORM, -1, d.width), binder.optional_vector(ENGINE_OUTPUT_NORM_BIAS, -1, d.width)};
    model.output.matrix = binder.optional_matrix(ENGINE_OUTPUT, -1, d.width, d.vocabulary);
    if (!model.output.matrix) model.output.matrix = model.token_embedding;
    model.output.bias = binder.optional_vector(ENGINE_OUTPUT_BIAS, -1, d.vocabulary);
    if (d.rotary != ENGINE_ROTARY_NONE) model.rotary_factors = bind_rotary_factors(binder, d);
    model.layers.resize(d.layers);
    for (uint32_t l = 0; l < d.layers; l++) {
        bind_attention(binder, d, static_cast<int32_t>(l), model.layers[l]);
        bind_feed_forward(binder, d, static_cast<int32_t>(l), model.layers[l]);
    }
    return model;
}

void check_model(const engine_model_description &description, std::span<const engine_tensor> tensors) {
    for (const engine_tensor &tensor : tensors)
        if (tensor.layer >= 0 && static_cast<uint32_t>(tensor.layer) >= description.layers)
            throw CudaError::model_load_failed(std::string(tensor.name) + ": is of layer " + std::to_string(tensor.layer) + ", the model has " +
                                               std::to_string(description.layers));
    bind_model(description, tensors);
}

} // namespace worker
