/* worker.hpp: libworker for C++17. RAII over the C functions of worker_ffi.h, nothing more.
 *
 *     worker::Model model = worker::Model::load("model.gguf");
 *     worker::Session session = model.start("Write a haiku about rain");
 *     for (const worker::Token &token : session) std::cout << token.text << std::flush;
 *     std::cout << session.end_reason();
 *
 * Failures are thrown as worker::Error. Objects own their handle, move, and do not copy; every member function may be
 * called from any thread, except that only one thread at a time may iterate over a session. A program that wants no
 * exceptions uses the C functions, which take the same handles (see handle()). */
#ifndef WORKER_HPP
#define WORKER_HPP

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <functional>
#include <iterator>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "worker_ffi.h"

namespace worker {

/// A failed call: its published code, and what was expected, found, and where.
class Error : public std::runtime_error {
public:
    Error(worker_status_t code, const std::string &detail)
        : std::runtime_error(detail.empty() ? std::string(worker_error_message(code)) : detail), code_(code) {}

    /// One of the WORKER_ERROR_* values.
    worker_status_t code() const noexcept { return code_; }
    /// Its name in the header.
    const char *name() const noexcept { return worker_error_name(code_); }
    /// What the code means, in a few words; what() has the particulars.
    const char *message() const noexcept { return worker_error_message(code_); }
    std::uint32_t http_status() const noexcept { return worker_error_http_status(code_); }
    bool retry_helps() const noexcept { return worker_error_retry_helps(code_) != 0; }

private:
    worker_status_t code_;
};

namespace detail {

/// A struct of the C interface, all zero but for its size.
template <typename Struct> Struct sized() noexcept
{
    Struct value{};
    value.struct_size = static_cast<std::uint32_t>(sizeof(Struct));
    return value;
}

inline void check(worker_status_t status, const worker_error_t &error)
{
    if (status != WORKER_SUCCESS)
        throw Error(status, error.detail);
}

/// For the functions that have no room for an error struct.
inline void check(worker_status_t status)
{
    if (status == WORKER_SUCCESS)
        return;
    std::size_t needed = 0;
    worker_last_error(nullptr, 0, &needed);
    std::string text(needed, '\0');
    if (worker_last_error(text.data(), text.size(), &needed) != WORKER_SUCCESS || needed == 0)
        throw Error(status, std::string());
    text.resize(needed - 1);
    throw Error(status, text);
}

/// What `function(subject, out, error)` says, where it is a struct that begins with its size.
template <typename Struct, typename Function, typename Subject> Struct read_struct(Function function, Subject subject)
{
    auto out = sized<Struct>();
    auto error = sized<worker_error_t>();
    check(function(subject, &out, &error), error);
    return out;
}

/// What `function(subject, out, error)` says, where it is a plain value.
template <typename Value, typename Function, typename Subject> Value read_value(Function function, Subject subject)
{
    Value out{};
    auto error = sized<worker_error_t>();
    check(function(subject, &out, &error), error);
    return out;
}

/// Calls `read(out...)` until the buffer is large enough, and returns what was written.
template <typename Buffer, typename Read> Buffer read_whole(std::size_t guess, Read read)
{
    Buffer buffer(guess, typename Buffer::value_type());
    for (;;) {
        std::size_t needed = 0;
        worker_error_t error = sized<worker_error_t>();
        const worker_status_t status = read(buffer.data(), buffer.size(), &needed, &error);
        if (status == WORKER_ERROR_BUFFER_TOO_SMALL && needed > buffer.size()) {
            buffer.resize(needed);
            continue;
        }
        check(status, error);
        buffer.resize(needed);
        return buffer;
    }
}

/// Text comes with a NUL that is counted.
template <typename Read> std::string read_text(Read read)
{
    std::string text = read_whole<std::string>(256, read);
    if (!text.empty())
        text.pop_back();
    return text;
}

/// Calls a host's function from C: an exception waits until C has returned.
struct Progress {
    std::function<bool(float)> report;
    std::exception_ptr thrown;

