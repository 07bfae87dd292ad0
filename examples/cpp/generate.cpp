// Streams a haiku over worker.hpp, then reports what it took.
//
//     c++ -std=c++17 generate.cpp $(pkg-config --cflags --libs worker) -o generate

#include <charconv>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <iostream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

#include <worker.hpp>

namespace {

constexpr std::string_view usage_text =
    "usage: generate [--model FILE] [--device N] [--seed N] [TOPIC...]\n"
    "Streams a haiku about TOPIC, then reports what it took.\n"
    "\n"
    "  --model FILE   a GGUF model (default examples/models/haiku.gguf)\n"
    "  --device N     -1 is the CPU (default), 0 and up are GPUs\n"
    "  --seed N       the same seed gives the same words (default: any)\n"
    "  --help         this text\n";

struct Wishes {
    std::string model = "examples/models/haiku.gguf";
    worker::LoadOptions load;
    worker::SessionOptions session;
    std::string topic;
    bool help = false;
};

/// Text as a JSON string.
std::string quoted(std::string_view text)
{
    std::string json = "\"";
    for (const char letter : text) {
        if (letter == '"' || letter == '\\')
            json += '\\';
        if (static_cast<unsigned char>(letter) >= ' ')
            json += letter;
    }
    return json + '"';
}

/// Asks in the way the model was trained for: by its chat template, or in plain words where it has none.
worker::Session ask(const worker::Model &model, const Wishes &wishes)
{
    const std::string wish = "Write a haiku about " + wishes.topic;
    try {
        return model.start_chat("[{\"role\": \"user\", \"content\": " + quoted(wish) + "}]", wishes.session);
    } catch (const worker::Error &error) {
        if (error.code() != WORKER_ERROR_MODEL_UNSUPPORTED)
            throw;
        return model.start(wish, wishes.session);
    }
}

void report(const worker::Model &model, const worker::Session &session, const worker::Device &device, double load_seconds)
{
    const worker_device_info_t information = device.information();
    const worker_usage_t usage = session.usage();
    const worker_memory_t memory = model.memory();
    const double seconds = usage.decode_seconds > 0 ? usage.decode_seconds : 1e-9;
    std::printf("device     %s, %u threads\n", information.name, static_cast<unsigned>(information.threads));
    std::printf("load       %.1f ms\n", load_seconds * 1e3);
    std::printf("tokens     %u in, %u out, %.0f tokens/s; seed %llu\n", static_cast<unsigned>(usage.prompt_tokens),
                static_cast<unsigned>(usage.generated_tokens), usage.generated_tokens / seconds,
                static_cast<unsigned long long>(session.seed()));
    std::printf("memory     weights %.2f MB, KV cache %.2f MB, workspace %.2f MB\n",
                static_cast<double>(memory.weights) * 1e-6, static_cast<double>(memory.kv_cache) * 1e-6,
                static_cast<double>(memory.workspace) * 1e-6);
    std::printf("residency  %s\n", model.check_residency().resident != 0 ? "resident" : "NOT resident");
}

void run(const Wishes &wishes)
{
    const auto begin = std::chrono::steady_clock::now();
    const worker::Model model = worker::Model::load(wishes.model, wishes.load);
    const std::chrono::duration<double> load = std::chrono::steady_clock::now() - begin;

    worker::Session session = ask(model, wishes);
    for (const worker::Token &token : session)
        std::cout << token.text << std::flush;
    std::cout << "\n" << std::endl;
    report(model, session, wishes.load.device, load.count());
}

template <typename Number> Number number(std::string_view text)
{
    Number value{};
    const char *end = text.data() + text.size();
    const auto [at, problem] = std::from_chars(text.data(), end, value);
    if (problem != std::errc() || at != end)
        throw std::invalid_argument("not a number, or out of range: " + std::string(text));
    return value;
}

Wishes parse(const std::vector<std::string> &arguments)
{
    Wishes wishes;
    wishes.session.maximum_tokens = 80;
    wishes.session.temperature = 0.7F;
    for (std::size_t at = 0; at < arguments.size(); at++) {
        const std::string &option = arguments[at];
        const auto value = [&]() -> const std::string & {
            if (at + 1 == arguments.size())
                throw std::invalid_argument(option + " needs a value");
            return arguments[++at];
        };
        if (option == "--help") {
            wishes.help = true;
        } else if (option == "--model") {
            wishes.model = value();
        } else if (option == "--device") {
            wishes.load.device = worker::Device(number<std::int32_t>(value()));
        } else if (option == "--seed") {
            wishes.session.seed = number<std::uint64_t>(value());
        } else if (option.rfind('-', 0) == 0) {
            throw std::invalid_argument("unknown option " + option);
        } else {
            wishes.topic += (wishes.topic.empty() ? "" : " ") + option;
        }
    }
    if (wishes.topic.empty())
        wishes.topic = "the autumn moon";
    return wishes;
}

std::string_view hint(worker_status_t code)
{
    switch (code) {
    case WORKER_ERROR_INPUT_OUTPUT:
    case WORKER_ERROR_MODEL_LOAD_FAILED:
    case WORKER_ERROR_MODEL_UNSUPPORTED:
        return "give the path of a readable GGUF model with --model";
    case WORKER_ERROR_INVALID_DEVICE:
        return "--device -1 is the CPU, which every machine has";
    default:
        return "see the message above";
    }
}

} // namespace

int main(int argc, char **argv)
{
    try {
        const Wishes wishes = parse(std::vector<std::string>(argv + 1, argv + argc));
        if (wishes.help)
            std::cout << usage_text;
        else
            run(wishes);
        return 0;
    } catch (const std::invalid_argument &problem) {
        std::cerr << "generate: " << problem.what() << "\n" << usage_text;
        return 2;
    } catch (const worker::Error &error) {
        std::cerr << "generate: " << error.what() << "\ngenerate: " << error.name() << "; hint: " << hint(error.code())
                  << "\n";
        return 1;
    } catch (const std::exception &error) {
        std::cerr << "generate: " << error.what() << "\n";
        return 1;
    }
}
