/*
 * Every exported function with everything a caller can get wrong, from several threads at once: an error code each time,
 * the right one, and the library goes on working.
 */
#include <pthread.h>
#include <stdint.h>

#include "check.h"

static const char *path;
static worker_model_t model;
static worker_session_t session;

#define HUGE_LENGTH (SIZE_MAX / 2)

/* Every function that takes a model, with all its other arguments right. */
static worker_status_t info(worker_model_t m, worker_error_t *e) { char b[8192]; size_t n; return worker_model_info_json(m, b, sizeof b, &n, e); }
static worker_status_t memory(worker_model_t m, worker_error_t *e) { worker_memory_t o = WORKER_MEMORY_INIT; return worker_model_memory(m, &o, e); }
static worker_status_t tokenize(worker_model_t m, worker_error_t *e) { uint32_t t[16]; size_t n; return worker_model_tokenize(m, "cat", 3, 0, t, 16, &n, e); }
static worker_status_t detokenize(worker_model_t m, worker_error_t *e) { uint32_t t = 5; char b[64]; size_t n; return worker_model_detokenize(m, &t, 1, 0, b, sizeof b, &n, e); }
static worker_status_t score(worker_model_t m, worker_error_t *e) { uint32_t t[2] = {1, 5}; static _Thread_local float s[4096]; size_t n; return worker_model_score(m, t, 2, NULL, s, 4096, &n, e); }
static worker_status_t embed(worker_model_t m, worker_error_t *e) { uint32_t t[2] = {1, 5}; float v[1024]; size_t n; return worker_model_embed(m, t, 2, NULL, v, 1024, &n, e); }
static worker_status_t check_residency(worker_model_t m, worker_error_t *e) { worker_residency_t o = WORKER_RESIDENCY_INIT; return worker_model_check_residency(m, &o, e); }
static worker_status_t repair_residency(worker_model_t m, worker_error_t *e) { worker_residency_t o = WORKER_RESIDENCY_INIT; return worker_model_repair_residency(m, &o, e); }
static worker_status_t start_text(worker_model_t m, worker_error_t *e) { worker_session_options_t o = WORKER_SESSION_OPTIONS_INIT; worker_session_t s = 7; worker_status_t r; o.maximum_tokens = 1; r = worker_session_start(m, "cat", 3, &o, &s, e); CHECK((r == 0) == (s != 0)); if (s) CODE(worker_session_close(s), 0); return r; }
static worker_status_t start_tokens(worker_model_t m, worker_error_t *e) { worker_session_options_t o = WORKER_SESSION_OPTIONS_INIT; uint32_t t = 5; worker_session_t s = 7; worker_status_t r; o.maximum_tokens = 1; r = worker_session_start_tokens(m, &t, 1, &o, &s, e); CHECK((r == 0) == (s != 0)); if (s) CODE(worker_session_close(s), 0); return r; }
static worker_status_t (*const of_model[])(worker_model_t, worker_error_t *) = {
    info, memory, tokenize, detokenize, score, embed, check_residency, repair_residency, start_text, start_tokens,
};
/* These two need a model with a chat template to succeed. */
static worker_status_t chat(worker_model_t m, worker_error_t *e) { char b[64]; size_t n; return worker_model_apply_chat_template(m, "[]", 2, NULL, b, sizeof b, &n, e); }
static worker_status_t start_chat(worker_model_t m, worker_error_t *e) { worker_session_t s = 7; worker_status_t r = worker_session_start_chat(m, "[]", 2, NULL, &s, e); CHECK(s == 0); return r; }
static worker_status_t unload(worker_model_t m, worker_error_t *e) { (void)e; return worker_model_unload(m); }

