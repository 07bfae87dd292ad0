/* worker_managed.hpp: the managed worker for C++17, over worker.hpp: one per process, with health, logs and metrics.
 *
 *     worker::log_to([](const worker::LogRecord &record) { std::cerr << record.target << ' ' << record.message << '\n'; });
 *     auto host = worker::Managed::bootstrap(R"({"model": "model.gguf", "health_interval_seconds": 30})");
 *     std::cout << host.model().start("Once upon a time").read_all();
 *     host.shut_down(std::chrono::seconds(10));
 *
 * Functions given to log_to() and on_health_change() run on threads of the library; what they throw is dropped. */
#ifndef WORKER_MANAGED_HPP
#define WORKER_MANAGED_HPP

#include <memory>

#include "worker.hpp"

namespace worker {

/// One thing that happened; the texts are valid during the call only.
struct LogRecord {
    /// One of the WORKER_LOG_* values.
    worker_log_level_t level;
    std::chrono::system_clock::time_point time;
    /// The event's stable name, such as "worker::model_loaded"; "host" for the program's own records.
    std::string_view target;
    std::string_view message;
    /// A JSON object.
    std::string_view fields;
};

namespace detail {

/// Data for C that is freed by the function beside it.
template <typename Function> void free_function(void *function) noexcept
{
    std::unique_ptr<Function>(static_cast<Function *>(function));
}

using LogFunction = std::function<void(const LogRecord &)>;
using HealthFunction = std::function<void(const worker_health_t &)>;

/// Not noexcept: the library contains what is thrown, and goes on.
inline void tell_log(void *function, const worker_log_record_t *record)
{
    const auto since = std::chrono::duration_cast<std::chrono::system_clock::duration>(
        std::chrono::nanoseconds(static_cast<std::int64_t>(record->timestamp)));
    const auto view = [](const char *text, std::uint64_t length) {
        return std::string_view(text, static_cast<std::size_t>(length));
    };
    (*static_cast<LogFunction *>(function))({record->level, std::chrono::system_clock::time_point(since),
                                             view(record->target, record->target_length),
                                             view(record->message, record->message_length),
                                             view(record->fields, record->fields_length)});
}

inline void tell_health(void *function, const worker_health_t *health)
{
    (*static_cast<HealthFunction *>(function))(*health);
}

/// What `function(buffer, capacity, needed)` says; it may grow between two calls.
template <typename Function> std::string read_growing_text(Function function)
{
    return read_text([function](char *buffer, std::size_t capacity, std::size_t *needed, worker_error_t *error) {
        error->code = function(buffer, capacity, needed);
        return error->code;
    });
}

/// What `function(out, error)` says, where it is a struct that begins with its size.
template <typename Struct, typename Function> Struct read_struct_of_process(Function function)
{
    auto out = sized<Struct>();
    auto error = sized<worker_error_t>();
    check(function(&out, &error), error);
    return out;
}

} // namespace detail

/// Gives log records to `function`, one at a time; an empty one for silence. Works without a managed worker.
inline void log_to(detail::LogFunction function)
{
    if (!function) {
        detail::check(worker_set_log_callback(nullptr, nullptr, nullptr));
        return;
    }
    auto kept = std::make_unique<detail::LogFunction>(std::move(function));
    detail::check(worker_set_log_callback(detail::tell_log, kept.release(), detail::free_function<detail::LogFunction>));
}

/// The least level that is recorded: one of the WORKER_LOG_* values.
inline void set_log_level(worker_log_level_t level) { detail::check(worker_set_log_level(level)); }

/// Adds a record of the program's own to the stream, with target "host"; `fields` is a JSON object, or empty.
inline void log(worker_log_level_t level, std::string_view message, std::string_view fields = {})
{
    static constexpr decltype(&worker_log_info) functions[] = {
        worker_log_trace, worker_log_debug, worker_log_info, worker_log_warn, worker_log_error};
    if (level < WORKER_LOG_TRACE || level > WORKER_LOG_ERROR)
        throw Error(WORKER_ERROR_INVALID_PARAMETER, "level " + std::to_string(level) + " does not exist");
    detail::check(functions[level - 1](message.data(), message.size(), fields.data(), fields.size()));
}

/// The managed worker at this moment, whether there is one or not.
inline worker_overview_t status() { return detail::read_struct_of_process<worker_overview_t>(worker_status); }
inline std::string status_json() { return detail::read_growing_text(worker_status_json); }

/// All counters, histograms and gauges of the process, as JSON or in Prometheus's text format.
inline std::string metrics_json() { return detail::read_growing_text(worker_metrics_json); }
inline std::string metrics_prometheus() { return detail::read_growing_text(worker_metrics_prometheus); }

/// The process's one managed worker; stopped at once when destroyed.
class Managed {
public:
    /// Starts it; the configuration is a JSON object with the keys of worker_bootstrap().
    static Managed bootstrap(std::string_view configuration = {})
    {
        auto out = detail::sized<worker_bootstrap_t>();
        auto error = detail::sized<worker_error_t>();
        detail::check(worker_bootstrap(configuration.data(), configuration.size(), &out, &error), error);
        return Managed(out);
    }

    Managed(Managed &&other) noexcept
        : id_(std::move(other.id_)), model_(std::move(other.model_)), running_(std::exchange(other.running_, false)) {}
    Managed &operator=(Managed other) noexcept
    {
        std::swap(id_, other.id_);
        std::swap(model_, other.model_);
        std::swap(running_, other.running_);
        return *this;
    }
    ~Managed()
    {
        model_.release();
        if (running_)
            worker_stop();
    }

    const std::string &id() const noexcept { return id_; }
    /// The model that the configuration named; without a handle where it named none. It ends with the worker.
    const Model &model() const noexcept { return model_; }

    /// Refuses new work, lets sessions finish for so long, then stops.
    void shut_down(std::chrono::milliseconds deadline)
    {
        end(worker_transition_to_graceful_shutdown(static_cast<std::uint64_t>(deadline.count() < 0 ? 0 : deadline.count())));
    }
    /// Stops at once: sessions end with WORKER_END_CLOSED.
    void stop() { end(worker_stop()); }

    /// What the last check found.
    worker_health_t health() const { return detail::read_struct_of_process<worker_health_t>(worker_health); }
    /// Checks now.
    worker_health_t check_health() const { return detail::read_struct_of_process<worker_health_t>(worker_health_check); }
    std::string health_json() const { return detail::read_growing_text(worker_health_json); }
    std::string health_text() const { return detail::read_growing_text(worker_health_text); }
    /// Has `function` told when health changes; an empty one for nobody.
    void on_health_change(detail::HealthFunction function) const
    {
        if (!function) {
            detail::check(worker_set_health_callback(nullptr, nullptr, nullptr));
            return;
        }
        auto kept = std::make_unique<detail::HealthFunction>(std::move(function));
        detail::check(worker_set_health_callback(
            detail::tell_health, kept.release(), detail::free_function<detail::HealthFunction>));
    }

private:
    explicit Managed(const worker_bootstrap_t &made) : id_(made.worker_id), model_(made.model) {}

    void end(worker_status_t status)
    {
        detail::check(status);
        model_.release();
        running_ = false;
    }

    std::string id_;
    Model model_;
    bool running_ = true;
};

} // namespace worker

#endif
