/* The managed worker, its logs, health and metrics: bad calls, and many lives. */
#include "check.h"

#include <sys/wait.h>
#include <unistd.h>

#define COUNT(array) (sizeof(array) / sizeof *(array))
#define HUGE_LENGTH ((size_t)1 << 40)

static const char *path;

static void read_only(void *user_data, const worker_log_record_t *record) {
    CHECK(record->struct_size == sizeof *record && strlen(record->message) == record->message_length);
    CHECK(strlen(record->target) == record->target_length && strlen(record->fields) == record->fields_length);
    atomic_fetch_add((atomic_int *)user_data, 1);
}

static void told(void *user_data, const worker_health_t *health) {
    CHECK(health->struct_size == sizeof *health);
    atomic_fetch_add((atomic_int *)user_data, 1);
}

static void released(void *user_data) {
    atomic_fetch_add((atomic_int *)user_data, 1000);
}

static worker_status_t bootstrap(const char *configuration, worker_model_t *model) {
    worker_bootstrap_t out = WORKER_BOOTSTRAP_INIT;
    worker_error_t error = WORKER_ERROR_INIT;
    worker_status_t status = worker_bootstrap(configuration, strlen(configuration), &out, &error);
    CHECK(error.code == status && (status == WORKER_SUCCESS) == (error.detail[0] == '\0'));
    if (model != NULL) *model = out.model;
    return status;
}

/* Without a worker, and with bad arguments. */
static void bad_calls(void) {
    const worker_status_t bad = WORKER_ERROR_INVALID_PARAMETER, none = WORKER_ERROR_NOT_INITIALIZED;
    worker_bootstrap_t out = WORKER_BOOTSTRAP_INIT;
    worker_overview_t overview = WORKER_OVERVIEW_INIT;
    worker_health_t health = WORKER_HEALTH_INIT;
    worker_session_t session = 77;
    char buffer[8];
    size_t needed = 0, i;
    int descriptor = 5;
    static const uint32_t wrong[] = { 0, 1, 4, 40, 1u << 20, UINT32_MAX };
    CODE(worker_bootstrap(NULL, 3, &out, NULL), bad);
    CODE(worker_bootstrap("{}", 2, NULL, NULL), bad);
    CODE(worker_bootstrap("{}", HUGE_LENGTH, &out, NULL), bad);
    CODE(worker_bootstrap("\xff\xff", 2, &out, NULL), bad);
    CODE(worker_status(NULL, NULL), bad);
    CODE(worker_status_json(NULL, 4, NULL), bad);
    CODE(worker_status_json(buffer, sizeof buffer, &needed), WORKER_ERROR_BUFFER_TOO_SMALL);
    CHECK(needed > 100 && buffer[0] == '\0');
    CODE(worker_health(NULL, NULL), bad);
    CODE(worker_health(&health, NULL), none);
    CODE(worker_health_check(NULL, NULL), bad);
    CODE(worker_health_check(&health, NULL), none);
    CODE(worker_health_json(NULL, 4, NULL), bad);
    CODE(worker_health_json(buffer, sizeof buffer, NULL), none);
    CODE(worker_health_text(NULL, 4, NULL), bad);
    CODE(worker_health_text(buffer, sizeof buffer, NULL), none);
    CODE(worker_metrics_json(NULL, 4, NULL), bad);
    CODE(worker_metrics_json(buffer, sizeof buffer, &needed), WORKER_ERROR_BUFFER_TOO_SMALL);
    CODE(worker_metrics_prometheus(NULL, 4, NULL), bad);
    CODE(worker_metrics_prometheus(buffer, sizeof buffer, &needed), WORKER_ERROR_BUFFER_TOO_SMALL);
    CODE(worker_transition_to_graceful_shutdown(UINT64_MAX), none);
    CODE(worker_stop(), none);
    CODE(worker_set_log_level(0), bad);
    CODE(worker_set_log_level(UINT32_MAX), bad);
    CODE(worker_log_trace(NULL, 3, NULL, 0), bad);
    CODE(worker_log_debug("\xff", 1, NULL, 0), bad);
    CODE(worker_log_info("x", HUGE_LENGTH, NULL, 0), bad);
    CODE(worker_log_warn("x", 1, NULL, 5), bad);
    CODE(worker_log_error("x", 1, "[]", 2), bad);
    CODE(worker_log_error("x", 1, "{\"a\": 1", 7), bad);
    CODE(worker_session_event_descriptor(session, &descriptor, NULL), WORKER_ERROR_INVALID_HANDLE);
    CHECK(descriptor == 0);
    CODE(worker_session_event_descriptor(session, NULL, NULL), bad);
    for (i = 0; i < COUNT(wrong); i++) {
        out.struct_size = overview.struct_size = health.struct_size = wrong[i];
        CODE(worker_bootstrap("{}", 2, &out, NULL), WORKER_ERROR_ABI_MISMATCH);
        CODE(worker_status(&overview, NULL), WORKER_ERROR_ABI_MISMATCH);
        CODE(worker_health(&health, NULL), WORKER_ERROR_ABI_MISMATCH);
        CODE(worker_health_check(&health, NULL), WORKER_ERROR_ABI_MISMATCH);
    }
}

