/* The managed worker's verbs of the C host; runner.c includes this once. */

/* Records that the callback was given since `collect`, one "LEVEL TARGET\tMESSAGE FIELDS" a line. Only the log's thread
 * writes here, and the verbs read after the callback was taken away. */
static char collected[65536];
static size_t collected_length;

static void collect_record(void *user_data, const worker_log_record_t *record)
{
    const size_t room = sizeof collected - collected_length;
    const int written = snprintf(collected + collected_length, room, "%" PRIu32 " %s\t%s %s\n", record->level,
                                 record->target, record->message, record->fields);
    (void)user_data;
    if (written > 0 && (size_t)written < room)
        collected_length += (size_t)written;
}

static void bootstrap(const struct request *request)
{
    worker_bootstrap_t out = WORKER_BOOTSTRAP_INIT;
    const char *configuration = request->words[1];
    if (ok(worker_bootstrap(configuration, strlen(configuration), &out, &error))) {
        put_text(out.worker_id);
        put_number(out.model);
        putchar('\n');
    }
}

static void status(void)
{
    worker_overview_t out = WORKER_OVERVIEW_INIT;
    if (ok(worker_status(&out, &error))) {
        put_number(out.state);
        put_number(out.models);
        put_text(out.worker_id);
        putchar('\n');
    }
}

static void health(void)
{
    worker_health_t out = WORKER_HEALTH_INIT;
    if (ok(worker_health_check(&out, &error))) {
        put_number(out.healthy);
        put_number(out.checks);
        putchar('\n');
    }
}

static void collect(const struct request *request)
{
    collected_length = 0;
    collected[0] = '\0';
    if (ok_last(worker_set_log_level((worker_log_level_t)number(request->words[1]))) &&
        worker_set_log_callback(collect_record, NULL, NULL) == WORKER_SUCCESS)
        putchar('\n');
}

static void add_record(const struct request *request)
{
    static worker_status_t (*const functions[])(const char *, size_t, const char *, size_t) = {
        worker_log_trace, worker_log_debug, worker_log_info, worker_log_warn, worker_log_error};
    const char *message = request->words[2];
    const char *fields = request->words[3];
    const uint64_t level = number(request->words[1]) - 1;
    if (ok_last(functions[level < 5 ? level : 4](message, strlen(message), fields, strlen(fields))))
        putchar('\n');
}

/* How many records there were of a target, and them: "LEVEL MESSAGE FIELDS". */
static void records(const struct request *request)
{
    static char found[sizeof collected];
    const size_t target_length = strlen(request->words[1]);
    size_t length = 0;
    uint64_t count = 0;
    char *line = collected;
    if (!ok_last(worker_set_log_callback(NULL, NULL, NULL)))
        return;
    while (*line != '\0') {
        char *end = strchr(line, '\n');
        if (strncmp(line + 2, request->words[1], target_length) == 0 && line[2 + target_length] == '\t') {
            const char *rest = line + 3 + target_length;
            length += (size_t)sprintf(found + length, "%s%c %.*s", count == 0 ? "" : "\n", *line, (int)(end - rest), rest);
            count++;
        }
        line = end + 1;
    }
    put_number(count);
    put(found, length);
    putchar('\n');
}

static uint64_t number_after(const char *text, const char *mark)
{
    const char *place = strstr(text, mark);
    return place == NULL ? UINT64_MAX : number(place + strlen(mark));
}

/* Tokens generated, by both texts. */
static void metrics(void)
{
    static char json[65536];
    static char lines[65536];
    if (ok_last(worker_metrics_json(json, sizeof json, NULL)) &&
        worker_metrics_prometheus(lines, sizeof lines, NULL) == WORKER_SUCCESS) {
        put_number(number_after(json, "\"generated\":"));
        put_number(number_after(lines, "\nworker_tokens_generated_total "));
        putchar('\n');
    }
}

/* Performs a verb of these and returns 1, or 0 where it is none. */
static int managed(const struct request *request)
{
    const char *verb = request->words[0];
    if (strcmp(verb, "bootstrap") == 0)
        bootstrap(request);
    else if (strcmp(verb, "status") == 0)
        status();
    else if (strcmp(verb, "health") == 0)
        health();
    else if (strcmp(verb, "shutdown") == 0)
        (void)(ok_last(worker_transition_to_graceful_shutdown(number(request->words[1]))) && putchar('\n'));
    else if (strcmp(verb, "stop") == 0)
        (void)(ok_last(worker_stop()) && putchar('\n'));
    else if (strcmp(verb, "collect") == 0)
        collect(request);
    else if (strcmp(verb, "log") == 0)
        add_record(request);
    else if (strcmp(verb, "records") == 0)
        records(request);
    else if (strcmp(verb, "metrics") == 0)
        metrics();
    else
        return 0;
    return 1;
}
