// Callbacks that throw: the exceptions end in the library, which goes on.
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <stdexcept>
#include <thread>

#include "worker_ffi.h"

namespace {

std::atomic<int> records{0}; // on the log's thread, which has its own pace
int calls = 0;
int failures = 0;

void check(bool good, const char *what) {
    if (good) return;
    std::fprintf(stderr, "%s\n", what);
    failures++;
}

void throw_at_log(void *, const worker_log_record_t *) {
    records++;
    throw std::runtime_error("from a log callback");
}

void throw_at_health(void *, const worker_health_t *) {
    calls++;
    throw 7;
}

int32_t throw_at_progress(void *user_data, float fraction) {
    calls++;
    if (fraction >= *static_cast<const float *>(user_data)) throw std::runtime_error("from a progress callback");
    return 0;
}

int32_t throw_at_event(void *user_data, const worker_event_t *) {
    calls++;
    if (--*static_cast<int *>(user_data) == 0) throw std::runtime_error("from an event callback");
    return 0;
}

void throw_at_destroy(void *) {
    calls++;
    throw std::runtime_error("from a destroy function");
}

void while_loading(const char *path) {
    for (float from : {0.0f, 0.5f, 1.0f}) {
        worker_model_options_t options = WORKER_MODEL_OPTIONS_INIT;
        options.progress = throw_at_progress;
        options.progress_user_data = &from;
        options.progress_destroy = throw_at_destroy;
        worker_model_t model = 1;
        worker_error_t error = WORKER_ERROR_INIT;
        calls = 0;
        check(worker_model_load(path, std::strlen(path), &options, &model, &error) == WORKER_ERROR_CANCELLED, "loading ends");
        check(model == 0 && std::strstr(error.detail, "exception") != nullptr, "and says why");
        check(calls >= 2, "progress and destroy were called");
    }
}

void while_running(worker_model_t model) {
    for (int events_before : {1, 3}) {
        worker_session_options_t options = WORKER_SESSION_OPTIONS_INIT;
        options.maximum_tokens = 50;
        worker_session_t session = 0;
        worker_error_t error = WORKER_ERROR_INIT;
        check(worker_session_start(model, "Once", 4, &options, &session, nullptr) == WORKER_SUCCESS, "starting");
        calls = 0;
        int left = events_before;
        check(worker_session_run(session, throw_at_event, &left, throw_at_destroy, &error) == WORKER_ERROR_CANCELLED, "running ends");
        check(std::strstr(error.detail, "exception") != nullptr, "and says why");
        check(calls == events_before + 1, "the callback is not called again, and its data is given back");
        worker_event_t event = WORKER_EVENT_INIT;
        char text[64];
        event.text = text;
        event.text_capacity = sizeof text;
        check(worker_session_next(session, &event, WORKER_WAIT_FOREVER, nullptr) == WORKER_SUCCESS, "reading on");
        check(event.kind == WORKER_EVENT_END && event.end_reason == WORKER_END_CANCELLED, "gives the end");
        check(worker_session_close(session) == WORKER_SUCCESS, "closing");
    }
}

void while_managed() {
    const char *configuration = "{\"health_interval_seconds\": 0}";
    worker_bootstrap_t made = WORKER_BOOTSTRAP_INIT;
    check(worker_bootstrap(configuration, std::strlen(configuration), &made, nullptr) == WORKER_SUCCESS, "bootstrap");
    calls = 0;
    check(worker_set_health_callback(throw_at_health, nullptr, throw_at_destroy) == WORKER_SUCCESS, "setting who is told of health");
    check(worker_set_health_callback(nullptr, nullptr, nullptr) == WORKER_SUCCESS, "taking that away");
    check(calls == 1, "its data was given back");
    check(worker_stop() == WORKER_SUCCESS, "stopping");
}

} // namespace

int main(int, char **arguments) {
    check(worker_set_log_callback(throw_at_log, nullptr, nullptr) == WORKER_SUCCESS, "setting the callback");
    for (int record = 0; record < 3; record++) check(worker_log_error("x", 1, nullptr, 0) == WORKER_SUCCESS, "logging");
    for (int wait = 0; wait < 1000 && records < 3; wait++) std::this_thread::sleep_for(std::chrono::milliseconds(10));
    check(records >= 3, "every record reached the callback");

    worker_model_t model = 0;
    check(worker_model_load(arguments[1], std::strlen(arguments[1]), nullptr, &model, nullptr) == WORKER_SUCCESS, "loading");
    while_loading(arguments[1]);
    while_running(model);
    check(worker_model_unload(model) == WORKER_SUCCESS, "unloading");
    while_managed();
    check(worker_set_log_callback(nullptr, nullptr, nullptr) == WORKER_SUCCESS, "taking the callback away");
    if (failures == 0) std::puts("all calls gave what they should");
    return failures != 0;
}