    static std::int32_t call(void *self, float fraction) noexcept
    {
        Progress &progress = *static_cast<Progress *>(self);
        try {
            return progress.report(fraction) ? 0 : 1;
        } catch (...) {
            progress.thrown = std::current_exception();
            return 1;
        }
    }
};

} // namespace detail

/// A device by its number: WORKER_CPU, or a GPU's from 0.
class Device {
public:
    Device() noexcept = default;
    explicit Device(std::int32_t ordinal) noexcept : ordinal_(ordinal) {}

    /// How many GPUs there are; the CPU is not counted.
    static std::uint32_t count() noexcept { return worker_device_count(); }
    std::int32_t ordinal() const noexcept { return ordinal_; }

    worker_device_info_t information() const
    {
        return detail::read_struct<worker_device_info_t>(worker_device_info, ordinal_);
    }
    /// Bytes that this process uses there.
    std::uint64_t process_memory() const
    {
        return detail::read_value<std::uint64_t>(worker_device_process_memory, ordinal_);
    }
    /// Throws where the device does not answer or has a lasting fault.
    void check_health() const
    {
        auto error = detail::sized<worker_error_t>();
        detail::check(worker_device_check_health(ordinal_, &error), error);
    }

private:
    std::int32_t ordinal_ = WORKER_CPU;
};

/// How to load a model; see worker_model_options_t.
struct LoadOptions {
    Device device;
    std::uint32_t context_length = 0;
    worker_kv_type_t kv_type = WORKER_KV_DEFAULT;
    worker_residency_policy_t residency = WORKER_RESIDENCY_DEFAULT;
    worker_load_mode_t load_mode = WORKER_LOAD_DEFAULT;
    std::uint32_t threads = 0;
    std::uint32_t maximum_sessions = 0;
    std::uint64_t kv_budget_bytes = 0;
    /// Told how far loading is, from 0 to 1; returns false to cancel. What it throws is thrown by load().
    std::function<bool(float)> progress;
};

/// What the text must match.
struct Constraint {
    worker_constraint_kind_t kind = WORKER_CONSTRAINT_NONE;
    std::string text;

    static Constraint json_schema(std::string schema) { return {WORKER_CONSTRAINT_JSON_SCHEMA, std::move(schema)}; }
    static Constraint regex(std::string expression) { return {WORKER_CONSTRAINT_REGEX, std::move(expression)}; }
    static Constraint lark(std::string grammar) { return {WORKER_CONSTRAINT_LARK, std::move(grammar)}; }
};

/// How to generate; see worker_session_options_t.
struct SessionOptions {
    std::uint32_t maximum_tokens = 0;
    float temperature = 0;
    std::uint32_t top_k = 0;
    float top_p = 0;
    float min_p = 0;
    float typical_p = 0;
    float repetition_penalty = 0;
    float presence_penalty = 0;
    float frequency_penalty = 0;
    std::uint32_t penalty_window = 0;
    std::optional<std::uint64_t> seed;
    std::vector<worker_logit_bias_t> logit_bias;
    std::vector<std::string> stop;
    std::uint32_t logprobs = 0;
    Constraint constraint;
    std::chrono::milliseconds deadline{0};
    bool ignore_end = false;
};

/// One generated token.
struct Token {
    std::uint32_t id = 0;
    std::uint32_t index = 0;
    /// Whole UTF-8 characters; may be empty.
    std::string text;
    /// Only where logprobs were asked for.
    std::optional<float> logprob;
    std::vector<worker_logprob_t> top;
};

/// A running or finished generation; closed when destroyed.
class Session {
public:
    Session() noexcept = default;
    explicit Session(worker_session_t handle) noexcept : handle_(handle) {}
    Session(Session &&other) noexcept { swap(other); }
    Session &operator=(Session other) noexcept
    {
        swap(other);
        return *this;
    }
    ~Session()
    {
        if (handle_ != 0)
            worker_session_close(handle_);
    }

    worker_session_t handle() const noexcept { return handle_; }
    /// Gives the handle away: the caller ends it.
    worker_session_t release() noexcept { return std::exchange(handle_, 0); }

    /// Waits for the next token. Nothing at the end; end_reason() then says why.
    std::optional<Token> next() { return read(WORKER_WAIT_FOREVER); }
    /// As next(), but throws an Error with WORKER_ERROR_TIMED_OUT when the time has passed; nothing is lost.
    std::optional<Token> next(std::chrono::milliseconds timeout)
    {
        return read(timeout.count() < 0 ? 0 : static_cast<std::int64_t>(timeout.count()));
    }
    /// Why the session ended: one of the WORKER_END_* values; WORKER_END_NONE before the end was read.
    worker_end_reason_t end_reason() const noexcept { return end_reason_; }
    /// Which of the stop strings was met.
    std::optional<std::size_t> matched_stop() const noexcept { return matched_stop_; }