/* Every function that takes a session. */
static worker_status_t next(worker_session_t s, worker_error_t *e) { char b[256]; worker_event_t v = WORKER_EVENT_INIT; v.text = b; v.text_capacity = sizeof b; return worker_session_next(s, &v, 0, e); }
static int32_t ignore(void *data, const worker_event_t *event) { (void)data; (void)event; return 0; }
static void count_up(void *data) { ++*(int *)data; }
static worker_status_t run(worker_session_t s, worker_error_t *e) { int destroyed = 0; worker_status_t r = worker_session_run(s, ignore, &destroyed, count_up, e); CHECK(destroyed == 1); return r; }
static worker_status_t usage(worker_session_t s, worker_error_t *e) { worker_usage_t o = WORKER_USAGE_INIT; return worker_session_usage(s, &o, e); }
static worker_status_t seed(worker_session_t s, worker_error_t *e) { uint64_t o; return worker_session_seed(s, &o, e); }
static worker_status_t cancel(worker_session_t s, worker_error_t *e) { (void)e; return worker_session_cancel(s); }
static worker_status_t close_it(worker_session_t s, worker_error_t *e) { (void)e; return worker_session_close(s); }
static worker_status_t (*const of_session[])(worker_session_t, worker_error_t *) = { next, run, usage, seed, cancel, close_it };

#define COUNT(array) (sizeof(array) / sizeof *(array))

static void check_one(worker_status_t (*call)(uint64_t, worker_error_t *), uint64_t handle, worker_status_t expected) {
    worker_error_t error = WORKER_ERROR_INIT;
    char last[512];
    CODE(call(handle, NULL), expected);
    CHECK(worker_last_error(last, sizeof last, NULL) == WORKER_SUCCESS && last[0] != '\0');
    CODE(call(handle, &error), expected);
    CHECK(error.code == expected || (error.code == 0 && (call == unload || call == cancel || call == close_it)));
    CHECK(error.code == 0 || strcmp(error.detail, last) == 0);
}

static void bad_handles(void) {
    worker_session_t stale_session = start(model, "cat", 4), orphan;
    worker_model_t stale_model = load(path);
    int code;
    uint64_t context = worker_handle_from_pointer(cuda_init(-1, &code));
    size_t i, j;
    CHECK(worker_handle_to_pointer(context) != NULL && worker_handle_from_pointer(NULL) == 0 && worker_handle_to_pointer(0) == NULL);
    orphan = start(stale_model, "cat", 4);
    CODE(worker_session_close(stale_session), WORKER_SUCCESS);
    CODE(worker_model_unload(stale_model), WORKER_SUCCESS);
    {
        const struct { uint64_t handle; worker_status_t code; } models[] = {
            { 0, WORKER_ERROR_INVALID_HANDLE }, { 1, WORKER_ERROR_INVALID_HANDLE }, { UINT64_MAX, WORKER_ERROR_INVALID_HANDLE },
            { (uint64_t)(uintptr_t)&i, WORKER_ERROR_INVALID_HANDLE }, { model + 0xffff, WORKER_ERROR_INVALID_HANDLE },
            { model ^ ((uint64_t)1 << 63), WORKER_ERROR_INVALID_HANDLE }, { stale_model, WORKER_ERROR_STALE_HANDLE },
            { session, WORKER_ERROR_WRONG_KIND }, { context, WORKER_ERROR_WRONG_KIND },
        }, sessions[] = {
            { 0, WORKER_ERROR_INVALID_HANDLE }, { 1, WORKER_ERROR_INVALID_HANDLE }, { UINT64_MAX, WORKER_ERROR_INVALID_HANDLE },
            { session + 0xffff, WORKER_ERROR_INVALID_HANDLE }, { stale_session, WORKER_ERROR_STALE_HANDLE },
            { orphan, WORKER_ERROR_STALE_HANDLE }, { model, WORKER_ERROR_WRONG_KIND }, { context, WORKER_ERROR_WRONG_KIND },
        };
        for (j = 0; j < COUNT(models); j++) {
            for (i = 0; i < COUNT(of_model); i++) check_one(of_model[i], models[j].handle, models[j].code);
            check_one(chat, models[j].handle, models[j].code);
            check_one(start_chat, models[j].handle, models[j].code);
            check_one(unload, models[j].handle, models[j].code);
        }
        for (j = 0; j < COUNT(sessions); j++)
            for (i = 0; i < COUNT(of_session); i++) check_one(of_session[i], sessions[j].handle, sessions[j].code);
    }
    for (i = 0; i < COUNT(of_model); i++) CODE(of_model[i](model, NULL), WORKER_SUCCESS);
    CODE(chat(model, NULL), WORKER_ERROR_MODEL_UNSUPPORTED);
    CODE(start_chat(model, NULL), WORKER_ERROR_MODEL_UNSUPPORTED);
    cuda_destroy((CudaContext *)worker_handle_to_pointer(context));
}

