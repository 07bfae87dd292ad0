/*
 * The lives and deaths of handles: an ordinary life (run under valgrind too), races between readers and closers,
 * a fork, and an exit in mid-stream. The first argument says which.
 */
#include <pthread.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "check.h"

static void pause_ms(long milliseconds) {
    struct timespec time = { milliseconds / 1000, milliseconds % 1000 * 1000000 };
    nanosleep(&time, NULL);
}

struct told { int events, tokens, ends, destroyed, stop_after; size_t bytes; };

static int32_t tell(void *data, const worker_event_t *event) {
    struct told *told = data;
    told->events++;
    if (event->kind == WORKER_EVENT_TOKEN) {
        told->tokens++;
        told->bytes += event->text_length;
        CHECK(strlen(event->text) == event->text_length);
    }
    if (event->kind == WORKER_EVENT_END) told->ends++;
    return told->stop_after != 0 && told->tokens >= told->stop_after;
}

static void destroyed(void *data) { ((struct told *)data)->destroyed++; }

static int32_t cancel_load(void *data, float fraction) {
    CHECK(fraction >= 0 && fraction <= 1);
    ++*(int *)data;
    return 1;
}

static int loads_destroyed;
static void load_destroyed(void *data) { (void)data; loads_destroyed++; }

static int ordinary(const char *path) {
    worker_model_t model = load(path);
    worker_session_options_t options = WORKER_SESSION_OPTIONS_INIT;
    worker_model_options_t loading = WORKER_MODEL_OPTIONS_INIT;
    worker_event_t event = WORKER_EVENT_INIT;
    worker_usage_t usage = WORKER_USAGE_INIT;
    worker_logprob_t top[5];
    worker_session_t session;
    worker_model_t other = 7;
    struct told told = { 0 };
    char text[256], json[8192];
    uint32_t tokens[64];
    unsigned count;
    uint64_t seed = 0;
    size_t needed;
    int reported = 0;

    /* text to tokens and back */
    CODE(worker_model_tokenize(model, "Once upon a time", 16, 0, tokens, 64, &needed, NULL), WORKER_SUCCESS);
    CODE(worker_model_detokenize(model, tokens, needed, 0, text, sizeof text, &needed, NULL), WORKER_SUCCESS);
    CHECK(strstr(text, "Once upon a time") != NULL && needed == strlen(text) + 1);
    CODE(worker_model_info_json(model, json, sizeof json, &needed, NULL), WORKER_SUCCESS);
    CHECK(json[0] == '{' && json[needed - 2] == '}');
    CODE(worker_residency_report_json(json, sizeof json, &needed, NULL), WORKER_SUCCESS);
    CHECK(strstr(json, "\"resident\":true") != NULL);

    /* a session with everything asked for; a buffer that is too small loses nothing */
    options.maximum_tokens = 12;
    options.temperature = 0.8f;
    options.top_k = 40;
    options.top_p = 0.95f;
    options.seed = 11;
    options.seed_given = 1;
    options.logprobs = 5;
    CODE(worker_session_start(model, "Once upon a time", 16, &options, &session, NULL), WORKER_SUCCESS);
    CODE(worker_session_seed(session, &seed, NULL), WORKER_SUCCESS);
    CHECK(seed == 11);
    event.text = text;
    event.text_capacity = 0;
    CODE(worker_session_next(session, &event, WORKER_WAIT_FOREVER, NULL), WORKER_ERROR_BUFFER_TOO_SMALL);
    CHECK(event.kind == WORKER_EVENT_NONE && event.text == text && event.text_needed >= 1 && event.top_count == 5);
    event.text_capacity = sizeof text;
    CODE(worker_session_next(session, &event, WORKER_WAIT_FOREVER, NULL), WORKER_ERROR_BUFFER_TOO_SMALL);
    event.top = top;
    event.top_capacity = 5;
    for (count = 0;; count++) {
        CODE(worker_session_next(session, &event, WORKER_WAIT_FOREVER, NULL), WORKER_SUCCESS);
        if (event.kind != WORKER_EVENT_TOKEN) break;
        CHECK(event.index == count && event.has_logprob == 1 && event.logprob <= 0 && event.top_count == 5);
        CHECK(top[0].logprob >= top[1].logprob && top[1].logprob >= top[4].logprob);
    }
    CHECK(event.kind == WORKER_EVENT_END && count == 12 && event.end_reason == WORKER_END_MAXIMUM_TOKENS);
    CHECK(event.generated_tokens == 12 && event.prompt_tokens > 3 && event.matched_stop == -1);
    CODE(worker_session_next(session, &event, 0, NULL), WORKER_SUCCESS);
    CHECK(event.kind == WORKER_EVENT_END);
    CODE(worker_session_usage(session, &usage, NULL), WORKER_SUCCESS);
    CHECK(usage.generated_tokens == 12 && usage.first_token_seconds > 0);
    CODE(worker_session_close(session), WORKER_SUCCESS);

    /* by callback: to the end, and cancelled by its answer */
    session = start(model, "One day", 8);
    CODE(worker_session_run(session, tell, &told, destroyed, NULL), WORKER_SUCCESS);
    CHECK(told.tokens == 8 && told.ends == 1 && told.destroyed == 1 && told.bytes > 0);
    CODE(worker_session_close(session), WORKER_SUCCESS);
    session = start(model, "One day", 400);
    told = (struct told){ .stop_after = 3 };
    CODE(worker_session_run(session, tell, &told, destroyed, NULL), WORKER_SUCCESS);
    CHECK(told.tokens == 3 && told.ends == 1 && told.destroyed == 1);

    /* cancelled before anything was read; closed with its model */
    session = start(model, "One day", 400);
    CODE(worker_session_cancel(session), WORKER_SUCCESS);
    CODE(worker_session_cancel(session), WORKER_SUCCESS);
    CHECK(drain(session, &count) == WORKER_END_CANCELLED && count == 0);
    session = start(model, "One day", 400);
    CODE(worker_model_unload(model), WORKER_SUCCESS);
    CODE(worker_session_next(session, &event, 0, NULL), WORKER_ERROR_STALE_HANDLE);

    /* loading can be cancelled, and tells when it is done with the callback */
    loading.progress = cancel_load;
    loading.progress_user_data = &reported;
    loading.progress_destroy = load_destroyed;
    CODE(worker_model_load(path, strlen(path), &loading, &other, NULL), WORKER_ERROR_CANCELLED);
    CHECK(other == 0 && reported == 1 && loads_destroyed == 1);
    loading.kv_type = 77;
    CODE(worker_model_load(path, strlen(path), &loading, &other, NULL), WORKER_ERROR_INVALID_PARAMETER);
    CHECK(loads_destroyed == 2);
    loading = (worker_model_options_t)WORKER_MODEL_OPTIONS_INIT;
    loading.load_mode = WORKER_LOAD_COPY;
    loading.kv_type = WORKER_KV_F32;
    loading.threads = 2;
    CODE(worker_model_load(path, strlen(path), &loading, &other, NULL), WORKER_SUCCESS);
    session = start(other, "One day", 3);
    CHECK(drain(session, &count) == WORKER_END_MAXIMUM_TOKENS && count == 3);
    CODE(worker_model_unload(other), WORKER_SUCCESS);
    return report();
}

