/*
 * A program written only against the declarations of the seed documents: no header of ours, and types of its own.
 * It runs the whole flow, on the CPU or on the GPU whose number follows the model's path, and makes every bad call that
 * those functions can be given.
 */
#include <math.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct CudaContext CudaContext;
typedef struct CudaModel CudaModel;
typedef struct InferenceResult InferenceResult;

extern CudaContext *cuda_init(int gpu_device, int *error_code);
extern void cuda_destroy(CudaContext *ctx);
extern int cuda_get_device_count(void);
extern CudaModel *cuda_load_model(CudaContext *ctx, const char *model_path, uint64_t *vram_bytes_used, int *error_code);
extern void cuda_unload_model(CudaModel *model);
extern uint64_t cuda_model_get_vram_usage(CudaModel *model);
extern InferenceResult *cuda_inference_start(CudaModel *model, const char *prompt, int max_tokens, float temperature,
                                             uint64_t seed, int *error_code);
extern bool cuda_inference_next_token(InferenceResult *result, char *token_out, int token_buffer_size, int *token_index,
                                      int *error_code);
extern void cuda_inference_free(InferenceResult *result);
extern bool cuda_check_vram_residency(CudaModel *model, int *error_code);
extern uint64_t cuda_get_vram_usage(CudaModel *model);
extern uint64_t cuda_get_process_vram_usage(CudaContext *ctx);
extern bool cuda_check_device_health(CudaContext *ctx, int *error_code);
extern const char *cuda_error_message(int error_code);

enum { SUCCESS = 0, INVALID_DEVICE = 1, MODEL_LOAD_FAILED = 3, INFERENCE_FAILED = 5, INVALID_PARAMETER = 6 };

static int failures = 0;

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition);                                            \
            failures++;                                                                                                \
        }                                                                                                              \
    } while (0)

