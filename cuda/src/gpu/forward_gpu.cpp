#include "gpu/forward_gpu.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "../cpu/row_operations.h"
#include "cuda_error.h"

namespace worker::gpu {

namespace {

/* Rows run at once; as on the CPU, this bounds the scratch and changes no result. */
constexpr uint64_t rows_at_once = 256;
/* With more rows than these a layer takes long enough that the host waits for each, to hear of a wish to cancel. */
constexpr uint32_t rows_of_a_short_step = 16;

void stop_if_cancelled(const uint32_t *cancel) {
    if (cancel != nullptr && __atomic_load_n(cancel, __ATOMIC_ACQUIRE) != 0) throw CudaError::cancelled("the forward pass was asked to stop");
}

StoredRows stored(const Matrix &matrix) { return {matrix.type, matrix.data, matrix.row_bytes}; }

} // namespace

GpuForward::GpuForward(const engine_model_description &description, std::span<const engine_tensor> tensors, GpuDevice &device, VramOwner owner)
    : device_(device), owner_(owner), while_making_(std::make_unique<Activation>(device.ordinal())),
      model_(bind_model(description, tensors, [this](const engine_tensor &tensor, uint64_t count) { return convert(tensor, count); })),
      d_(model_.description), factors_(rotary_factors()), rotary_(d_, false, factors_.empty() ? nullptr : factors_.data()),
      windowed_rotary_(d_, true, factors_.empty() ? nullptr : factors_.data()),
      has_windows_(std::any_of(model_.layers.begin(), model_.layers.end(), [](const Layer &layer) { return layer.windowed; })),
      scratch_(device, owner, d_), inputs_(device, owner) {
    if (d_.activation == ENGINE_ACTIVATION_GELU_TANH) {
        std::vector<float> table(cpu::gelu_table_size);
        cpu::fill_gelu_table(table.data());
        gelu_table_ = DeviceMemory(device, table.size() * sizeof(float), {VramPurpose::IntermediateBuffers, "GELU table", owner});
        gelu_table_.copy_from_host(table.data(), gelu_table_.size());
    }
    while_making_.reset();
}

uint64_t GpuForward::workspace_bytes() const noexcept { return scratch_.bytes() + inputs_.bytes() + gelu_table_.size(); }

/* By the kernel that expands embeddings: the vector is its only row. */
Vector GpuForward::convert(const engine_tensor &tensor, uint64_t count) {
    const auto type = static_cast<TensorType>(tensor.type);
    DeviceMemory values(device_, count * sizeof(float), {VramPurpose::ModelWeights, std::string(tensor.name) + " as floats", owner_});
    const BatchRow first{0, 0, 0};
    DeviceMemory row(device_, sizeof first, {VramPurpose::IntermediateBuffers, "a row's number", owner_});
    row.copy_from_host(&first, sizeof first);
    const StoredRows rows{type, static_cast<const std::byte *>(tensor.data), row_bytes(type, count)};
    embed({rows, {}, 1.0f, static_cast<uint32_t>(count), row.get_as<BatchRow>(), 1, values.get_as<float>()}, stream_.get());
    wait("expanding a vector");
    return converted_.emplace_back(std::move(values)).get_as<float>();
}

std::vector<float> GpuForward::rotary_factors() const {
    std::vector<float> factors(model_.rotary_factors != nullptr ? d_.rotary_size / 2 : 0);
    if (!factors.empty()) device_.copy_to_host(factors.data(), model_.rotary_factors, factors.size() * sizeof(float));
    return factors;
}

void GpuForward::run(const engine_batch &batch, KvCache &cache) {
    stop_if_cancelled(batch.cancel);
    check_positions(batch);
    const Activation active = device_.activate();
    float *outputs = batch.outputs;
    const engine_sampling *samplings = batch.samplings;
    engine_sampled *sampled = batch.sampled;
    for (uint64_t first = 0; first < batch.row_count; first += rows_at_once) {
        Part part;
        part.rows = {batch.rows + first, std::min(rows_at_once, batch.row_count - first)};
        part.cache = &cache;
        for (uint32_t row = 0; row < part.count(); ++row) {
            switch (part.rows[row].output) {
            case ENGINE_OUTPUT_LOGITS: part.logits.push_back({row, outputs}), outputs += d_.vocabulary; break;
            case ENGINE_OUTPUT_HIDDEN: part.hidden.push_back({row, outputs}), outputs += d_.width; break;
            case ENGINE_OUTPUT_TOKEN: part.tokens.push_back(row); break;
            default: break;
            }
        }
        part.samplings = {samplings, part.tokens.size()};
        part.sampled = {sampled, part.tokens.size()};
        if (!part.tokens.empty()) samplings += part.tokens.size(), sampled += part.tokens.size();
        reserve(part);
        upload(batch, part);
        try {
            run_part(part, batch.cancel);
        } catch (...) {
            /* What was started still reads the scratch: it ends before anything else begins. Its own failure adds nothing to
             * the one that is on its way. */
            static_cast<void>(runtime().synchronise_stream(stream_.get()));
            static_cast<void>(runtime().take_last_error());
            throw;
        }
    }
}

void GpuForward::check_positions(const engine_batch &batch) const {
    if (!model_.position_embedding) return;
    for (uint64_t row = 0; row < batch.row_count; ++row) {
        if (batch.rows[row].position < model_.position_embedding.rows) continue;
        throw CudaError::invalid_parameter("position " + std::to_string(batch.rows[row].position) + " is beyond the model's " +
                                           std::to_string(model_.position_embedding.rows) + " position embeddings");
    }
}

void GpuForward::run_part(const Part &part, const uint32_t *cancel) {
    const float scale = d_.embedding_norm_scale != 0 ? d_.embedding_scale : 1.0f;
    embed({stored(model_.token_embedding), stored(model_.position_embedding), scale, d_.width, part.batch_rows, part.count(), scratch_.hidden},
          stream_.get());
    for (uint32_t layer = 0; layer < d_.layers; ++layer) {
        if (part.count() > rows_of_a_short_step) wait("running a layer");
        stop_if_cancelled(cancel);
        run_layer(part, layer);
    }
    write_outputs(part);
    wait("running a batch");
}

void GpuForward::run_layer(const Part &part, uint32_t number) {
    const Layer &layer = model_.layers[number];
    const uint32_t rows = part.count();
    norm(layer.attention_norm, scratch_.hidden, nullptr, scratch_.normed, rows);
    linear(layer.query, scratch_.normed, scratch_.query, rows);
    linear(layer.key, scratch_.normed, scratch_.key, rows);
    linear(layer.value, scratch_.normed, scratch_.value, rows);
    attend(part, number);
    linear(layer.attention_output, scratch_.attended, scratch_.projected, rows);
    add_projected(layer.post_attention_norm, rows);
    norm(layer.feed_forward_norm, scratch_.hidden, nullptr, scratch_.normed, rows);
    if (d_.experts != 0)
        experts(layer, rows);
    else
        feed_forward(layer, rows);
    add_projected(layer.post_feed_forward_norm, rows);
}

/* Queries and keys get their norm and their turn; keys and values go to the cache; then every row looks back. */
void GpuForward::attend(const Part &part, uint32_t number) {
    const Layer &layer = model_.layers[number];
    const Rotary &rotary = layer.windowed ? windowed_rotary_ : rotary_;
    const float *angles = layer.windowed ? part.windowed_angles : part.angles;
    const KvLayout &layout = part.cache->layout();
    const uint32_t rows = part.count();
    if (layer.query_norm != nullptr) norm_heads(layer.query_norm, scratch_.query, uint64_t{rows} * d_.heads);
    if (layer.key_norm != nullptr) norm_heads(layer.key_norm, scratch_.key, uint64_t{rows} * d_.kv_heads);
    turn({d_.rotary, scratch_.query, rows, d_.heads, d_.head_size, rotary.pairs(), angles}, stream_.get());
    turn({d_.rotary, scratch_.key, rows, d_.kv_heads, d_.head_size, rotary.pairs(), angles}, stream_.get());
    const CacheLayer cache{part.cache->address(number, 0, 0, KvPart::Key), static_cast<uint32_t>(part.cache->kind()), d_.kv_heads, d_.head_size,
                           d_.value_size, layout.page_bytes, layout.head_bytes, layout.key_bytes, layout.key_row_bytes, layout.value_row_bytes};
    store_kv({cache, scratch_.key, scratch_.value, part.batch_rows, part.pages, rows}, stream_.get());
    const float scale = d_.attention_scale != 0.0f ? d_.attention_scale : 1.0f / std::sqrt(static_cast<float>(d_.head_size));
    gpu::attend({cache, scratch_.query, scratch_.attended, part.batch_rows, part.pages, rows, d_.heads, layer.windowed ? d_.window : 0, scale,
                 d_.attention_softcap, layer.sinks, part.positions, scratch_.attention, part.attention_slots},
                stream_.get());
}

void GpuForward::feed_forward(const Layer &layer, uint32_t rows) {
    const bool gated = d_.gated == 1;
    if (gated) linear(layer.gate, scratch_.normed, scratch_.gate, rows);
    linear(layer.up, scratch_.normed, gated ? scratch_.up : scratch_.gate, rows);
    activate(uint64_t{rows} * d_.feed_forward);
    linear(layer.down, scratch_.gate, scratch_.projected, rows);
}

void GpuForward::experts(const Layer &layer, uint32_t rows) {
    const uint32_t slots = rows * d_.experts_used;
    linear(layer.router, scratch_.normed, scratch_.router_scores, rows);
    choose_experts({scratch_.router_scores, d_.experts, d_.experts_used, rows, scratch_.expert_chosen, scratch_.expert_weights}, stream_.get());
    const auto of_experts = [&](const Affine &weights, uint64_t columns, uint32_t outputs, const float *inputs, float *output, uint32_t per_input) {
        multiply({stored(weights.matrix), columns, outputs, weights.bias, inputs, columns, output, outputs, slots, scratch_.expert_chosen, per_input},
                 stream_.get());
    };
    of_experts(layer.gate, d_.width, d_.feed_forward, scratch_.normed, scratch_.gate, d_.experts_used);
    of_experts(layer.up, d_.width, d_.feed_forward, scratch_.normed, scratch_.up, d_.experts_used);
    activate(uint64_t{slots} * d_.feed_forward);
    of_experts(layer.down, d_.feed_forward, d_.width, scratch_.gate, scratch_.expert_output, 1);
    combine_experts({scratch_.expert_output, scratch_.expert_weights, d_.experts_used, d_.width, rows, scratch_.projected}, stream_.get());
}

void GpuForward::linear(const Affine &weights, const float *input, float *output, uint32_t rows) {
    const auto outputs = static_cast<uint32_t>(weights.matrix.rows);
    const uint64_t columns = weights.matrix.columns;
    multiply({stored(weights.matrix), columns, outputs, weights.bias, input, columns, output, outputs, rows}, stream_.get());
}

void GpuForward::norm(const Norm &norm, const float *input, const uint32_t *chosen, float *output, uint32_t rows) {
    normalise({d_.norm, input, chosen, norm.weight, norm.bias, d_.norm_epsilon, d_.width, rows, d_.width, d_.width, output}, stream_.get());
}

void GpuForward::norm_heads(Vector weight, float *heads, uint64_t count) {
    normalise({ENGINE_NORM_RMS, heads, nullptr, weight, nullptr, d_.norm_epsilon, d_.head_size, count, d_.head_size, d_.head_size, heads},
              stream_.get());
}

void GpuForward::activate(uint64_t values) {
    gpu::activate({d_.activation, scratch_.gate, d_.gated == 1 ? scratch_.up : nullptr, scratch_.gate, values, d_.swiglu_alpha, d_.swiglu_limit,
                   gelu_table_.get_as<float>()},
                  stream_.get());
}

void GpuForward::add_projected(const Norm &post_norm, uint32_t rows) {
    if (post_norm.weight != nullptr) norm(post_norm, scratch_.projected, nullptr, scratch_.projected, rows);
    add_rows(scratch_.hidden, scratch_.projected, d_.residual_scale, uint64_t{rows} * d_.width, stream_.get());
}

std::unique_ptr<Forward> GpuDevice::make_forward(const engine_model_description &description, std::span<const engine_tensor> tensors, VramOwner owner) {
    return std::make_unique<GpuForward>(description, tensors, *this, owner);
}

} // namespace worker::gpu
