/*
 * The forward pass on the CPU.
 */
#ifndef WORKER_FORWARD_CPU_H
#define WORKER_FORWARD_CPU_H

#include <span>
#include <vector>

#include "attention.h"
#include "device.h"
#include "forward.h"
#include "../graph/bound_model.h"
#include "forward_parallel.h"
#include "forward_product.h"
#include "forward_workspace.h"
#include "kernels.h"
#include "../graph/rotary.h"

namespace worker::cpu {

class CpuForward final : public Forward {
public:
    CpuForward(const engine_model_description &description, std::span<const engine_tensor> tensors, CpuDevice &device, VramOwner owner);

    void run(const engine_batch &batch, KvCache &cache) override;
    bool roles_agree(uint32_t kind) const noexcept override;
    uint64_t workspace_bytes() const noexcept override { return workspace_.bytes() + gelu_table_.size(); }

private:
    /* Rows of a batch by role, prompt rows first, with room for the addresses that products take. */
    struct RowOrder {
        std::vector<uint32_t> rows;
        size_t prompt_rows = 0;
        std::vector<const float *> inputs;
        std::vector<float *> outputs;
        std::vector<ProductJob> jobs;
    };

    struct Target {
        const Affine *weights;
        float *output;
        size_t stride;
    };

    /* Of the products around the attention, and of the others. */
    struct ModelArithmetic {
        Arithmetic attention, rest;
    };

    ModelArithmetic arithmetic_for(KvKind kind) const noexcept;
    WorkspaceNeeds needs() const;
    /* Rows [first, first + count) of the batch; returns where the next rows' outputs go. */
    float *run_rows(const engine_batch &batch, uint64_t first, uint64_t count, KvCache &cache, float *outputs);
    void order_rows(std::span<const engine_row> rows, RowOrder &order) const;
    void embed(std::span<const engine_row> rows);
    void run_layer(uint32_t number, std::span<const engine_row> rows);
    void turn_and_store(uint32_t number, const Layer &layer, size_t row);
    void add_projected(const Norm &post_norm, size_t row);
    void feed_forward(const Layer &layer, size_t rows);
    void experts(const Layer &layer, std::span<const engine_row> rows);
    void run_experts(const Layer &layer, std::span<const engine_row> rows);
    float *write_outputs(std::span<const engine_row> rows, float *outputs);

    /* All rows of the order times each target's weights; input rows are `input_stride` apart. */
    void linear(RowOrder &order, const float *input, size_t input_stride, uint64_t columns, Arithmetic arithmetic,
                std::initializer_list<Target> targets);
    void normalise(const Norm &norm, const float *input, float *output) const;
    void activate(float *gate, const float *up) const;

    const KernelTable &kernels_;
    const BoundModel model_;
    const engine_model_description &d_;
    Parallel parallel_;
    Products products_;
    Attention attention_;
    Rotary rotary_;
    Rotary windowed_rotary_;
    Workspace workspace_;
    DeviceMemory gelu_table_;
    ModelArithmetic arithmetic_{};
    RowOrder order_;
    RowOrder output_order_;
    std::vector<uint32_t> expert_slots_; /* slots by expert, then role, then row */
};

} // namespace worker::cpu

#endif
