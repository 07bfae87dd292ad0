/*
 * The choice of a token, as src/inference/sampling makes it on the host, step for step and with the same result: what could
 * depend on the order of adding is added in whole numbers (masses: 2^-38ths of the likeliest token's weight).
 *
 * A block has a row. A token that a step takes out gets the logit minus infinity, so the row itself is the set of what is left.
 * Every pass gives a thread the same tokens: only what goes from thread to thread needs a barrier.
 */
#include "sampling.h"

#include "device_code.h"

namespace worker::gpu {

namespace {

constexpr unsigned block_threads = 512;
constexpr uint32_t no_token = 0xffffffffu;
constexpr float most_excess = 40.0f; /* beyond it nothing has a mass */

using Mass = unsigned long long;

struct Minimum {
    template <typename Number> __device__ Number operator()(Number a, Number b) const { return a < b ? a : b; }
};

__device__ __forceinline__ Mass mass_of_block(Mass value) { return join_block(value, Sum{}); }
__device__ __forceinline__ uint32_t minimum_of_block(uint32_t value) { return join_block(value, Minimum{}); }

/* ---- numbers, as sampling/exponential.rs and sampling/rng.rs have them ---- */

__device__ __forceinline__ float weight_of(float x) {
    const float round = 12582912.0f;
    const float clamped = x > -87.0f ? x : -87.0f;
    const float shifted = clamped * 0x1.715476p+0f + round;
    const float whole = shifted - round;
    const float rest = clamped - whole * 0.6933594f + whole * 2.1219444e-4f;
    float series = 1.9875691e-4f;
    series = series * rest + 1.3981999e-3f;
    series = series * rest + 8.333452e-3f;
    series = series * rest + 4.1665796e-2f;
    series = series * rest + 1.6666665e-1f;
    series = series * rest + 0.5f;
    const float fraction = series * rest * rest + rest + 1.0f;
    const float scaled = __uint_as_float(__float_as_uint(fraction) + (__float_as_uint(shifted) << 23));
    return x > -87.0f ? scaled : 0.0f;
}

__device__ __forceinline__ Mass mass_of_weight(float weight) { return static_cast<Mass>(rintf(weight * 0x1p+38f)); }

/* Of e to the x, for x <= 0. */
__device__ __forceinline__ Mass mass_of(float x) { return mass_of_weight(weight_of(x)); }

/* 53 bits by Philox4x32-10, times total, over 2^53. */
__device__ __forceinline__ Mass random_below(uint64_t seed, uint64_t index, Mass total) {
    uint32_t counter[4] = {static_cast<uint32_t>(index), static_cast<uint32_t>(index >> 32), 0, 0};
    uint32_t key[2] = {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)};
    for (unsigned round = 0; round < 10; round++) {
        const uint64_t left = uint64_t{0xd2511f53u} * counter[0], right = uint64_t{0xcd9e8d57u} * counter[2];
        const uint32_t next[4] = {static_cast<uint32_t>(right >> 32) ^ counter[1] ^ key[0], static_cast<uint32_t>(right),
                                  static_cast<uint32_t>(left >> 32) ^ counter[3] ^ key[1], static_cast<uint32_t>(left)};
        for (unsigned i = 0; i < 4; i++) counter[i] = next[i];
        key[0] += 0x9e3779b9u;
        key[1] += 0xbb67ae85u;
    }
    const Mass bits = (static_cast<Mass>(counter[0]) << 32 | counter[1]) >> 11;
    return __umul64hi(bits, total) << 11 | (bits * total) >> 53;
}

/* ---- a row ---- */

struct Row {
    float *logits;
    uint32_t vocabulary;
};

/* Calls visit(token, logit) for the calling thread's tokens that are not taken out. */
template <typename Visit> __device__ __forceinline__ void each(const Row &row, Visit visit) {
    for (uint32_t token = threadIdx.x; token < row.vocabulary; token += block_threads) {
        const float logit = row.logits[token];
        if (logit != -INFINITY) visit(token, logit);
    }
}

__device__ __forceinline__ float peak_of(const Row &row) {
    float peak = -INFINITY;
    each(row, [&](uint32_t, float logit) { peak = logit > peak ? logit : peak; });
    return maximum_of_block(peak);
}

/* Bias, constraint, penalties. */
__device__ void adjust(const Row &row, const engine_sampling &own) {
    for (uint64_t entry = threadIdx.x; entry < own.bias_count; entry += block_threads) {
        const uint32_t token = own.biases[entry].token;
        if (entry != 0 && own.biases[entry - 1].token == token) continue; /* whoever has the first adds them all */
        float logit = row.logits[token];
        for (uint64_t same = entry; same < own.bias_count && own.biases[same].token == token; same++) logit += own.biases[same].bias;
        row.logits[token] = logit;
    }
    __syncthreads();
    for (uint32_t token = threadIdx.x; own.allowed != nullptr && token < row.vocabulary; token += block_threads)
        if ((own.allowed[token / 32] >> (token % 32) & 1u) == 0) row.logits[token] = -INFINITY;
    __syncthreads();
    for (uint64_t entry = threadIdx.x; entry < own.window_count; entry += block_threads) {
        float &logit = row.logits[own.window[entry].token];
        const float repeated = logit > 0.0f ? logit / own.repetition_penalty : logit * own.repetition_penalty;
        logit = repeated - (static_cast<float>(own.window[entry].count) * own.frequency_penalty + own.presence_penalty);
    }
    __syncthreads();
}

/* ---- places in an order ---- */

/* A token's place in the order of rising keys, lower tokens first among equal ones. */
struct Place {
    uint64_t key;
    uint32_t token;
    bool all; /* beyond every token */

