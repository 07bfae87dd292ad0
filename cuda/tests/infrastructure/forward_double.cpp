/*
 * A forward pass that computes nothing of interest: it stands in for the kernels, which are slow to build with
 * sanitizers, and does with memory, threads and the cache what a real one does.
 */
#include "cuda_error.h"
#include "device_memory.h"
#include "forward.h"
#include "kv_cache.h"

#include <string>

namespace worker {

namespace {

class ForwardDouble final : public Forward {
public:
    ForwardDouble(const engine_model_description &description, CpuDevice &device, VramOwner owner)
        : description_(description), device_(device), owner_(owner) {}

    void run(const engine_batch &batch, KvCache &cache) override {
        if (!scratch_.is_allocated()) {
            scratch_ = DeviceMemory(device_, 4096, {VramPurpose::IntermediateBuffers, "scratch", owner_});
        }
        float *output = batch.outputs;
        for (uint64_t index = 0; index < batch.row_count; ++index) {
            if (batch.cancel != nullptr && __atomic_load_n(batch.cancel, __ATOMIC_ACQUIRE) != 0) throw CudaError::cancelled("by the host");
            const engine_row &row = batch.rows[index];
            const uint32_t page = batch.page_tables[row.sequence][row.position / ENGINE_PAGE_TOKENS];
            *reinterpret_cast<uint32_t *>(cache.address(0, page, 0, KvPart::Key)) = row.token;
            const uint64_t floats = row.output == ENGINE_OUTPUT_LOGITS   ? description_.vocabulary
                                    : row.output == ENGINE_OUTPUT_HIDDEN ? description_.width
                                                                         : 0;
            device_.pool().run_ranges(floats, 4, [&](uint64_t begin, uint64_t end) {
                for (uint64_t at = begin; at < end; ++at) output[at] = static_cast<float>(row.token * 1000 + at);
            });
            output += floats;
        }
    }

    bool roles_agree(uint32_t) const noexcept override { return true; }
    uint64_t workspace_bytes() const noexcept override { return scratch_.size(); }

private:
    engine_model_description description_;
    CpuDevice &device_;
    VramOwner owner_;
    DeviceMemory scratch_;
};

} // namespace

void check_model(const engine_model_description &description, std::span<const engine_tensor> tensors) {
    if (description.width == 0) throw CudaError::model_load_failed("width is 0");
    if (tensors.empty() || tensors[0].role != ENGINE_TOKEN_EMBEDDING) throw CudaError::model_load_failed("token_embd.weight is missing");
}

std::unique_ptr<Forward> make_cpu_forward(const engine_model_description &description, std::span<const engine_tensor> tensors,
                                          CpuDevice &device, VramOwner owner) {
    check_model(description, tensors);
    return std::make_unique<ForwardDouble>(description, device, owner);
}

const char *cpu_kernel_path() { return "double"; }

} // namespace worker