    /// Reads the rest as one text.
    std::string read_all()
    {
        std::string text;
        while (std::optional<Token> token = next())
            text += token->text;
        return text;
    }

    /// Any thread, any time: the reader gets the end, with WORKER_END_CANCELLED.
    void cancel() const { detail::check(worker_session_cancel(handle_)); }

    worker_usage_t usage() const { return detail::read_struct<worker_usage_t>(worker_session_usage, handle_); }
    std::uint64_t seed() const { return detail::read_value<std::uint64_t>(worker_session_seed, handle_); }
    /// Ends the session now, and tells if it was not there any more; the destructor does not.
    void close() { detail::check(worker_session_close(std::exchange(handle_, 0))); }

    /// Input iterator over the tokens, for range-for.
    class Iterator {
    public:
        using iterator_category = std::input_iterator_tag;
        using value_type = Token;
        using difference_type = std::ptrdiff_t;
        using pointer = const Token *;
        using reference = const Token &;

        Iterator() noexcept = default;
        explicit Iterator(Session &session) : session_(&session) { ++*this; }
        reference operator*() const noexcept { return *token_; }
        pointer operator->() const noexcept { return &*token_; }
        Iterator &operator++()
        {
            token_ = session_->next();
            return *this;
        }
        void operator++(int) { ++*this; }
        /// Two iterators are equal when both are at the end; more cannot be told of a stream.
        friend bool operator==(const Iterator &left, const Iterator &right) noexcept
        {
            return !left.token_ && !right.token_;
        }
        friend bool operator!=(const Iterator &left, const Iterator &right) noexcept { return !(left == right); }

    private:
        Session *session_ = nullptr;
        std::optional<Token> token_;
    };
    Iterator begin() { return Iterator(*this); }
    Iterator end() noexcept { return Iterator(); }

private:
    void swap(Session &other) noexcept
    {
        std::swap(handle_, other.handle_);
        std::swap(end_reason_, other.end_reason_);
        std::swap(matched_stop_, other.matched_stop_);
        std::swap(text_, other.text_);
        std::swap(top_, other.top_);
    }

    std::optional<Token> read(std::int64_t timeout_ms)
    {
        for (;;) {
            auto event = detail::sized<worker_event_t>();
            auto error = detail::sized<worker_error_t>();
            event.text = text_.data();
            event.text_capacity = text_.size();
            event.top = top_.data();
            event.top_capacity = static_cast<std::uint32_t>(top_.size());
            const worker_status_t status = worker_session_next(handle_, &event, timeout_ms, &error);
            if (status == WORKER_ERROR_BUFFER_TOO_SMALL &&
                (event.text_needed > text_.size() || event.top_count > top_.size())) {
                text_.resize(std::max<std::size_t>(text_.size(), static_cast<std::size_t>(event.text_needed)));
                top_.resize(std::max<std::size_t>(top_.size(), event.top_count));
                continue;
            }
            detail::check(status, error);
            if (event.kind == WORKER_EVENT_ERROR)
                throw Error(event.error_code, std::string(text_.data(), static_cast<std::size_t>(event.text_length)));
            if (event.kind == WORKER_EVENT_END) {
                end_reason_ = event.end_reason;
                if (event.matched_stop >= 0)
                    matched_stop_ = static_cast<std::size_t>(event.matched_stop);
                return std::nullopt;
            }
            Token token;
            token.id = event.token;
            token.index = event.index;
            token.text.assign(text_.data(), static_cast<std::size_t>(event.text_length));
            if (event.has_logprob != 0)
                token.logprob = event.logprob;
            token.top.assign(top_.begin(), top_.begin() + static_cast<std::ptrdiff_t>(event.top_count));
            return token;
        }
    }

