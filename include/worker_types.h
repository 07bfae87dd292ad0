/*
 * Handles, constants and structs of libworker.
 *
 * A struct that a function reads or writes begins with its size, so that programs and libraries of different age
 * understand each other: set it with the struct's _INIT macro, or with sizeof. Fields are only added, zero always means
 * the default, and a field that the library does not know must be zero. Fields named reserved must be zero.
 */

#ifndef WORKER_TYPES_H
#define WORKER_TYPES_H

/* Generated from the Rust source by `make headers`; do not edit. */

#include <stddef.h>
#include <stdint.h>
#include "worker_errors.h"

/* The cuda_* functions return bool, which is one byte in every dialect. */
#if !defined(__cplusplus)
#if defined(__STDC_VERSION__) && __STDC_VERSION__ >= 199901L
#include <stdbool.h>
#elif !defined(bool)
typedef unsigned char bool;
#endif
#endif


/**
 * Number of this ABI. It rises whenever something is added; what exists keeps its meaning. A program compiled with one
 * number works with every library of the same soname whose worker_abi_version() is that number or higher.
 */
#define WORKER_ABI_VERSION 1

/**
 * The CPU, where a device is asked for by its ordinal; GPUs are 0, 1, ...
 */
#define WORKER_CPU (-1)

/**
 * Waits without end, where a timeout in milliseconds is asked for.
 */
#define WORKER_WAIT_FOREVER (-1)

/**
 * Flag of worker_model_tokenize(): add the special tokens that the model expects around a text.
 */
#define WORKER_TOKENIZE_ADD_SPECIAL 1

/**
 * Flag of worker_model_tokenize(): read the names of special tokens in the text as those tokens.
 */
#define WORKER_TOKENIZE_PARSE_SPECIAL 2

/**
 * Flag of worker_model_detokenize(): write special tokens by their names.
 */
#define WORKER_DETOKENIZE_SPECIAL 1

/**
 * A device prepared for use: an opaque pointer whose value is a handle, not an address; reading through it faults.
 */
typedef struct CudaContext CudaContext;

/**
 * A loaded model: an opaque pointer whose value is a handle, not an address; reading through it faults.
 */
typedef struct CudaModel CudaModel;

/**
 * A running or finished generation: an opaque pointer whose value is a handle, not an address; reading through it faults.
 */
typedef struct InferenceResult InferenceResult;

/**
 * Any handle. A handle is a number that names an object of this process: 0 is never one, and a number that was closed
 * never names anything again. Handles are not addresses; compare and store them as the numbers they are.
 */
typedef uint64_t worker_handle_t;

/**
 * Kind of a device: one of the WORKER_DEVICE_* values.
 */
typedef uint32_t worker_device_kind_t;

/**
 * Type of the numbers in a KV cache: one of the WORKER_KV_* values.
 */
typedef uint32_t worker_kv_type_t;

/**
 * What is promised about where weights are: one of the WORKER_RESIDENCY_* values.
 */
typedef uint32_t worker_residency_policy_t;

/**
 * How a model file becomes weights: one of the WORKER_LOAD_* values.
 */
typedef uint32_t worker_load_mode_t;

/**
 * Kind of a constraint: one of the WORKER_CONSTRAINT_* values.
 */
typedef uint32_t worker_constraint_kind_t;

/**
 * Kind of an event: one of the WORKER_EVENT_* values.
 */
typedef uint32_t worker_event_kind_t;

/**
 * Why a session ended: one of the WORKER_END_* values.
 */
typedef uint32_t worker_end_reason_t;

/**
 * What worker_model_score() writes: one of the WORKER_SCORE_* values.
 */
typedef uint32_t worker_score_kind_t;

/**
 * How token states become an embedding: one of the WORKER_POOLING_* values.
 */
typedef uint32_t worker_pooling_t;

/**
 * How much a log record matters: one of the WORKER_LOG_* values.
 */
typedef uint32_t worker_log_level_t;

