/*
 * What is asked of a GPU through the C interface. Each part prints one JSON object, and ends with 0 when all was right:
 *
 *     card device DEVICE
 *     card golden DEVICE MODEL TOKENS.txt LOGITS.f32   logits with an F32 cache against recorded ones
 *     card memory DEVICE MODEL                         more than there is, then what fits, and where it lies
 *     card stress DEVICE MODEL SECONDS                 sessions from many threads, some cancelled; texts as alone
 *     card timing DEVICE MODEL                         load, prompt, decode, residency check
 */
#define _POSIX_C_SOURCE 200809L
#include <math.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <worker_ffi.h>

static worker_error_t error = WORKER_ERROR_INIT;

static double now(void)
{
    struct timespec moment;
    clock_gettime(CLOCK_MONOTONIC, &moment);
    return (double)moment.tv_sec + (double)moment.tv_nsec * 1e-9;
}

static void *memory_for(size_t bytes)
{
    void *memory = malloc(bytes);
    if (memory == NULL) {
        fprintf(stderr, "no memory\n");
        exit(2);
    }
    return memory;
}

/* Ends the program unless the call succeeded. */
static void must(worker_status_t status, const char *what)
{
    if (status == WORKER_SUCCESS) return;
    fprintf(stderr, "%s: %s: %s\n", what, worker_error_name(status), error.detail);
    exit(1);
}

static worker_model_t load(int device, const char *path, uint64_t kv_bytes, worker_status_t *status)
{
    worker_model_t model = 0;
    worker_model_options_t options = WORKER_MODEL_OPTIONS_INIT;
    options.device_kind = device < 0 ? WORKER_DEVICE_CPU : WORKER_DEVICE_GPU;
    options.device_ordinal = device < 0 ? 0 : (uint32_t)device;
    options.kv_budget_bytes = kv_bytes;
    *status = worker_model_load(path, strlen(path), &options, &model, &error);
    return model;
}

static worker_model_t must_load(int device, const char *path)
{
    worker_status_t status;
    worker_model_t model = load(device, path, 0, &status);
    must(status, path);
    return model;
}

/* Ids of the tokens, at most `most`; stops early when told. Gives their number. */
static uint32_t generate(worker_model_t model, const char *prompt, uint32_t most, uint32_t stop_after, uint32_t *tokens)
{
    char text[512];
    worker_error_t failure = WORKER_ERROR_INIT;
    worker_session_options_t options = WORKER_SESSION_OPTIONS_INIT;
    worker_session_t session;
    uint32_t count = 0;
    options.maximum_tokens = most;
    options.ignore_end = 1;
    if (worker_session_start(model, prompt, strlen(prompt), &options, &session, &failure) != WORKER_SUCCESS) {
        fprintf(stderr, "starting: %s\n", failure.detail);
        return 0;
    }
    for (;;) {
        worker_event_t event = WORKER_EVENT_INIT;
        event.text = text;
        event.text_capacity = sizeof text;
        if (worker_session_next(session, &event, 120000, &failure) != WORKER_SUCCESS) {
            fprintf(stderr, "generating: %s\n", failure.detail);
            break;
        }
        if (event.kind != WORKER_EVENT_TOKEN) break;
        if (count < most) tokens[count++] = event.token;
        if (count == stop_after) worker_session_cancel(session);
    }
    worker_session_close(session);
    return count;
}

static int device(int ordinal)
{
    worker_device_info_t info = WORKER_DEVICE_INFO_INIT;
    uint64_t process = 0;
    must(worker_device_info(ordinal, &info, &error), "device");
    must(worker_device_check_health(ordinal, &error), "health");
    must(worker_device_process_memory(ordinal, &process, &error), "process memory");
    printf("{\"name\": \"%s\", \"compute_capability\": %u, \"total_memory\": %llu, \"free_memory\": %llu, \"process_memory\": %llu, "
           "\"kernels\": \"%s\"}\n",
           info.name, info.compute_capability, (unsigned long long)info.total_memory, (unsigned long long)info.free_memory,
           (unsigned long long)process, info.kernel_path);
    return 0;
}

