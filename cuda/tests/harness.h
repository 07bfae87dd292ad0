/*
 * A small harness: TEST registers, CHECK_... report with file and line and go on, main runs what was registered.
 */
#ifndef WORKER_TEST_HARNESS_H
#define WORKER_TEST_HARNESS_H

#include "cuda_error.h"

#include <cstdint>
#include <sstream>
#include <string>

namespace harness {

using Body = void (*)();

struct Registration {
    Registration(const char *name, Body body);
};

void fail(const char *file, int line, const std::string &what);

template <typename Left, typename Right>
void check_equal(const Left &left, const Right &right, const char *text, const char *file, int line) {
    if (left == right) return;
    std::ostringstream message;
    message << text << ": " << left << " and " << right;
    fail(file, line, message.str());
}

/* `action` must throw a CudaError of this code whose text has this fragment. */
template <typename Action>
void check_throws(int32_t code, const std::string &fragment, Action &&action, const char *file, int line) {
    try {
        action();
        fail(file, line, "nothing was thrown; expected code " + std::to_string(code));
    } catch (const worker::CudaError &error) {
        if (error.code() != code || std::string(error.what()).find(fragment) == std::string::npos) {
            fail(file, line, "code " + std::to_string(error.code()) + ", \"" + error.what() + "\"; expected code " +
                                 std::to_string(code) + " and \"" + fragment + "\"");
        }
    }
}

/* How many of this process's allocations by `operator new` succeed before one fails; negative: all. */
void fail_new_after(long successes) noexcept;

} // namespace harness

#define TEST(name)                                                                                                     \
    static void name();                                                                                                \
    static const harness::Registration name##_registration(#name, name);                                               \
    static void name()
#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) harness::fail(__FILE__, __LINE__, #condition);                                               \
    } while (false)
#define CHECK_EQUAL(left, right) harness::check_equal((left), (right), #left " == " #right, __FILE__, __LINE__)
#define CHECK_THROWS(code, fragment, ...)                                                                              \
    harness::check_throws((code), (fragment), [&] { __VA_ARGS__; }, __FILE__, __LINE__)

#endif