static void bad_pointers(void) {
    worker_error_t tiny;
    worker_model_t m = 7;
    worker_session_t s = 7;
    uint32_t tokens[4] = { 1, 2, 3, 4 };
    char buffer[8];
    float number;
    size_t needed = 9;
    const worker_status_t bad = WORKER_ERROR_INVALID_PARAMETER;
    CODE(worker_model_load(NULL, 3, NULL, &m, NULL), bad);
    CHECK(m == 0);
    CODE(worker_model_load("x", 0, NULL, &m, NULL), bad);
    CODE(worker_model_load("a\0b", 3, NULL, &m, NULL), bad);
    CODE(worker_model_load("x", HUGE_LENGTH, NULL, &m, NULL), bad);
    CODE(worker_model_load(path, strlen(path), NULL, NULL, NULL), bad);
    CODE(worker_model_load("/no/such/file", 13, NULL, &m, NULL), WORKER_ERROR_INPUT_OUTPUT);
    CODE(worker_model_info_json(model, NULL, 5, NULL, NULL), bad);
    CODE(worker_model_info_json(model, buffer, SIZE_MAX, NULL, NULL), bad);
    CODE(worker_model_info_json(model, NULL, 0, &needed, NULL), WORKER_ERROR_BUFFER_TOO_SMALL);
    CHECK(needed > 100);
    CODE(worker_model_info_json(model, buffer, sizeof buffer, NULL, NULL), WORKER_ERROR_BUFFER_TOO_SMALL);
    CHECK(buffer[0] == '\0');
    CODE(worker_model_memory(model, NULL, NULL), bad);
    CODE(worker_model_tokenize(model, NULL, 3, 0, tokens, 4, &needed, NULL), bad);
    CHECK(needed == 0);
    CODE(worker_model_tokenize(model, "cat", HUGE_LENGTH, 0, tokens, 4, &needed, NULL), bad);
    CODE(worker_model_tokenize(model, "\xff", 1, 0, tokens, 4, &needed, NULL), bad);
    CODE(worker_model_tokenize(model, "cat", 3, 0x80, tokens, 4, &needed, NULL), bad);
    CODE(worker_model_tokenize(model, "cat", 3, 0, NULL, 4, &needed, NULL), bad);
    CODE(worker_model_tokenize(model, "cat", 3, 0, tokens, SIZE_MAX / 2, &needed, NULL), bad);
    CODE(worker_model_tokenize(model, "cat and dog", 11, 0, tokens, 1, &needed, NULL), WORKER_ERROR_BUFFER_TOO_SMALL);
    CHECK(needed > 1);
    CODE(worker_model_tokenize(model, NULL, 0, 0, tokens, 4, &needed, NULL), WORKER_SUCCESS);
    CHECK(needed == 0);
    CODE(worker_model_detokenize(model, NULL, 1, 0, buffer, 8, &needed, NULL), bad);
    CODE(worker_model_detokenize(model, tokens, HUGE_LENGTH, 0, buffer, 8, &needed, NULL), bad);
    CODE(worker_model_detokenize(model, (uint32_t *)((char *)tokens + 1), 1, 0, buffer, 8, &needed, NULL), bad);
    tokens[1] = UINT32_MAX;
    CODE(worker_model_detokenize(model, tokens, 2, 0, buffer, 8, &needed, NULL), bad);
    CODE(worker_model_detokenize(model, NULL, 0, 0, buffer, 8, &needed, NULL), WORKER_SUCCESS);
    CHECK(needed == 1 && buffer[0] == '\0');
    CODE(worker_model_score(model, tokens, 2, NULL, &number, 0, &needed, NULL), WORKER_ERROR_BUFFER_TOO_SMALL);
    CODE(worker_model_score(model, NULL, 2, NULL, &number, 1, &needed, NULL), bad);
    CODE(worker_model_score(model, tokens, 0, NULL, &number, 1, &needed, NULL), bad);
    CODE(worker_model_score(model, tokens, HUGE_LENGTH, NULL, &number, 1, &needed, NULL), bad);
    CODE(worker_model_embed(model, NULL, 2, NULL, &number, 1, &needed, NULL), bad);
    CODE(worker_model_embed(model, tokens, 1, NULL, &number, 1, &needed, NULL), WORKER_ERROR_BUFFER_TOO_SMALL);
    CODE(worker_model_apply_chat_template(model, NULL, 2, NULL, buffer, 8, &needed, NULL), bad);
    CODE(worker_model_check_residency(model, NULL, NULL), bad);
    CODE(worker_model_repair_residency(model, NULL, NULL), bad);
    CODE(worker_residency_report_json(NULL, 1, NULL, NULL), bad);
    CODE(worker_residency_report_json(buffer, 8, &needed, NULL), WORKER_ERROR_BUFFER_TOO_SMALL);
    CODE(worker_session_start(model, NULL, 3, NULL, &s, NULL), bad);
    CHECK(s == 0);
    CODE(worker_session_start(model, "\xe2\x82", 2, NULL, &s, NULL), bad);
    CODE(worker_session_start(model, "cat", HUGE_LENGTH, NULL, &s, NULL), bad);
    CODE(worker_session_start(model, "cat", 3, NULL, NULL, NULL), bad);
    CODE(worker_session_start_tokens(model, NULL, 3, NULL, &s, NULL), bad);
    CODE(worker_session_start_tokens(model, tokens, 0, NULL, &s, NULL), bad);
    CODE(worker_session_start_tokens(model, tokens, 2, NULL, &s, NULL), bad);
    CODE(worker_session_start_chat(model, NULL, 3, NULL, &s, NULL), bad);
    CODE(worker_session_next(session, NULL, 0, NULL), bad);
    CODE(worker_session_run(session, NULL, NULL, NULL, NULL), bad);
    CODE(worker_session_usage(session, NULL, NULL), bad);
    CODE(worker_session_seed(session, NULL, NULL), bad);
    CODE(worker_device_info(WORKER_CPU, NULL, NULL), bad);
    CODE(worker_device_process_memory(WORKER_CPU, NULL, NULL), bad);
    CODE(worker_device_check_health(-2, NULL), WORKER_ERROR_INVALID_DEVICE);
    CODE(worker_device_check_health(INT32_MAX, NULL), WORKER_ERROR_INVALID_DEVICE);
    CODE(worker_model_options_init(NULL, sizeof(worker_model_options_t)), bad);
    CODE(worker_chat_options_init(NULL, sizeof(worker_chat_options_t)), bad);
    CODE(worker_session_options_init(NULL, sizeof(worker_session_options_t)), bad);
    CODE(worker_event_init(NULL, sizeof(worker_event_t)), bad);
    CODE(worker_score_options_init(NULL, sizeof(worker_score_options_t)), bad);
    CODE(worker_embed_options_init(NULL, sizeof(worker_embed_options_t)), bad);
    CODE(worker_last_error(NULL, 4, NULL), bad);
    CODE(worker_last_error(buffer, SIZE_MAX, NULL), bad);
    CODE(worker_last_error(NULL, 0, &needed), WORKER_ERROR_BUFFER_TOO_SMALL);
    CHECK(needed > 1);
    tiny.struct_size = 4;
    CODE(worker_device_check_health(WORKER_CPU, &tiny), WORKER_ERROR_ABI_MISMATCH);
}

