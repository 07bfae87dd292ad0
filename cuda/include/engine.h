/*
 * The C interface between the Rust side and the C++ engine.
 *
 * Every function is noexcept: an exception becomes a code and a message. The engine parses no files and knows no
 * tokenizer: it gets a checked table of tensors over memory that the caller keeps alive, tokens go in, logits or
 * hidden states come out. Codes are the locked ten of the public ABI, plus ENGINE_CANCELLED.
 */
#ifndef WORKER_ENGINE_H
#define WORKER_ENGINE_H

#include <stdint.h>

#ifdef __cplusplus
#define ENGINE_NOEXCEPT noexcept
extern "C" {
#else
#define ENGINE_NOEXCEPT
#endif

enum {
    ENGINE_OK = 0,
    ENGINE_INVALID_DEVICE = 1,
    ENGINE_OUT_OF_MEMORY = 2,
    ENGINE_MODEL_LOAD_FAILED = 3,
    ENGINE_MODEL_UNSUPPORTED = 4,
    ENGINE_INFERENCE_FAILED = 5,
    ENGINE_INVALID_PARAMETER = 6,
    ENGINE_KERNEL_LAUNCH_FAILED = 7,
    ENGINE_RESIDENCY_FAILED = 8,
    ENGINE_UNKNOWN = 99,
    ENGINE_CANCELLED = 130
};

/* Why a call failed; `message` is NUL-terminated UTF-8, cut to fit. */
typedef struct engine_error {
    int32_t code;
    char message[1020];
} engine_error;

typedef struct engine_device engine_device;
typedef struct engine_model engine_model;
typedef struct engine_cache engine_cache;

/* ---- callbacks ---- */

typedef void (*engine_callback)(void *user_data, const void *argument);
typedef int32_t (*engine_question)(void *user_data, const void *argument);
typedef int32_t (*engine_fraction_question)(void *user_data, float fraction);
typedef void (*engine_release)(void *user_data);

/* Call the host's function; give 1 when it ended with a C++ exception, which goes no further, otherwise 0. `answer` is
   set to what the function returned, and is left alone when it did not return. */
int32_t engine_call_contained(engine_callback callback, void *user_data, const void *argument) ENGINE_NOEXCEPT;
int32_t engine_ask_contained(engine_question question, void *user_data, const void *argument,
                             int32_t *answer) ENGINE_NOEXCEPT;
int32_t engine_ask_fraction_contained(engine_fraction_question question, void *user_data, float fraction,
                                      int32_t *answer) ENGINE_NOEXCEPT;
int32_t engine_release_contained(engine_release release, void *user_data) ENGINE_NOEXCEPT;

/* ---- devices ---- */

typedef struct engine_device_information {
    int32_t ordinal;             /* -1 is the CPU, 0... are GPUs */
    uint32_t compute_capability; /* major * 10 + minor; 0 on the CPU */
    uint64_t total_memory;       /* bytes; on the CPU the cgroup's limit where it is lower than the machine's memory */
    uint64_t free_memory;        /* bytes */
    uint32_t threads;            /* worker threads, the caller's included; 0 on a GPU */
    uint32_t reserved;
    char name[128];
    char kernel_path[32];        /* "scalar", "avx2", "avx512", ... */
} engine_device_information;

typedef struct engine_memory {
    uint64_t weights;
    uint64_t kv_cache;
    uint64_t workspace;
    uint64_t other;
    uint64_t allocations; /* how many */
} engine_memory;

uint32_t engine_gpu_count(void) ENGINE_NOEXCEPT;
/* threads: 0 chooses the cores this process may use. */
int32_t engine_device_open(int32_t ordinal, uint32_t threads, engine_device **out, engine_error *error) ENGINE_NOEXCEPT;
void engine_device_close(engine_device *device) ENGINE_NOEXCEPT; /* after all its models and caches */
int32_t engine_device_get_information(engine_device *device, engine_device_information *out, engine_error *error) ENGINE_NOEXCEPT;
/* Bytes of device memory this process uses: on the CPU its resident set. */
uint64_t engine_device_process_memory(engine_device *device) ENGINE_NOEXCEPT;
void engine_device_memory(engine_device *device, engine_memory *out) ENGINE_NOEXCEPT;

/* Where the figure of the process comes from. */
enum {
    ENGINE_MEMORY_RESIDENT_SET = 0, /* the CPU: the operating system's count */
    ENGINE_MEMORY_NVML = 1,         /* a GPU: the driver's count, context and kernels included */
    ENGINE_MEMORY_LEDGER = 2        /* a GPU whose driver does not tell: what this library allocated, a lower bound */
};

typedef struct engine_device_usage {
    uint64_t process_bytes; /* of this process */
    uint64_t device_bytes;  /* of all processes together */
    uint32_t process_source; /* ENGINE_MEMORY_* */
    uint32_t reserved;
} engine_device_usage;

int32_t engine_device_get_usage(engine_device *device, engine_device_usage *out, engine_error *error) ENGINE_NOEXCEPT;
int32_t engine_device_check_health(engine_device *device, engine_error *error) ENGINE_NOEXCEPT;

/* ---- models ---- */

enum { ENGINE_NORM_RMS = 0, ENGINE_NORM_LAYER = 1 };
enum { ENGINE_ROTARY_NONE = 0, ENGINE_ROTARY_ADJACENT = 1 /* pairs (2i, 2i+1) */, ENGINE_ROTARY_HALVES = 2 /* pairs (i, i + n/2) */ };
enum { ENGINE_ACTIVATION_SILU = 0, ENGINE_ACTIVATION_GELU_TANH = 1, ENGINE_ACTIVATION_SWIGLU_CLAMPED = 2 /* gpt-oss */ };
enum { ENGINE_RESIDENCY_OFF = 0, ENGINE_RESIDENCY_VERIFY = 1, ENGINE_RESIDENCY_LOCKED = 2 };
enum { ENGINE_LOAD_MAP = 0, ENGINE_LOAD_COPY = 1 };

/* What a layer is made of, as data. Tensors that a description needs and the table lacks are an error naming them;
 * optional ones (biases, extra norms, sinks, rotary factors) are used when present. */
typedef struct engine_model_description {
    uint32_t vocabulary;
    uint32_t width;          /* embedding length */
    uint32_t layers;
    uint32_t heads;
    uint32_t kv_heads;
    uint32_t head_size;      /* of queries and keys */
    uint32_t value_size;     /* of values; usually head_size */
    uint32_t feed_forward;   /* width of the feed-forward's middle; of one expert where there are experts */
    uint32_t context_length; /* trained */
    uint32_t norm;           /* ENGINE_NORM_* */
    uint32_t activation;     /* ENGINE_ACTIVATION_* */
    uint32_t gated;          /* 1: down(act(gate x) * up x); 0: down(act(up x)) */
    uint32_t experts;        /* 0: dense */
    uint32_t experts_used;
    uint32_t experts_softmax_after; /* 1: softmax over the chosen experts' scores (gpt-oss) */
    uint32_t rotary;         /* ENGINE_ROTARY_* */
    uint32_t rotary_size;    /* how many values of a head turn */
    uint32_t original_context; /* for YaRN and longrope; 0: none */
    uint32_t window;         /* sliding window in tokens; 0: none */
    uint32_t window_period;  /* layer l is windowed when l % period < period - 1 (and period > 0), as gemma and gpt-oss have it; 1 with window > 0: every layer */
    uint32_t embedding_norm_scale; /* 1: embeddings are multiplied by embedding_scale */
    uint32_t reserved;
    float norm_epsilon;
    float embedding_scale;
    float attention_scale;   /* of q.k; 0: 1/sqrt(head_size) */
    float attention_softcap; /* 0: none */
    float final_softcap;     /* 0: none */
    float rotary_base;
    float rotary_base_windowed; /* of windowed layers; 0: as rotary_base */
    float rotary_scale;      /* linear frequency scale of full layers (1 / factor); 1: none */
    float rotary_scale_windowed;
    float yarn_factor;       /* extrapolation mix; 0: no YaRN */
    float yarn_attention;    /* magnitude factor of sine and cosine; 1: none */
    float yarn_beta_fast;
    float yarn_beta_slow;
    float residual_scale;    /* 0 or 1: none */
    float logit_scale;       /* 0 or 1: none */
    float swiglu_alpha;      /* gpt-oss: 1.702 */
    float swiglu_limit;      /* gpt-oss: 7 */
} engine_model_description;

enum {
    /* of the model, layer = -1 */
    ENGINE_TOKEN_EMBEDDING = 0,
    ENGINE_POSITION_EMBEDDING = 1,
    ENGINE_OUTPUT_NORM = 2,
    ENGINE_OUTPUT_NORM_BIAS = 3,
    ENGINE_OUTPUT = 4, /* absent: the token embedding */
    ENGINE_OUTPUT_BIAS = 5,
    ENGINE_ROTARY_FACTORS = 6,       /* frequency divisors, [rotary_size / 2] */
    ENGINE_ROTARY_FACTORS_LONG = 7,  /* for context above original_context */
    ENGINE_ROTARY_FACTORS_SHORT = 8,
    /* of a layer */
    ENGINE_ATTENTION_NORM = 32,
    ENGINE_ATTENTION_NORM_BIAS = 33,
    ENGINE_QUERY = 34,
    ENGINE_QUERY_BIAS = 35,
    ENGINE_KEY = 36,
    ENGINE_KEY_BIAS = 37,
    ENGINE_VALUE = 38,
    ENGINE_VALUE_BIAS = 39,
    ENGINE_QKV = 40, /* rows: all queries, all keys, all values */
    ENGINE_QKV_BIAS = 41,
    ENGINE_QUERY_NORM = 42,
    ENGINE_KEY_NORM = 43,
    ENGINE_ATTENTION_OUTPUT = 44,
    ENGINE_ATTENTION_OUTPUT_BIAS = 45,
    ENGINE_ATTENTION_SINKS = 46, /* [heads] */
    ENGINE_POST_ATTENTION_NORM = 47, /* of attention's output, before it is added */
    ENGINE_FEED_FORWARD_NORM = 48,
    ENGINE_FEED_FORWARD_NORM_BIAS = 49,
    ENGINE_GATE = 50,
    ENGINE_GATE_BIAS = 51,
    ENGINE_UP = 52,
    ENGINE_UP_BIAS = 53,
    ENGINE_DOWN = 54,
    ENGINE_DOWN_BIAS = 55,
    ENGINE_GATE_UP = 56, /* rows: gate, then up (phi3) */
    ENGINE_POST_FEED_FORWARD_NORM = 57,
    ENGINE_ROUTER = 58,
    ENGINE_ROUTER_BIAS = 59,
    ENGINE_EXPERTS_GATE = 60, /* [experts, feed_forward, width] */
    ENGINE_EXPERTS_GATE_BIAS = 61,
    ENGINE_EXPERTS_UP = 62,
    ENGINE_EXPERTS_UP_BIAS = 63,
    ENGINE_EXPERTS_DOWN = 64, /* [experts, width, feed_forward] */
    ENGINE_EXPERTS_DOWN_BIAS = 65
};

/* One tensor as the file has it. `type` is GGUF's number; shape[0] is the length of a row. The engine checks that
 * bytes fit type and shape and that the shape is what the role and the description ask for. */
typedef struct engine_tensor {
    const char *name; /* for messages */
    const void *data;
    uint64_t bytes;
    uint64_t shape[4]; /* 1 beyond the tensor's dimensions */
    uint32_t type;
    uint32_t role;
    int32_t layer;
    uint32_t reserved;
} engine_tensor;

/* Called from the loading thread; a non-zero return cancels. */
typedef int32_t (*engine_progress)(void *context, uint64_t done_bytes, uint64_t total_bytes);

typedef struct engine_load {
    const engine_model_description *description;
    const engine_tensor *tensors;
    uint64_t tensor_count;
    uint32_t residency; /* ENGINE_RESIDENCY_* */
    uint32_t mode;      /* ENGINE_LOAD_*: MAP uses the tensors where they lie (the caller keeps them), COPY takes them over */
    engine_progress progress; /* may be NULL */
    void *progress_context;
    /* What the tensors lie in, or null. Locking takes the whole of it: the kernel may evict the first of a tensor's pages
     * when it is part of a larger one that also holds unlocked memory. */
    const void *backing;
    uint64_t backing_bytes;
} engine_load;

typedef struct engine_residency {
    uint64_t checked_bytes;
    uint64_t resident_bytes;
    uint64_t allocations;
    uint64_t violations; /* allocations that are not wholly where they should be */
    uint64_t violating_bytes;
    uint32_t resident;   /* 1: all in place */
    uint32_t policy;
    char violating[192]; /* the first such allocation, by name */
} engine_residency;

int32_t engine_model_load(engine_device *device, const engine_load *load, engine_model **out, engine_error *error) ENGINE_NOEXCEPT;
void engine_model_unload(engine_model *model) ENGINE_NOEXCEPT; /* after its caches */
void engine_model_memory(engine_model *model, engine_memory *out) ENGINE_NOEXCEPT;
/* Code 0 with resident = 0 is a finding, not a failure of the check. */
int32_t engine_model_check_residency(engine_model *model, engine_residency *out, engine_error *error) ENGINE_NOEXCEPT;
/* Brings evicted pages back, then checks. */
int32_t engine_model_repair_residency(engine_model *model, engine_residency *out, engine_error *error) ENGINE_NOEXCEPT;

/* ---- KV cache: pages of ENGINE_PAGE_TOKENS positions, shared by the sequences of a model ---- */

enum { ENGINE_PAGE_TOKENS = 32 };
enum { ENGINE_KV_F16 = 0, ENGINE_KV_F32 = 1, ENGINE_KV_Q8_0 = 2 };

uint64_t engine_cache_page_bytes(engine_model *model, uint32_t kind) ENGINE_NOEXCEPT; /* all layers, K and V; 0: kind unknown */
int32_t engine_cache_create(engine_model *model, uint32_t pages, uint32_t kind, engine_cache **out, engine_error *error) ENGINE_NOEXCEPT;
void engine_cache_free(engine_cache *cache) ENGINE_NOEXCEPT;
int32_t engine_cache_copy_page(engine_cache *cache, uint32_t from, uint32_t to, engine_error *error) ENGINE_NOEXCEPT;

/* ---- forward pass ---- */

enum { ENGINE_ROLE_PROMPT = 0, ENGINE_ROLE_DECODE = 1 };
enum {
    ENGINE_OUTPUT_NONE = 0,
    ENGINE_OUTPUT_LOGITS = 1, /* [vocabulary] */
    ENGINE_OUTPUT_HIDDEN = 2, /* [width], after the output norm */
    ENGINE_OUTPUT_TOKEN = 3   /* chosen on the device by the row's engine_sampling; no floats. Only where engine_model_samples() */
};

/* One token to run. A sequence's rows come in rising position; its earlier positions are in the cache already or in
 * this batch. What a row computes depends on its role, position and content alone, never on what else is in the batch. */
typedef struct engine_row {
    uint32_t token;
    uint32_t position;
    uint32_t sequence; /* index into the batch's page tables */
    uint32_t role;
    uint32_t output;
} engine_row;

/* A token of the penalties' window, and how often it is there. */
typedef struct engine_token_count {
    uint32_t token;
    uint32_t count;
} engine_token_count;

typedef struct engine_token_bias {
    uint32_t token;
    float bias;
} engine_token_bias;

/* How a row's token is chosen: what src/inference/sampling does in the host's memory, step for step, with the same result. */
typedef struct engine_sampling {
    uint64_t seed;
    uint64_t index; /* the token's place in its session: with the seed it gives the random number */
    const engine_token_count *window; /* each token once */
    uint64_t window_count;
    const engine_token_bias *biases; /* added in this order */
    uint64_t bias_count;
    const uint32_t *allowed; /* bit token % 32 of word token / 32; words for the whole vocabulary; null: every token */
    float temperature;       /* 0: the likeliest token, of equals the lowest */
    uint32_t top_k;          /* 0: all */
    float typical_p;         /* 1: all */
    float top_p;             /* 1: all */
    float min_p_logarithm;   /* of the natural base; negative infinity: all */
    float repetition_penalty;
    float frequency_penalty;
    float presence_penalty;
} engine_sampling;

enum {
    ENGINE_SAMPLED = 0,
    ENGINE_SAMPLED_NOT_FINITE = 1, /* `token`'s logit, the first such, is NaN or positive infinity: `logit` */
    ENGINE_SAMPLED_NOTHING = 2     /* every token is forbidden */
};

typedef struct engine_sampled {
    uint32_t status;
    uint32_t token;
    float logit; /* after bias and penalties */
    uint32_t reserved;
} engine_sampled;

typedef struct engine_batch {
    const engine_row *rows;
    uint64_t row_count;
    const uint32_t *const *page_tables; /* per sequence: page of positions [32 i, 32 i + 32) */
    const uint32_t *page_counts;
    uint64_t sequence_count;
    const uint32_t *cancel; /* may be NULL; read with acquire order between layers; non-zero gives ENGINE_CANCELLED */
    float *outputs;         /* the rows' outputs, concatenated in the rows' order */
    uint64_t output_capacity; /* floats */
    const engine_sampling *samplings; /* of the rows that ask for a token, in the rows' order */
    engine_sampled *sampled;          /* likewise: what was chosen */
    uint64_t sampling_count;
} engine_batch;

/* 1 where a row gives the same bits in both roles, with a cache of this kind: pages that decode rows made then serve as
 * another prompt's prefix. */
uint32_t engine_model_roles_agree(engine_model *model, uint32_t kind) ENGINE_NOEXCEPT;

/* 1 where the model's device chooses tokens itself, so that logits need not leave it. */
uint32_t engine_model_samples(engine_model *model) ENGINE_NOEXCEPT;

int32_t engine_forward(engine_model *model, engine_cache *cache, const engine_batch *batch, engine_error *error) ENGINE_NOEXCEPT;

#ifdef __cplusplus
}
#endif

#endif /* WORKER_ENGINE_H */