    worker_session_t handle_ = 0;
    worker_end_reason_t end_reason_ = WORKER_END_NONE;
    std::optional<std::size_t> matched_stop_;
    std::vector<char> text_ = std::vector<char>(256);
    std::vector<worker_logprob_t> top_ = std::vector<worker_logprob_t>(20);
};

/// A loaded model; unloaded when destroyed, which ends its sessions.
class Model {
public:
    Model() noexcept = default;
    explicit Model(worker_model_t handle) noexcept : handle_(handle) {}
    Model(Model &&other) noexcept : handle_(std::exchange(other.handle_, 0)) {}
    Model &operator=(Model other) noexcept
    {
        std::swap(handle_, other.handle_);
        return *this;
    }
    ~Model()
    {
        if (handle_ != 0)
            worker_model_unload(handle_);
    }

    static Model load(std::string_view path, const LoadOptions &wishes = {})
    {
        auto options = detail::sized<worker_model_options_t>();
        const std::int32_t ordinal = wishes.device.ordinal();
        if (ordinal < WORKER_CPU)
            throw Error(WORKER_ERROR_INVALID_DEVICE, "device " + std::to_string(ordinal) + " does not exist");
        options.device_kind = ordinal == WORKER_CPU ? WORKER_DEVICE_CPU : WORKER_DEVICE_GPU;
        options.device_ordinal = ordinal == WORKER_CPU ? 0 : static_cast<std::uint32_t>(ordinal);
        options.context_length = wishes.context_length;
        options.kv_type = wishes.kv_type;
        options.residency = wishes.residency;
        options.load_mode = wishes.load_mode;
        options.threads = wishes.threads;
        options.maximum_sessions = wishes.maximum_sessions;
        options.kv_budget_bytes = wishes.kv_budget_bytes;
        detail::Progress progress{wishes.progress, nullptr};
        if (progress.report) {
            options.progress = &detail::Progress::call;
            options.progress_user_data = &progress;
        }
        worker_model_t handle = 0;
        auto error = detail::sized<worker_error_t>();
        const worker_status_t status = worker_model_load(path.data(), path.size(), &options, &handle, &error);
        Model model(handle);
        if (progress.thrown)
            std::rethrow_exception(progress.thrown);
        detail::check(status, error);
        return model;
    }

    worker_model_t handle() const noexcept { return handle_; }
    /// Gives the handle away: the caller ends it.
    worker_model_t release() noexcept { return std::exchange(handle_, 0); }

    /// A JSON object: architecture, shape, quantisation, tokenizer, context, licence, size.
    std::string information_json() const
    {
        return detail::read_text([this](auto... out) { return worker_model_info_json(handle_, out...); });
    }
    worker_memory_t memory() const { return detail::read_struct<worker_memory_t>(worker_model_memory, handle_); }

    /// Flags: WORKER_TOKENIZE_ADD_SPECIAL, WORKER_TOKENIZE_PARSE_SPECIAL.
    std::vector<std::uint32_t> tokenize(std::string_view text, std::uint32_t flags = 0) const
    {
        return detail::read_whole<std::vector<std::uint32_t>>(text.size() + 8, [&](auto... out) {
            return worker_model_tokenize(handle_, text.data(), text.size(), flags, out...);
        });
    }
    /// Flag: WORKER_DETOKENIZE_SPECIAL.
    std::string detokenize(const std::vector<std::uint32_t> &tokens, std::uint32_t flags = 0) const
    {
        return detail::read_text([&](auto... out) {
            return worker_model_detokenize(handle_, tokens.data(), tokens.size(), flags, out...);
        });
    }
    /// The prompt that the model's template makes of messages, a JSON array.
    std::string apply_chat_template(std::string_view messages_json, bool generation_prompt = true) const
    {
        auto options = detail::sized<worker_chat_options_t>();
        options.no_generation_prompt = generation_prompt ? 0 : 1;
        return detail::read_text([&](auto... out) {
            return worker_model_apply_chat_template(handle_, messages_json.data(), messages_json.size(), &options, out...);
        });
    }