/* A struct that claims to be larger than ours, with room for what a later version may add. */
#define LARGER(type) struct { type known; unsigned char unknown[64]; }

#define SIZES(type, call, succeeds)                                                                                    \
    do {                                                                                                               \
        static const uint32_t wrong[] = { 0, 1, 4, sizeof(type) - 1, 1u << 20, UINT32_MAX };                           \
        LARGER(type) larger;                                                                                           \
        type *value = &larger.known;                                                                                   \
        size_t k;                                                                                                      \
        for (k = 0; k < COUNT(wrong); k++) {                                                                           \
            memset(&larger, 0, sizeof larger);                                                                         \
            value->struct_size = wrong[k];                                                                             \
            CODE(call, WORKER_ERROR_ABI_MISMATCH);                                                                     \
        }                                                                                                              \
        memset(&larger, 0, sizeof larger);                                                                             \
        value->struct_size = sizeof larger;                                                                            \
        CODE(call, succeeds);                                                                                          \
        CHECK(value->struct_size == sizeof larger);                                                                    \
    } while (0)

#define UNKNOWN_OPTION(type, call)                                                                                     \
    do {                                                                                                               \
        LARGER(type) larger;                                                                                           \
        type *value = &larger.known;                                                                                   \
        memset(&larger, 0, sizeof larger);                                                                             \
        value->struct_size = sizeof larger;                                                                            \
        larger.unknown[63] = 1;                                                                                        \
        CODE(call, WORKER_ERROR_ABI_MISMATCH);                                                                         \
    } while (0)

