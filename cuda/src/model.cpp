#include "model.h"

#include "cuda_error.h"

#include <algorithm>
#include <string>
#include <vector>

namespace worker {

namespace {

constexpr uint64_t tensor_alignment = 256;
constexpr uint64_t copy_chunk = uint64_t{16} << 20;

uint64_t total_bytes(std::span<const engine_tensor> tensors) {
    uint64_t total = 0;
    for (const engine_tensor &tensor : tensors) total += tensor.bytes;
    return total;
}

std::vector<WeightRange> ranges_of(std::span<const engine_tensor> tensors) {
    std::vector<WeightRange> ranges;
    ranges.reserve(tensors.size());
    for (const engine_tensor &tensor : tensors) ranges.push_back({tensor.name, tensor.data, tensor.bytes});
    return ranges;
}

} // namespace

Model::Model(Device &device, const engine_load &load)
    : device_(device), description_(*load.description), owner_(device.new_owner()), ledger_(device.tracker().ledger(owner_)) {
    const std::span<const engine_tensor> tensors(load.tensors, load.tensor_count);
    /* Before gigabytes are moved: can this model run at all? */
    check_model(description_, tensors);
    LoadProgress progress(load.progress, load.progress_context, total_bytes(tensors));

    /* Only the CPU reaches the caller's memory; any other device takes the weights over. */
    const bool in_place = load.mode == ENGINE_LOAD_MAP && device.kind() == DeviceKind::Cpu;
    std::vector<engine_tensor> placed(tensors.begin(), tensors.end());
    if (!in_place) placed = take_over(tensors);
    const std::span<const char> backing(static_cast<const char *>(load.backing), in_place ? load.backing_bytes : 0);
    health_ = std::make_unique<Health>(device, ranges_of(placed), backing, load.residency, owner_);
    if (in_place) {
        health_->bring_in(progress);
        device.tracker().record_allocation(this, total_bytes(tensors),
                                           {VramPurpose::ModelWeights, "weights in the file's memory map", owner_});
        recorded_in_place_ = true;
    } else {
        copy_in(tensors, placed, progress);
    }
    try {
        forward_ = device.make_forward(description_, placed, owner_); /* first: it may add weights in another form */
        /* That weights on a GPU are in its own memory is no matter of policy. */
        if (load.residency != ENGINE_RESIDENCY_OFF || device.kind() == DeviceKind::Gpu) {
            engine_residency state = health_->check();
            if (state.resident == 0) state = health_->repair();
            if (state.resident == 0) {
                throw CudaError::vram_residency_failed(
                    std::to_string(state.violating_bytes) + " of " + std::to_string(state.checked_bytes) +
                    " bytes of weights are not in place right after loading, the first of them in " + state.violating +
                    (device.kind() == DeviceKind::Gpu ? ", which is not plain memory of this GPU" : "; is the memory too small for the model?"));
            }
        }
    } catch (...) {
        if (recorded_in_place_) device_.tracker().record_deallocation(this);
        throw;
    }
}

Model::~Model() {
    if (recorded_in_place_) device_.tracker().record_deallocation(this);
}

void Model::run(KvCache &cache, const engine_batch &batch) {
    check_batch(description_, cache, batch, samples());
    if (batch.row_count == 0) return;
    const std::lock_guard turn(turn_);
    forward_->run(batch, cache);
}

void Model::copy_page(KvCache &cache, uint32_t from, uint32_t to) {
    const std::lock_guard turn(turn_);
    cache.copy_page(from, to);
}

std::vector<engine_tensor> Model::take_over(std::span<const engine_tensor> tensors) {
    const auto place_after = [](uint64_t offset, uint64_t bytes) {
        return (offset + bytes + tensor_alignment - 1) & ~(tensor_alignment - 1);
    };
    uint64_t needed = 0;
    for (const engine_tensor &tensor : tensors) needed = place_after(needed, tensor.bytes);
    block_ = DeviceMemory(device_, needed, {VramPurpose::ModelWeights, "model weights", owner_});

    std::vector<engine_tensor> placed(tensors.begin(), tensors.end());
    uint64_t offset = 0;
    for (engine_tensor &tensor : placed) {
        tensor.data = block_.get_as<char>() + offset;
        offset = place_after(offset, tensor.bytes);
    }
    return placed;
}

void Model::copy_in(std::span<const engine_tensor> from, std::span<const engine_tensor> to, LoadProgress &progress) {
    progress.advance(0);
    for (size_t index = 0; index < from.size(); ++index) {
        const char *source = static_cast<const char *>(from[index].data);
        const size_t offset = static_cast<size_t>(static_cast<const char *>(to[index].data) - block_.get_as<char>());
        for (uint64_t done = 0; done < from[index].bytes; done += copy_chunk) {
            const uint64_t bytes = std::min(copy_chunk, from[index].bytes - done);
            block_.copy_from_host(source + done, bytes, offset + done);
            progress.advance(bytes);
        }
    }
}

} // namespace worker
