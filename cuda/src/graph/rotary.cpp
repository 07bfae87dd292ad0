#include "rotary.h"

#include <algorithm>
#include <cmath>

namespace worker {

namespace {

constexpr float pi = 3.14159265358979323846f;

float or_else(float value, float otherwise) noexcept { return value != 0.0f ? value : otherwise; }

/* The pair whose wave turns `turns` times within the original context. */
float pair_turning(float turns, const engine_model_description &d, float base) noexcept {
    return static_cast<float>(d.rotary_size) * std::log(static_cast<float>(d.original_context) / (turns * 2.0f * pi)) / (2.0f * std::log(base));
}

} // namespace

Rotary::Rotary(const engine_model_description &d, bool windowed, const float *factors)
    : pairs_(d.rotary == ENGINE_ROTARY_NONE ? 0 : d.rotary_size / 2), factors_(factors) {
    if (pairs_ == 0) return;
    const float base = windowed ? or_else(d.rotary_base_windowed, d.rotary_base) : d.rotary_base;
    const float scale = or_else(d.rotary_scale, 1.0f);
    step_ = std::pow(base, -2.0f / static_cast<float>(d.rotary_size));
    scale_ = windowed ? or_else(d.rotary_scale_windowed, scale) : scale;
    magnitude_ = or_else(d.yarn_attention, 1.0f);
    if (d.yarn_factor == 0.0f || d.original_context == 0) return;
    extrapolation_ = d.yarn_factor;
    ramp_low_ = std::max(0.0f, std::floor(pair_turning(d.yarn_beta_fast, d, base)));
    ramp_high_ = std::min(static_cast<float>(d.rotary_size - 1), std::ceil(pair_turning(d.yarn_beta_slow, d, base)));
}

void Rotary::angles(uint32_t position, float *output) const noexcept {
    /* By repeated multiplication, in single precision, as the reference engine does: part of what a model is. */
    float angle = static_cast<float>(position);
    for (uint32_t pair = 0; pair < pairs_; pair++) {
        const float mixed = mixed_angle(factors_ != nullptr ? angle / factors_[pair] : angle, pair);
        output[pair] = std::cos(mixed) * magnitude_;
        output[pairs_ + pair] = std::sin(mixed) * magnitude_;
        angle *= step_;
    }
}

/* YaRN: fast waves keep their frequency, slow ones are stretched, with a ramp between. */
float Rotary::mixed_angle(float angle, uint32_t pair) const noexcept {
    const float stretched = scale_ * angle;
    if (extrapolation_ == 0.0f) return stretched;
    const float ramp = (static_cast<float>(pair) - ramp_low_) / std::max(0.001f, ramp_high_ - ramp_low_);
    const float mix = (1.0f - std::min(1.0f, std::max(0.0f, ramp))) * extrapolation_;
    return stretched * (1.0f - mix) + angle * mix;
}

} // namespace worker
