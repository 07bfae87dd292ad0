/* The C host of the conformance cases; README.md beside this file has the protocol. */
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <worker_ffi.h>

#define MAXIMUM_WORDS 32

static const char *const end_reasons[] = {"none",      "end_of_text", "maximum_tokens", "stop_string", "cancelled",
                                          "closed",    "deadline",    "context_full",   "error",       "constraint_complete"};

/* Words of a request; the first is the verb. Missing ones are empty. */
struct request {
    const char *words[MAXIMUM_WORDS];
    int count;
};

static worker_error_t error = WORKER_ERROR_INIT;

/* Writing answers */

static void put(const char *text, size_t length)
{
    size_t at;
    putchar('\t');
    for (at = 0; at < length; at++) {
        switch (text[at]) {
        case '\\': fputs("\\\\", stdout); break;
        case '\t': fputs("\\t", stdout); break;
        case '\n': fputs("\\n", stdout); break;
        case '\r': fputs("\\r", stdout); break;
        default: putchar(text[at]);
        }
    }
}

static void put_text(const char *text)
{
    put(text, strlen(text));
}

static void put_number(uint64_t value)
{
    printf("\t%" PRIu64, value);
}

static void fail(worker_status_t code, const char *detail)
{
    printf("error\t%" PRId32, code);
    put_text(detail);
    putchar('\n');
}

/* Answers a failure and returns 0; after success begins the answer and returns 1. */
static int ok(worker_status_t status)
{
    if (status == WORKER_SUCCESS) {
        fputs("ok", stdout);
        return 1;
    }
    fail(status, error.detail);
    return 0;
}

/* For the functions without an error struct. */
static int ok_last(worker_status_t status)
{
    if (status != WORKER_SUCCESS)
        worker_last_error(error.detail, sizeof error.detail, NULL);
    return ok(status);
}

/* Reading requests */

static uint64_t number(const char *word)
{
    return strtoull(word, NULL, 10);
}

static int32_t signed_number(const char *word)
{
    return (int32_t)strtol(word, NULL, 10);
}

/* Ids with spaces between, into memory that the caller frees. */
static uint32_t *ids(const char *word, size_t *count)
{
    uint32_t *list = malloc((strlen(word) / 2 + 1) * sizeof *list);
    char *end = NULL;
    *count = 0;
    for (;;) {
        const unsigned long id = strtoul(word, &end, 10);
        if (list == NULL || end == word)
            return list;
        list[(*count)++] = (uint32_t)id;
        word = end;
    }
}

static void unescape(char *word)
{
    char *out = word;
    for (; *word != '\0'; word++) {
        if (*word == '\\' && word[1] != '\0') {
            word++;
            *out++ = *word == 't' ? '\t' : *word == 'n' ? '\n' : *word == 'r' ? '\r' : *word;
        } else {
            *out++ = *word;
        }
    }
    *out = '\0';
}

static void split(char *line, struct request *request)
{
    int at;
    request->count = 0;
    for (at = 0; at < MAXIMUM_WORDS; at++)
        request->words[at] = "";
    while (line != NULL && request->count < MAXIMUM_WORDS) {
        char *tab = strchr(line, '\t');
        if (tab != NULL)
            *tab++ = '\0';
        unescape(line);
        request->words[request->count++] = line;
        line = tab;
    }
}

/* The verbs */

static void sizes(void)
{
#define SIZE(name) printf("\t" #name "=%zu", sizeof(worker_##name##_t))
    fputs("ok", stdout);
    SIZE(bootstrap);
    SIZE(chat_options);
    SIZE(device_info);
    SIZE(embed_options);
    SIZE(error);
    SIZE(event);
    SIZE(health);
    SIZE(memory);
    SIZE(model_options);
    SIZE(overview);
    SIZE(residency);
    SIZE(score_options);
    SIZE(session_options);
    SIZE(usage);
    putchar('\n');
}

static void load(const struct request *request)
{
    worker_model_options_t options = WORKER_MODEL_OPTIONS_INIT;
    const char *path = request->words[1];
    const int32_t device = signed_number(request->words[2]);
    worker_model_t model = 0;
    options.device_kind = device == WORKER_CPU ? WORKER_DEVICE_CPU : WORKER_DEVICE_GPU;
    options.device_ordinal = device == WORKER_CPU ? 0 : (uint32_t)device;
    if (ok(worker_model_load(path, strlen(path), &options, &model, &error))) {
        put_number(model);
        putchar('\n');
    }
}

