#include "forward_cpu.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <utility>

#include "cuda_error.h"
#include "row_operations.h"

namespace worker::cpu {

namespace {

/* Rows run at once: enough to make the expansion of weights cheap beside the multiplications, few enough to keep the
 * workspace to tens of megabytes. Rows depend on their predecessors only through the cache, so this is no rounding matter. */
constexpr uint64_t rows_at_once = 256;

/* Narrower models are fast with all bits as well. */
constexpr uint32_t narrow_width = 768;

} // namespace

CpuForward::CpuForward(const engine_model_description &description, std::span<const engine_tensor> tensors, CpuDevice &device, VramOwner owner)
    : kernels_(cpu_kernels()), model_(bind_model(description, tensors)), d_(model_.description), parallel_(device.pool()),
      products_(kernels_, parallel_), attention_(kernels_, parallel_, d_), rotary_(d_, false, model_.rotary_factors),
      windowed_rotary_(d_, true, model_.rotary_factors), workspace_(device, owner, d_) {
    if (d_.activation != ENGINE_ACTIVATION_GELU_TANH) return;
    gelu_table_ = DeviceMemory(device, gelu_table_size * sizeof(float), {VramPurpose::IntermediateBuffers, "GELU table", owner});
    fill_gelu_table(gelu_table_.get_as<float>());
}

void CpuForward::run(const engine_batch &batch, KvCache &cache) {
    parallel_.watch(batch.cancel);
    parallel_.stop_if_cancelled();
    if (model_.position_embedding)
        for (uint64_t i = 0; i < batch.row_count; i++)
            if (batch.rows[i].position >= model_.position_embedding.rows)
                throw CudaError::invalid_parameter("position " + std::to_string(batch.rows[i].position) + " is beyond the model's " +
                                                   std::to_string(model_.position_embedding.rows) + " position embeddings");
    float *outputs = batch.outputs;
    for (uint64_t first = 0; first < batch.row_count; first += rows_at_once)
        outputs = run_rows(batch, first, std::min(rows_at_once, batch.row_count - first), cache, outputs);
}

/* Where experts are chosen by what the products give, 8 bits choose others too often. Elsewhere the rounding to 8 bits gives
 * 0.9 to 1.1 of the error tolerated for types with blocks of 32, whatever the width; the attention's products make half of it,
 * though they have but a sixth of the weights or less: with 16 bits there it is at most 0.78. Rounding to bf16 for BF16 weights
 * is alike: 0.6 to 1.3 of the tolerated error everywhere, at most 0.75 with all bits for the attention's products. */
CpuForward::ModelArithmetic CpuForward::arithmetic_for(KvKind kind) const noexcept {
    if (kind == KvKind::F32) return {Arithmetic::Exact, Arithmetic::Exact};
    if (d_.experts != 0 || d_.width < narrow_width) return {Arithmetic::Careful, Arithmetic::Careful};
    return {Arithmetic::Fine, Arithmetic::Fast};
}

bool CpuForward::roles_agree(uint32_t kind) const noexcept {
    const ModelArithmetic arithmetic = arithmetic_for(static_cast<KvKind>(kind));
    const auto agree = [&](Arithmetic which, std::initializer_list<const Affine *> products) {
        return std::ranges::all_of(products, [&](const Affine *product) {
            return product->matrix.data == nullptr || kernels_.roles_agree(product->matrix.type, which);
        });
    };
    return agree(arithmetic.rest, {&model_.output}) && std::ranges::all_of(model_.layers, [&](const Layer &layer) {
        return agree(arithmetic.attention, {&layer.query, &layer.key, &layer.value, &layer.attention_output}) &&
               agree(arithmetic.rest, {&layer.gate, &layer.up, &layer.down, &layer.router});
    });
}

WorkspaceNeeds CpuForward::needs() const {
    size_t scratch = attention_.scratch_floats(), prepared = 0, rest = 0;
    /* Query, key and value may be of three types; the rest meet one or two. */
    for (const auto &[columns, types] : {std::pair{uint64_t{d_.width}, 3u}, {uint64_t{d_.feed_forward}, 1u}, {uint64_t{d_.heads} * d_.value_size, 1u}}) {
        scratch = std::max(scratch, products_.scratch_floats(columns));
        prepared = std::max(prepared, products_.prepared_bytes(columns, types));
        rest = std::max(rest, products_.prepared_rest_bytes(columns, types));
    }
    return {parallel_.threads(), scratch, 2 * size_t{rotary_.pairs()}, prepared, rest, attention_.partial_floats()};
}

float *CpuForward::run_rows(const engine_batch &batch, uint64_t first, uint64_t count, KvCache &cache, float *outputs) {
    const std::span<const engine_row> rows(batch.rows + first, count);
    attention_.begin(rows, batch.page_tables, cache);
    workspace_.reserve(count, needs());
    arithmetic_ = arithmetic_for(cache.kind());
    products_.use(workspace_.prepared, workspace_.thread_scratch, workspace_.thread_stride);
    order_rows(rows, order_);
    embed(rows);
    for (uint32_t layer = 0; layer < d_.layers; layer++) run_layer(layer, rows);
    return write_outputs(rows, outputs);
}

void CpuForward::order_rows(std::span<const engine_row> rows, RowOrder &order) const {
    order.rows.clear();
    for (uint32_t i = 0; i < rows.size(); i++)
        if (rows[i].role == ENGINE_ROLE_PROMPT) order.rows.push_back(i);
    order.prompt_rows = order.rows.size();
    for (uint32_t i = 0; i < rows.size(); i++)
        if (rows[i].role != ENGINE_ROLE_PROMPT) order.rows.push_back(i);
}

void CpuForward::embed(std::span<const engine_row> rows) {
    const size_t angle_floats = 2 * size_t{rotary_.pairs()};
    parallel_.run_rows(rows.size(), uint64_t{d_.width} * 8, [&](unsigned, uint64_t row) {
        float *hidden = workspace_.hidden + row * d_.width;
        const Matrix &tokens = model_.token_embedding;
        kernels_.expand_row(tokens.type, tokens.data + rows[row].token * tokens.row_bytes, d_.width, hidden);
        if (d_.embedding_norm_scale != 0)
            for (uint32_t i = 0; i < d_.width; i++) hidden[i] *= d_.embedding_scale;
        if (model_.position_embedding) {
            const Matrix &positions = model_.position_embedding;
            float *position = workspace_.normed + row * d_.width;
            kernels_.expand_row(positions.type, positions.data + rows[row].position * positions.row_bytes, d_.width, position);
            add_row(hidden, position, 1.0f, d_.width);
        }
        rotary_.angles(rows[row].position, workspace_.angles + row * angle_floats);
        windowed_rotary_.angles(rows[row].position, workspace_.windowed_angles + row * angle_floats);
    });
}

void CpuForward::run_layer(uint32_t number, std::span<const engine_row> rows) {
    const Layer &layer = model_.layers[number];
    Workspace &w = workspace_;
    const size_t width = d_.width, attended_width = size_t{d_.heads} * d_.value_size;
    parallel_.stop_if_cancelled();

    parallel_.run_rows(rows.size(), uint64_t{d_.width} * 8, [&](unsigned, uint64_t row) { normalise(layer.attention_norm, w.hidden + row * width, w.normed + row * width); });
    linear(order_, w.normed, width, width, arithmetic_.attention,
           {{&layer.query, w.query, size_t{d_.heads} * d_.head_size},
            {&layer.key, w.key, size_t{d_.kv_heads} * d_.head_size},
            {&layer.value, w.value, size_t{d_.kv_heads} * d_.value_size}});
    parallel_.run_rows(rows.size(), uint64_t{d_.width} * 8, [&](unsigned, uint64_t row) { turn_and_store(number, layer, row); });
    attention_.attend(number, layer, w.query, w.attended, w);
    linear(order_, w.attended, attended_width, attended_width, arithmetic_.attention, {{&layer.attention_output, w.projected, width}});
    parallel_.run_rows(rows.size(), uint64_t{d_.width} * 8, [&](unsigned, uint64_t row) {
        add_projected(layer.post_attention_norm, row);
        normalise(layer.feed_forward_norm, w.hidden + row * width, w.normed + row * width);
    });
    if (d_.experts != 0)
        experts(layer, rows);
    else
        feed_forward(layer, rows.size());
    parallel_.run_rows(rows.size(), uint64_t{d_.width} * 8, [&](unsigned, uint64_t row) { add_projected(layer.post_feed_forward_norm, row); });
}

/* Queries and keys get their norm and their turn; keys and values go to the cache. */
void CpuForward::turn_and_store(uint32_t number, const Layer &layer, size_t row) {
    const Rotary &rotary = layer.windowed ? windowed_rotary_ : rotary_;
    const float *angles = (layer.windowed ? workspace_.windowed_angles : workspace_.angles) + row * 2 * rotary.pairs();
    const auto turn = [&](float *heads, uint32_t count, Vector norm) {
        for (uint32_t head = 0; head < count; head++, heads += d_.head_size) {
            if (norm != nullptr) kernels_.rms_norm(heads, norm, d_.head_size, d_.norm_epsilon, heads);
            if (rotary.pairs() != 0) kernels_.turn(d_.rotary, heads, rotary.pairs(), angles);
        }
    };
    float *keys = workspace_.key + row * d_.kv_heads * d_.head_size;
    turn(workspace_.query + row * d_.heads * d_.head_size, d_.heads, layer.query_norm);
    turn(keys, d_.kv_heads, layer.key_norm);
    attention_.store(number, row, keys, workspace_.value + row * d_.kv_heads * d_.value_size);
}

void CpuForward::add_projected(const Norm &post_norm, size_t row) {
    float *projected = workspace_.projected + row * d_.width;
    if (post_norm.weight != nullptr) normalise(post_norm, projected, projected);
    add_row(workspace_.hidden + row * d_.width, projected, d_.residual_scale, d_.width);
}

void CpuForward::feed_forward(const Layer &layer, size_t rows) {
    Workspace &w = workspace_;
    const size_t middle = d_.feed_forward;
    if (d_.gated == 1)
        linear(order_, w.normed, d_.width, d_.width, arithmetic_.rest, {{&layer.gate, w.gate, middle}, {&layer.up, w.up, middle}});
    else
        linear(order_, w.normed, d_.width, d_.width, arithmetic_.rest, {{&layer.up, w.gate, middle}});
    parallel_.run_rows(rows, uint64_t{middle} * 16, [&](unsigned, uint64_t row) { activate(w.gate + row * middle, d_.gated == 1 ? w.up + row * middle : nullptr); });
    linear(order_, w.gate, middle, middle, arithmetic_.rest, {{&layer.down, w.projected, d_.width}});
}

/* The asked rows are normed side by side, then multiplied into the caller's memory. */
float *CpuForward::write_outputs(std::span<const engine_row> rows, float *outputs) {
    Workspace &w = workspace_;
    RowOrder &order = output_order_;
    order.rows.clear();
    order.inputs.clear();
    order.outputs.clear();
    order.jobs.clear();
    for (const bool prompt : {true, false}) {
        float *place = outputs;
        for (size_t row = 0; row < rows.size(); row++) {
            const bool logits = rows[row].output == ENGINE_OUTPUT_LOGITS;
            if (logits && (rows[row].role == ENGINE_ROLE_PROMPT) == prompt) {
                normalise(model_.output_norm, w.hidden + row * d_.width, w.normed + row * d_.width);
                order.inputs.push_back(w.normed + row * d_.width);
                order.outputs.push_back(place);
            } else if (rows[row].output == ENGINE_OUTPUT_HIDDEN && prompt) {
                normalise(model_.output_norm, w.hidden + row * d_.width, place);
            }
            place += logits ? d_.vocabulary : rows[row].output == ENGINE_OUTPUT_HIDDEN ? d_.width : 0;
        }
        if (prompt)
            order.prompt_rows = order.inputs.size();
        else
            outputs = place;
    }
    const std::span inputs(order.inputs);
    const std::span places(order.outputs);
    order.jobs.push_back({model_.output, Role::Prompt, inputs.first(order.prompt_rows), places.first(order.prompt_rows)});
    order.jobs.push_back({model_.output, Role::Decode, inputs.subspan(order.prompt_rows), places.subspan(order.prompt_rows)});
    products_.run(order.jobs, d_.width, arithmetic_.rest);
    const bool scaled = d_.logit_scale != 0.0f && d_.logit_scale != 1.0f;
    if (scaled || d_.final_softcap != 0.0f) {
        constexpr uint64_t part = 8192;
        const uint64_t parts = (d_.vocabulary + part - 1) / part;
        parallel_.run(places.size() * parts, uint64_t{places.size()} * d_.vocabulary * 16, [&](unsigned, uint64_t number) {
            const uint64_t start = number % parts * part, count = std::min<uint64_t>(part, d_.vocabulary - start);
            float *logits = places[number / parts] + start;
            if (scaled)
                for (uint64_t i = 0; i < count; i++) logits[i] *= d_.logit_scale;
            if (d_.final_softcap != 0.0f) soft_cap(logits, d_.final_softcap, count);
        });
    }
    return outputs;
}

void CpuForward::linear(RowOrder &order, const float *input, size_t input_stride, uint64_t columns, Arithmetic arithmetic,
                        std::initializer_list<Target> targets) {
    const size_t count = order.rows.size();
    order.inputs.clear();
    order.outputs.clear();
    order.jobs.clear();
    for (const uint32_t row : order.rows) order.inputs.push_back(input + row * input_stride);
    for (const Target &target : targets)
        for (const uint32_t row : order.rows) order.outputs.push_back(target.output + row * target.stride);
    const std::span<const float *const> inputs(order.inputs);
    std::span<float *const> outputs(order.outputs);
    for (const Target &target : targets) {
        const std::span<float *const> own = outputs.first(count);
        outputs = outputs.subspan(count);
        order.jobs.push_back({*target.weights, Role::Prompt, inputs.first(order.prompt_rows), own.first(order.prompt_rows)});
        order.jobs.push_back({*target.weights, Role::Decode, inputs.subspan(order.prompt_rows), own.subspan(order.prompt_rows)});
    }
    products_.run(order.jobs, columns, arithmetic);
}

void CpuForward::normalise(const Norm &norm, const float *input, float *output) const {
    if (d_.norm == ENGINE_NORM_LAYER)
        kernels_.layer_norm(input, norm.weight, norm.bias, d_.width, d_.norm_epsilon, output);
    else
        kernels_.rms_norm(input, norm.weight, d_.width, d_.norm_epsilon, output);
}

void CpuForward::activate(float *gate, const float *up) const {
    static constexpr Activation activations[] = {Activation::Silu, Activation::Gelu, Activation::SwigluClamped};
    kernels_.activate({activations[d_.activation], gate, up, gate, d_.feed_forward, d_.swiglu_alpha, d_.swiglu_limit, gelu_table_.get_as<float>()});
}

} // namespace worker::cpu

namespace worker {

std::unique_ptr<Forward> make_cpu_forward(const engine_model_description &description, std::span<const engine_tensor> tensors, CpuDevice &device,
                                          VramOwner owner) {
    check_model(description, tensors);
    return std::make_unique<cpu::CpuForward>(description, tensors, device, owner);
}

} // namespace worker