/**
 * Where the managed worker is in its life: one of the WORKER_STATE_* values.
 */
typedef uint32_t worker_state_t;

/**
 * A device prepared for use; only the cuda_* functions give these out.
 */
typedef uint64_t worker_context_t;

/**
 * A loaded model. A `CudaModel *` names the same kind of object.
 */
typedef uint64_t worker_model_t;

/**
 * A running or finished generation. An `InferenceResult *` names the same kind of object.
 */
typedef uint64_t worker_session_t;

/**
 * Why a call failed. Set `struct_size` and pass it to any function with an `error` parameter: the same words as
 * worker_last_error() gives, but independent of the thread (a goroutine may continue on another one).
 */
typedef struct worker_error_t {
  /**
   * In: sizeof(worker_error_t), at least 16.
   */
  uint32_t struct_size;
  /**
   * Out: what the function returned.
   */
  int32_t code;
  /**
   * Out: what was expected, what was found, and where; UTF-8, ends in NUL, cut to fit; empty on success.
   */
  char detail[504];
} worker_error_t;

/**
 * What a device is.
 */
typedef struct worker_device_info_t {
  /**
   * In: sizeof(worker_device_info_t).
   */
  uint32_t struct_size;
  /**
   * WORKER_CPU, or the GPU's number from 0.
   */
  int32_t ordinal;
  /**
   * WORKER_DEVICE_CPU or WORKER_DEVICE_GPU.
   */
  worker_device_kind_t kind;
  /**
   * Major version times 10 plus minor version; 0 on the CPU.
   */
  uint32_t compute_capability;
  /**
   * Bytes of memory; on the CPU the limit of this process' control group where that is lower than the machine's.
   */
  uint64_t total_memory;
  /**
   * Bytes of it that are free now.
   */
  uint64_t free_memory;
  /**
   * How many threads a model uses by default; 0 on a GPU.
   */
  uint32_t threads;
  /**
   * 0.
   */
  uint32_t reserved;
  /**
   * Its name, ends in NUL.
   */
  char name[128];
  /**
   * The instruction set that the engine uses there, such as "avx512"; ends in NUL.
   */
  char kernel_path[32];
} worker_device_info_t;

/**
 * Bytes of device memory, by what they are for.
 */
typedef struct worker_memory_t {
  /**
   * In: sizeof(worker_memory_t).
   */
  uint32_t struct_size;
  /**
   * 0.
   */
  uint32_t reserved;
  /**
   * The model's weights. With WORKER_LOAD_MAP these are pages of the file, shared with other processes.
   */
  uint64_t weights;
  /**
   * Keys and values of the tokens seen.
   */
  uint64_t kv_cache;
  /**
   * Intermediate results.
   */
  uint64_t workspace;
  /**
   * Everything else.
   */
  uint64_t other;
  /**
   * The sum of these.
   */
  uint64_t total;
  /**
   * How many allocations they are.
   */
  uint64_t allocations;
} worker_memory_t;

/**
 * Where a model's weights were found.
 */
typedef struct worker_residency_t {
  /**
   * In: sizeof(worker_residency_t).
   */
  uint32_t struct_size;
  /**
   * 1: all weights are where they should be; 0: some are not.
   */
  uint32_t resident;
  /**
   * The model's policy: one of the WORKER_RESIDENCY_* values.
   */
  worker_residency_policy_t policy;
  /**
   * 0.
   */
  uint32_t reserved;
  /**
   * Bytes that were looked at.
   */
  uint64_t checked_bytes;
  /**
   * Bytes that were in place.
   */
  uint64_t resident_bytes;
  /**
   * Allocations that were looked at.
   */
  uint64_t allocations;
  /**
   * Allocations that are not wholly in place.
   */
  uint64_t violations;
  /**
   * Bytes that are not in place.
   */
  uint64_t violating_bytes;
  /**
   * The first allocation that is not in place, by name; ends in NUL; empty when all are.
   */
  char violating[192];
} worker_residency_t;

