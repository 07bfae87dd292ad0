#include "model.h"

#include "cuda_error.h"

#include <array>
#include <span>
#include <string>
#include <vector>

namespace worker {

namespace {

[[noreturn]] void refuse(uint64_t row, const std::string &reason) {
    throw CudaError::invalid_parameter("row " + std::to_string(row) + " of the batch: " + reason);
}

/* What a row writes, in floats. */
uint64_t output_floats(const engine_model_description &description, uint32_t output) {
    switch (output) {
    case ENGINE_OUTPUT_LOGITS: return description.vocabulary;
    case ENGINE_OUTPUT_HIDDEN: return description.width;
    default: return 0;
    }
}

/* A sequence as far as the rows before have told. */
struct Seen {
    bool any = false;
    uint32_t position = 0;
    uint64_t pages = 0; /* that are known to be good */
};

void check_row(const engine_model_description &description, const KvCache &cache, const engine_batch &batch, uint64_t index,
               std::span<Seen> sequences) {
    const engine_row &row = batch.rows[index];
    if (row.token >= description.vocabulary) {
        refuse(index, "token " + std::to_string(row.token) + " is outside the vocabulary of " + std::to_string(description.vocabulary));
    }
    if (row.role > ENGINE_ROLE_DECODE) refuse(index, "there is no role " + std::to_string(row.role));
    if (row.output > ENGINE_OUTPUT_TOKEN) refuse(index, "there is no output " + std::to_string(row.output));
    if (row.sequence >= batch.sequence_count) {
        refuse(index, "sequence " + std::to_string(row.sequence) + " of " + std::to_string(batch.sequence_count));
    }
    const uint64_t positions = uint64_t{batch.page_counts[row.sequence]} * ENGINE_PAGE_TOKENS;
    if (row.position >= positions) {
        refuse(index, "position " + std::to_string(row.position) + " is beyond its sequence's pages, which hold " + std::to_string(positions));
    }
    Seen &seen = sequences[row.sequence];
    if (seen.any && row.position <= seen.position) {
        refuse(index, "position " + std::to_string(row.position) + " comes after position " + std::to_string(seen.position) + " of its sequence");
    }
    seen.any = true;
    seen.position = row.position;
    const uint32_t *table = batch.page_tables[row.sequence];
    if (table == nullptr) refuse(index, "the page table of sequence " + std::to_string(row.sequence) + " is null");
    for (; seen.pages <= row.position / ENGINE_PAGE_TOKENS; ++seen.pages) {
        if (table[seen.pages] >= cache.pages()) {
            refuse(index, "page " + std::to_string(table[seen.pages]) + " of a cache of " + std::to_string(cache.pages()));
        }
    }
}

[[noreturn]] void refuse_sampling(uint64_t index, const std::string &reason) {
    throw CudaError::invalid_parameter("sampling " + std::to_string(index) + " of the batch: " + reason);
}

/* What a device would read beyond its memory by, or divide by. */
void check_sampling(const engine_model_description &description, const engine_sampling &sampling, uint64_t index) {
    const auto check_tokens = [&](const auto *entries, uint64_t count, const char *name) {
        if (count > 0 && entries == nullptr) refuse_sampling(index, std::string("its ") + name + " is null");
        for (uint64_t entry = 0; entry < count; ++entry)
            if (entries[entry].token >= description.vocabulary)
                refuse_sampling(index, std::string("its ") + name + " has token " + std::to_string(entries[entry].token) +
                                           ", outside the vocabulary of " + std::to_string(description.vocabulary));
    };
    check_tokens(sampling.window, sampling.window_count, "window");
    check_tokens(sampling.biases, sampling.bias_count, "bias list");
    if (!(sampling.temperature >= 0.0f)) refuse_sampling(index, "its temperature is below zero");
}

void check_samplings(const engine_model_description &description, const engine_batch &batch, uint64_t tokens, bool samples) {
    if (tokens > 0 && !samples) throw CudaError::invalid_parameter("the batch asks for tokens, and this device gives logits only");
    if (tokens != batch.sampling_count) {
        throw CudaError::invalid_parameter(std::to_string(tokens) + " rows ask for tokens, and there are " +
                                           std::to_string(batch.sampling_count) + " samplings");
    }
    if (tokens == 0) return;
    if (batch.samplings == nullptr || batch.sampled == nullptr) throw CudaError::invalid_parameter("the batch's samplings are null");
    for (uint64_t index = 0; index < tokens; ++index) check_sampling(description, batch.samplings[index], index);
}

} // namespace

void check_batch(const engine_model_description &description, const KvCache &cache, const engine_batch &batch, bool samples) {
    if (batch.row_count == 0) return;
    if (batch.rows == nullptr) throw CudaError::invalid_parameter("the batch's rows are null");
    if (batch.page_tables == nullptr || batch.page_counts == nullptr) {
        throw CudaError::invalid_parameter("the batch's page tables are null");
    }
    if (batch.row_count > UINT32_MAX || batch.sequence_count > (1u << 20)) {
        throw CudaError::invalid_parameter("a batch of " + std::to_string(batch.row_count) + " rows and " +
                                           std::to_string(batch.sequence_count) + " sequences");
    }
    /* Decoding must not allocate, and rarely has so many sequences. */
    std::array<Seen, 64> few{};
    std::vector<Seen> many(batch.sequence_count > few.size() ? batch.sequence_count : 0);
    const std::span<Seen> sequences = many.empty() ? std::span<Seen>(few) : std::span<Seen>(many);
    uint64_t floats = 0, tokens = 0;
    for (uint64_t index = 0; index < batch.row_count; ++index) {
        check_row(description, cache, batch, index, sequences);
        floats += output_floats(description, batch.rows[index].output);
        tokens += batch.rows[index].output == ENGINE_OUTPUT_TOKEN ? 1 : 0;
    }
    check_samplings(description, batch, tokens, samples);
    if (floats > batch.output_capacity || (floats > 0 && batch.outputs == nullptr)) {
        throw CudaError::invalid_parameter("the rows' outputs need " + std::to_string(floats) + " floats, and there is room for " +
                                           std::to_string(batch.outputs == nullptr ? 0 : batch.output_capacity));
    }
}

} // namespace worker
