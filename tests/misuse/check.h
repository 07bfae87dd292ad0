/* What the programs of this folder check with. */
#ifndef CHECK_H
#define CHECK_H

#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "worker_ffi.h"

static atomic_int failures;

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                            \
            atomic_fetch_add(&failures, 1);                                                                            \
        }                                                                                                              \
    } while (0)

#define CODE(call, expected)                                                                                           \
    do {                                                                                                               \
        worker_status_t status_ = (call);                                                                              \
        if (status_ != (expected)) {                                                                                   \
            char detail_[512] = "";                                                                                    \
            worker_last_error(detail_, sizeof detail_, NULL);                                                          \
            fprintf(stderr, "%s:%d: %s: %s, expected %s (%s)\n", __FILE__, __LINE__, #call, worker_error_name(status_),\
                    worker_error_name(expected), detail_);                                                             \
            atomic_fetch_add(&failures, 1);                                                                            \
        }                                                                                                              \
    } while (0)

static inline worker_model_t load(const char *path) {
    worker_model_t model = 0;
    CODE(worker_model_load(path, strlen(path), NULL, &model, NULL), WORKER_SUCCESS);
    CHECK(model != 0);
    return model;
}

static inline worker_session_t start(worker_model_t model, const char *prompt, unsigned tokens) {
    worker_session_options_t options = WORKER_SESSION_OPTIONS_INIT;
    worker_session_t session = 0;
    options.maximum_tokens = tokens;
    CODE(worker_session_start(model, prompt, strlen(prompt), &options, &session, NULL), WORKER_SUCCESS);
    return session;
}

/* Reads to the end, and tells why it came; another thread may take some of the tokens. */
static inline worker_end_reason_t drain(worker_session_t session, unsigned *tokens) {
    char text[256];
    worker_event_t event = WORKER_EVENT_INIT;
    event.text = text;
    event.text_capacity = sizeof text;
    *tokens = 0;
    for (;;) {
        worker_status_t status = worker_session_next(session, &event, WORKER_WAIT_FOREVER, NULL);
        if (status != WORKER_SUCCESS || event.kind == WORKER_EVENT_END) {
            return status == WORKER_SUCCESS ? event.end_reason : WORKER_END_NONE;
        }
        CHECK(event.kind == WORKER_EVENT_TOKEN && strlen(text) == event.text_length && event.index >= *tokens);
        ++*tokens;
    }
}

static inline int report(void) {
    if (atomic_load(&failures) == 0) puts("all calls gave what they should");
    return atomic_load(&failures) != 0;
}

#endif