/**
 * Told how far loading is, on the thread that loads and under no lock: 0 before the file is opened, then the share of the
 * weights' bytes that are in place, never less than before, and 1 at the end. Returns 0 to go on; anything else, a C++
 * exception too, cancels: the load ends with WORKER_ERROR_CANCELLED, and holds nothing.
 */
typedef int32_t (*worker_progress_fn)(void *user_data, float fraction);

/**
 * Called once when a callback will not be called again, also when the call that was given it fails. A C++ exception from
 * it is dropped.
 */
typedef void (*worker_destroy_fn)(void *user_data);

/**
 * How to load a model. Everything zero means: on the CPU, with the library's choices.
 */
typedef struct worker_model_options_t {
  /**
   * sizeof(worker_model_options_t).
   */
  uint32_t struct_size;
  /**
   * Kind of device: 0 (the CPU), WORKER_DEVICE_CPU or WORKER_DEVICE_GPU.
   */
  worker_device_kind_t device_kind;
  /**
   * Which GPU, from 0. Must be 0 where the device is the CPU.
   */
  uint32_t device_ordinal;
  /**
   * Tokens that one session may have, prompt and answer together; never more than the model was trained for. 0: that,
   * but at most 4096.
   */
  uint32_t context_length;
  /**
   * Type of the KV cache: one of the WORKER_KV_* values.
   */
  worker_kv_type_t kv_type;
  /**
   * One of the WORKER_RESIDENCY_* values.
   */
  worker_residency_policy_t residency;
  /**
   * One of the WORKER_LOAD_* values.
   */
  worker_load_mode_t load_mode;
  /**
   * CPU threads, the calling one included, at most 1024; 0: as many as there are cores for this process.
   */
  uint32_t threads;
  /**
   * Sessions that run at the same time; further ones wait for a place. 0: 32.
   */
  uint32_t maximum_sessions;
  /**
   * Sessions that wait for a place; further ones are refused with WORKER_ERROR_BUSY. 0: 256.
   */
  uint32_t maximum_waiting;
  /**
   * Bytes of KV cache, which all sessions share; 0: enough for 4 of full length. On the CPU they are taken as needed.
   */
  uint64_t kv_budget_bytes;
  /**
   * Told how far loading is, and may cancel it; NULL: nobody.
   */
  worker_progress_fn progress;
  /**
   * Given back to progress and progress_destroy.
   */
  void *progress_user_data;
  /**
   * Called once before the load returns, whether it succeeded or not, unless struct_size itself is wrong; may be NULL.
   */
  worker_destroy_fn progress_destroy;
} worker_model_options_t;

/**
 * How to render chat messages. Everything zero means: with the cue for the assistant to speak, and without tools.
 */
typedef struct worker_chat_options_t {
  /**
   * sizeof(worker_chat_options_t).
   */
  uint32_t struct_size;
  /**
   * 1: leave out the cue that makes the model speak next.
   */
  uint32_t no_generation_prompt;
  /**
   * Tools that the model may call, as a JSON array; NULL: none.
   */
  const char *tools_json;
  /**
   * Bytes of tools_json.
   */
  uint64_t tools_json_length;
  /**
   * More variables for the template, as a JSON object; NULL: none.
   */
  const char *variables_json;
  /**
   * Bytes of variables_json.
   */
  uint64_t variables_json_length;
} worker_chat_options_t;

/**
 * A piece of UTF-8 text that its owner keeps alive during the call.
 */
typedef struct worker_text_t {
  /**
   * The text; need not end in NUL.
   */
  const char *data;
  /**
   * Its bytes.
   */
  uint64_t length;
} worker_text_t;

/**
 * Makes one token more or less likely.
 */
typedef struct worker_logit_bias_t {
  /**
   * The token.
   */
  uint32_t token;
  /**
   * Added to its logit; negative infinity forbids it.
   */
  float bias;
} worker_logit_bias_t;