static void wrong_sizes(void) {
    worker_model_t m = 0;
    worker_session_t s = 0;
    uint32_t tokens[2] = { 1, 5 };
    size_t n;
    SIZES(worker_memory_t, worker_model_memory(model, value, NULL), WORKER_SUCCESS);
    SIZES(worker_residency_t, worker_model_check_residency(model, value, NULL), WORKER_SUCCESS);
    SIZES(worker_residency_t, worker_model_repair_residency(model, value, NULL), WORKER_SUCCESS);
    SIZES(worker_device_info_t, worker_device_info(WORKER_CPU, value, NULL), WORKER_SUCCESS);
    SIZES(worker_usage_t, worker_session_usage(session, value, NULL), WORKER_SUCCESS);
    SIZES(worker_event_t, worker_session_next(session, value, 0, NULL), WORKER_ERROR_BUFFER_TOO_SMALL);
    SIZES(worker_score_options_t, worker_model_score(model, tokens, 2, value, NULL, 0, &n, NULL), WORKER_ERROR_BUFFER_TOO_SMALL);
    SIZES(worker_embed_options_t, worker_model_embed(model, tokens, 2, value, NULL, 0, &n, NULL), WORKER_ERROR_BUFFER_TOO_SMALL);
    SIZES(worker_chat_options_t, worker_model_apply_chat_template(model, "[]", 2, value, NULL, 0, &n, NULL), WORKER_ERROR_MODEL_UNSUPPORTED);
    SIZES(worker_model_options_t, worker_model_load("/no/such/file", 13, value, &m, NULL), WORKER_ERROR_INPUT_OUTPUT);
    SIZES(worker_session_options_t, worker_session_start(model, "", 0, value, &s, NULL), WORKER_SUCCESS);
    CODE(worker_session_close(s), WORKER_SUCCESS);
    UNKNOWN_OPTION(worker_score_options_t, worker_model_score(model, tokens, 2, value, NULL, 0, &n, NULL));
    UNKNOWN_OPTION(worker_embed_options_t, worker_model_embed(model, tokens, 2, value, NULL, 0, &n, NULL));
    UNKNOWN_OPTION(worker_chat_options_t, worker_model_apply_chat_template(model, "[]", 2, value, NULL, 0, &n, NULL));
    UNKNOWN_OPTION(worker_model_options_t, worker_model_load(path, strlen(path), value, &m, NULL));
    UNKNOWN_OPTION(worker_session_options_t, worker_session_start(model, "cat", 3, value, &s, NULL));
    {
        worker_event_t event;
        CODE(worker_event_init(&event, 3), WORKER_ERROR_ABI_MISMATCH);
        CODE(worker_event_init(&event, SIZE_MAX), WORKER_ERROR_ABI_MISMATCH);
        CODE(worker_event_init(&event, sizeof event), WORKER_SUCCESS);
        CHECK(event.struct_size == sizeof event && event.text == NULL && event.kind == WORKER_EVENT_NONE);
    }
}