#define CODE(call, expected)                                                                                           \
    do {                                                                                                               \
        int code = -7;                                                                                                 \
        (void)(call);                                                                                                  \
        if (code != (expected)) {                                                                                      \
            fprintf(stderr, "%s:%d: %s: code %d, expected %d\n", __FILE__, __LINE__, #call, code, expected);           \
            failures++;                                                                                                \
        }                                                                                                              \
    } while (0)

/* Reads a generation to its end; every piece must be whole UTF-8 and not empty. */
static size_t read_all(InferenceResult *result, char *text, size_t capacity) {
    char piece[256];
    size_t length = 0;
    int index = -1, expected = 0, code = -1;
    text[0] = '\0';
    while (cuda_inference_next_token(result, piece, sizeof piece, &index, &code)) {
        CHECK(code == SUCCESS);
        CHECK(index == expected++);
        CHECK(piece[0] != '\0');
        CHECK(((unsigned char)piece[0] & 0xc0) != 0x80);
        if (length + strlen(piece) < capacity) {
            strcpy(text + length, piece);
            length += strlen(piece);
        }
    }
    CHECK(code == SUCCESS);
    return length;
}

static void bad_calls(CudaContext *ctx, CudaModel *model, InferenceResult *result, const char *path) {
    CudaModel *not_a_model = (CudaModel *)(void *)ctx;
    CudaModel *forged = (CudaModel *)(uintptr_t)0x4d80000000001234u;
    char piece[256];
    uint64_t bytes = 5;
    int unused;
    CHECK(cuda_init(-1, NULL) == NULL);
    CODE(cuda_init(-2, &code), INVALID_DEVICE);
    CODE(cuda_init(9999, &code), INVALID_DEVICE);
    CODE(cuda_load_model(NULL, path, &bytes, &code), INVALID_PARAMETER);
    CHECK(bytes == 0);
    CODE(cuda_load_model(ctx, NULL, &bytes, &code), INVALID_PARAMETER);
    CODE(cuda_load_model(ctx, path, NULL, &code), INVALID_PARAMETER);
    CHECK(cuda_load_model(ctx, path, &bytes, NULL) == NULL);
    CODE(cuda_load_model(ctx, "", &bytes, &code), INVALID_PARAMETER);
    CODE(cuda_load_model(ctx, "\xff\xfe", &bytes, &code), INVALID_PARAMETER);
    CODE(cuda_load_model(ctx, "/no/such/file.gguf", &bytes, &code), MODEL_LOAD_FAILED);
    CODE(cuda_load_model(ctx, "/dev/null", &bytes, &code), MODEL_LOAD_FAILED);
    CODE(cuda_load_model((CudaContext *)(void *)model, path, &bytes, &code), INVALID_PARAMETER);
    CHECK(cuda_model_get_vram_usage(NULL) == 0);
    CHECK(cuda_model_get_vram_usage(not_a_model) == 0);
    CHECK(cuda_get_vram_usage(forged) == 0);
    CHECK(cuda_get_process_vram_usage(NULL) == 0);
    CODE(cuda_inference_start(NULL, "a", 1, 0, 0, &code), INVALID_PARAMETER);
    CODE(cuda_inference_start(forged, "a", 1, 0, 0, &code), INVALID_PARAMETER);
    CODE(cuda_inference_start(not_a_model, "a", 1, 0, 0, &code), INVALID_PARAMETER);
    CODE(cuda_inference_start(model, NULL, 1, 0, 0, &code), INVALID_PARAMETER);
    CODE(cuda_inference_start(model, "\xc3(", 1, 0, 0, &code), INVALID_PARAMETER);
    CODE(cuda_inference_start(model, "a", 0, 0, 0, &code), INVALID_PARAMETER);
    CODE(cuda_inference_start(model, "a", -1, 0, 0, &code), INVALID_PARAMETER);
    CODE(cuda_inference_start(model, "a", 1, -0.1f, 0, &code), INVALID_PARAMETER);
    CODE(cuda_inference_start(model, "a", 1, 2.1f, 0, &code), INVALID_PARAMETER);
    CODE(cuda_inference_start(model, "a", 1, (float)NAN, 0, &code), INVALID_PARAMETER);
    CODE(cuda_inference_start(model, "a", 1, (float)INFINITY, 0, &code), INVALID_PARAMETER);
    CHECK(cuda_inference_start(model, "a", 1, 0, 0, NULL) == NULL);
    CODE(cuda_inference_next_token(NULL, piece, sizeof piece, &unused, &code), INVALID_PARAMETER);
    CODE(cuda_inference_next_token(result, NULL, sizeof piece, &unused, &code), INVALID_PARAMETER);
    CODE(cuda_inference_next_token(result, piece, 0, &unused, &code), INVALID_PARAMETER);
    CODE(cuda_inference_next_token(result, piece, -1, &unused, &code), INVALID_PARAMETER);
    CHECK(!cuda_inference_next_token(result, piece, sizeof piece, &unused, NULL));
    CODE(cuda_check_vram_residency(NULL, &code), INVALID_PARAMETER);
    CODE(cuda_check_vram_residency(forged, &code), INVALID_PARAMETER);
    CHECK(!cuda_check_vram_residency(model, NULL));
    CODE(cuda_check_device_health(NULL, &code), INVALID_PARAMETER);
    CODE(cuda_check_device_health((CudaContext *)(void *)model, &code), INVALID_PARAMETER);
    CHECK(!cuda_check_device_health(ctx, NULL));
    cuda_destroy(NULL);
    cuda_unload_model(NULL);
    cuda_inference_free(NULL);
    cuda_destroy((CudaContext *)(void *)model);
    cuda_unload_model(not_a_model);
    cuda_inference_free((InferenceResult *)(void *)model);
    cuda_unload_model(forged);
}

static void small_buffers(CudaModel *model, const char *whole) {
    /* A buffer that is too small can be followed by a larger one: nothing is lost, nothing is cut. */
    char text[4096] = "", piece[256];
    size_t length = 0;
    int code = -1, index = -1, expected = 0;
    InferenceResult *result = cuda_inference_start(model, "Once upon a time", 30, 0.0f, 1, &code);
    CHECK(result != NULL && code == SUCCESS);
    for (;;) {
        int size = 1;
        bool more;
        while (!(more = cuda_inference_next_token(result, piece, size, &index, &code)) && code == INVALID_PARAMETER) {
            CHECK(piece[0] == '\0');
            size++;
            CHECK(size < 200);
        }
        if (!more) break;
        CHECK(strlen(piece) == (size_t)size - 1);
        CHECK(index == expected++);
        strcpy(text + length, piece);
        length += strlen(piece);
    }
    CHECK(code == SUCCESS);
    CHECK(strcmp(text, whole) == 0);
    cuda_inference_free(result);
}

static void *free_it(void *result) {
    struct timespec moment = { 0, 5000000 };
    nanosleep(&moment, NULL);
    cuda_inference_free(result);
    return NULL;
}

/* Freeing a generation that another thread waits for ends the wait. */
static void free_while_reading(CudaModel *model) {
    char piece[256];
    int code = 0;
    pthread_t thread;
    InferenceResult *result = cuda_inference_start(model, "One day", 2000, 1.0f, 7, &code);
    CHECK(result != NULL);
    CHECK(pthread_create(&thread, NULL, free_it, result) == 0);
    while (cuda_inference_next_token(result, piece, sizeof piece, NULL, &code)) {
    }
    CHECK(code == SUCCESS || code == INFERENCE_FAILED || code == INVALID_PARAMETER);
    pthread_join(thread, NULL);
}

int main(int argc, char **argv) {
    const char *path = argc > 1 ? argv[1] : "";
    const int device = argc > 2 ? atoi(argv[2]) : -1;
    char first[4096], second[4096];
    uint64_t bytes = 0;
    int code = -1, index;
    CudaContext *ctx;
    CudaModel *model;
    InferenceResult *result;

    CHECK(cuda_get_device_count() >= 0);
    for (code = -5; code < 300; code++) CHECK(cuda_error_message(code) != NULL && cuda_error_message(code)[0] != '\0');
    CHECK(strcmp(cuda_error_message(0), "Success") == 0);
    if (cuda_get_device_count() == 0) CODE(cuda_init(0, &code), INVALID_DEVICE);

    ctx = cuda_init(device, &code);
    CHECK(ctx != NULL && code == SUCCESS);
    if (ctx == NULL) return 1;
    CHECK(cuda_check_device_health(ctx, &code) && code == SUCCESS);
    CHECK(cuda_get_process_vram_usage(ctx) > 0);
    model = cuda_load_model(ctx, path, &bytes, &code);
    CHECK(model != NULL && code == SUCCESS && bytes > 0);
    CHECK(cuda_model_get_vram_usage(model) >= bytes);
    CHECK(cuda_get_vram_usage(model) == cuda_model_get_vram_usage(model));
    CHECK(cuda_check_vram_residency(model, &code) && code == SUCCESS);

    result = cuda_inference_start(model, "Once upon a time", 30, 0.0f, 1, &code);
    CHECK(result != NULL && code == SUCCESS);
    bad_calls(ctx, model, result, path);
    CHECK(read_all(result, first, sizeof first) > 20);
    CHECK(!cuda_inference_next_token(result, second, sizeof second, &index, &code) && code == SUCCESS);
    cuda_inference_free(result);
    CODE(cuda_inference_next_token(result, second, sizeof second, &index, &code), INVALID_PARAMETER);
    cuda_inference_free(result);
    small_buffers(model, first);
    free_while_reading(model);

    /* The same seed gives the same tokens. */
    result = cuda_inference_start(model, "The cat", 30, 1.5f, UINT64_MAX, &code);
    read_all(result, first, sizeof first);
    cuda_inference_free(result);
    result = cuda_inference_start(model, "The cat", 30, 1.5f, UINT64_MAX, &code);
    read_all(result, second, sizeof second);
    CHECK(strcmp(first, second) == 0);

    /* Ending a context ends what lives in it; the pointers become invalid, and their use stays harmless. */
    cuda_destroy(ctx);
    CODE(cuda_inference_next_token(result, second, sizeof second, &index, &code), INVALID_PARAMETER);
    CODE(cuda_inference_start(model, "a", 1, 0, 0, &code), INVALID_PARAMETER);
    CODE(cuda_check_vram_residency(model, &code), INVALID_PARAMETER);
    CHECK(cuda_model_get_vram_usage(model) == 0);
    CODE(cuda_check_device_health(ctx, &code), INVALID_PARAMETER);
    CHECK(cuda_get_process_vram_usage(ctx) == 0);
    CODE(cuda_load_model(ctx, path, &bytes, &code), INVALID_PARAMETER);
    cuda_inference_free(result);
    cuda_unload_model(model);
    cuda_destroy(ctx);
    if (failures == 0) puts("all calls gave what they should");
    return failures != 0;
}