/**
 * A token and how likely it was.
 */
typedef struct worker_logprob_t {
  /**
   * The token.
   */
  uint32_t token;
  /**
   * Natural logarithm of its probability in the model's own distribution.
   */
  float logprob;
} worker_logprob_t;

/**
 * How to generate. Everything zero means: always the likeliest token, until the text or the context ends.
 */
typedef struct worker_session_options_t {
  /**
   * sizeof(worker_session_options_t).
   */
  uint32_t struct_size;
  /**
   * Tokens to generate at most; 0: as many as the context holds.
   */
  uint32_t maximum_tokens;
  /**
   * 0 to 100: divides the logits before the draw; 0 always takes the likeliest token (of equals, the lowest).
   */
  float temperature;
  /**
   * Keep so many likeliest tokens; 0: all.
   */
  uint32_t top_k;
  /**
   * 0 to 1: keep the fewest likeliest tokens whose probabilities reach this sum; 0 and 1: all.
   */
  float top_p;
  /**
   * 0 to 1: keep tokens at least this fraction as likely as the likeliest; 0: all.
   */
  float min_p;
  /**
   * 0 to 1: keep the tokens closest to the expected surprise whose probabilities reach this sum; 0 and 1: all.
   */
  float typical_p;
  /**
   * Up to 100: makes tokens of the window less likely, dividing positive logits and multiplying others; 0 and 1: off.
   */
  float repetition_penalty;
  /**
   * -100 to 100: subtracted from the logits of tokens that occur in the window; 0: off.
   */
  float presence_penalty;
  /**
   * -100 to 100: subtracted from a token's logit for each time it occurs in the window; 0: off.
   */
  float frequency_penalty;
  /**
   * How many of the last tokens the penalties look at; 0: 64.
   */
  uint32_t penalty_window;
  /**
   * 1: seed is given; 0: the library draws one, which worker_session_seed() tells.
   */
  uint32_t seed_given;
  /**
   * Seed of the random numbers: with the same seed, model, device and options come the same tokens.
   */
  uint64_t seed;
  /**
   * Tokens that get a bias; NULL: none.
   */
  const struct worker_logit_bias_t *logit_bias;
  /**
   * How many logit_bias has.
   */
  uint64_t logit_bias_count;
  /**
   * Texts before which generation ends; they are never emitted, not even in part. None may be empty. NULL: none.
   */
  const struct worker_text_t *stop;
  /**
   * How many stop has.
   */
  uint64_t stop_count;
  /**
   * 0 to 20: how many of the likeliest tokens come with each token event, beside its own logprob; 0: no logprobs.
   */
  uint32_t logprobs;
  /**
   * What the text must match: one of the WORKER_CONSTRAINT_* values.
   */
  worker_constraint_kind_t constraint_kind;
  /**
   * The schema, expression or grammar, in UTF-8; NULL with WORKER_CONSTRAINT_NONE.
   */
  const char *constraint;
  /**
   * Bytes of constraint.
   */
  uint64_t constraint_length;
  /**
   * Milliseconds after which the session ends with WORKER_END_DEADLINE; 0: no deadline.
   */
  uint64_t deadline_ms;
  /**
   * 1: never generate an end-of-text token.
   */
  uint32_t ignore_end;
  /**
   * 0.
   */
  uint32_t reserved;
} worker_session_options_t;

/**
 * One thing that happened in a session. Before the call set `struct_size`, and `text` and `text_capacity` to a buffer of
 * yours (256 bytes are plenty for a token); where logprobs were asked for, also `top` and `top_capacity`. These are
 * never written; everything else is.
 */
