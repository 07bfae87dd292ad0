/*
 * Rotary position embedding: cosines and sines of a row's position. Every device's kernels turn heads by them.
 */
#ifndef WORKER_ROTARY_H
#define WORKER_ROTARY_H

#include <cstdint>

#include "engine.h"

namespace worker {

/* The angles of one kind of layer, full or windowed. */
class Rotary {
public:
    Rotary() = default;
    /* factors: frequency divisors or null; kept. */
    Rotary(const engine_model_description &description, bool windowed, const float *factors);

    uint32_t pairs() const noexcept { return pairs_; }
    /* Writes pairs() cosines, then pairs() sines. */
    void angles(uint32_t position, float *output) const noexcept;

private:
    float mixed_angle(float angle, uint32_t pair) const noexcept;

    uint32_t pairs_ = 0;
    float step_ = 1.0f;  /* from one pair's frequency to the next's */
    float scale_ = 1.0f;
    float extrapolation_ = 0.0f; /* YaRN's mix; 0: none */
    float ramp_low_ = 0.0f;
    float ramp_high_ = 0.0f;
    float magnitude_ = 1.0f;
    const float *factors_ = nullptr;
};

} // namespace worker

#endif