static int golden(int ordinal, const char *path, const char *tokens_path, const char *logits_path)
{
    uint32_t tokens[4096];
    size_t count = 0, capacity, needed = 0, index;
    double squares = 0, differences = 0, error_of_all;
    float *scores, *expected;
    worker_model_t model = must_load(ordinal, path);
    worker_score_options_t options = WORKER_SCORE_OPTIONS_INIT;
    FILE *file = fopen(tokens_path, "r");
    while (file != NULL && count < 4096 && fscanf(file, "%u", &tokens[count]) == 1) count++;
    if (count == 0) {
        fprintf(stderr, "%s has no tokens\n", tokens_path);
        return 2;
    }
    fclose(file);
    options.kind = WORKER_SCORE_LOGITS;
    options.kv_type = WORKER_KV_F32;
    worker_model_score(model, tokens, count, &options, NULL, 0, &capacity, &error);
    scores = memory_for(capacity * sizeof *scores);
    expected = memory_for(capacity * sizeof *expected);
    must(worker_model_score(model, tokens, count, &options, scores, capacity, &needed, &error), "score");
    file = fopen(logits_path, "rb");
    if (file == NULL || fread(expected, sizeof *expected, capacity, file) != capacity) {
        fprintf(stderr, "%s has not %lu logits\n", logits_path, (unsigned long)capacity);
        return 2;
    }
    fclose(file);
    for (index = 0; index < capacity; index++) {
        const double difference = (double)scores[index] - (double)expected[index];
        differences += difference * difference;
        squares += (double)expected[index] * (double)expected[index];
    }
    error_of_all = sqrt(differences / squares);
    printf("{\"logits\": %lu, \"nrmse\": %.3e}\n", (unsigned long)capacity, error_of_all);
    free(scores);
    free(expected);
    worker_model_unload(model);
    /* The form of storage is the same; the order of additions is not. */
    return error_of_all <= 2e-4 ? 0 : 1;
}

static int memory(int ordinal, const char *path)
{
    char report[16384];
    size_t needed = 0;
    worker_device_info_t before = WORKER_DEVICE_INFO_INIT, after = WORKER_DEVICE_INFO_INIT;
    worker_residency_t residency = WORKER_RESIDENCY_INIT;
    worker_status_t status;
    worker_model_t model;
    char message[sizeof error.detail];
    must(worker_device_info(ordinal, &before, &error), "device");
    model = load(ordinal, path, before.total_memory * 2, &status);
    if (status != WORKER_ERROR_OUT_OF_MEMORY || model != 0) {
        fprintf(stderr, "a cache of twice the memory gave %s\n", worker_error_name(status));
        return 1;
    }
    memcpy(message, error.detail, sizeof message);
    model = must_load(ordinal, path);
    must(worker_model_check_residency(model, &residency, &error), "residency");
    must(worker_residency_report_json(report, sizeof report, &needed, &error), "report");
    worker_model_unload(model);
    must(worker_device_info(ordinal, &after, &error), "device");
    printf("{\"refusal\": \"%s\", \"resident\": %s, \"allocations\": %llu, \"free_before\": %llu, \"free_after\": %llu, \"report\": %s}\n",
           message, residency.resident ? "true" : "false", (unsigned long long)residency.allocations,
           (unsigned long long)before.free_memory, (unsigned long long)after.free_memory, report);
    return residency.resident ? 0 : 1;
}

enum { prompts = 6, threads = 8, most = 48 };

static const char *const prompt_texts[prompts] = {"Once upon a time", "The dog", "Lily and Tom", "A", "It was a sunny day and", "One day"};
static uint32_t alone[prompts][most];
static uint32_t alone_counts[prompts];
static worker_model_t stressed;
static double stress_end;

struct stress_result {
    unsigned seed;
    unsigned long sessions, wrong;
};

static void *stress_thread(void *argument)
{
    struct stress_result *result = argument;
    uint32_t tokens[most];
    while (now() < stress_end) {
        const int which = rand_r(&result->seed) % prompts;
        const uint32_t stop = rand_r(&result->seed) % 4 == 0 ? 1 + (uint32_t)rand_r(&result->seed) % most : 0;
        const uint32_t count = generate(stressed, prompt_texts[which], most, stop, tokens);
        result->sessions++;
        const int whole = stop == 0 ? count == alone_counts[which] : count >= stop;
        if (!whole || memcmp(tokens, alone[which], count * sizeof *tokens) != 0) result->wrong++;
    }
    return NULL;
}