typedef struct worker_event_t {
  /**
   * In: sizeof(worker_event_t).
   */
  uint32_t struct_size;
  /**
   * Out: one of the WORKER_EVENT_* values.
   */
  worker_event_kind_t kind;
  /**
   * In: where the token's text goes.
   */
  char *text;
  /**
   * In: bytes of text.
   */
  uint64_t text_capacity;
  /**
   * Out: bytes of the token's text, without the NUL that is written after it. The text is whole UTF-8 characters and
   * may be empty: a character that takes several tokens comes with the last of them.
   */
  uint64_t text_length;
  /**
   * Out: bytes that text must have for this event; more than text_capacity with WORKER_ERROR_BUFFER_TOO_SMALL.
   */
  uint64_t text_needed;
  /**
   * In: where the likeliest tokens go, likeliest first; may be NULL where no logprobs were asked for.
   */
  struct worker_logprob_t *top;
  /**
   * In: how many top can take.
   */
  uint32_t top_capacity;
  /**
   * Out: how many there are; more than top_capacity with WORKER_ERROR_BUFFER_TOO_SMALL.
   */
  uint32_t top_count;
  /**
   * Out: the token.
   */
  uint32_t token;
  /**
   * Out: its number in the session, from 0.
   */
  uint32_t index;
  /**
   * Out: 1 where logprob is set: logprobs were asked for.
   */
  uint32_t has_logprob;
  /**
   * Out: natural logarithm of the token's probability in the model's own distribution.
   */
  float logprob;
  /**
   * Out: why the session ended: one of the WORKER_END_* values.
   */
  worker_end_reason_t end_reason;
  /**
   * Out: the code of an error event.
   */
  int32_t error_code;
  /**
   * Out, at the end: which of the stop strings was met, from 0; -1: none.
   */
  int32_t matched_stop;
  /**
   * Out, at the end: tokens of the prompt.
   */
  uint32_t prompt_tokens;
  /**
   * Out, at the end: how many of those were computed already by an earlier session.
   */
  uint32_t cached_tokens;
  /**
   * Out, at the end: tokens generated.
   */
  uint32_t generated_tokens;
} worker_event_t;

/**
 * What a session took so far.
 */
typedef struct worker_usage_t {
  /**
   * In: sizeof(worker_usage_t).
   */
  uint32_t struct_size;
  /**
   * Tokens of the prompt.
   */
  uint32_t prompt_tokens;
  /**
   * How many of those were computed already by an earlier session.
   */
  uint32_t cached_tokens;
  /**
   * Tokens generated; the end-of-text token is not counted.
   */
  uint32_t generated_tokens;
  /**
   * Seconds from the start until the session got its place.
   */
  double queue_seconds;
  /**
   * Seconds from there until the first token.
   */
  double prefill_seconds;
  /**
   * Seconds from the first token until the end, or until now.
   */
  double decode_seconds;
  /**
   * Seconds from the start until the first token; 0 while there is none.
   */
  double first_token_seconds;
} worker_usage_t;

/**
 * Told each event of a session by worker_session_run(), on the thread that called it. The event, its text (which ends
 * in NUL) and its top are valid until it returns. Returns 0 to go on; anything else cancels the session.
 */
typedef int32_t (*worker_event_fn)(void *user_data, const struct worker_event_t *event);

/**
 * What to compute about given tokens. Everything zero means: logits, for every token.
 */
typedef struct worker_score_options_t {
  /**
   * sizeof(worker_score_options_t).
   */
  uint32_t struct_size;
  /**
   * One of the WORKER_SCORE_* values.
   */
  worker_score_kind_t kind;
  /**
   * Type of the KV cache: one of the WORKER_KV_* values; WORKER_KV_F32 where exactness counts.
   */
  worker_kv_type_t kv_type;
  /**
   * 0.
   */
  uint32_t reserved;
  /**
   * Only for so many last tokens; 0: for all that have scores.
   */
  uint64_t last;
} worker_score_options_t;

/**
 * How to embed tokens. Everything zero means: the mean of their states, as it is.
 */
