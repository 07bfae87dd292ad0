/* What rows of a batch give: hidden states and logits to the host, or tokens that are chosen where the logits are. */
#include <algorithm>

#include "gpu/forward_gpu.h"
#include "gpu/kernels/sampling.h"

namespace worker::gpu {

void GpuForward::write_outputs(const Part &part) {
    write_hidden(part);
    write_logits(part);
    write_tokens(part);
}

void GpuForward::write_hidden(const Part &part) {
    if (part.hidden.empty()) return;
    norm(model_.output_norm, scratch_.hidden, part.chosen_rows, scratch_.normed, static_cast<uint32_t>(part.hidden.size()));
    bring(scratch_.normed, part.hidden, d_.width);
}

void GpuForward::write_logits(const Part &part) {
    const auto count = static_cast<uint32_t>(part.logits.size());
    for (uint32_t first = 0; first < count; first += part.logit_rows) {
        const uint32_t some = std::min(part.logit_rows, count - first);
        compute_logits(part, static_cast<uint32_t>(part.hidden.size()) + first, some);
        bring(scratch_.logits, std::span(part.logits).subspan(first, some), d_.vocabulary);
    }
}

void GpuForward::write_tokens(const Part &part) {
    const auto count = static_cast<uint32_t>(part.tokens.size());
    for (uint32_t first = 0; first < count; first += part.logit_rows) {
        const uint32_t some = std::min(part.logit_rows, count - first);
        compute_logits(part, static_cast<uint32_t>(part.hidden.size() + part.logits.size()) + first, some);
        sample({scratch_.logits, d_.vocabulary, some, part.device_samplings + first, scratch_.sampled}, stream_.get());
        wait("choosing tokens");
        device_.copy_to_host(part.sampled.data() + first, scratch_.sampled, some * sizeof(engine_sampled));
    }
}

void GpuForward::compute_logits(const Part &part, uint32_t first, uint32_t count) {
    norm(model_.output_norm, scratch_.hidden, part.chosen_rows + first, scratch_.normed, count);
    linear(model_.output, scratch_.normed, scratch_.logits, count);
    finish_logits(scratch_.logits, d_.logit_scale, d_.final_softcap, uint64_t{count} * d_.vocabulary, stream_.get());
}

/* Neighbours travel together. */
void GpuForward::bring(const float *from, std::span<const Wanted> wanted, size_t floats) {
    wait("computing outputs");
    for (size_t first = 0; first < wanted.size();) {
        size_t last = first + 1;
        while (last < wanted.size() && wanted[last].place == wanted[first].place + (last - first) * floats) ++last;
        device_.copy_to_host(wanted[first].place, from + first * floats, (last - first) * floats * sizeof(float));
        first = last;
    }
}

} // namespace worker::gpu
