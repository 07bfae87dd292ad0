/*
 * Calls into the host, contained: what a C++ host throws ends here. Rust cannot catch foreign exceptions.
 */
#include "engine.h"

extern "C" int32_t engine_call_contained(engine_callback callback, void *user_data, const void *argument) noexcept {
    try {
        callback(user_data, argument);
        return 0;
    } catch (...) {
        return 1;
    }
}