typedef struct worker_embed_options_t {
  /**
   * sizeof(worker_embed_options_t).
   */
  uint32_t struct_size;
  /**
   * One of the WORKER_POOLING_* values.
   */
  worker_pooling_t pooling;
  /**
   * 1: scale each vector to length 1.
   */
  uint32_t normalize;
  /**
   * 0.
   */
  uint32_t reserved;
} worker_embed_options_t;

/**
 * One thing that happened. The texts end in NUL and are valid during the callback only.
 */
typedef struct worker_log_record_t {
  /**
   * sizeof(worker_log_record_t) in the library's build; members are only added at the end.
   */
  uint32_t struct_size;
  /**
   * How much it matters.
   */
  worker_log_level_t level;
  /**
   * Nanoseconds since 1970.
   */
  uint64_t timestamp;
  /**
   * The event's stable name, such as "worker::model_loaded"; "host" for the host's own records.
   */
  const char *target;
  /**
   * A sentence for people.
   */
  const char *message;
  /**
   * The fields, as one JSON object.
   */
  const char *fields;
  /**
   * Bytes of target, without its NUL.
   */
  uint64_t target_length;
  /**
   * Bytes of message, without its NUL.
   */
  uint64_t message_length;
  /**
   * Bytes of fields, without its NUL.
   */
  uint64_t fields_length;
} worker_log_record_t;

/**
 * Given each log record, one at a time, on a thread of the library that does nothing else. It may be slow (records are
 * then lost, counted, and their number logged) and may call any function of the library.
 */
typedef void (*worker_log_fn)(void *user_data, const struct worker_log_record_t *record);

/**
 * What worker_bootstrap() made.
 */
typedef struct worker_bootstrap_t {
  /**
   * In: sizeof(worker_bootstrap_t).
   */
  uint32_t struct_size;
  /**
   * 0.
   */
  uint32_t reserved;
  /**
   * The model that the configuration named; 0 when it named none.
   */
  worker_model_t model;
  /**
   * The worker's name, given or made up; ends in NUL.
   */
  char worker_id[136];
} worker_bootstrap_t;

/**
 * The managed worker at one moment.
 */
typedef struct worker_overview_t {
  /**
   * In: sizeof(worker_overview_t).
   */
  uint32_t struct_size;
  /**
   * Where it is in its life.
   */
  worker_state_t state;
  /**
   * WORKER_CPU, or the GPU's number.
   */
  int32_t device;
  /**
   * 1: healthy by the last check, or not checked yet; 0: not.
   */
  uint32_t healthy;
  /**
   * Seconds since bootstrap; 0 without a worker.
   */
  double uptime_seconds;
  /**
   * Sessions of this process that ended well.
   */
  uint64_t steps_processed;
  /**
   * Sessions of this process that failed or ran into their deadline.
   */
  uint64_t steps_failed;
  /**
   * Sessions running now.
   */
  uint64_t sessions_running;
  /**
   * Sessions waiting to be let in.
   */
  uint64_t sessions_queued;
  /**
   * Models loaded.
   */
  uint64_t models;
  /**
   * Bytes of device memory of those models.
   */
  uint64_t memory;
  /**
   * The worker's name; ends in NUL; empty without one.
   */
  char worker_id[136];
  /**
   * Why the last bootstrap failed; ends in NUL; empty unless the state is WORKER_STATE_ERROR.
   */
  char reason[504];
} worker_overview_t;

/**
 * What the health monitor found last.
 */
typedef struct worker_health_t {
  /**
   * In: sizeof(worker_health_t).
   */
  uint32_t struct_size;
  /**
   * 1: everything was in place, or nothing was checked yet; 0: not.
   */
  uint32_t healthy;
  /**
   * How many checks were made.
   */
  uint64_t checks;
  /**
   * Seconds since the last check; negative before the first.
   */
  double last_check_seconds;
  /**
   * Bytes that the last check looked at.
   */
  uint64_t checked_bytes;
  /**
   * Of these, bytes where they should be.
   */
  uint64_t resident_bytes;
  /**
   * Why it is not healthy; ends in NUL; empty while it is.
   */
  char reason[504];
} worker_health_t;

