/*
 * The forward pass on a GPU, and the choice of tokens there.
 *
 * It walks the same bound model as the CPU's. Nothing comes back to the host but what the batch asks for, and nothing is
 * computed there but the angles of the rows' positions.
 */
#ifndef WORKER_GPU_FORWARD_GPU_H
#define WORKER_GPU_FORWARD_GPU_H

#include <memory>
#include <span>
#include <vector>

#include "../graph/bound_model.h"
#include "../graph/rotary.h"
#include "forward.h"
#include "gpu/device_gpu.h"
#include "gpu/forward_memory.h"
#include "gpu/kernels/kernels.h"
#include "gpu/stream.h"
#include "kv_cache.h"

namespace worker::gpu {

class GpuForward final : public Forward {
public:
    /* The tensors lie in the device's memory. */
    GpuForward(const engine_model_description &description, std::span<const engine_tensor> tensors, GpuDevice &device, VramOwner owner);

    /* A failed batch leaves device and model as they were, but for errors that are the device's end: each later call then
     * fails as this one did. */
    void run(const engine_batch &batch, KvCache &cache) override;
    bool samples() const noexcept override { return true; }
    bool roles_agree(uint32_t) const noexcept override { return true; } /* it knows none */
    uint64_t workspace_bytes() const noexcept override;

private:
    /* What a row gives, and where on the host it goes. */
    struct Wanted {
        uint32_t row; /* of the part */
        float *place;
    };

    /* The rows of a batch that run together. */
    struct Part {
        std::span<const engine_row> rows;
        KvCache *cache = nullptr;
        std::vector<Wanted> hidden;
        std::vector<Wanted> logits;
        std::vector<uint32_t> tokens;                  /* rows that ask for one */
        std::span<const engine_sampling> samplings;    /* theirs */
        std::span<engine_sampled> sampled;             /* likewise */
        uint32_t positions = 0; /* more than the highest */
        uint32_t attention_slots = 0;
        uint32_t logit_rows = 0; /* worked on at once */
        /* On the device: */
        const BatchRow *batch_rows = nullptr;
        const uint32_t *pages = nullptr;
        const float *angles = nullptr;
        const float *windowed_angles = nullptr;
        const uint32_t *chosen_rows = nullptr; /* of hidden, then logits, then tokens */
        const engine_sampling *device_samplings = nullptr;

        uint32_t count() const noexcept { return static_cast<uint32_t>(rows.size()); }
    };

    Vector convert(const engine_tensor &tensor, uint64_t count);
    std::vector<float> rotary_factors() const;

    void check_positions(const engine_batch &batch) const;
    void reserve(Part &part);
    void upload(const engine_batch &batch, Part &part);
    size_t add_angles(const Part &part, const Rotary &rotary);
    /* Biases sorted, addresses the device's. */
    size_t add_samplings(const Part &part);
    void place_samplings(const Part &part, size_t place);

    void run_part(const Part &part, const uint32_t *cancel);
    void run_layer(const Part &part, uint32_t number);
    void attend(const Part &part, uint32_t number);
    void feed_forward(const Layer &layer, uint32_t rows);
    void experts(const Layer &layer, uint32_t rows);
    void write_outputs(const Part &part);
    void write_hidden(const Part &part);
    void write_logits(const Part &part);
    void write_tokens(const Part &part);
    /* Logits of `count` of the chosen rows, from `first` on, into scratch. */
    void compute_logits(const Part &part, uint32_t first, uint32_t count);
    /* Rows of `floats` floats, one after the other on the device, to their places. */
    void bring(const float *from, std::span<const Wanted> wanted, size_t floats);

    void linear(const Affine &weights, const float *input, float *output, uint32_t rows);
    void norm(const Norm &norm, const float *input, const uint32_t *chosen, float *output, uint32_t rows);
    void norm_heads(Vector weight, float *heads, uint64_t count);
    void activate(uint64_t values);
    void add_projected(const Norm &post_norm, uint32_t rows);
    void wait(const char *what) const { device_.synchronise(stream_.get(), what); }

    GpuDevice &device_;
    VramOwner owner_;
    std::unique_ptr<Activation> while_making_; /* until the constructor ends */
    OwnedStream stream_;
    std::vector<DeviceMemory> converted_; /* vectors that the file does not have as floats */
    BoundModel model_;
    const engine_model_description &d_;
    std::vector<float> factors_; /* the host's copy, for the angles */
    Rotary rotary_;
    Rotary windowed_rotary_;
    bool has_windows_;
    DeviceMemory gelu_table_;
    Scratch scratch_;
    Inputs inputs_;
};

} // namespace worker::gpu

#endif