    __device__ bool includes(uint64_t other_key, uint32_t other_token) const {
        return all || other_key < key || (other_key == key && other_token <= token);
    }
};

/* The key that puts the likeliest token first: the logit's bits, turned so that they rise as it falls. */
struct Likelihood {
    static constexpr int digits = 4;
    __device__ uint64_t operator()(float logit) const {
        const uint32_t bits = __float_as_uint(logit);
        return bits >> 31 != 0 ? bits : ~(bits | 0x80000000u);
    }
};

/* The key that puts the token of the most typical surprise first. */
struct Typicality {
    static constexpr int digits = 8;
    double peak;
    double expected;
    __device__ uint64_t operator()(float logit) const {
        return static_cast<uint64_t>(__double_as_longlong(fabs((peak - static_cast<double>(logit)) - expected)));
    }
};

/* No key: the tokens' own order. */
struct TokenOrder {
    static constexpr int digits = 0;
    __device__ uint64_t operator()(float) const { return 0; }
};

/* The first place in the order of `key_of` at which the masses up to it reach the target: digit by digit, in bins. */
template <typename KeyOf, typename MassOf> __device__ Place place_reaching(const Row &row, const KeyOf &key_of, const MassOf &mass, Mass target) {
    BLOCK_SHARED(Mass, bins, 256);
    BLOCK_SHARED(Mass, found, 2); /* digit, mass before it */
    constexpr int token_digits = 3;
    Place place{0, 0, false};
    for (int digit = 0; digit < KeyOf::digits + token_digits; digit++) {
        const bool in_key = digit + 1 <= KeyOf::digits; /* there may be none */
        const auto shift = static_cast<unsigned>(8 * (in_key ? KeyOf::digits - 1 - digit : KeyOf::digits + token_digits - 1 - digit));
        if (!in_key && row.vocabulary - 1 < 1u << shift && shift != 0) continue; /* this digit is 0 everywhere */
        for (unsigned bin = threadIdx.x; bin < 256; bin += block_threads) bins[bin] = 0;
        __syncthreads();
        each(row, [&](uint32_t token, float logit) {
            const uint64_t key = key_of(logit);
            /* The digits before this one, apart, as a shift by all bits is none. */
            const bool same = in_key ? (key >> shift) >> 8 == place.key : key == place.key && (token >> shift) >> 8 == place.token;
            if (!same) return;
            const Mass own = mass(logit);
            if (own != 0) atomicAdd(&bins[((in_key ? key : uint64_t{token}) >> shift) & 0xff], own);
        });
        __syncthreads();
        if (threadIdx.x == 0) {
            Mass before = 0;
            unsigned bin = 0;
            while (bin < 256 && before + bins[bin] < target) before += bins[bin++];
            found[0] = bin;
            found[1] = before;
        }
        __syncthreads();
        if (found[0] == 256) return {0, 0, true};
        target -= found[1];
        if (in_key)
            place.key = place.key << 8 | found[0];
        else
            place.token = place.token << 8 | static_cast<uint32_t>(found[0]);
    }
    return place;
}

template <typename KeyOf> __device__ __forceinline__ void keep_up_to(const Row &row, const Place &place, const KeyOf &key_of) {
    each(row, [&](uint32_t token, float logit) {
        if (!place.includes(key_of(logit), token)) row.logits[token] = -INFINITY;
    });
}

/* ---- filters, as sampling/filters.rs has them ---- */

__device__ void keep_top_k(const Row &row, uint32_t count) {
    const Likelihood order;
    keep_up_to(row, place_reaching(row, order, [](float) { return Mass{1}; }, count), order);
}

__device__ void keep_typical(const Row &row, float share) {
    const float peak = peak_of(row);
    Mass total = 0, weighted = 0;
    each(row, [&](uint32_t, float logit) {
        const float weight = weight_of(logit - peak), excess = peak - logit;
        total += mass_of_weight(weight);
        weighted += mass_of_weight(weight * (excess < most_excess ? excess : most_excess));
    });
    total = mass_of_block(total);
    weighted = mass_of_block(weighted);
    const Typicality order{peak, static_cast<double>(weighted) / static_cast<double>(total)};
    const Mass reached = static_cast<Mass>(floor(static_cast<double>(share) * static_cast<double>(total))) + 1;
    keep_up_to(row, place_reaching(row, order, [peak](float logit) { return mass_of(logit - peak); }, reached < total ? reached : total), order);
}

__device__ void keep_top_p(const Row &row, float share) {
    const float peak = peak_of(row);
    const auto mass = [peak](float logit) { return mass_of(logit - peak); };
    Mass total = 0;
    each(row, [&](uint32_t, float logit) { total += mass(logit); });
    total = mass_of_block(total);
    const Mass reached = static_cast<Mass>(ceil(static_cast<double>(share) * static_cast<double>(total)));
    const Likelihood order;
    keep_up_to(row, place_reaching(row, order, mass, reached < 1 ? 1 : reached < total ? reached : total), order);
}

__device__ void keep_min_p(const Row &row, float logarithm) {
    const float peak = peak_of(row);
    const float lowered = peak + logarithm, threshold = lowered < peak ? lowered : peak;
    each(row, [&](uint32_t token, float logit) {
        if (logit < threshold) row.logits[token] = -INFINITY;
    });
}

/* From what is left of tokens of which the likeliest had the logit `first_peak`. */
__device__ uint32_t draw(const Row &row, const engine_sampling &own, float first_peak) {
    const float inverse = 1.0f / own.temperature, scale = inverse < 3.402823466e+38f ? inverse : 3.402823466e+38f;
    const float last_peak = peak_of(row), peak = (first_peak - last_peak) * scale <= 6.9f ? first_peak : last_peak;
    const auto mass = [peak, scale](float logit) { return mass_of((logit - peak) * scale); };
    Mass total = 0;
    each(row, [&](uint32_t, float logit) { total += mass(logit); });
    total = mass_of_block(total);
    return place_reaching(row, TokenOrder{}, mass, random_below(own.seed, own.index, total) + 1).token;
}

/* The likeliest token, of equals the lowest. */
__device__ uint32_t likeliest(const Row &row, float peak) {
    uint32_t lowest = no_token;
    each(row, [&](uint32_t token, float logit) {
        if (logit == peak && token < lowest) lowest = token;
    });
    return minimum_of_block(lowest);
}

__device__ engine_sampled choose(const Row &row, const engine_sampling &own) {
    uint32_t bad = no_token;
    each(row, [&](uint32_t token, float logit) {
        if (!(logit < INFINITY) && token < bad) bad = token;
    });
    bad = minimum_of_block(bad);
    if (bad != no_token) return {ENGINE_SAMPLED_NOT_FINITE, bad, row.logits[bad], 0};
    const float peak = peak_of(row);
    if (peak == -INFINITY) return {ENGINE_SAMPLED_NOTHING, 0, 0.0f, 0};
    uint32_t token;
    if (own.temperature == 0.0f) {
        token = likeliest(row, peak);
    } else {
        if (own.top_k > 0) keep_top_k(row, own.top_k);
        if (own.typical_p < 1.0f) keep_typical(row, own.typical_p);
        if (own.top_p < 1.0f) keep_top_p(row, own.top_p);
        if (own.min_p_logarithm > -INFINITY) keep_min_p(row, own.min_p_logarithm);
        token = draw(row, own, peak);
    }
    return {ENGINE_SAMPLED, token, 0.0f, 0};
}

__global__ void __launch_bounds__(block_threads) sample_kernel(SampleTask task) {
    const engine_sampling own = task.samplings[blockIdx.x];
    const Row row{task.logits + static_cast<size_t>(blockIdx.x) * task.vocabulary, task.vocabulary};
    adjust(row, own);
    const engine_sampled result = choose(row, own);
    if (threadIdx.x == 0) task.results[blockIdx.x] = result;
}

} // namespace

void sample(const SampleTask &task, Stream stream) { launch("sample", sample_kernel, {task.count}, {block_threads}, stream, task); }

} // namespace worker::gpu