/* Data is released once, whatever becomes of the call. */
static void callbacks(void) {
    atomic_int seen = 0, health = 0;
    CODE(worker_set_health_callback(told, &health, released), WORKER_ERROR_NOT_INITIALIZED);
    CHECK(atomic_load(&health) == 1000);
    CODE(worker_set_log_callback(NULL, &seen, released), WORKER_SUCCESS);
    CHECK(atomic_load(&seen) == 1000);
    CODE(worker_set_log_callback(read_only, &seen, released), WORKER_SUCCESS);
    CODE(worker_log_warn("hello", 5, "{\"a\":\"b\"}", 9), WORKER_SUCCESS);
    CODE(worker_set_log_callback(NULL, NULL, NULL), WORKER_SUCCESS);
    CHECK(atomic_load(&seen) >= 2001 && atomic_load(&seen) < 3000);
}

/* One sink takes the other's place, and a reader that went away ends nothing. */
static void descriptors(void) {
    int ends[2], wrong[] = {-2, 1000000};
    char line[256];
    size_t i;
    ssize_t length;
    for (i = 0; i < COUNT(wrong); i++) CODE(worker_set_log_descriptor(wrong[i]), WORKER_ERROR_INVALID_PARAMETER);
    CHECK(pipe(ends) == 0);
    CODE(worker_set_log_descriptor(ends[0]), WORKER_ERROR_INVALID_PARAMETER);
    CODE(worker_set_log_descriptor(ends[1]), WORKER_SUCCESS);
    CODE(worker_log_error("hello", 5, NULL, 0), WORKER_SUCCESS);
    CODE(worker_set_log_descriptor(-1), WORKER_SUCCESS);
    length = read(ends[0], line, sizeof line - 1);
    line[length > 0 ? length : 0] = '\0';
    CHECK(strstr(line, "\"message\":\"hello\"") != NULL && line[strlen(line) - 1] == '\n');
    CODE(worker_set_log_descriptor(ends[1]), WORKER_SUCCESS);
    close(ends[0]);
    close(ends[1]);
    for (i = 0; i < 3; i++) CODE(worker_log_error("nobody", 6, NULL, 0), WORKER_SUCCESS);
    CODE(worker_set_log_descriptor(-1), WORKER_SUCCESS);
}

static void lives(int count) {
    int i;
    for (i = 0; i < count; i++) {
        worker_overview_t overview = WORKER_OVERVIEW_INIT;
        CODE(bootstrap(i % 3 == 2 ? "{\"health_interval_seconds\": 0}" : "", NULL), WORKER_SUCCESS);
        CODE(bootstrap("", NULL), WORKER_ERROR_ALREADY_INITIALIZED);
        CODE(worker_status(&overview, NULL), WORKER_SUCCESS);
        CHECK(overview.state == WORKER_STATE_RUNNING);
        CODE(i % 2 ? worker_stop() : worker_transition_to_graceful_shutdown(0), WORKER_SUCCESS);
        CODE(bootstrap("{\"colour\": 1}", NULL), WORKER_ERROR_INVALID_PARAMETER);
    }
}

static void with_a_model(void) {
    char configuration[4096];
    worker_model_t model;
    worker_session_t session;
    worker_health_t health = WORKER_HEALTH_INIT;
    atomic_int changes = 0;
    unsigned tokens;
    snprintf(configuration, sizeof configuration, "{\"model\": \"%s\", \"health_interval_seconds\": 0.01}", path);
    CODE(bootstrap(configuration, &model), WORKER_SUCCESS);
    CODE(worker_set_health_callback(told, &changes, released), WORKER_SUCCESS);
    session = start(model, "Once upon a time", 12);
    CHECK(drain(session, &tokens) == WORKER_END_MAXIMUM_TOKENS && tokens == 12);
    CODE(worker_health_check(&health, NULL), WORKER_SUCCESS);
    CHECK(health.healthy == 1 && health.checked_bytes > 300000);
    CODE(worker_stop(), WORKER_SUCCESS);
    CHECK(atomic_load(&changes) == 1000);
    CODE(worker_session_close(session), WORKER_ERROR_STALE_HANDLE);
    CODE(worker_model_unload(model), WORKER_ERROR_STALE_HANDLE);
}

/* The child of a process with a running worker has none, and may start its own. */
static void forks(void) {
    char configuration[4096];
    worker_model_t model;
    pid_t child;
    int status = -1;
    snprintf(configuration, sizeof configuration, "{\"model\": \"%s\"}", path);
    CODE(bootstrap(configuration, &model), WORKER_SUCCESS);
    child = fork();
    if (child == 0) {
        worker_overview_t overview = WORKER_OVERVIEW_INIT;
        worker_session_t session;
        unsigned tokens;
        CODE(worker_status(&overview, NULL), WORKER_SUCCESS);
        CHECK(overview.state == WORKER_STATE_STOPPED && overview.models == 0);
        CODE(worker_stop(), WORKER_ERROR_NOT_INITIALIZED);
        CODE(worker_session_start(model, "cat", 3, NULL, &session, NULL), WORKER_ERROR_FORKED);
        CODE(worker_log_info("from the child", 14, NULL, 0), WORKER_SUCCESS);
        CODE(bootstrap(configuration, &model), WORKER_SUCCESS);
        session = start(model, "Once upon a time", 5);
        CHECK(drain(session, &tokens) == WORKER_END_MAXIMUM_TOKENS && tokens == 5);
        CODE(worker_stop(), WORKER_SUCCESS);
        _exit(atomic_load(&failures) != 0);
    }
    CHECK(child > 0 && waitpid(child, &status, 0) == child && status == 0);
    CODE(worker_stop(), WORKER_SUCCESS);
}

int main(int count, char **arguments) {
    path = arguments[1];
    bad_calls();
    callbacks();
    descriptors();
    lives(count > 2 ? atoi(arguments[2]) : 1000);
    with_a_model();
    /* Not under valgrind, where the child would report what its parent owns. */
    if (count <= 2) forks();
    return report();
}
