/* What a part of a batch needs on the device before it runs: room, and what the host knows of it. */
#include <algorithm>
#include <vector>

#include "gpu/forward_gpu.h"

namespace worker::gpu {

namespace {

/* Bounds of what may grow with context and vocabulary; at least one of each is always worked on. */
constexpr uint64_t attention_budget = (uint64_t{64} << 20) / sizeof(float);
constexpr uint64_t logits_budget = (uint64_t{32} << 20) / sizeof(float);
/* More do not make a device busier. */
constexpr uint64_t most_attention_slots = 2048;

} // namespace

void GpuForward::reserve(Part &part) {
    for (const engine_row &row : part.rows) part.positions = std::max(part.positions, row.position + 1);
    /* In steps of pages that double, so that a growing session does not allocate again and again. */
    uint32_t positions = 256;
    while (positions < part.positions && positions < (1u << 31)) positions *= 2;
    part.positions = std::max(part.positions, positions);
    const uint64_t slot = attention_scratch_floats(1, part.positions, d_.value_size);
    part.attention_slots = static_cast<uint32_t>(
        std::clamp(attention_budget / slot, uint64_t{1}, std::min(most_attention_slots, uint64_t{part.count()} * d_.heads)));
    const uint64_t logits = part.logits.size() + part.tokens.size();
    part.logit_rows = static_cast<uint32_t>(std::min(logits, std::max(uint64_t{1}, logits_budget / d_.vocabulary)));
    scratch_.reserve({part.count(), part.logit_rows, attention_scratch_floats(part.attention_slots, part.positions, d_.value_size)});
}

void GpuForward::upload(const engine_batch &batch, Part &part) {
    std::vector<BatchRow> rows;
    std::vector<uint32_t> pages, chosen;
    /* Only the pages that rows of this part reach. */
    std::vector<uint32_t> reached(batch.sequence_count, 0), first_page(batch.sequence_count, 0);
    for (const engine_row &row : part.rows) reached[row.sequence] = std::max(reached[row.sequence], row.position / ENGINE_PAGE_TOKENS + 1);
    for (uint64_t sequence = 0; sequence < batch.sequence_count; ++sequence) {
        first_page[sequence] = static_cast<uint32_t>(pages.size());
        pages.insert(pages.end(), batch.page_tables[sequence], batch.page_tables[sequence] + reached[sequence]);
    }
    for (const engine_row &row : part.rows) rows.push_back({row.token, row.position, first_page[row.sequence]});
    for (const Wanted &wanted : part.hidden) chosen.push_back(wanted.row);
    for (const Wanted &wanted : part.logits) chosen.push_back(wanted.row);
    chosen.insert(chosen.end(), part.tokens.begin(), part.tokens.end());

    inputs_.clear();
    const size_t rows_place = inputs_.add(std::span<const BatchRow>(rows));
    const size_t pages_place = inputs_.add(std::span<const uint32_t>(pages));
    const size_t chosen_place = inputs_.add(std::span<const uint32_t>(chosen));
    const size_t angles_place = add_angles(part, rotary_);
    const size_t windowed_place = has_windows_ ? add_angles(part, windowed_rotary_) : angles_place;
    const size_t samplings_place = add_samplings(part);
    inputs_.place();
    place_samplings(part, samplings_place);
    inputs_.upload();
    part.batch_rows = inputs_.at<BatchRow>(rows_place);
    part.pages = inputs_.at<uint32_t>(pages_place);
    part.chosen_rows = inputs_.at<uint32_t>(chosen_place);
    part.angles = inputs_.at<float>(angles_place);
    part.windowed_angles = inputs_.at<float>(windowed_place);
    part.device_samplings = inputs_.at<engine_sampling>(samplings_place);
}

size_t GpuForward::add_angles(const Part &part, const Rotary &rotary) {
    const size_t floats = 2 * size_t{rotary.pairs()};
    std::vector<float> angles(part.count() * floats);
    for (uint32_t row = 0; row < part.count() && floats != 0; ++row) rotary.angles(part.rows[row].position, angles.data() + row * floats);
    return inputs_.add(std::span<const float>(angles));
}

/* The lists first, each sampling with the places of its own instead of their addresses. */
size_t GpuForward::add_samplings(const Part &part) {
    std::vector<engine_sampling> samplings(part.samplings.begin(), part.samplings.end());
    for (engine_sampling &sampling : samplings) {
        const auto placed = [&]<typename T>(const T *&list, uint64_t count) {
            if (list != nullptr) list = reinterpret_cast<const T *>(inputs_.add(std::span<const T>(list, count)));
        };
        std::vector<engine_token_bias> biases(sampling.biases, sampling.biases + sampling.bias_count);
        std::stable_sort(biases.begin(), biases.end(), [](const auto &left, const auto &right) { return left.token < right.token; });
        if (sampling.bias_count != 0) sampling.biases = biases.data();
        placed(sampling.biases, sampling.bias_count);
        placed(sampling.window, sampling.window_count);
        placed(sampling.allowed, (uint64_t{d_.vocabulary} + 31) / 32);
    }
    return inputs_.add(std::span<const engine_sampling>(samplings));
}

void GpuForward::place_samplings(const Part &part, size_t place) {
    engine_sampling *samplings = inputs_.host_at<engine_sampling>(place);
    for (size_t index = 0; index < part.samplings.size(); ++index) {
        const auto addressed = [&]<typename T>(const T *&list, const T *given) {
            if (given != nullptr) list = inputs_.at<T>(reinterpret_cast<size_t>(list));
        };
        addressed(samplings[index].biases, part.samplings[index].biases);
        addressed(samplings[index].window, part.samplings[index].window);
        addressed(samplings[index].allowed, part.samplings[index].allowed);
    }
}

} // namespace worker::gpu
