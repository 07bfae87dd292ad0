/* Streams a haiku, then reports: device, load time, tokens/s, memory by purpose, residency.
 *
 *     cc generate.c $(pkg-config --cflags --libs worker) -o generate
 */
#define _POSIX_C_SOURCE 200809L
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <worker_ffi.h>

#define DEFAULT_MODEL "examples/models/haiku.gguf"

static const char usage_text[] =
    "usage: generate [--model FILE] [--device N] [--seed N] [--tokens N] [TOPIC...]\n"
    "Streams a haiku about TOPIC, then reports what it took.\n"
    "\n"
    "  --model FILE   a GGUF model (default " DEFAULT_MODEL ")\n"
    "  --device N     -1 is the CPU (default), 0 and up are GPUs\n"
    "  --seed N       the same seed gives the same words (default: any)\n"
    "  --tokens N     at most so many tokens (default 80)\n"
    "  --help         this text\n";

struct wishes {
    const char *model_path;
    int32_t device;
    uint32_t tokens;
    uint64_t seed;
    uint32_t seed_given;
    char topic[256];
};

static int run(const struct wishes *wishes);
static int stream(worker_model_t model, const struct wishes *wishes);
static int report(worker_model_t model, worker_session_t session, int32_t device);
static int parse(int argc, char **argv, struct wishes *wishes);

static double load_seconds;

int main(int argc, char **argv)
{
    struct wishes wishes = {DEFAULT_MODEL, WORKER_CPU, 80, 0, 0, ""};
    int status = parse(argc, argv, &wishes);
    return status >= 0 ? status : run(&wishes);
}

/* Tells what failed, what the library knows about it, and what to do. Returns the program's exit status. */
static int fail(const char *what, const worker_error_t *error)
{
    const char *hint = "see the message above";
    if (error->code == WORKER_ERROR_INPUT_OUTPUT || error->code == WORKER_ERROR_MODEL_LOAD_FAILED ||
        error->code == WORKER_ERROR_MODEL_UNSUPPORTED)
        hint = "give the path of a readable GGUF model with --model";
    else if (error->code == WORKER_ERROR_INVALID_DEVICE)
        hint = "--device -1 is the CPU, which every machine has";
    else if (worker_error_retry_helps(error->code))
        hint = "the same may work later";
    fflush(stdout);
    fprintf(stderr, "generate: %s: %s\n", what, error->detail);
    fprintf(stderr, "generate: %s; hint: %s\n", worker_error_name(error->code), hint);
    return 1;
}

