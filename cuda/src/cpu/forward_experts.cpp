/* The feed-forward of models with a mixture of experts. */
#include <algorithm>

#include "forward_cpu.h"
#include "row_operations.h"

namespace worker::cpu {

void CpuForward::experts(const Layer &layer, std::span<const engine_row> rows) {
    Workspace &w = workspace_;
    const uint32_t used = d_.experts_used;
    linear(order_, w.normed, d_.width, d_.width, arithmetic_.rest, {{&layer.router, w.router_scores, d_.experts}});
    parallel_.run_rows(rows.size(), uint64_t{d_.width} * 8, [&](unsigned, uint64_t row) {
        choose_experts(w.router_scores + row * d_.experts, d_.experts, used, w.expert_chosen + row * used, w.expert_weights + row * used);
    });
    run_experts(layer, rows);
    /* In the order of the choice, which is the row's own. */
    parallel_.run_rows(rows.size(), uint64_t{d_.width} * 8, [&](unsigned, uint64_t row) {
        float *projected = w.projected + row * d_.width;
        for (uint32_t rank = 0; rank < used; rank++) {
            const size_t slot = row * used + rank;
            const float *output = w.expert_output + slot * d_.width;
            for (uint32_t i = 0; i < d_.width; i++) projected[i] = (rank == 0 ? 0.0f : projected[i]) + output[i] * w.expert_weights[slot];
        }
    });
}

/* Every chosen expert's weights are read once for all the rows that chose it. */
void CpuForward::run_experts(const Layer &layer, std::span<const engine_row> rows) {
    Workspace &w = workspace_;
    const uint32_t used = d_.experts_used;
    const auto is_prompt = [&](uint32_t slot) { return rows[slot / used].role == ENGINE_ROLE_PROMPT; };
    expert_slots_.resize(rows.size() * used);
    for (uint32_t slot = 0; slot < expert_slots_.size(); slot++) expert_slots_[slot] = slot;
    std::sort(expert_slots_.begin(), expert_slots_.end(), [&](uint32_t a, uint32_t b) {
        if (w.expert_chosen[a] != w.expert_chosen[b]) return w.expert_chosen[a] < w.expert_chosen[b];
        if (is_prompt(a) != is_prompt(b)) return is_prompt(a);
        return a < b;
    });

    const size_t slots = expert_slots_.size();
    std::vector<const float *> &inputs = order_.inputs;
    std::vector<float *> &outputs = order_.outputs;
    const auto run = [&](std::initializer_list<const Affine *> weights, uint64_t rows_of_each, uint64_t columns) {
        order_.jobs.clear();
        for (size_t first = 0; first < slots;) {
            size_t last = first + 1;
            const uint32_t expert = w.expert_chosen[expert_slots_[first]];
            const bool prompt = is_prompt(expert_slots_[first]);
            while (last < slots && w.expert_chosen[expert_slots_[last]] == expert && is_prompt(expert_slots_[last]) == prompt) last++;
            size_t target = 0;
            for (const Affine *stacked : weights) {
                const std::span<float *const> places(outputs.data() + target++ * slots + first, last - first);
                order_.jobs.push_back({stacked->slice(expert * rows_of_each, rows_of_each), prompt ? Role::Prompt : Role::Decode,
                                       std::span<const float *const>(inputs).subspan(first, last - first), places});
            }
            first = last;
        }
        products_.run(order_.jobs, columns, arithmetic_.rest);
    };

    inputs.clear();
    outputs.clear();
    for (const uint32_t slot : expert_slots_) inputs.push_back(w.normed + slot / used * size_t{d_.width});
    for (const uint32_t slot : expert_slots_) outputs.push_back(w.gate + slot * size_t{d_.feed_forward});
    for (const uint32_t slot : expert_slots_) outputs.push_back(w.up + slot * size_t{d_.feed_forward});
    run({&layer.gate, &layer.up}, d_.feed_forward, d_.width);
    parallel_.run_rows(slots, uint64_t{d_.feed_forward} * 16, [&](unsigned, uint64_t slot) { activate(w.gate + slot * d_.feed_forward, w.up + slot * d_.feed_forward); });

    inputs.clear();
    outputs.clear();
    for (const uint32_t slot : expert_slots_) inputs.push_back(w.gate + slot * size_t{d_.feed_forward});
    for (const uint32_t slot : expert_slots_) outputs.push_back(w.expert_output + slot * size_t{d_.width});
    run({&layer.down}, d_.width, d_.feed_forward);
}

} // namespace worker::cpu
