// Callbacks that throw: the exceptions end in the library, which goes on.
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <stdexcept>
#include <thread>

#include "worker_ffi.h"

namespace {

std::atomic<int> calls{0};
int failures = 0;

void check(bool good, const char *what) {
    if (good) return;
    std::fprintf(stderr, "%s\n", what);
    failures++;
}

void throw_at_log(void *, const worker_log_record_t *) {
    calls++;
    throw std::runtime_error("from a log callback");
}

} // namespace

int main(int, char **arguments) {
    check(worker_set_log_callback(throw_at_log, nullptr, nullptr) == WORKER_SUCCESS, "setting the callback");
    for (int record = 0; record < 3; record++) check(worker_log_error("x", 1, nullptr, 0) == WORKER_SUCCESS, "logging");
    for (int wait = 0; wait < 1000 && calls < 3; wait++) std::this_thread::sleep_for(std::chrono::milliseconds(10));
    check(calls >= 3, "every record reached the callback");

    worker_model_t model = 0;
    check(worker_model_load(arguments[1], std::strlen(arguments[1]), nullptr, &model, nullptr) == WORKER_SUCCESS, "loading");
    check(worker_model_unload(model) == WORKER_SUCCESS, "unloading");
    check(worker_set_log_callback(nullptr, nullptr, nullptr) == WORKER_SUCCESS, "taking the callback away");
    if (failures == 0) std::puts("all calls gave what they should");
    return failures != 0;
}