static worker_session_t shared_session;

static void *read_to_the_end(void *unused) {
    unsigned tokens;
    worker_end_reason_t reason = drain(shared_session, &tokens);
    (void)unused;
    /* The handle may be gone before the end could be read. */
    CHECK(reason == WORKER_END_CLOSED || reason == WORKER_END_CANCELLED || reason == WORKER_END_CONTEXT_FULL ||
          reason == WORKER_END_OF_TEXT || reason == WORKER_END_NONE);
    return NULL;
}

static void *count_to_the_end(void *unused) {
    char text[256];
    worker_event_t event = WORKER_EVENT_INIT;
    (void)unused;
    event.text = text;
    event.text_capacity = sizeof text;
    while (worker_session_next(shared_session, &event, 20, NULL) == WORKER_SUCCESS && event.kind == WORKER_EVENT_TOKEN) {
    }
    return NULL;
}

/* Whatever ends a session, and from wherever: its readers come back. */
static int races(const char *path) {
    int round;
    for (round = 0; round < 40; round++) {
        pthread_t readers[2];
        worker_model_t model = load(path);
        shared_session = start(model, "Once", 0);
        CHECK(pthread_create(&readers[0], NULL, read_to_the_end, NULL) == 0);
        if (round % 2) CHECK(pthread_create(&readers[1], NULL, count_to_the_end, NULL) == 0);
        pause_ms(round % 4);
        if (round % 3 == 0) CODE(worker_session_cancel(shared_session), WORKER_SUCCESS);
        if (round % 3 == 1) CODE(worker_session_close(shared_session), WORKER_SUCCESS);
        if (round % 5 == 0) pthread_join(readers[0], NULL);
        CODE(worker_model_unload(model), WORKER_SUCCESS);
        if (round % 5 != 0) pthread_join(readers[0], NULL);
        if (round % 2) pthread_join(readers[1], NULL);
    }
    return report();
}

