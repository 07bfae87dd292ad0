/* The forward pass: what a row computes depends on nothing but the row; wrong models are refused by name. */
#include "../harness.h"
#include "cuda_error.h"
#include "device.h"
#include "forward.h"
#include "kv_cache.h"
#include "random_model.h"

#include <atomic>
#include <chrono>
#include <cmath>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

using worker::TensorType;

namespace {

constexpr uint32_t page_count = 24;

/* A model with its device and cache; two sequences with pages in mixed order. */
struct Engine {
    RandomModel model;
    worker::CpuDevice device;
    std::unique_ptr<worker::Forward> forward;
    worker::KvCache cache;
    std::vector<uint32_t> pages[2];

    Engine(RandomModel made, uint32_t threads, uint32_t kv_kind = ENGINE_KV_F16)
        : model(std::move(made)), device(threads), forward(worker::make_cpu_forward(model.description, model.tensors, device, 1)),
          cache(device, model.description, page_count, kv_kind, 1) {
        for (uint32_t i = 0; i < page_count / 2; i++) {
            pages[0].push_back(page_count - 1 - i);
            pages[1].push_back((i * 5) % (page_count / 2));
        }
    }

    std::vector<float> run(const std::vector<engine_row> &rows, const uint32_t *cancel = nullptr) {
        size_t floats = 0;
        for (const engine_row &row : rows)
            floats += row.output == ENGINE_OUTPUT_LOGITS ? model.description.vocabulary : row.output == ENGINE_OUTPUT_HIDDEN ? model.description.width : 0;
        std::vector<float> outputs(floats);
        const uint32_t *const tables[] = {pages[0].data(), pages[1].data()};
        const uint32_t counts[] = {page_count / 2, page_count / 2};
        forward->run({rows.data(), rows.size(), tables, counts, 2, cancel, outputs.data(), outputs.size(), nullptr, nullptr, 0}, cache);
        return outputs;
    }
};

engine_row row_at(uint32_t position, uint32_t sequence, uint32_t role, uint32_t output) {
    return {(position * 37 + sequence * 11 + 5) % 101, position, sequence, role, output};
}

/* A prompt given in chunks, then decode rows; the outputs of every third row and of all decode rows. */
std::vector<float> run_in_chunks(Engine &engine, uint32_t sequence, uint32_t prompt, uint32_t chunk) {
    std::vector<float> all;
    const auto run = [&](const std::vector<engine_row> &rows) {
        const std::vector<float> outputs = engine.run(rows);
        all.insert(all.end(), outputs.begin(), outputs.end());
    };
    for (uint32_t first = 0; first < prompt; first += chunk) {
        std::vector<engine_row> rows;
        for (uint32_t position = first; position < prompt && position < first + chunk; position++)
            rows.push_back(row_at(position, sequence, ENGINE_ROLE_PROMPT, position % 3 == 0 ? ENGINE_OUTPUT_LOGITS : position % 3 == 1 ? ENGINE_OUTPUT_HIDDEN : ENGINE_OUTPUT_NONE));
        run(rows);
    }
    for (uint32_t position = prompt; position < prompt + 3; position++) run({row_at(position, sequence, ENGINE_ROLE_DECODE, ENGINE_OUTPUT_LOGITS)});
    return all;
}

bool same_bits(const std::vector<float> &a, const std::vector<float> &b) {
    return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

bool all_finite(const std::vector<float> &values) {
    for (const float value : values)
        if (!std::isfinite(value)) return false;
    return true;
}

} // namespace

TEST(outputs_do_not_depend_on_chunks_or_threads) {
    for (const uint32_t kind : {0u, 1u, 2u}) {
        const auto made = [&] { return kind == 0 ? expert_model(TensorType::Q8_0) : kind == 1 ? dense_model(TensorType::Q4_0) : dense_model(TensorType::Q4_0, wide); };
        Engine reference(made(), 1);
        const std::vector<float> expected = run_in_chunks(reference, 0, 300, 300); /* more rows than are run at once */
        CHECK(all_finite(expected));
        for (const uint32_t threads : {1u, 2u, 3u})
            for (const uint32_t chunk : {1u, 7u, 300u}) {
                Engine engine(made(), threads);
                if (!same_bits(run_in_chunks(engine, 0, 300, chunk), expected))
                    harness::fail(__FILE__, __LINE__, std::to_string(threads) + " threads, chunks of " + std::to_string(chunk));
            }
    }
}

TEST(fast_products_stay_near_the_exact_ones) {
    for (const TensorType type : {TensorType::Q8_0, TensorType::Q4_0, TensorType::Q5_1, TensorType::F16, TensorType::BF16}) {
        const auto made = [&] {
            RandomModel model = dense_model(type, wide);
            model.description.attention_scale = 1e-5f; /* else such large scores choose one position, and small errors another */
            return model;
        };
        Engine exact(made(), 2, ENGINE_KV_F32), fast(made(), 2);
        const std::vector<float> expected = run_in_chunks(exact, 0, 40, 40), found = run_in_chunks(fast, 0, 40, 40);
        double difference = 0, size = 0;
        for (size_t i = 0; i < expected.size(); i++) {
            difference += (found[i] - expected[i]) * (found[i] - expected[i]);
            size += expected[i] * expected[i];
        }
        const double error = std::sqrt(difference / size);
        /* Weights as random as these cancel each other, so that less is left than of a real model's. */
        if (!(error > 1e-7 && error < 5e-2)) harness::fail(__FILE__, __LINE__, "type " + std::to_string(static_cast<int>(type)) + ": " + std::to_string(error));
    }
}

TEST(outputs_do_not_depend_on_what_else_is_in_the_batch) {
    for (const uint32_t kind : {0u, 1u, 2u}) {
        const auto made = [&] { return kind == 0 ? expert_model(TensorType::F16) : kind == 1 ? dense_model(TensorType::Q8_0) : dense_model(TensorType::Q8_0, wide); };
        Engine alone(made(), 2);
        const std::vector<float> first = run_in_chunks(alone, 0, 40, 40), second = run_in_chunks(alone, 1, 21, 21);
        CHECK(all_finite(first) && all_finite(second));

        /* Sequence 1 is at its last decode row while sequence 0 is prompted, with rows of the two interleaved. */
        Engine mixed(made(), 2);
        const size_t vocabulary = mixed.model.description.vocabulary;
        const uint32_t last = 23;
        std::vector<engine_row> rows;
        for (uint32_t position = 0; position < last; position++)
            rows.push_back(row_at(position, 1, position < 21 ? ENGINE_ROLE_PROMPT : ENGINE_ROLE_DECODE, ENGINE_OUTPUT_NONE));
        mixed.run(rows);
        rows.clear();
        for (uint32_t position = 0; position < 39; position++) rows.push_back(row_at(position, 0, ENGINE_ROLE_PROMPT, ENGINE_OUTPUT_NONE));
        rows.push_back(row_at(last, 1, ENGINE_ROLE_DECODE, ENGINE_OUTPUT_LOGITS));
        rows.push_back(row_at(39, 0, ENGINE_ROLE_PROMPT, ENGINE_OUTPUT_LOGITS));
        rows.push_back(row_at(40, 0, ENGINE_ROLE_DECODE, ENGINE_OUTPUT_LOGITS));
        const std::vector<float> together = mixed.run(rows);
        const auto tail = [&](const std::vector<float> &from, size_t back) {
            return std::vector<float>(from.end() - static_cast<long>(back * vocabulary), from.end() - static_cast<long>((back - 1) * vocabulary));
        };
        CHECK_EQUAL(together.size(), 3 * vocabulary);
        CHECK(same_bits(tail(together, 3), tail(second, 1))); /* of three decode rows the last */
        CHECK(same_bits(tail(together, 2), tail(first, 4)));  /* the prompt's last row, 39 */
        CHECK(same_bits(tail(together, 1), tail(first, 3)));
    }
}

TEST(every_type_runs_in_a_model) {
    for (const worker::TensorTypeTraits &traits : worker::tensor_types()) {
        RandomModel model = dense_model(TensorType::F32);
        model.description.width = model.description.feed_forward = 256;
        RandomModel typed;
        typed.description = model.description;
        for (const engine_tensor &tensor : model.tensors) {
            const bool matrix = tensor.shape[1] > 1;
            const uint64_t columns = tensor.role == ENGINE_ATTENTION_OUTPUT ? 128 : 256;
            const uint64_t rows = !matrix ? 1 : tensor.shape[1] == 64 || tensor.shape[1] == 96 ? (tensor.role == ENGINE_KEY || tensor.role == ENGINE_VALUE ? 64 : 256) : tensor.shape[1];
            const bool fits = matrix && columns % traits.block_length == 0;
            typed.add(tensor.name, tensor.role, tensor.layer, fits ? traits.type : TensorType::F32, columns, rows);
        }
        Engine engine(std::move(typed), 2);
        if (!all_finite(run_in_chunks(engine, 0, 5, 5))) harness::fail(__FILE__, __LINE__, traits.name);
    }
}

TEST(a_cancelled_batch_ends_soon) {
    Engine engine(dense_model(TensorType::F32), 2);
    const uint32_t set = 1;
    CHECK_THROWS(ENGINE_CANCELLED, "cancelled", engine.run({row_at(0, 0, ENGINE_ROLE_PROMPT, ENGINE_OUTPUT_NONE)}, &set));

    uint32_t cancel = 0;
    std::vector<engine_row> rows;
    for (uint32_t position = 0; position < 384; position++) rows.push_back(row_at(position, 0, ENGINE_ROLE_PROMPT, ENGINE_OUTPUT_LOGITS));
    std::chrono::steady_clock::time_point asked;
    std::thread canceller([&] {
        std::this_thread::sleep_for(std::chrono::milliseconds(3));
        asked = std::chrono::steady_clock::now();
        __atomic_store_n(&cancel, 1u, __ATOMIC_RELEASE);
    });
    bool cancelled = false;
    try {
        for (int round = 0; round < 1000; round++) engine.run(rows, &cancel);
    } catch (const worker::CudaError &error) {
        cancelled = error.code() == ENGINE_CANCELLED;
    }
    const auto ended = std::chrono::steady_clock::now();
    canceller.join();
    CHECK(cancelled);
    /* 20 ms are the aim; a busy machine may take the processor away for longer. */
    CHECK(ended - asked < std::chrono::milliseconds(500));
    CHECK(all_finite(run_in_chunks(engine, 0, 10, 10))); /* and the next batch is well */
}

TEST(scratch_stands_in_the_ledger_and_is_given_back) {
    worker::CpuDevice device(2);
    {
        const RandomModel model = dense_model(TensorType::F32);
        const auto forward = worker::make_cpu_forward(model.description, model.tensors, device, 7);
        CHECK_EQUAL(forward->workspace_bytes(), uint64_t{0});
        worker::KvCache cache(device, model.description, 4, ENGINE_KV_F32, 7);
        const uint32_t page = 0;
        const uint32_t *const tables[] = {&page};
        const uint32_t counts[] = {1};
        const engine_row row = row_at(0, 0, ENGINE_ROLE_PROMPT, ENGINE_OUTPUT_NONE);
        forward->run({&row, 1, tables, counts, 1, nullptr, nullptr, 0, nullptr, nullptr, 0}, cache);
        CHECK(forward->workspace_bytes() > 0);
        CHECK_EQUAL(device.tracker().usage_by_purpose(worker::VramPurpose::IntermediateBuffers), forward->workspace_bytes());
    }
    CHECK_EQUAL(device.tracker().total_usage(), uint64_t{0});
}

namespace {

void check_refused(const RandomModel &model, int32_t code, const std::string &fragment, int line) {
    harness::check_throws(code, fragment, [&] { worker::check_model(model.description, model.tensors); }, __FILE__, line);
}

} // namespace

TEST(models_that_do_not_fit_are_refused_by_name) {
    RandomModel model = dense_model(TensorType::Q8_0);
    worker::check_model(model.description, model.tensors); /* fits */
    model.drop(ENGINE_DOWN, 1);
    check_refused(model, ENGINE_MODEL_LOAD_FAILED, "layer 1's feed-forward down tensor is missing", __LINE__);

    model = dense_model(TensorType::Q8_0);
    model.tensor(ENGINE_QUERY, 0).shape[1] = 64;
    check_refused(model, ENGINE_MODEL_LOAD_FAILED, "blk.0.attn_q.weight: expected shape 64x128, found 64x64", __LINE__);

    model = dense_model(TensorType::Q8_0);
    model.tensor(ENGINE_QUERY, 0).bytes -= 34;
    check_refused(model, ENGINE_MODEL_LOAD_FAILED, "blk.0.attn_q.weight: expected 128 rows of 68 bytes", __LINE__);

    model = dense_model(TensorType::Q8_0);
    model.tensor(ENGINE_KEY, 1).type = 16;
    check_refused(model, ENGINE_MODEL_UNSUPPORTED, "blk.1.attn_k.weight: type 16 is not among the supported F32, F16", __LINE__);

    model = dense_model(TensorType::Q8_0);
    model.tensor(ENGINE_KEY, 1).type = static_cast<uint32_t>(TensorType::Q4_K);
    check_refused(model, ENGINE_MODEL_LOAD_FAILED, "blk.1.attn_k.weight: rows of 64 are no multiple of Q4_K's block of 256", __LINE__);

    model = dense_model(TensorType::Q8_0);
    model.tensors.push_back(model.tensor(ENGINE_UP, 0));
    model.tensors.back().name = "twin";
    check_refused(model, ENGINE_MODEL_LOAD_FAILED, "twin: blk.0.ffn_up.weight has the same place", __LINE__);

    model = dense_model(TensorType::Q8_0);
    model.tensor(ENGINE_UP, 1).layer = 9;
    check_refused(model, ENGINE_MODEL_LOAD_FAILED, "blk.1.ffn_up.weight: is of layer 9", __LINE__);

    model = dense_model(TensorType::Q8_0);
    model.description.kv_heads = 3;
    check_refused(model, ENGINE_MODEL_UNSUPPORTED, "4 heads cannot share 3 KV heads", __LINE__);

    model = dense_model(TensorType::Q8_0);
    model.description.norm_epsilon = std::nanf("");
    check_refused(model, ENGINE_MODEL_UNSUPPORTED, "norm epsilon", __LINE__);

    model = expert_model(TensorType::Q8_0);
    model.description.experts_used = 6;
    check_refused(model, ENGINE_MODEL_UNSUPPORTED, "6 of 5 experts", __LINE__);
}

TEST(positions_beyond_learned_embeddings_are_refused) {
    RandomModel model = dense_model(TensorType::F32);
    model.add("position_embd.weight", ENGINE_POSITION_EMBEDDING, -1, TensorType::F32, 64, 10);
    Engine engine(std::move(model), 1);
    CHECK(all_finite(engine.run({row_at(9, 0, ENGINE_ROLE_PROMPT, ENGINE_OUTPUT_NONE)})));
    CHECK_THROWS(ENGINE_INVALID_PARAMETER, "position 10", engine.run({row_at(10, 0, ENGINE_ROLE_PROMPT, ENGINE_OUTPUT_NONE)}));
}