static int stress(int ordinal, const char *path, double seconds)
{
    pthread_t running[threads];
    struct stress_result results[threads];
    unsigned long sessions = 0, wrong = 0;
    int index;
    worker_residency_t residency = WORKER_RESIDENCY_INIT;
    stressed = must_load(ordinal, path);
    for (index = 0; index < prompts; index++) alone_counts[index] = generate(stressed, prompt_texts[index], most, 0, alone[index]);
    stress_end = now() + seconds;
    for (index = 0; index < threads; index++) {
        results[index].seed = (unsigned)index;
        results[index].sessions = results[index].wrong = 0;
        if (pthread_create(&running[index], NULL, stress_thread, &results[index]) != 0) return 2;
    }
    for (index = 0; index < threads; index++) {
        pthread_join(running[index], NULL);
        sessions += results[index].sessions;
        wrong += results[index].wrong;
    }
    must(worker_model_check_residency(stressed, &residency, &error), "residency");
    must(worker_device_check_health(ordinal, &error), "health");
    worker_model_unload(stressed);
    printf("{\"threads\": %d, \"sessions\": %lu, \"wrong\": %lu, \"resident\": %s}\n", threads, sessions, wrong,
           residency.resident ? "true" : "false");
    return sessions > 0 && wrong == 0 && residency.resident ? 0 : 1;
}

static int timing(int ordinal, const char *path)
{
    enum { decoded = 64, scored = 128, checks = 100 };
    uint32_t tokens[decoded], prompt[scored];
    float probabilities[scored];
    size_t needed = 0;
    double begin = now(), load_seconds, decode_seconds, prompt_seconds, check_seconds;
    uint32_t count;
    int index;
    worker_residency_t residency = WORKER_RESIDENCY_INIT;
    worker_score_options_t options = WORKER_SCORE_OPTIONS_INIT;
    worker_model_t model = must_load(ordinal, path);
    load_seconds = now() - begin;
    generate(model, "Once", 4, 0, tokens); /* the first kernels are loaded */
    begin = now();
    count = generate(model, "Once", decoded, 0, tokens);
    decode_seconds = now() - begin;
    for (index = 0; index < scored; index++) prompt[index] = 1 + (uint32_t)index % 100;
    options.kind = WORKER_SCORE_LOGPROBS;
    begin = now();
    must(worker_model_score(model, prompt, scored, &options, probabilities, scored, &needed, &error), "score");
    prompt_seconds = now() - begin;
    begin = now();
    for (index = 0; index < checks; index++) must(worker_model_check_residency(model, &residency, &error), "residency");
    check_seconds = (now() - begin) / checks;
    worker_model_unload(model);
    printf("{\"load_seconds\": %.4f, \"decode_tokens_per_second\": %.1f, \"prompt_tokens_per_second\": %.1f, "
           "\"residency_check_microseconds\": %.1f}\n",
           load_seconds, count / decode_seconds, scored / prompt_seconds, check_seconds * 1e6);
    return count == decoded && residency.resident ? 0 : 1;
}

int main(int argc, char **argv)
{
    const char *part = argc > 2 ? argv[1] : "";
    const int ordinal = argc > 2 ? atoi(argv[2]) : 0;
    if (strcmp(part, "device") == 0) return device(ordinal);
    if (strcmp(part, "golden") == 0 && argc > 5) return golden(ordinal, argv[3], argv[4], argv[5]);
    if (strcmp(part, "memory") == 0 && argc > 3) return memory(ordinal, argv[3]);
    if (strcmp(part, "stress") == 0 && argc > 4) return stress(ordinal, argv[3], atof(argv[4]));
    if (strcmp(part, "timing") == 0 && argc > 3) return timing(ordinal, argv[3]);
    fprintf(stderr, "usage: card device|golden|memory|stress|timing DEVICE ...\n");
    return 2;
}