static void tokenize(const struct request *request)
{
    uint32_t tokens[1024];
    size_t count = 0;
    size_t at;
    const char *text = request->words[2];
    const uint32_t flags = number(request->words[3]) != 0 ? WORKER_TOKENIZE_ADD_SPECIAL : 0;
    if (ok(worker_model_tokenize(number(request->words[1]), text, strlen(text), flags, tokens, 1024, &count, &error))) {
        putchar('\t');
        for (at = 0; at < count; at++)
            printf(at == 0 ? "%" PRIu32 : " %" PRIu32, tokens[at]);
        putchar('\n');
    }
}

static void detokenize(const struct request *request)
{
    char text[4096];
    size_t needed = 0;
    size_t count = 0;
    uint32_t *tokens = ids(request->words[2], &count);
    if (ok(worker_model_detokenize(number(request->words[1]), tokens, count, 0, text, sizeof text, &needed, &error))) {
        put(text, needed - 1);
        putchar('\n');
    }
    free(tokens);
}

static void chat(const struct request *request)
{
    char text[4096];
    size_t needed = 0;
    const char *messages = request->words[2];
    if (ok(worker_model_apply_chat_template(number(request->words[1]), messages, strlen(messages), NULL, text,
                                            sizeof text, &needed, &error))) {
        put(text, needed - 1);
        putchar('\n');
    }
}

/* The value of KEY=VALUE, or NULL where the word is of another key. */
static const char *value_of(const char *word, const char *key)
{
    const size_t length = strlen(key);
    return strncmp(word, key, length) == 0 && word[length] == '=' ? word + length + 1 : NULL;
}

static void start(const struct request *request)
{
    worker_session_options_t options = WORKER_SESSION_OPTIONS_INIT;
    worker_text_t stop[MAXIMUM_WORDS];
    const worker_model_t model = number(request->words[1]);
    const char *prompt = "";
    const char *messages = NULL;
    const char *tokens = NULL;
    const char *value;
    worker_session_t session = 0;
    worker_status_t status;
    int at;
    for (at = 2; at < request->count; at++) {
        const char *word = request->words[at];
        if ((value = value_of(word, "prompt")) != NULL) {
            prompt = value;
        } else if ((value = value_of(word, "chat")) != NULL) {
            messages = value;
        } else if ((value = value_of(word, "tokens")) != NULL) {
            tokens = value;
        } else if ((value = value_of(word, "max_tokens")) != NULL) {
            options.maximum_tokens = (uint32_t)number(value);
        } else if ((value = value_of(word, "temperature")) != NULL) {
            options.temperature = strtof(value, NULL);
        } else if ((value = value_of(word, "top_k")) != NULL) {
            options.top_k = (uint32_t)number(value);
        } else if ((value = value_of(word, "top_p")) != NULL) {
            options.top_p = strtof(value, NULL);
        } else if ((value = value_of(word, "seed")) != NULL) {
            options.seed = number(value);
            options.seed_given = 1;
        } else if ((value = value_of(word, "stop")) != NULL) {
            stop[options.stop_count].data = value;
            stop[options.stop_count++].length = strlen(value);
            options.stop = stop;
        } else if ((value = value_of(word, "schema")) != NULL || (value = value_of(word, "regex")) != NULL) {
            options.constraint_kind = *word == 's' ? WORKER_CONSTRAINT_JSON_SCHEMA : WORKER_CONSTRAINT_REGEX;
            options.constraint = value;
            options.constraint_length = strlen(value);
        }
    }
    if (tokens != NULL) {
        size_t count = 0;
        uint32_t *list = ids(tokens, &count);
        status = worker_session_start_tokens(model, list, count, &options, &session, &error);
        free(list);
    } else if (messages != NULL) {
        status = worker_session_start_chat(model, messages, strlen(messages), &options, &session, &error);
    } else {
        status = worker_session_start(model, prompt, strlen(prompt), &options, &session, &error);
    }
    if (ok(status)) {
        put_number(session);
        putchar('\n');
    }
}

static void next(const struct request *request)
{
    char text[256];
    worker_event_t event = WORKER_EVENT_INIT;
    event.text = text;
    event.text_capacity = number(request->words[2]);
    if (ok(worker_session_next(number(request->words[1]), &event, WORKER_WAIT_FOREVER, &error))) {
        put_text(event.kind == WORKER_EVENT_TOKEN ? "token" : event.kind == WORKER_EVENT_END ? "end" : "error");
        put(text, (size_t)event.text_length);
        putchar('\n');
    }
}