    /// Continues a text.
    Session start(std::string_view prompt, const SessionOptions &wishes = {}) const
    {
        return start_with(wishes, [&](auto... rest) {
            return worker_session_start(handle_, prompt.data(), prompt.size(), rest...);
        });
    }
    /// Continues tokens, taken as they are.
    Session start_tokens(const std::vector<std::uint32_t> &tokens, const SessionOptions &wishes = {}) const
    {
        return start_with(wishes, [&](auto... rest) {
            return worker_session_start_tokens(handle_, tokens.data(), tokens.size(), rest...);
        });
    }
    /// Answers chat messages, a JSON array.
    Session start_chat(std::string_view messages_json, const SessionOptions &wishes = {}) const
    {
        return start_with(wishes, [&](auto... rest) {
            return worker_session_start_chat(handle_, messages_json.data(), messages_json.size(), rest...);
        });
    }

    /// For each token but the first (or the `last` ones) its log-probability after those before it, one number; or, with
    /// WORKER_SCORE_LOGITS, what the model expects after each: one number for every token of the vocabulary.
    std::vector<float> score(const std::vector<std::uint32_t> &tokens, worker_score_kind_t kind = WORKER_SCORE_LOGPROBS,
                             std::uint64_t last = 0, worker_kv_type_t kv_type = WORKER_KV_DEFAULT) const
    {
        auto options = detail::sized<worker_score_options_t>();
        options.kind = kind;
        options.last = last;
        options.kv_type = kv_type;
        return detail::read_whole<std::vector<float>>(0, [&](auto... out) {
            return worker_model_score(handle_, tokens.data(), tokens.size(), &options, out...);
        });
    }
    /// The tokens' embedding.
    std::vector<float> embed(const std::vector<std::uint32_t> &tokens, worker_pooling_t pooling = WORKER_POOLING_MEAN,
                             bool normalize = false) const
    {
        auto options = detail::sized<worker_embed_options_t>();
        options.pooling = pooling;
        options.normalize = normalize ? 1 : 0;
        return detail::read_whole<std::vector<float>>(0, [&](auto... out) {
            return worker_model_embed(handle_, tokens.data(), tokens.size(), &options, out...);
        });
    }

    /// Where the weights are; look at `resident`.
    worker_residency_t check_residency() const
    {
        return detail::read_struct<worker_residency_t>(worker_model_check_residency, handle_);
    }
    /// Brings the weights back first.
    worker_residency_t repair_residency() const
    {
        return detail::read_struct<worker_residency_t>(worker_model_repair_residency, handle_);
    }
    /// Unloads now, and tells if it was not there any more; the destructor does not.
    void unload() { detail::check(worker_model_unload(std::exchange(handle_, 0))); }

private:
    template <typename Start> Session start_with(const SessionOptions &wishes, Start start) const
    {
        auto options = detail::sized<worker_session_options_t>();
        options.maximum_tokens = wishes.maximum_tokens;
        options.temperature = wishes.temperature;
        options.top_k = wishes.top_k;
        options.top_p = wishes.top_p;
        options.min_p = wishes.min_p;
        options.typical_p = wishes.typical_p;
        options.repetition_penalty = wishes.repetition_penalty;
        options.presence_penalty = wishes.presence_penalty;
        options.frequency_penalty = wishes.frequency_penalty;
        options.penalty_window = wishes.penalty_window;
        options.seed_given = wishes.seed ? 1 : 0;
        options.seed = wishes.seed.value_or(0);
        options.logit_bias = wishes.logit_bias.data();
        options.logit_bias_count = wishes.logit_bias.size();
        std::vector<worker_text_t> stop;
        for (const std::string &text : wishes.stop)
            stop.push_back({text.data(), text.size()});
        options.stop = stop.data();
        options.stop_count = stop.size();
        options.logprobs = wishes.logprobs;
        options.constraint_kind = wishes.constraint.kind;
        if (wishes.constraint.kind != WORKER_CONSTRAINT_NONE) {
            options.constraint = wishes.constraint.text.data();
            options.constraint_length = wishes.constraint.text.size();
        }
        options.deadline_ms = static_cast<std::uint64_t>(wishes.deadline.count() < 0 ? 0 : wishes.deadline.count());
        options.ignore_end = wishes.ignore_end ? 1 : 0;
        worker_session_t session = 0;
        auto error = detail::sized<worker_error_t>();
        detail::check(start(&options, &session, &error), error);
        return Session(session);
    }

    worker_model_t handle_ = 0;
};

/// All models of this process, as a JSON object.
inline std::string residency_report_json()
{
    return detail::read_text([](auto... out) { return worker_residency_report_json(out...); });
}

} // namespace worker

#endif
