// The C++ host of the conformance cases, over worker.hpp and worker_managed.hpp; README.md beside this file has the protocol.
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <iostream>
#include <sstream>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include <worker_managed.hpp>

namespace {

using Words = std::vector<std::string>;

const char *const end_reasons[] = {"none",   "end_of_text", "maximum_tokens", "stop_string", "cancelled",
                                   "closed", "deadline",    "context_full",   "error",       "constraint_complete"};

std::string escaped(const std::string &word)
{
    std::string line;
    for (const char letter : word) {
        switch (letter) {
        case '\\': line += "\\\\"; break;
        case '\t': line += "\\t"; break;
        case '\n': line += "\\n"; break;
        case '\r': line += "\\r"; break;
        default: line += letter;
        }
    }
    return line;
}

Words split(const std::string &line)
{
    Words words(1);
    for (std::size_t at = 0; at < line.size(); at++) {
        if (line[at] == '\t') {
            words.emplace_back();
        } else if (line[at] == '\\' && at + 1 < line.size()) {
            at++;
            words.back() += line[at] == 't' ? '\t' : line[at] == 'n' ? '\n' : line[at] == 'r' ? '\r' : line[at];
        } else {
            words.back() += line[at];
        }
    }
    return words;
}

std::vector<std::uint32_t> ids(const std::string &word)
{
    std::istringstream in(word);
    std::vector<std::uint32_t> list;
    for (std::uint32_t id = 0; in >> id;)
        list.push_back(id);
    return list;
}

std::string four_decimals(double value)
{
    char text[64];
    std::snprintf(text, sizeof text, "%.4f", value);
    return text;
}

/// An object that does not own the handle: a case may name one that was never given out, or close it itself.
template <typename Object, typename Use> auto with(const std::string &handle, Use use)
{
    struct Loan {
        Object object;
        ~Loan() { static_cast<void>(object.release()); }
    } loan{Object(std::stoull(handle))};
    return use(loan.object);
}

Words load(const Words &words)
{
    worker::LoadOptions options;
    options.device = worker::Device(std::stoi(words.at(2)));
    return {std::to_string(worker::Model::load(words.at(1), options).release())};
}

Words start(const Words &words)
{
    worker::SessionOptions options;
    std::string prompt;
    std::string messages;
    std::vector<std::uint32_t> tokens;
    for (std::size_t at = 2; at < words.size(); at++) {
        const std::size_t equals = words[at].find('=');
        const std::string key = words[at].substr(0, equals);
        const std::string value = words[at].substr(equals + 1);
        if (key == "prompt")
            prompt = value;
        else if (key == "chat")
            messages = value;
        else if (key == "tokens")
            tokens = ids(value);
        else if (key == "max_tokens")
            options.maximum_tokens = static_cast<std::uint32_t>(std::stoul(value));
        else if (key == "temperature")
            options.temperature = std::stof(value);
        else if (key == "top_k")
            options.top_k = static_cast<std::uint32_t>(std::stoul(value));
        else if (key == "top_p")
            options.top_p = std::stof(value);
        else if (key == "seed")
            options.seed = std::stoull(value);
        else if (key == "stop")
            options.stop.push_back(value);
        else if (key == "schema")
            options.constraint = worker::Constraint::json_schema(value);
        else if (key == "regex")
            options.constraint = worker::Constraint::regex(value);
    }
    return with<worker::Model>(words.at(1), [&](const worker::Model &model) -> Words {
        worker::Session session = !tokens.empty()     ? model.start_tokens(tokens, options)
                                  : !messages.empty() ? model.start_chat(messages, options)
                                                      : model.start(prompt, options);
        return {std::to_string(session.release())};
    });
}

/// worker.hpp enlarges its buffer by itself, so this case goes through the C function with the same handle.
Words next(const Words &words)
{
    std::vector<char> text(256);
    auto event = worker::detail::sized<worker_event_t>();
    auto error = worker::detail::sized<worker_error_t>();
    event.text = text.data();
    event.text_capacity = std::stoull(words.at(2));
    worker::detail::check(worker_session_next(std::stoull(words.at(1)), &event, WORKER_WAIT_FOREVER, &error), error);
    return {event.kind == WORKER_EVENT_TOKEN ? "token" : event.kind == WORKER_EVENT_END ? "end" : "error",
            std::string(text.data(), static_cast<std::size_t>(event.text_length))};
}

Words read(const std::string &handle)
{
    return with<worker::Session>(handle, [](worker::Session &session) -> Words {
        std::string text;
        for (const worker::Token &token : session)
            text += token.text;
        const worker_usage_t usage = session.usage();
        return {text, end_reasons[session.end_reason()], std::to_string(usage.prompt_tokens),
                std::to_string(usage.generated_tokens)};
    });
}

std::string joined(const std::vector<std::uint32_t> &tokens)
{
    std::string text;
    for (const std::uint32_t token : tokens)
        text += (text.empty() ? "" : " ") + std::to_string(token);
    return text;
}

Words score(const worker::Model &model, const std::vector<std::uint32_t> &tokens)
{
    double sum = 0;
    for (const float logprob : model.score(tokens))
        sum += static_cast<double>(logprob);
    return {four_decimals(sum)};
}

Words embed(const worker::Model &model, const std::vector<std::uint32_t> &tokens)
{
    const std::vector<float> embedding = model.embed(tokens);
    double sum = 0;
    for (const float value : embedding)
        sum += static_cast<double>(value) * static_cast<double>(value);
    return {std::to_string(embedding.size()), four_decimals(std::sqrt(sum))};
}

Words sizes()
{
    const auto size = [](const char *name, std::size_t bytes) { return std::string(name) + "=" + std::to_string(bytes); };
    return {size("bootstrap", sizeof(worker_bootstrap_t)),
            size("chat_options", sizeof(worker_chat_options_t)),
            size("device_info", sizeof(worker_device_info_t)),
            size("embed_options", sizeof(worker_embed_options_t)),
            size("error", sizeof(worker_error_t)),
            size("event", sizeof(worker_event_t)),
            size("health", sizeof(worker_health_t)),
            size("memory", sizeof(worker_memory_t)),
            size("model_options", sizeof(worker_model_options_t)),
            size("overview", sizeof(worker_overview_t)),
            size("residency", sizeof(worker_residency_t)),
            size("score_options", sizeof(worker_score_options_t)),
            size("session_options", sizeof(worker_session_options_t)),
            size("usage", sizeof(worker_usage_t))};
}

/// Records since `collect`: target, and "LEVEL MESSAGE FIELDS". Read after the function was taken away.
std::vector<std::pair<std::string, std::string>> collected;
std::optional<worker::Managed> host;

Words records(const std::string &target)
{
    worker::log_to({});
    std::string text;
    std::size_t count = 0;
    for (const auto &[of, line] : collected) {
        if (of == target)
            text += (count++ == 0 ? "" : "\n") + line;
    }
    return {std::to_string(count), text};
}

std::string number_after(const std::string &text, const std::string &mark)
{
    return std::to_string(std::stoull(text.substr(text.find(mark) + mark.size())));
}

/// Nothing where the verb is none of these.
std::optional<Words> managed(const Words &words)
{
    const std::string &verb = words[0];
    if (verb == "bootstrap") {
        worker::Managed made = worker::Managed::bootstrap(words.at(1));
        host.emplace(std::move(made));
        return Words{host->id(), std::to_string(host->model().handle())};
    }
    if (verb == "status") {
        const worker_overview_t found = worker::status();
        return Words{std::to_string(found.state), std::to_string(found.models), found.worker_id};
    }
    if (verb == "collect") {
        collected.clear();
        worker::set_log_level(static_cast<worker_log_level_t>(std::stoul(words.at(1))));
        worker::log_to([](const worker::LogRecord &record) {
            collected.emplace_back(record.target, std::to_string(record.level) + " " + std::string(record.message) + " " +
                                                      std::string(record.fields));
        });
        return Words{};
    }
    if (verb == "log") {
        worker::log(static_cast<worker_log_level_t>(std::stoul(words.at(1))), words.at(2), words.at(3));
        return Words{};
    }
    if (verb == "records")
        return records(words.at(1));
    if (verb == "metrics")
        return Words{number_after(worker::metrics_json(), "\"generated\":"),
                     number_after(worker::metrics_prometheus(), "\nworker_tokens_generated_total ")};
    if (verb == "health") {
        const worker_health_t found = host ? host->check_health() : worker_health_t{};
        return Words{std::to_string(found.healthy), std::to_string(found.checks)};
    }
    if (verb == "shutdown" && host) {
        host->shut_down(std::chrono::milliseconds(std::stoll(words.at(1))));
        return Words{};
    }
    if (verb == "stop") {
        // A case may stop a worker that was never there, of which C++ has no object.
        host ? host->stop() : worker::detail::check(worker_stop());
        return Words{};
    }
    return std::nullopt;
}

Words with_model(const Words &words)
{
    return with<worker::Model>(words.at(1), [&](worker::Model &model) -> Words {
        const std::string &verb = words[0];
        if (verb == "unload") {
            model.unload();
            return {};
        }
        if (verb == "memory")
            return {std::to_string(model.memory().weights)};
        if (verb == "residency")
            return {std::to_string(model.check_residency().resident)};
        if (verb == "tokenize")
            return {joined(model.tokenize(words.at(2), words.at(3) == "1" ? WORKER_TOKENIZE_ADD_SPECIAL : 0))};
        if (verb == "detokenize")
            return {model.detokenize(ids(words.at(2)))};
        if (verb == "chat")
            return {model.apply_chat_template(words.at(2))};
        if (verb == "score")
            return score(model, ids(words.at(2)));
        if (verb == "embed")
            return embed(model, ids(words.at(2)));
        throw std::runtime_error("unknown verb " + verb);
    });
}

Words answer(const Words &words)
{
    const std::string &verb = words[0];
    if (verb == "version")
        return {std::to_string(WORKER_ABI_VERSION), std::to_string(worker_abi_version())};
    if (verb == "sizes")
        return sizes();
    if (verb == "load")
        return load(words);
    if (std::optional<Words> fields = managed(words))
        return *fields;
    if (verb == "start")
        return start(words);
    if (verb == "next")
        return next(words);
    if (verb == "read")
        return read(words.at(1));
    if (verb == "cancel" || verb == "close")
        return with<worker::Session>(words.at(1), [&](worker::Session &session) -> Words {
            verb == "cancel" ? session.cancel() : session.close();
            return {};
        });
    return with_model(words);
}

} // namespace

int main()
{
    for (std::string line; std::getline(std::cin, line);) {
        try {
            std::string reply = "ok";
            for (const std::string &field : answer(split(line)))
                reply += "\t" + escaped(field);
            std::cout << reply << std::endl;
        } catch (const worker::Error &error) {
            std::cout << "error\t" << error.code() << "\t" << escaped(error.what()) << std::endl;
        } catch (const std::exception &error) {
            std::cout << "error\t-1\t" << escaped(error.what()) << std::endl;
        }
    }
    return 0;
}