static double now(void)
{
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

/* Called while the model loads; anything but 0 would cancel. */
static int32_t show_progress(void *user_data, float fraction)
{
    (void)user_data;
    fprintf(stderr, "\rloading %3.0f%%", (double)fraction * 100);
    return 0;
}

static int run(const struct wishes *wishes)
{
    worker_model_options_t options = WORKER_MODEL_OPTIONS_INIT;
    worker_error_t error = WORKER_ERROR_INIT;
    worker_model_t model = 0;
    worker_status_t status;
    const double begin = now();
    const int terminal = isatty(STDERR_FILENO);
    int result;

    if (wishes->device >= 0) {
        options.device_kind = WORKER_DEVICE_GPU;
        options.device_ordinal = (uint32_t)wishes->device;
    }
    if (terminal)
        options.progress = show_progress;
    status = worker_model_load(wishes->model_path, strlen(wishes->model_path), &options, &model, &error);
    if (terminal)
        fprintf(stderr, "\r            \r");
    if (status != WORKER_SUCCESS)
        return fail("cannot load the model", &error);
    load_seconds = now() - begin;

    result = stream(model, wishes);
    worker_model_unload(model);
    return result;
}

/* Asks in the way the model was trained for: by its chat template, or in plain words where it has none. */
static worker_status_t start(worker_model_t model, const struct wishes *wishes, worker_session_t *session,
                             worker_error_t *error)
{
    worker_session_options_t options = WORKER_SESSION_OPTIONS_INIT;
    char prompt[512];
    worker_status_t status;

    options.maximum_tokens = wishes->tokens;
    options.temperature = 0.7f;
    options.seed = wishes->seed;
    options.seed_given = wishes->seed_given;
    snprintf(prompt, sizeof prompt, "[{\"role\": \"user\", \"content\": \"Write a haiku about %s\"}]", wishes->topic);
    status = worker_session_start_chat(model, prompt, strlen(prompt), &options, session, error);
    if (status == WORKER_ERROR_MODEL_UNSUPPORTED) {
        snprintf(prompt, sizeof prompt, "Write a haiku about %s", wishes->topic);
        status = worker_session_start(model, prompt, strlen(prompt), &options, session, error);
    }
    return status;
}

static int stream(worker_model_t model, const struct wishes *wishes)
{
    worker_event_t event = WORKER_EVENT_INIT;
    worker_error_t error = WORKER_ERROR_INIT;
    worker_session_t session = 0;
    char text[256];
    int result;

    if (start(model, wishes, &session, &error) != WORKER_SUCCESS)
        return fail("cannot start", &error);
    event.text = text;
    event.text_capacity = sizeof text;
    do {
        if (worker_session_next(session, &event, WORKER_WAIT_FOREVER, &error) != WORKER_SUCCESS) {
            result = fail("cannot read", &error);
            worker_session_close(session);
            return result;
        }
        if (event.kind == WORKER_EVENT_TOKEN) {
            fputs(text, stdout);
            fflush(stdout);
        } else if (event.kind == WORKER_EVENT_ERROR) {
            fprintf(stderr, "\ngenerate: the model failed: %s; hint: try --device -1\n",
                    worker_error_message(event.error_code));
        }
    } while (event.kind != WORKER_EVENT_END);
    if (event.end_reason == WORKER_END_ERROR) {
        worker_session_close(session);
        return 1;
    }
    printf("\n\n");
    result = report(model, session, wishes->device);
    worker_session_close(session);
    return result;
}

static int report(worker_model_t model, worker_session_t session, int32_t device)
{
    worker_device_info_t information = WORKER_DEVICE_INFO_INIT;
    worker_usage_t usage = WORKER_USAGE_INIT;
    worker_memory_t memory = WORKER_MEMORY_INIT;
    worker_residency_t residency = WORKER_RESIDENCY_INIT;
    worker_error_t error = WORKER_ERROR_INIT;
    uint64_t seed = 0;
    double seconds;

    if (worker_device_info(device, &information, &error) != WORKER_SUCCESS ||
        worker_session_usage(session, &usage, &error) != WORKER_SUCCESS ||
        worker_session_seed(session, &seed, &error) != WORKER_SUCCESS ||
        worker_model_memory(model, &memory, &error) != WORKER_SUCCESS ||
        worker_model_check_residency(model, &residency, &error) != WORKER_SUCCESS)
        return fail("cannot report", &error);

    seconds = usage.decode_seconds > 0 ? usage.decode_seconds : 1e-9;
    printf("device     %s, %" PRIu32 " threads, %s\n", information.name, information.threads, information.kernel_path);
    printf("load       %.1f ms\n", load_seconds * 1e3);
    printf("tokens     %" PRIu32 " in, %" PRIu32 " out, first after %.1f ms, then %.0f tokens/s; seed %" PRIu64 "\n",
           usage.prompt_tokens, usage.generated_tokens, usage.first_token_seconds * 1e3,
           (double)usage.generated_tokens / seconds, seed);
    printf("memory     weights %.2f MB, KV cache %.2f MB, workspace %.2f MB, other %.2f MB\n",
           (double)memory.weights * 1e-6, (double)memory.kv_cache * 1e-6, (double)memory.workspace * 1e-6,
           (double)memory.other * 1e-6);
    if (residency.resident)
        printf("residency  resident: all of %" PRIu64 " bytes checked are in place\n", residency.checked_bytes);
    else
        printf("residency  NOT resident: %" PRIu64 " bytes are not in place, first in %s\n", residency.violating_bytes,
               residency.violating);
    return 0;
}

/* Whole decimal numbers only. Returns whether the text was one within the bounds. */
static int number(const char *text, int64_t least, uint64_t most, uint64_t *out)
{
    char *end = NULL;
    const long long value = strtoll(text, &end, 10);
    if (end == text || *end != '\0' || value < least || (value > 0 && (uint64_t)value > most))
        return 0;
    *out = (uint64_t)value;
    return 1;
}

/* Adds a word of the topic. Quotes and control characters have no place in it: it goes into JSON as it is. */
static int add_topic(char *topic, size_t capacity, const char *word)
{
    const char *at;
    for (at = word; *at != '\0'; at++)
        if (*at == '"' || *at == '\\' || (unsigned char)*at < ' ')
            return 0;
    if (strlen(topic) + strlen(word) + 2 > capacity)
        return 0;
    if (topic[0] != '\0')
        strcat(topic, " ");
    strcat(topic, word);
    return 1;
}

/* Returns the exit status where the program is to end here, -1 where it is to run. */
static int parse(int argc, char **argv, struct wishes *wishes)
{
    int at;
    for (at = 1; at < argc; at++) {
        const char *option = argv[at];
        uint64_t value = 0;
        int good;
        if (strcmp(option, "--help") == 0) {
            fputs(usage_text, stdout);
            return 0;
        }
        if (option[0] != '-') {
            good = add_topic(wishes->topic, sizeof wishes->topic, option);
        } else if (at + 1 == argc) {
            good = 0;
        } else if (strcmp(option, "--model") == 0) {
            wishes->model_path = argv[++at];
            good = 1;
        } else if (strcmp(option, "--device") == 0) {
            good = number(argv[++at], -1, INT32_MAX, &value);
            wishes->device = (int32_t)(int64_t)value;
        } else if (strcmp(option, "--seed") == 0) {
            good = number(argv[++at], 0, INT64_MAX, &wishes->seed);
            wishes->seed_given = 1;
        } else if (strcmp(option, "--tokens") == 0) {
            good = number(argv[++at], 1, UINT32_MAX, &value);
            wishes->tokens = (uint32_t)value;
        } else {
            good = 0;
        }
        if (!good) {
            fprintf(stderr, "generate: unknown, incomplete or out of range: %s\n%s", option, usage_text);
            return 2;
        }
    }
    if (wishes->topic[0] == '\0')
        strcpy(wishes->topic, "the autumn moon");
    return -1;
}