#define REFUSED(type, init, member, bad, call)                                                                         \
    do {                                                                                                               \
        type options = init;                                                                                           \
        worker_error_t error = WORKER_ERROR_INIT;                                                                      \
        options.member = bad;                                                                                          \
        CODE(call, WORKER_ERROR_INVALID_PARAMETER);                                                                    \
        if (strstr(error.detail, #member) == NULL) {                                                                   \
            fprintf(stderr, "%d: \"%s\" does not name " #member "\n", __LINE__, error.detail);                         \
            atomic_fetch_add(&failures, 1);                                                                            \
        }                                                                                                              \
    } while (0)
#define SESSION_REFUSED(member, bad)                                                                                   \
    REFUSED(worker_session_options_t, WORKER_SESSION_OPTIONS_INIT, member, bad, worker_session_start(model, "cat", 3, &options, &s, &error))
#define MODEL_REFUSED(member, bad)                                                                                     \
    REFUSED(worker_model_options_t, WORKER_MODEL_OPTIONS_INIT, member, bad, worker_model_load(path, strlen(path), &options, &m, &error))

static void bad_options(void) {
    static const worker_text_t empty_stop = { "", 0 }, bad_stop = { "\xff", 1 }, null_stop = { NULL, 4 };
    const float not_a_number = (float)strtod("nan", NULL);
    worker_session_t s;
    worker_model_t m;
    SESSION_REFUSED(temperature, -1.0f);
    SESSION_REFUSED(temperature, not_a_number);
    SESSION_REFUSED(top_p, 1.5f);
    SESSION_REFUSED(min_p, -0.5f);
    SESSION_REFUSED(typical_p, not_a_number);
    SESSION_REFUSED(repetition_penalty, -2.0f);
    SESSION_REFUSED(presence_penalty, 1e9f);
    SESSION_REFUSED(frequency_penalty, not_a_number);
    SESSION_REFUSED(logprobs, 21);
    SESSION_REFUSED(seed_given, 2);
    SESSION_REFUSED(seed, 5);
    SESSION_REFUSED(ignore_end, 7);
    SESSION_REFUSED(constraint_kind, 99);
    SESSION_REFUSED(constraint_length, 3);
    MODEL_REFUSED(device_kind, 9);
    MODEL_REFUSED(device_ordinal, 1);
    MODEL_REFUSED(kv_type, 9);
    MODEL_REFUSED(residency, 9);
    MODEL_REFUSED(load_mode, 9);
    MODEL_REFUSED(threads, 5000);
    {
        worker_session_options_t options = WORKER_SESSION_OPTIONS_INIT;
        options.logit_bias_count = 3;
        CODE(worker_session_start(model, "cat", 3, &options, &s, NULL), WORKER_ERROR_INVALID_PARAMETER);
        options.logit_bias_count = 0;
        options.stop_count = UINT64_MAX;
        CODE(worker_session_start(model, "cat", 3, &options, &s, NULL), WORKER_ERROR_INVALID_PARAMETER);
    }
    {
        const worker_text_t *stops[] = { &empty_stop, &bad_stop, &null_stop };
        size_t i;
        for (i = 0; i < COUNT(stops); i++) {
            worker_session_options_t options = WORKER_SESSION_OPTIONS_INIT;
            options.stop = stops[i];
            options.stop_count = 1;
            CODE(worker_session_start(model, "cat", 3, &options, &s, NULL), WORKER_ERROR_INVALID_PARAMETER);
        }
    }
    {
        worker_model_options_t options = WORKER_MODEL_OPTIONS_INIT;
        options.device_kind = WORKER_DEVICE_GPU;
        options.device_ordinal = 9999;
        CODE(worker_model_load(path, strlen(path), &options, &m, NULL), WORKER_ERROR_INVALID_DEVICE);
    }
}

static void *everything(void *unused) {
    (void)unused;
    bad_handles();
    bad_pointers();
    wrong_sizes();
    bad_options();
    return NULL;
}

int main(int argc, char **argv) {
    pthread_t threads[4];
    size_t i;
    unsigned count = argc > 2 ? (unsigned)atoi(argv[2]) : COUNT(threads);
    path = argv[1];
    CHECK(worker_abi_version() == WORKER_ABI_VERSION && worker_version()[0] != '\0');
    CHECK(worker_error_http_status(WORKER_ERROR_OUT_OF_MEMORY) == 503 && worker_error_retry_helps(WORKER_ERROR_BUSY) == 1);
    CHECK(strcmp(worker_error_name(WORKER_ERROR_FORKED), "WORKER_ERROR_FORKED") == 0);
    CHECK(strcmp(worker_error_message(-3), "Unrecognized error code") == 0 && worker_error_http_status(-3) == 500);
    CHECK(worker_device_count() == (uint32_t)cuda_get_device_count());
    model = load(path);
    session = start(model, "Once", 100000);
    for (i = 0; i < count; i++) CHECK(pthread_create(&threads[i], NULL, everything, NULL) == 0);
    for (i = 0; i < count; i++) pthread_join(threads[i], NULL);
    CODE(worker_session_close(session), WORKER_SUCCESS);
    CODE(worker_session_close(session), WORKER_ERROR_STALE_HANDLE);
    CODE(worker_model_unload(model), WORKER_SUCCESS);
    CODE(worker_model_unload(model), WORKER_ERROR_STALE_HANDLE);
    return report();
}