static int forks(const char *path) {
    worker_model_t model = load(path);
    worker_session_t session = start(model, "Once", 2000);
    worker_event_t event = WORKER_EVENT_INIT;
    char text[256];
    int status = -1, code = 0, generation;
    unsigned tokens;
    CudaContext *context = cuda_init(-1, &code);
    pid_t child = fork();
    if (child == 0) {
        worker_model_t own;
        event.text = text;
        event.text_capacity = sizeof text;
        alarm(30);
        CODE(worker_session_next(session, &event, WORKER_WAIT_FOREVER, NULL), WORKER_ERROR_FORKED);
        CODE(worker_session_cancel(session), WORKER_ERROR_FORKED);
        CODE(worker_session_close(session), WORKER_ERROR_FORKED);
        CODE(worker_model_info_json(model, text, sizeof text, NULL, NULL), WORKER_ERROR_FORKED);
        CODE(worker_model_unload(model), WORKER_ERROR_FORKED);
        CHECK(!cuda_check_device_health(context, &code) && code == WORKER_ERROR_INVALID_PARAMETER);
        cuda_destroy(context);
        /* A child, and its child in turn, may load for themselves. */
        for (generation = 0; generation < 2; generation++) {
            own = load(path);
            session = start(own, "Once", 5);
            CHECK(drain(session, &tokens) == WORKER_END_MAXIMUM_TOKENS && tokens == 5);
            if (generation == 0 && (child = fork()) != 0) {
                waitpid(child, &status, 0);
                CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
                CODE(worker_model_unload(own), WORKER_SUCCESS);
                exit(atomic_load(&failures) != 0);
            }
            if (generation == 0) CODE(worker_model_unload(own), WORKER_ERROR_FORKED);
        }
        exit(atomic_load(&failures) != 0);
    }
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    /* The parent's go on. */
    event.text = text;
    event.text_capacity = sizeof text;
    CODE(worker_session_next(session, &event, WORKER_WAIT_FOREVER, NULL), WORKER_SUCCESS);
    CODE(worker_model_unload(model), WORKER_SUCCESS);
    cuda_destroy(context);
    return report();
}

/* Ends without closing anything, while the library works and another thread waits in it. */
static int leaves(const char *path) {
    pthread_t reader;
    worker_model_t model = load(path);
    shared_session = start(model, "Once", 0);
    CHECK(pthread_create(&reader, NULL, count_to_the_end, NULL) == 0);
    start(model, "One day", 0);
    pause_ms(3);
    return report();
}

int main(int argc, char **argv) {
    const char *path = argv[argc - 1];
    if (strcmp(argv[1], "ordinary") == 0) return ordinary(path);
    if (strcmp(argv[1], "races") == 0) return races(path);
    if (strcmp(argv[1], "forks") == 0) return forks(path);
    if (strcmp(argv[1], "leaves") == 0) return leaves(path);
    return 99;
}
