/*
 * Calls into the host, contained: what a C++ host throws ends here. Rust cannot catch foreign exceptions.
 */
#include "engine.h"

extern "C" int32_t engine_call_contained(engine_callback callback, void *user_data, const void *argument) noexcept {
    try {
        return callback(user_data, argument);
    } catch (...) {
        return ENGINE_CALLBACK_THREW;
    }
}
