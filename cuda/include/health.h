/*
 * Whether a model's weights are where they were put, and keeping them there.
 */
#ifndef WORKER_HEALTH_H
#define WORKER_HEALTH_H

#include "device.h"
#include "engine.h"

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace worker {

/* One tensor's bytes in the device's memory. */
struct WeightRange {
    std::string name;
    const void *data;
    uint64_t bytes;
};

/* Tells the host how far loading is, and carries its wish to cancel. */
class LoadProgress {
public:
    LoadProgress(engine_progress callback, void *context, uint64_t total) noexcept
        : callback_(callback), context_(context), total_(total) {}

    /* `bytes` more are done. Throws cancelled when the host wishes so. */
    void advance(uint64_t bytes);

private:
    engine_progress callback_;
    void *context_;
    uint64_t done_ = 0;
    uint64_t total_;
};

/* One model's. The policy ENGINE_RESIDENCY_LOCKED holds its locks from construction to destruction. */
class Health {
public:
    /* `backing` is what the weights lie in, and is locked whole; where it is empty, each weight is locked.
     * Throws vram_residency_failed when that cannot be. On a GPU all that the owner has there is checked. */
    Health(Device &device, std::vector<WeightRange> weights, std::span<const char> backing, uint32_t policy, VramOwner owner = 0);
    ~Health();
    Health(const Health &) = delete;
    Health &operator=(const Health &) = delete;

    /* Brings every weight in, with progress. */
    void bring_in(LoadProgress &progress);
    /* Counts; says of the first allocation that is not wholly in place which it is. */
    engine_residency check() const;
    /* Brings back what is missing, then checks. */
    engine_residency repair();

private:
    struct Span {
        const void *data;
        uint64_t bytes;
    };

    engine_residency check_weights() const;
    engine_residency check_allocations() const;
    void unlock_all() noexcept;

    Device &device_;
    std::vector<WeightRange> weights_;
    std::span<const char> backing_; /* what holds all of them; empty: each lies by itself */
    std::vector<Span> locked_;
    uint32_t policy_;
    VramOwner owner_;
};

} // namespace worker

#endif
