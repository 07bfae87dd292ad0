/* Streams a haiku through the 14 locked functions alone: cuda_init to cuda_error_message.
 *
 *     cc locked.c $(pkg-config --cflags --libs worker) -o locked
 *
 * The locked group is the small, frozen door; generate.c shows the full one. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <worker_ffi.h>

#define DEFAULT_MODEL "examples/models/haiku.gguf"

static const char usage[] =
    "usage: locked [--model FILE] [--device N] [--seed N] [TOPIC...]\n"
    "Streams a haiku about TOPIC through the 14 locked functions.\n"
    "\n"
    "  --model FILE   a GGUF model (default " DEFAULT_MODEL ")\n"
    "  --device N     -1 is the CPU (default), 0 and up are GPUs\n"
    "  --seed N       the same seed gives the same words (default: the time)\n"
    "  --help         this text\n";

static void print_failure(const char *what, int code)
{
    fflush(stdout);
    fprintf(stderr, "locked: %s: %s (code %d)\n", what, cuda_error_message(code), code);
}

/* Prints the tokens as they come. Returns their number, or -1 after a failure. */
static int stream(CudaModel *model, const char *prompt, uint64_t seed)
{
    char token[256];
    int index = -1;
    int code = 0;
    InferenceResult *result = cuda_inference_start(model, prompt, 80, 0.7f, seed, &code);
    if (result == NULL) {
        print_failure("cannot start", code);
        return -1;
    }
    while (cuda_inference_next_token(result, token, (int)sizeof token, &index, &code)) {
        fputs(token, stdout);
        fflush(stdout);
    }
    putchar('\n');
    cuda_inference_free(result);
    if (code != 0) {
        print_failure("generation failed", code);
        return -1;
    }
    return index + 1;
}

/* Loads, streams and reports in one context. Returns the program's exit status. */
static int run(CudaContext *context, const char *model_path, const char *prompt, uint64_t seed)
{
    uint64_t weight_bytes = 0;
    int code = 0;
    int tokens;
    int resident;
    CudaModel *model = cuda_load_model(context, model_path, &weight_bytes, &code);
    if (model == NULL) {
        print_failure(model_path, code);
        fprintf(stderr, "locked: hint: give the path of a readable GGUF file with --model\n");
        return 1;
    }
    tokens = stream(model, prompt, seed);
    if (tokens < 0) {
        cuda_unload_model(model);
        return 1;
    }
    resident = cuda_check_vram_residency(model, &code);
    printf("\n%d tokens; weights %llu bytes, process %llu bytes; weights resident: %s; device healthy: %s\n", tokens,
           (unsigned long long)cuda_get_vram_usage(model), (unsigned long long)cuda_get_process_vram_usage(context),
           resident ? "yes" : cuda_error_message(code), cuda_check_device_health(context, &code) ? "yes" : "no");
    cuda_unload_model(model);
    return 0;
}

int main(int argc, char **argv)
{
    const char *model_path = DEFAULT_MODEL;
    char prompt[512] = "Write a haiku about";
    uint64_t seed = (uint64_t)time(NULL);
    int device = -1;
    int code = 0;
    int topic_words = 0;
    int status;
    int at;
    CudaContext *context;

    for (at = 1; at < argc; at++) {
        const char *value = at + 1 < argc ? argv[at + 1] : NULL;
        if (strcmp(argv[at], "--help") == 0) {
            fputs(usage, stdout);
            return 0;
        } else if (strcmp(argv[at], "--model") == 0 && value != NULL) {
            model_path = argv[++at];
        } else if (strcmp(argv[at], "--device") == 0 && value != NULL) {
            device = atoi(argv[++at]);
        } else if (strcmp(argv[at], "--seed") == 0 && value != NULL) {
            seed = strtoull(argv[++at], NULL, 10);
        } else if (argv[at][0] == '-' || strlen(prompt) + strlen(argv[at]) + 2 > sizeof prompt) {
            fprintf(stderr, "locked: unknown, incomplete or too long: %s\n%s", argv[at], usage);
            return 2;
        } else {
            strcat(strcat(prompt, " "), argv[at]);
            topic_words++;
        }
    }
    if (topic_words == 0)
        strcat(prompt, " the autumn moon");

    context = cuda_init(device, &code);
    if (context == NULL) {
        print_failure("cannot open the device", code);
        fprintf(stderr, "locked: hint: this machine has %d GPUs; --device -1 is the CPU\n", cuda_get_device_count());
        return 1;
    }
    status = run(context, model_path, prompt, seed);
    cuda_destroy(context);
    return status;
}