static void read_all(const struct request *request)
{
    char whole[16384];
    size_t length = 0;
    worker_event_t event = WORKER_EVENT_INIT;
    worker_status_t status;
    do {
        event.text = whole + length;
        event.text_capacity = sizeof whole - length;
        status = worker_session_next(number(request->words[1]), &event, WORKER_WAIT_FOREVER, &error);
        if (status == WORKER_SUCCESS && event.kind == WORKER_EVENT_TOKEN)
            length += (size_t)event.text_length;
    } while (status == WORKER_SUCCESS && event.kind == WORKER_EVENT_TOKEN);
    if (status == WORKER_SUCCESS && event.kind == WORKER_EVENT_ERROR) {
        fail(event.error_code, worker_error_message(event.error_code));
    } else if (ok(status)) {
        put(whole, length);
        put_text(end_reasons[event.end_reason]);
        put_number(event.prompt_tokens);
        put_number(event.generated_tokens);
        putchar('\n');
    }
}

static void memory(const struct request *request)
{
    worker_memory_t out = WORKER_MEMORY_INIT;
    if (ok(worker_model_memory(number(request->words[1]), &out, &error))) {
        put_number(out.weights);
        putchar('\n');
    }
}

static void residency(const struct request *request)
{
    worker_residency_t out = WORKER_RESIDENCY_INIT;
    if (ok(worker_model_check_residency(number(request->words[1]), &out, &error))) {
        put_number(out.resident);
        putchar('\n');
    }
}

static void score(const struct request *request)
{
    worker_score_options_t options = WORKER_SCORE_OPTIONS_INIT;
    size_t count = 0;
    size_t needed = 0;
    uint32_t *tokens = ids(request->words[2], &count);
    const worker_model_t model = number(request->words[1]);
    float *scores = NULL;
    worker_status_t status;
    options.kind = WORKER_SCORE_LOGPROBS;
    status = worker_model_score(model, tokens, count, &options, NULL, 0, &needed, &error);
    if (status == WORKER_ERROR_BUFFER_TOO_SMALL) {
        scores = malloc(needed * sizeof *scores);
        status = worker_model_score(model, tokens, count, &options, scores, needed, &needed, &error);
    }
    if (ok(status)) {
        double sum = 0;
        size_t at;
        for (at = 0; at < needed; at++)
            sum += (double)scores[at];
        printf("\t%.4f\n", sum);
    }
    free(scores);
    free(tokens);
}

static void embed(const struct request *request)
{
    float embedding[4096];
    size_t count = 0;
    size_t needed = 0;
    size_t at;
    double sum = 0;
    uint32_t *tokens = ids(request->words[2], &count);
    if (ok(worker_model_embed(number(request->words[1]), tokens, count, NULL, embedding, 4096, &needed, &error))) {
        for (at = 0; at < needed; at++)
            sum += (double)embedding[at] * (double)embedding[at];
        put_number(needed);
        printf("\t%.4f\n", sqrt(sum));
    }
    free(tokens);
}

#include "managed.h"

static void answer(const struct request *request)
{
    const char *verb = request->words[0];
    const uint64_t handle = number(request->words[1]);
    if (strcmp(verb, "version") == 0)
        printf("ok\t%d\t%" PRIu32 "\n", WORKER_ABI_VERSION, worker_abi_version());
    else if (strcmp(verb, "sizes") == 0)
        sizes();
    else if (strcmp(verb, "load") == 0)
        load(request);
    else if (strcmp(verb, "unload") == 0)
        (void)(ok_last(worker_model_unload(handle)) && putchar('\n'));
    else if (strcmp(verb, "memory") == 0)
        memory(request);
    else if (strcmp(verb, "residency") == 0)
        residency(request);
    else if (strcmp(verb, "tokenize") == 0)
        tokenize(request);
    else if (strcmp(verb, "detokenize") == 0)
        detokenize(request);
    else if (strcmp(verb, "chat") == 0)
        chat(request);
    else if (strcmp(verb, "start") == 0)
        start(request);
    else if (strcmp(verb, "next") == 0)
        next(request);
    else if (strcmp(verb, "read") == 0)
        read_all(request);
    else if (strcmp(verb, "cancel") == 0)
        (void)(ok_last(worker_session_cancel(handle)) && putchar('\n'));
    else if (strcmp(verb, "close") == 0)
        (void)(ok_last(worker_session_close(handle)) && putchar('\n'));
    else if (strcmp(verb, "score") == 0)
        score(request);
    else if (strcmp(verb, "embed") == 0)
        embed(request);
    else if (!managed(request))
        fail(-1, "unknown verb");
}

int main(void)
{
    static char line[65536];
    struct request request;
    while (fgets(line, sizeof line, stdin) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        split(line, &request);
        answer(&request);
        fflush(stdout);
    }
    return 0;
}
