/*
 * A loaded model: its weights in the device's reach, their health, and its forward pass.
 */
#ifndef WORKER_MODEL_H
#define WORKER_MODEL_H

#include "device_memory.h"
#include "engine.h"
#include "forward.h"
#include "health.h"
#include "kv_cache.h"

#include <memory>
#include <mutex>
#include <span>
#include <vector>

namespace worker {

class Model {
public:
    /* Loads; the arguments were checked by the C entry. Throws whatever is wrong, and leaves nothing behind. */
    Model(Device &device, const engine_load &load);
    ~Model();
    Model(const Model &) = delete;
    Model &operator=(const Model &) = delete;

    Device &device() const noexcept { return device_; }
    const engine_model_description &description() const noexcept { return description_; }
    VramOwner owner() const noexcept { return owner_; }
    const VramLedger &memory() const noexcept { return *ledger_; }

    engine_residency check_residency() const { return health_->check(); }
    engine_residency repair_residency() { return health_->repair(); }

    bool samples() const noexcept { return forward_->samples(); }
    bool roles_agree(uint32_t kind) const noexcept { return forward_->roles_agree(kind); }
    /* Checks the batch, then runs it. Calls from several threads take turns. */
    void run(KvCache &cache, const engine_batch &batch);
    /* Takes its turn as a batch does: a batch may be writing the page. */
    void copy_page(KvCache &cache, uint32_t from, uint32_t to);

private:
    std::vector<engine_tensor> take_over(std::span<const engine_tensor> tensors);
    void copy_in(std::span<const engine_tensor> from, std::span<const engine_tensor> to, LoadProgress &progress);

    Device &device_;
    engine_model_description description_;
    VramOwner owner_;
    std::shared_ptr<const VramLedger> ledger_; /* of all that is the owner's */
    DeviceMemory block_;           /* the weights, unless they are used where they lie */
    bool recorded_in_place_ = false;
    std::unique_ptr<Health> health_;
    std::unique_ptr<Forward> forward_;
    std::mutex turn_;
};

/* Throws invalid_parameter unless every row is one the model can run with this cache: tokens, sequences, positions, page
 * numbers, roles, outputs and their room; `samples`: whether rows may ask for tokens. */
void check_batch(const engine_model_description &description, const KvCache &cache, const engine_batch &batch, bool samples);

} // namespace worker

#endif
