/*
 * A model's tensors bound to their places in the layers, checked against the description. Every device's forward pass
 * starts from it.
 */
#ifndef WORKER_BOUND_MODEL_H
#define WORKER_BOUND_MODEL_H

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "../formats/tensor_type.h"
#include "engine.h"

namespace worker {

/* Stored rows; a product has one output per row. */
struct Matrix {
    const std::byte *data = nullptr;
    TensorType type = TensorType::F32;
    uint64_t columns = 0;
    uint64_t rows = 0;
    size_t row_bytes = 0;

    explicit operator bool() const noexcept { return data != nullptr; }
    Matrix slice(uint64_t first, uint64_t count) const noexcept {
        return {data + first * row_bytes, type, columns, count, row_bytes};
    }
};

/* Null where the model has none. */
using Vector = const float *;

struct Affine {
    Matrix matrix;
    Vector bias = nullptr;

    Affine slice(uint64_t first, uint64_t count) const noexcept {
        return {matrix.slice(first, count), bias != nullptr ? bias + first : nullptr};
    }
};

struct Norm {
    Vector weight = nullptr;
    Vector bias = nullptr;
};

struct Layer {
    Norm attention_norm;
    Affine query, key, value; /* fused tensors are bound as slices */
    Vector query_norm = nullptr, key_norm = nullptr;
    Affine attention_output;
    Vector sinks = nullptr;
    Norm post_attention_norm;
    Norm feed_forward_norm;
    Affine gate, up, down; /* of one expert after the other, where there are experts */
    Affine router;
    Norm post_feed_forward_norm;
    bool windowed = false;
};

struct BoundModel {
    engine_model_description description;
    Matrix token_embedding;
    Matrix position_embedding;
    Norm output_norm;
    Affine output;
    Vector rotary_factors = nullptr; /* those for this context */
    std::vector<Layer> layers;
    /* Vectors that the file has in half precision, or unaligned, where the tensors lie in the host's memory. */
    std::vector<std::vector<float>> converted;
};

/* Gives a tensor of `count` values, which is not of aligned floats, as floats that live as long as the bound model. */
using Converter = std::function<Vector(const engine_tensor &tensor, uint64_t count)>;

/* Checks as check_model() of forward.h says, and binds. Reads the tensors only to convert vectors: without a converter, on
 * the host. */
BoundModel bind_model(const engine_model_description &description, std::span<const engine_tensor> tensors, const Converter &converter = {});

} // namespace worker

#endif