/**
 * Told when health changes, on the monitor's thread. It may call any function of the library but worker_stop() and
 * worker_transition_to_graceful_shutdown().
 */
typedef void (*worker_health_fn)(void *user_data, const struct worker_health_t *health);

/**
 * What the library chooses by itself: the CPU. A GPU is used only when asked for, and never replaced by the CPU.
 */
#define WORKER_DEVICE_DEFAULT 0

/**
 * The CPU; there is one.
 */
#define WORKER_DEVICE_CPU 1

/**
 * A GPU, chosen by its ordinal.
 */
#define WORKER_DEVICE_GPU 2

/**
 * Chosen by the library: WORKER_KV_F16.
 */
#define WORKER_KV_DEFAULT 0

/**
 * Half precision: two bytes a value.
 */
#define WORKER_KV_F16 1

/**
 * Single precision: four bytes a value; for exact comparisons.
 */
#define WORKER_KV_F32 2

/**
 * Eight bits in blocks of 32 with a scale: 1.06 bytes a value.
 */
#define WORKER_KV_Q8_0 3

/**
 * Chosen by the library: WORKER_RESIDENCY_VERIFY.
 */
#define WORKER_RESIDENCY_DEFAULT 0

/**
 * Nothing is promised: pages may be evicted and come back when they are used.
 */
#define WORKER_RESIDENCY_OFF 1

/**
 * Weights are brought in when the model is loaded, and can be checked at any time.
 */
#define WORKER_RESIDENCY_VERIFY 2

/**
 * Weights are locked in memory; loading fails with WORKER_ERROR_RESIDENCY_FAILED where the system does not allow it.
 */
#define WORKER_RESIDENCY_LOCKED 3

/**
 * Chosen by the library: WORKER_LOAD_MAP.
 */
#define WORKER_LOAD_DEFAULT 0

/**
 * The file is mapped and its pages are the weights: quick, and shared between processes. While the model is loaded,
 * nobody may truncate the file: the system ends a process that reads beyond its end.
 */
#define WORKER_LOAD_MAP 1

/**
 * The file is copied, and not needed any more when loading ends.
 */
#define WORKER_LOAD_COPY 2

/**
 * No constraint.
 */
#define WORKER_CONSTRAINT_NONE 0

/**
 * The text is JSON that a JSON schema describes.
 */
#define WORKER_CONSTRAINT_JSON_SCHEMA 1

/**
 * The text matches a regular expression, from its beginning to its end.
 */
#define WORKER_CONSTRAINT_REGEX 2

/**
 * The text follows a grammar in Lark's notation.
 */
#define WORKER_CONSTRAINT_LARK 3

/**
 * Nothing happened: the call failed or timed out.
 */
#define WORKER_EVENT_NONE 0

/**
 * A token was generated.
 */
#define WORKER_EVENT_TOKEN 1

/**
 * The session is over; reading again gives this again.
 */
#define WORKER_EVENT_END 2

/**
 * Running the model failed: error_code says how, and so does the call that gave this event. The end event comes next,
 * with WORKER_END_ERROR.
 */
#define WORKER_EVENT_ERROR 3

/**
 * It has not ended.
 */
#define WORKER_END_NONE 0

/**
 * The model generated an end-of-text token.
 */
#define WORKER_END_OF_TEXT 1

/**
 * As many tokens were generated as were asked for.
 */
#define WORKER_END_MAXIMUM_TOKENS 2

/**
 * The text ran into a stop string.
 */
#define WORKER_END_STOP_STRING 3

/**
 * The host cancelled it.
 */
#define WORKER_END_CANCELLED 4

/**
 * The session or its model was closed while it ran.
 */
#define WORKER_END_CLOSED 5

/**
 * The deadline passed.
 */
#define WORKER_END_DEADLINE 6

/**
 * The context has no room for another token.
 */
#define WORKER_END_CONTEXT_FULL 7

