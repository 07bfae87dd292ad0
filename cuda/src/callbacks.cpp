/*
 * Calls into the host, contained: what a C++ host throws ends here. Rust cannot catch foreign exceptions.
 */
#include "engine.h"

namespace {

template <typename Call>
int32_t contained(const Call &call) noexcept {
    try {
        call();
        return 0;
    } catch (...) {
        return 1;
    }
}

} // namespace

extern "C" int32_t engine_call_contained(engine_callback callback, void *user_data, const void *argument) noexcept {
    return contained([&] { callback(user_data, argument); });
}

extern "C" int32_t engine_ask_contained(engine_question question, void *user_data, const void *argument,
                                        int32_t *answer) noexcept {
    return contained([&] { *answer = question(user_data, argument); });
}

extern "C" int32_t engine_ask_fraction_contained(engine_fraction_question question, void *user_data, float fraction,
                                                 int32_t *answer) noexcept {
    return contained([&] { *answer = question(user_data, fraction); });
}

extern "C" int32_t engine_release_contained(engine_release release, void *user_data) noexcept {
    return contained([&] { release(user_data); });
}