/**
 * Running the model failed; the error event came before.
 */
#define WORKER_END_ERROR 8

/**
 * The constraint is met, and nothing may follow.
 */
#define WORKER_END_CONSTRAINT_COMPLETE 9

/**
 * For each token, what the model expects next: one logit for every token of the vocabulary.
 */
#define WORKER_SCORE_LOGITS 0

/**
 * For each token but the first, one number: the natural logarithm of its probability after those before it.
 */
#define WORKER_SCORE_LOGPROBS 1

/**
 * The mean over the tokens.
 */
#define WORKER_POOLING_MEAN 0

/**
 * The last token's state.
 */
#define WORKER_POOLING_LAST 1

/**
 * No pooling: one vector for each token.
 */
#define WORKER_POOLING_NONE 2

/**
 * The first token's state.
 */
#define WORKER_POOLING_FIRST 3

/**
 * The hot path, step by step.
 */
#define WORKER_LOG_TRACE 1

/**
 * Detail for whoever looks for a fault.
 */
#define WORKER_LOG_DEBUG 2

/**
 * The life of workers, models and sessions; the level at first.
 */
#define WORKER_LOG_INFO 3

/**
 * Degraded, or refused but worth another try.
 */
#define WORKER_LOG_WARN 4

/**
 * Needs a person.
 */
#define WORKER_LOG_ERROR 5

/**
 * None was started, or the last one has ended.
 */
#define WORKER_STATE_STOPPED 0

/**
 * worker_bootstrap() is at work.
 */
#define WORKER_STATE_STARTING 1

/**
 * Work is taken.
 */
#define WORKER_STATE_RUNNING 2

/**
 * Running sessions may finish; nothing new is taken.
 */
#define WORKER_STATE_SHUTTING_DOWN 3

/**
 * The last worker_bootstrap() failed; it may be called again.
 */
#define WORKER_STATE_ERROR 4

/* Initial values: everything zero, with the struct's size. Such as: worker_event_t event = WORKER_EVENT_INIT; */
#define WORKER_ERROR_INIT { sizeof(worker_error_t), 0, {0} }
#define WORKER_DEVICE_INFO_INIT { sizeof(worker_device_info_t), 0, 0, 0, 0, 0, 0, 0, {0}, {0} }
#define WORKER_MEMORY_INIT { sizeof(worker_memory_t), 0, 0, 0, 0, 0, 0, 0 }
#define WORKER_RESIDENCY_INIT { sizeof(worker_residency_t), 0, 0, 0, 0, 0, 0, 0, 0, {0} }
#define WORKER_MODEL_OPTIONS_INIT { sizeof(worker_model_options_t), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }
#define WORKER_CHAT_OPTIONS_INIT { sizeof(worker_chat_options_t), 0, 0, 0, 0, 0 }
#define WORKER_SESSION_OPTIONS_INIT { sizeof(worker_session_options_t), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }
#define WORKER_EVENT_INIT { sizeof(worker_event_t), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 }
#define WORKER_USAGE_INIT { sizeof(worker_usage_t), 0, 0, 0, 0, 0, 0, 0 }
#define WORKER_SCORE_OPTIONS_INIT { sizeof(worker_score_options_t), 0, 0, 0, 0 }
#define WORKER_EMBED_OPTIONS_INIT { sizeof(worker_embed_options_t), 0, 0, 0 }
#define WORKER_LOG_RECORD_INIT { sizeof(worker_log_record_t), 0, 0, 0, 0, 0, 0, 0, 0 }
#define WORKER_BOOTSTRAP_INIT { sizeof(worker_bootstrap_t), 0, 0, {0} }
#define WORKER_OVERVIEW_INIT { sizeof(worker_overview_t), 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, {0}, {0} }
#define WORKER_HEALTH_INIT { sizeof(worker_health_t), 0, 0, 0, 0, 0, {0} }

#endif  /* WORKER_TYPES_H */
