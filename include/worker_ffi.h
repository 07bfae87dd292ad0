/*
 * libworker: run a language model inside your own process.
 *
 * Handles. Models and sessions are named by 64-bit numbers. 0 is never one; a number that was closed never names
 *   anything again. A handle that is wrong in any way (never given out, closed, of another kind, inherited over fork)
 *   gives an error that says so, never a crash. Closing an object also ends what was made with it. The pointers of the
 *   cuda_* functions are such numbers too: do not read through them.
 *
 * Threads. Every function may be called from any thread at any time on any handle. Sessions of one model run together;
 *   calls on one session wait for each other; closing may race with any call. The library's own threads never call you:
 *   callbacks run on the thread that made the call, under no lock. Each function tells under *Blocks* whether it waits,
 *   and what ends the wait.
 *
 * Errors. Functions that can fail return worker_status_t: WORKER_SUCCESS or a WORKER_ERROR_* code. What happened in
 *   particular is told by worker_last_error(), for each thread, or in the optional worker_error_t that ends the parameter
 *   list: use that where your language moves between threads. Outputs are zeroed first, and written only on success.
 *   An internal fault comes back as WORKER_ERROR_PANIC, and the library goes on working.
 *
 * Strings. Text goes in as a pointer and a length, in UTF-8, and is copied. Text comes out into your buffer, with a NUL at
 *   its end; *needed tells the bytes that it takes, NUL included. Where the buffer is too small you get
 *   WORKER_ERROR_BUFFER_TOO_SMALL, and nothing is lost: call again. The cuda_* functions take text that ends in NUL.
 *   Nothing that the library gives out is ever passed to free().
 *
 * Structs begin with their size: use the _INIT macros or the _init functions. Zero always means the default.
 *
 * Fork. After fork() handles stay with the parent: in the child they give WORKER_ERROR_FORKED. The child may load models
 *   of its own, unless the parent has used a GPU, which no process survives.
 *
 * Exit. A process may exit at any time, also in the middle of a session; nothing needs to be closed first.
 *
 * A first program:
 *
 *   worker_model_t model; worker_session_t session; char text[256];
 *   worker_session_options_t options = WORKER_SESSION_OPTIONS_INIT;
 *   worker_event_t event = WORKER_EVENT_INIT;
 *   options.maximum_tokens = 64; event.text = text; event.text_capacity = sizeof text;
 *   if (worker_model_load(path, strlen(path), NULL, &model, NULL) != WORKER_SUCCESS) ...
 *   if (worker_session_start(model, "Once", 4, &options, &session, NULL) != WORKER_SUCCESS) ...
 *   while (worker_session_next(session, &event, WORKER_WAIT_FOREVER, NULL) == WORKER_SUCCESS
 *          && event.kind == WORKER_EVENT_TOKEN) fputs(text, stdout);
 *   worker_model_unload(model);
 */
#ifndef WORKER_FFI_H
#define WORKER_FFI_H

/* Generated from the Rust source by `make headers`; do not edit. */

#include "worker_types.h"

#ifdef __cplusplus
extern "C" {
#endif


/**
 * Names the library's version, such as "0.1.0".
 *
 * *Errors*: none.
 * *Ownership*: the text belongs to the library, ends in NUL, and stays valid until the process ends.
 * *Thread*: any.
 * *Blocks*: no.
 */
const char *worker_version(void);

/**
 * Gives the WORKER_ABI_VERSION that the library was built with. It must be the header's or higher.
 *
 * *Errors*: none.
 * *Ownership*: none.
 * *Thread*: any.
 * *Blocks*: no.
 */
uint32_t worker_abi_version(void);

/**
 * Names an error code as the header does, such as "WORKER_ERROR_STALE_HANDLE".
 *
 * - code: any number; "WORKER_ERROR_UNRECOGNIZED" where it is no code of this library.
 *
 * *Errors*: none.
 * *Ownership*: the text belongs to the library, ends in NUL, and stays valid until the process ends.
 * *Thread*: any.
 * *Blocks*: no.
 */
const char *worker_error_name(worker_status_t code);

/**
 * Says in a few words what an error code means. What happened in particular is told by worker_last_error().
 *
 * - code: any number; "Unrecognized error code" where it is no code of this library.
 *
 * *Errors*: none.
 * *Ownership*: the text belongs to the library, ends in NUL, and stays valid until the process ends.
 * *Thread*: any.
 * *Blocks*: no.
 */
const char *worker_error_message(worker_status_t code);

/**
 * Gives the HTTP status that a server would answer with, such as 503.
 *
 * - code: any number; 200 for WORKER_SUCCESS, 500 where it is no code of this library.
 *
 * *Errors*: none.
 * *Ownership*: none.
 * *Thread*: any.
 * *Blocks*: no.
 */
uint32_t worker_error_http_status(worker_status_t code);

/**
 * Tells whether the same call may succeed when it is made again.
 *
 * - code: any number.
 *
 * Returns 1 where a retry may help, otherwise 0.
 *
 * *Errors*: none.
 * *Ownership*: none.
 * *Thread*: any.
 * *Blocks*: no.
 */
uint32_t worker_error_retry_helps(worker_status_t code);

/**
 * Copies out what the last failed call on this thread had to say: what was expected, what was found, and where. It
 * covers the cuda_* functions too. A call that succeeds leaves it as it is; before any failure it is empty.
 *
 * - buffer: where the text goes, in UTF-8 with a NUL at its end; may be NULL with capacity 0.
 * - capacity: bytes of buffer.
 * - needed: set to the bytes that the text takes, its NUL included; may be NULL.
 *
 * *Errors*: WORKER_ERROR_BUFFER_TOO_SMALL (the text is kept), WORKER_ERROR_INVALID_PARAMETER (buffer is NULL and
 * capacity is not 0). Failures of this function are not themselves kept.
 * *Ownership*: the buffer stays the caller's.
 * *Thread*: any; each has its own.
 * *Blocks*: no.
 */
worker_status_t worker_last_error(char *buffer, size_t capacity, size_t *needed);

/**
 * Counts the GPUs that can be used. The CPU is always there besides, and is not counted.
 *
 * Returns 0 where there is no GPU, no driver, or the library was built without GPU support.
 *
 * *Errors*: none.
 * *Ownership*: none.
 * *Thread*: any.
 * *Blocks*: the first call may, while a driver starts.
 */
uint32_t worker_device_count(void);

/**
 * Describes a device.
 *
 * - device: WORKER_CPU, or a GPU's number from 0.
 * - out: the description; its struct_size must be set.
 * - error: why the call failed; may be NULL.
 *
 * *Errors*: WORKER_ERROR_INVALID_DEVICE, WORKER_ERROR_INVALID_PARAMETER, WORKER_ERROR_ABI_MISMATCH.
 * *Ownership*: the structs stay the caller's.
 * *Thread*: any.
 * *Blocks*: no.
 */
worker_status_t worker_device_info(int32_t device, worker_device_info_t *out, worker_error_t *error);

/**
 * Tells how much of a device's memory this process uses. On the CPU that is what it has in RAM; on a GPU what the driver
 * counts (NVML), its context included, or, where the driver does not tell, what this library has allocated there. What all
 * processes together use is another figure: total_memory less free_memory of worker_device_info().
 *
 * - device: WORKER_CPU, or a GPU's number from 0.
 * - out_bytes: set to the bytes.
 * - error: why the call failed; may be NULL.
 *
 * *Errors*: WORKER_ERROR_INVALID_DEVICE, WORKER_ERROR_INVALID_PARAMETER.
 * *Ownership*: none is taken.
 * *Thread*: any.
 * *Blocks*: no.
 */
worker_status_t worker_device_process_memory(int32_t device,
                                             uint64_t *out_bytes,
                                             worker_error_t *error);

/**
 * Checks that a device answers and has no lasting fault.
 *
 * - device: WORKER_CPU, or a GPU's number from 0.
 * - error: why the call failed; may be NULL.
 *
 * *Errors*: WORKER_ERROR_INVALID_DEVICE, WORKER_ERROR_KERNEL_LAUNCH_FAILED, WORKER_ERROR_OUT_OF_MEMORY.
 * *Ownership*: the struct stays the caller's.
 * *Thread*: any.
 * *Blocks*: while the device answers, at most some milliseconds.
 */
worker_status_t worker_device_check_health(int32_t device, worker_error_t *error);

/**
 * Sets options to their defaults: all zero, with struct_size.
 *
 * - options: the struct; NULL does nothing.
 * - size: sizeof(worker_model_options_t) in the caller's program.
 *
 * *Errors*: WORKER_ERROR_INVALID_PARAMETER (NULL), WORKER_ERROR_ABI_MISMATCH (no such size).
 * *Ownership*: the struct stays the caller's.
 * *Thread*: any.
 * *Blocks*: no.
 */
worker_status_t worker_model_options_init(worker_model_options_t *options, size_t size);

/**
 * Loads a model from a GGUF file.
 *
 * - path: the file's path, in the system's bytes (UTF-8 as a rule); need not end in NUL.
 * - path_length: bytes of path.
 * - options: how to load it; NULL for the defaults.
 * - out_model: set to the model's handle; 0 on failure.
 * - error: why the call failed; may be NULL.
 *
 * *Errors*: WORKER_ERROR_INPUT_OUTPUT (no such file, no permission), WORKER_ERROR_MODEL_LOAD_FAILED (damaged; the detail
 * names the key or tensor), WORKER_ERROR_MODEL_UNSUPPORTED, WORKER_ERROR_OUT_OF_MEMORY, WORKER_ERROR_INVALID_DEVICE,
 * WORKER_ERROR_RESIDENCY_FAILED, WORKER_ERROR_CANCELLED (by progress), WORKER_ERROR_INVALID_PARAMETER,
 * WORKER_ERROR_ABI_MISMATCH, WORKER_ERROR_HANDLES_EXHAUSTED.
 * *Ownership*: the caller owns the model and ends it with worker_model_unload(). progress_destroy is called before the
 * call returns, whatever it returns.
 * *Thread*: any; models load side by side.
 * *Blocks*: while the file is read. To end it early, return non-zero from progress.
 */
worker_status_t worker_model_load(const char *path,
                                  size_t path_length,
                                  const worker_model_options_t *options,
                                  worker_model_t *out_model,
                                  worker_error_t *error);

/**
 * Unloads a model: its sessions end with WORKER_END_CLOSED, its memory is freed, and its handle and theirs become stale.
 *
 * - model: the model.
 *
 * *Errors*: WORKER_ERROR_INVALID_HANDLE, WORKER_ERROR_STALE_HANDLE (it was unloaded before), WORKER_ERROR_WRONG_KIND,
 * WORKER_ERROR_FORKED.
 * *Ownership*: ends the caller's ownership of the model and of its sessions.
 * *Thread*: any, also while others use the model: their calls end cleanly.
 * *Blocks*: until the step that is running ends.
 */
worker_status_t worker_model_unload(worker_model_t model);

/**
 * Describes a model as a JSON object: architecture, shape, quantisation, tokenizer, context, licence, size.
 *
 * - model: the model.
 * - buffer: where the text goes, in UTF-8 with a NUL at its end; may be NULL with capacity 0.
 * - capacity: bytes of buffer.
 * - needed: set to the bytes that the text takes, its NUL included; may be NULL.
 * - error: why the call failed; may be NULL.
 *
 * *Errors*: WORKER_ERROR_BUFFER_TOO_SMALL, the handle errors of worker_model_unload(), WORKER_ERROR_INVALID_PARAMETER.
 * *Ownership*: the buffer stays the caller's.
 * *Thread*: any.
 * *Blocks*: no.
 */
worker_status_t worker_model_info_json(worker_model_t model,
                                       char *buffer,
                                       size_t capacity,
                                       size_t *needed,
                                       worker_error_t *error);

/**
 * Tells how much device memory a model uses, by purpose.
 *
 * - model: the model.
 * - out: the bytes; its struct_size must be set.
 * - error: why the call failed; may be NULL.
 *
 * *Errors*: the handle errors of worker_model_unload(), WORKER_ERROR_INVALID_PARAMETER, WORKER_ERROR_ABI_MISMATCH.
 * *Ownership*: the structs stay the caller's.
 * *Thread*: any.
 * *Blocks*: no.
 */
worker_status_t worker_model_memory(worker_model_t model, worker_memory_t *out, worker_error_t *error);

/**
 * Turns text into tokens.
 *
 * - model: the model.
 * - text: the text, in UTF-8; NULL with text_length 0.
 * - text_length: bytes of text.
 * - flags: WORKER_TOKENIZE_ADD_SPECIAL and WORKER_TOKENIZE_PARSE_SPECIAL, added; or 0.
 * - tokens: where the tokens go; may be NULL with capacity 0.
 * - capacity: how many tokens fit.
 * - needed: set to the number of tokens; may be NULL.
 * - error: why the call failed; may be NULL.
 *
 * *Errors*: WORKER_ERROR_BUFFER_TOO_SMALL, the handle errors of worker_model_unload(), WORKER_ERROR_INVALID_PARAMETER (not
 * UTF-8, unknown flags, NULL).
 * *Ownership*: the buffers stay the caller's.
 * *Thread*: any.
 * *Blocks*: no.
 */
worker_status_t worker_model_tokenize(worker_model_t model,
                                      const char *text,
                                      size_t text_length,
                                      uint32_t flags,
                                      uint32_t *tokens,
                                      size_t capacity,
                                      size_t *needed,
                                      worker_error_t *error);

/**
 * Turns tokens into text.
 *
 * - model: the model.
 * - tokens: the tokens; NULL with token_count 0.
 * - token_count: how many.
 * - flags: WORKER_DETOKENIZE_SPECIAL, or 0: special tokens are left out.
 * - buffer: where the text goes, with a NUL at its end; may be NULL with capacity 0. It is UTF-8 where the tokens are
 *   whole characters: a character's bytes may be spread over several tokens.
 * - capacity: bytes of buffer.
 * - needed: set to the bytes that the text takes, its NUL included; may be NULL.
 * - error: why the call failed; may be NULL.
 *
 * *Errors*: WORKER_ERROR_BUFFER_TOO_SMALL, the handle errors of worker_model_unload(), WORKER_ERROR_INVALID_PARAMETER (a
 * token outside the vocabulary, unknown flags, NULL).
 * *Ownership*: the buffers stay the caller's.
 * *Thread*: any.
 * *Blocks*: no.
 */
worker_status_t worker_model_detokenize(worker_model_t model,
                                        const uint32_t *tokens,
                                        size_t token_count,
                                        uint32_t flags,
                                        char *buffer,
                                        size_t capacity,
                                        size_t *needed,
                                        worker_error_t *error);

/**
 * Sets options to their defaults: all zero, with struct_size.
 *
 * - options: the struct.
 * - size: sizeof(worker_chat_options_t) in the caller's program.
 *
 * *Errors*: WORKER_ERROR_INVALID_PARAMETER (NULL), WORKER_ERROR_ABI_MISMATCH (no such size).
 * *Ownership*: the struct stays the caller's.
 * *Thread*: any.
 * *Blocks*: no.
 */
worker_status_t worker_chat_options_init(worker_chat_options_t *options, size_t size);

/**
 * Renders chat messages with the model's own template, into the prompt that the model was trained on.
 *
 * - model: the model.
 * - messages_json: a JSON array such as [{"role": "user", "content": "Hello"}], in UTF-8.
 * - messages_length: bytes of messages_json.
 * - options: how to render; NULL for the defaults.
 * - buffer: where the text goes, in UTF-8 with a NUL at its end; may be NULL with capacity 0.
 * - capacity: bytes of buffer.
 * - needed: set to the bytes that the text takes, its NUL included; may be NULL.
 * - error: why the call failed; may be NULL.
 *
 * *Errors*: WORKER_ERROR_BUFFER_TOO_SMALL, WORKER_ERROR_MODEL_UNSUPPORTED (the model has no template),
 * WORKER_ERROR_INVALID_PARAMETER (not JSON, or messages that the template refuses), the handle errors of
 * worker_model_unload(), WORKER_ERROR_ABI_MISMATCH.
 * *Ownership*: the buffers stay the caller's.
 * *Thread*: any.
 * *Blocks*: no.
 */
worker_status_t worker_model_apply_chat_template(worker_model_t model,
                                                 const char *messages_json,
                                                 size_t messages_length,
                                                 const worker_chat_options_t *options,
                                                 char *buffer,
                                                 size_t capacity,
                                                 size_t *needed,
                                                 worker_error_t *error);

/**
 * Sets options to their defaults: all zero, with struct_size.
 *
 * - options: the struct.
 * - size: sizeof(worker_session_options_t) in the caller's program.
 *
 * *Errors*: WORKER_ERROR_INVALID_PARAMETER (NULL), WORKER_ERROR_ABI_MISMATCH (no such size).
 * *Ownership*: the struct stays the caller's.
 * *Thread*: any.
 * *Blocks*: no.
 */
worker_status_t worker_session_options_init(worker_session_options_t *options, size_t size);

/**
 * Starts to continue a text.
 *
 * - model: the model.
 * - prompt: the text, in UTF-8; names of special tokens in it are read as those tokens. NULL with prompt_length 0.
 * - prompt_length: bytes of prompt.
 * - options: how to generate; NULL for the defaults.
 * - out_session: set to the session's handle; 0 on failure.
 * - error: why the call failed; may be NULL.
 *
 * *Errors*: WORKER_ERROR_INVALID_PARAMETER (out of range, not UTF-8, a prompt longer than the context; the detail names
 * the option), WORKER_ERROR_OUT_OF_MEMORY, WORKER_ERROR_BUSY, the handle errors of worker_model_unload(),
 * WORKER_ERROR_ABI_MISMATCH, WORKER_ERROR_HANDLES_EXHAUSTED.
 * *Ownership*: the caller owns the session and ends it with worker_session_close(). The arguments are copied.
 * *Thread*: any; sessions of one model run together.
 * *Blocks*: no; the prompt is computed in the background.
 */
worker_status_t worker_session_start(worker_model_t model,
                                     const char *prompt,
                                     size_t prompt_length,
                                     const worker_session_options_t *options,
                                     worker_session_t *out_session,
                                     worker_error_t *error);

/**
 * Starts to continue a sequence of tokens, taken as they are.
 *
 * - model: the model.
 * - tokens: the tokens.
 * - token_count: how many; at least 1.
 * - options: how to generate; NULL for the defaults.
 * - out_session: set to the session's handle; 0 on failure.
 * - error: why the call failed; may be NULL.
 *
 * *Errors*: as worker_session_start(); WORKER_ERROR_INVALID_PARAMETER also for a token outside the vocabulary.
 * *Ownership*: the caller owns the session and ends it with worker_session_close(). The arguments are copied.
 * *Thread*: any.
 * *Blocks*: no.
 */
worker_status_t worker_session_start_tokens(worker_model_t model,
                                            const uint32_t *tokens,
                                            size_t token_count,
                                            const worker_session_options_t *options,
                                            worker_session_t *out_session,
                                            worker_error_t *error);

/**
 * Starts to answer chat messages, rendered with the model's own template.
 *
 * - model: the model.
 * - messages_json: a JSON array such as [{"role": "user", "content": "Hello"}], in UTF-8.
 * - messages_length: bytes of messages_json.
 * - options: how to generate; NULL for the defaults.
 * - out_session: set to the session's handle; 0 on failure.
 * - error: why the call failed; may be NULL.
 *
 * *Errors*: as worker_session_start(); WORKER_ERROR_MODEL_UNSUPPORTED where the model has no template.
 * *Ownership*: the caller owns the session and ends it with worker_session_close(). The arguments are copied.
 * *Thread*: any.
 * *Blocks*: no.
 */
worker_status_t worker_session_start_chat(worker_model_t model,
                                          const char *messages_json,
                                          size_t messages_length,
                                          const worker_session_options_t *options,
                                          worker_session_t *out_session,
                                          worker_error_t *error);

/**
 * Sets an event to zero, with struct_size. Set its text and text_capacity afterwards.
 *
 * - event: the struct.
 * - size: sizeof(worker_event_t) in the caller's program.
 *
 * *Errors*: WORKER_ERROR_INVALID_PARAMETER (NULL), WORKER_ERROR_ABI_MISMATCH (no such size).
 * *Ownership*: the struct stays the caller's.
 * *Thread*: any.
 * *Blocks*: no.
 */
worker_status_t worker_event_init(worker_event_t *event, size_t size);

/**
 * Reads a session's next event: a token, the end, or an error. Tokens come in order, each once, as soon as they are
 * generated; after the end, the end comes again.
 *
 * - session: the session.
 * - event: what happened; its struct_size and buffers must be set.
 * - timeout_ms: how long to wait in milliseconds; 0: not at all; WORKER_WAIT_FOREVER (or any negative number): until
 *   there is an event.
 * - error: why the call failed; may be NULL.
 *
 * *Errors*: WORKER_ERROR_TIMED_OUT (nothing is lost; call again), WORKER_ERROR_BUFFER_TOO_SMALL (text_needed and
 * top_count tell what is needed; nothing is lost), WORKER_ERROR_INVALID_PARAMETER, WORKER_ERROR_ABI_MISMATCH, the handle
 * errors of worker_session_close(). Where running the model failed, its error, once; event->kind is then
 * WORKER_EVENT_ERROR.
 * *Ownership*: the struct and its buffers stay the caller's.
 * *Thread*: any; calls on one session wait for each other.
 * *Blocks*: up to timeout_ms; less when the session is cancelled or closed, or its model unloaded: then the end comes.
 */
worker_status_t worker_session_next(worker_session_t session,
                                    worker_event_t *event,
                                    int64_t timeout_ms,
                                    worker_error_t *error);

/**
 * Reads a session to its end, calling a function for each event, the end included.
 *
 * - session: the session.
 * - callback: told each event; returns non-zero to cancel the session.
 * - user_data: given to callback and destroy.
 * - destroy: called once before the call returns, whatever it returns; may be NULL.
 * - error: why the call failed; may be NULL.
 *
 * *Errors*: WORKER_ERROR_INVALID_PARAMETER (no callback), the handle errors of worker_session_close(); where running the
 * model failed, that error, after its event and the end's; WORKER_ERROR_CANCELLED when the callback ended with a C++
 * exception, which goes no further: the session is cancelled then, and the callback is not called again.
 * *Ownership*: user_data stays the caller's until destroy is called with it.
 * *Thread*: any; the callback runs on the same one, under no lock, and may call any function of this library. Events that
 * are read elsewhere meanwhile do not come here.
 * *Blocks*: until the session ends.
 */
worker_status_t worker_session_run(worker_session_t session,
                                   worker_event_fn callback,
                                   void *user_data,
                                   worker_destroy_fn destroy,
                                   worker_error_t *error);

/**
 * Cancels a session: it stops at its next step, unread tokens are dropped, and the next event is the end, with
 * WORKER_END_CANCELLED. A session whose end was read stays as it is. The handle stays valid.
 *
 * - session: the session.
 *
 * *Errors*: the handle errors of worker_session_close().
 * *Ownership*: none is taken.
 * *Thread*: any, also while another reads the session.
 * *Blocks*: no.
 */
worker_status_t worker_session_cancel(worker_session_t session);

/**
 * Tells what a session took so far.
 *
 * - session: the session.
 * - out: counts and times; its struct_size must be set.
 * - error: why the call failed; may be NULL.
 *
 * *Errors*: WORKER_ERROR_INVALID_PARAMETER, WORKER_ERROR_ABI_MISMATCH, the handle errors of worker_session_close().
 * *Ownership*: the structs stay the caller's.
 * *Thread*: any.
 * *Blocks*: no.
 */
worker_status_t worker_session_usage(worker_session_t session, worker_usage_t *out, worker_error_t *error);

/**
 * Tells the seed of a session's random numbers, given or drawn.
 *
 * - session: the session.
 * - out_seed: set to the seed.
 * - error: why the call failed; may be NULL.
 *
 * *Errors*: WORKER_ERROR_INVALID_PARAMETER, the handle errors of worker_session_close().
 * *Ownership*: none is taken.
 * *Thread*: any.
 * *Blocks*: no.
 */
worker_status_t worker_session_seed(worker_session_t session, uint64_t *out_seed, worker_error_t *error);

/**
 * Gives a file descriptor that is readable while worker_session_next() has something to give at once, for programs with
 * a poll or epoll loop. It is the same one each time, and is not worth asking for otherwise.
 *
 * - session: the session.
 * - out_descriptor: set to the descriptor. Watch it for reading; never read, write or close it.
 * - error: why the call failed; may be NULL.
 *
 * It may be readable a little longer than there are events: call worker_session_next() with a timeout of 0.
 *
 * *Errors*: WORKER_ERROR_INPUT_OUTPUT (the process may open no more files), WORKER_ERROR_INVALID_PARAMETER, the handle
 * errors of worker_session_close().
 * *Ownership*: the descriptor is the session's, and is closed with it.
 * *Thread*: any.
 * *Blocks*: no.
 */
worker_status_t worker_session_event_descriptor(worker_session_t session,
                                                int32_t *out_descriptor,
                                                worker_error_t *error);

/**
 * Ends a session, if it still runs, and frees what it holds. Whoever reads it gets the end, with WORKER_END_CLOSED.
 *
 * - session: the session.
 *
 * *Errors*: WORKER_ERROR_INVALID_HANDLE, WORKER_ERROR_STALE_HANDLE (it was closed before, or its model was unloaded),
 * WORKER_ERROR_WRONG_KIND, WORKER_ERROR_FORKED.
 * *Ownership*: ends the caller's ownership of the session.
 * *Thread*: any, also while another reads the session.
 * *Blocks*: no.
 */
worker_status_t worker_session_close(worker_session_t session);

/**
 * Sets options to their defaults: all zero, with struct_size.
 *
 * - options: the struct.
 * - size: sizeof(worker_score_options_t) in the caller's program.
 *
 * *Errors*: WORKER_ERROR_INVALID_PARAMETER (NULL), WORKER_ERROR_ABI_MISMATCH (no such size).
 * *Ownership*: the struct stays the caller's.
 * *Thread*: any.
 * *Blocks*: no.
 */
worker_status_t worker_score_options_init(worker_score_options_t *options, size_t size);

/**
 * Computes what the model makes of given tokens: for perplexity, reranking and evaluation.
 *
 * - model: the model.
 * - tokens: the tokens, taken as they are.
 * - token_count: how many; from 1 to the context length.
 * - options: what to compute; NULL for the defaults.
 * - scores: where the numbers go, for the chosen tokens in order: a row of the vocabulary's size for each with
 *   WORKER_SCORE_LOGITS, one number with WORKER_SCORE_LOGPROBS. May be NULL with capacity 0.
 * - capacity: how many numbers fit.
 * - needed: set to how many there are; may be NULL.
 * - error: why the call failed; may be NULL.
 *
 * *Errors*: WORKER_ERROR_BUFFER_TOO_SMALL (nothing was computed), WORKER_ERROR_INVALID_PARAMETER (a token outside the
 * vocabulary, too many, none), WORKER_ERROR_OUT_OF_MEMORY, WORKER_ERROR_INFERENCE_FAILED, the handle errors of
 * worker_model_unload(), WORKER_ERROR_ABI_MISMATCH.
 * *Ownership*: the buffers stay the caller's.
 * *Thread*: any; sessions of the model go on between its steps.
 * *Blocks*: while it computes.
 */
worker_status_t worker_model_score(worker_model_t model,
                                   const uint32_t *tokens,
                                   size_t token_count,
                                   const worker_score_options_t *options,
                                   float *scores,
                                   size_t capacity,
                                   size_t *needed,
                                   worker_error_t *error);

/**
 * Sets options to their defaults: all zero, with struct_size.
 *
 * - options: the struct.
 * - size: sizeof(worker_embed_options_t) in the caller's program.
 *
 * *Errors*: WORKER_ERROR_INVALID_PARAMETER (NULL), WORKER_ERROR_ABI_MISMATCH (no such size).
 * *Ownership*: the struct stays the caller's.
 * *Thread*: any.
 * *Blocks*: no.
 */
worker_status_t worker_embed_options_init(worker_embed_options_t *options, size_t size);

/**
 * Computes embeddings of given tokens: the model's states after its last layer.
 *
 * - model: the model.
 * - tokens: the tokens, taken as they are.
 * - token_count: how many; from 1 to the context length.
 * - options: how to pool; NULL for the defaults.
 * - embedding: where the numbers go: one vector of the model's width, or one for each token with WORKER_POOLING_NONE.
 *   May be NULL with capacity 0.
 * - capacity: how many numbers fit.
 * - needed: set to how many there are; may be NULL.
 * - error: why the call failed; may be NULL.
 *
 * *Errors*: as worker_model_score().
 * *Ownership*: the buffers stay the caller's.
 * *Thread*: any; sessions of the model go on between its steps.
 * *Blocks*: while it computes.
 */
worker_status_t worker_model_embed(worker_model_t model,
                                   const uint32_t *tokens,
                                   size_t token_count,
                                   const worker_embed_options_t *options,
                                   float *embedding,
                                   size_t capacity,
                                   size_t *needed,
                                   worker_error_t *error);

/**
 * Checks that a model's weights are where they were put: on a GPU in its own memory, on the CPU in RAM.
 *
 * - model: the model.
 * - out: what was found; its struct_size must be set. Weights that are not in place are a finding, not an error: look at
 *   its member resident.
 * - error: why the call failed; may be NULL.
 *
 * *Errors*: WORKER_ERROR_RESIDENCY_FAILED (the check itself could not be made), WORKER_ERROR_INVALID_PARAMETER,
 * WORKER_ERROR_ABI_MISMATCH, the handle errors of worker_model_unload().
 * *Ownership*: the structs stay the caller's.
 * *Thread*: any.
 * *Blocks*: while it looks; about a millisecond for each gigabyte on the CPU.
 */
worker_status_t worker_model_check_residency(worker_model_t model,
                                             worker_residency_t *out,
                                             worker_error_t *error);

/**
 * Brings a model's weights back to where they were put, then checks as worker_model_check_residency() does.
 *
 * - model: the model.
 * - out: what was found afterwards; its struct_size must be set.
 * - error: why the call failed; may be NULL.
 *
 * *Errors*: as worker_model_check_residency().
 * *Ownership*: the structs stay the caller's.
 * *Thread*: any.
 * *Blocks*: while missing weights are read again.
 */
worker_status_t worker_model_repair_residency(worker_model_t model, worker_residency_t *out, worker_error_t *error);

/**
 * Checks all models of this process, and reports as a JSON object: "resident" tells whether all are in place, and
 * "models" has for each its handle, device, memory by purpose and what worker_model_check_residency() finds. Its
 * "device_memory" tells "process_bytes", what this process uses of the device, with "process_source", who counted that
 * ("resident_set" on the CPU, "nvml", or "ledger": this library's own allocations), and "all_processes_bytes".
 *
 * - buffer: where the text goes, in UTF-8 with a NUL at its end; may be NULL with capacity 0.
 * - capacity: bytes of buffer.
 * - needed: set to the bytes that the text takes, its NUL included; may be NULL.
 * - error: why the call failed; may be NULL.
 *
 * *Errors*: WORKER_ERROR_BUFFER_TOO_SMALL, WORKER_ERROR_INVALID_PARAMETER.
 * *Ownership*: the buffer stays the caller's.
 * *Thread*: any.
 * *Blocks*: while it looks.
 */
worker_status_t worker_residency_report_json(char *buffer, size_t capacity, size_t *needed, worker_error_t *error);

/**
 * Starts the managed worker of this process: one place for configuration, health and the end. Everything else works
 * without one too.
 *
 * - config_json: a JSON object in UTF-8; NULL with config_length 0 for the defaults. Keys: worker_id (made up when
 *   absent), namespace ("default"), config_path (a JSON file with the same keys), log_level (trace, debug, info, warn,
 *   error; "info"), device (-1, the CPU), threads (0: all cores), model (a GGUF file to load), context_length,
 *   maximum_sessions, residency (off, verify, locked; "verify"), load_mode (map, copy; "map"),
 *   health_interval_seconds (60; 0: no checks), health_repair (false), refuse_while_unhealthy (false). Unknown keys
 *   are errors that name the key. The file's values give way to the object's, and those to the environment's:
 *   WORKER_ID, WORKER_LOG_LEVEL, WORKER_DEVICE and so on.
 * - config_length: bytes of config_json.
 * - out: the worker's name and its model; its struct_size must be set.
 * - error: why the call failed; may be NULL.
 *
 * *Errors*: WORKER_ERROR_ALREADY_INITIALIZED (the first worker is untouched), WORKER_ERROR_INVALID_PARAMETER naming the
 * key, WORKER_ERROR_INPUT_OUTPUT, WORKER_ERROR_INVALID_DEVICE, those of worker_model_load(). After any of them but the
 * first the state is WORKER_STATE_ERROR, and bootstrap may be called again.
 * *Ownership*: the model belongs to the worker and ends with it; worker_model_unload() ends it sooner.
 * *Thread*: any; of several threads one succeeds.
 * *Blocks*: while the model is loaded.
 */
worker_status_t worker_bootstrap(const char *config_json,
                                 size_t config_length,
                                 worker_bootstrap_t *out,
                                 worker_error_t *error);

/**
 * Tells how the managed worker is, or that there is none. Works in every state.
 *
 * - out: the answer; its struct_size must be set.
 * - error: why the call failed; may be NULL.
 *
 * *Errors*: WORKER_ERROR_INVALID_PARAMETER, WORKER_ERROR_ABI_MISMATCH.
 * *Ownership*: the structs stay the caller's.
 * *Thread*: any.
 * *Blocks*: no, also while a bootstrap or a shutdown is at work.
 */
worker_status_t worker_status(worker_overview_t *out, worker_error_t *error);

/**
 * Gives the managed worker's status as a JSON object, with memory by purpose and health.
 *
 * - buffer: where the text goes, in UTF-8 with a NUL at its end; may be NULL with capacity 0.
 * - capacity: bytes of buffer.
 * - needed: set to the bytes that the text takes, its NUL included; may be NULL. It may grow between two calls.
 *
 * *Errors*: WORKER_ERROR_BUFFER_TOO_SMALL, WORKER_ERROR_INVALID_PARAMETER.
 * *Ownership*: the buffer stays the caller's.
 * *Thread*: any.
 * *Blocks*: no.
 */
worker_status_t worker_status_json(char *buffer, size_t capacity, size_t *needed);

/**
 * Stops the managed worker gently: new models and sessions are refused with WORKER_ERROR_SHUTTING_DOWN, running and
 * queued sessions may finish, what still runs at the deadline is ended, then everything stops as by worker_stop().
 *
 * - deadline_ms: how long sessions may go on, in milliseconds.
 *
 * *Errors*: WORKER_ERROR_NOT_INITIALIZED unless the worker is running.
 * *Ownership*: ends every model, session and context of the process; their handles become stale.
 * *Thread*: any but those of callbacks. worker_stop() meanwhile ends the waiting.
 * *Blocks*: until everything has stopped.
 */
worker_status_t worker_transition_to_graceful_shutdown(uint64_t deadline_ms);

/**
 * Stops the managed worker at once: sessions end with WORKER_END_CLOSED, models are unloaded, device memory is freed,
 * threads are joined. Afterwards no thread of the library is left but the log's, which ends with
 * worker_set_log_callback(NULL), and worker_bootstrap() may be called again.
 *
 * *Errors*: WORKER_ERROR_NOT_INITIALIZED unless the worker is running or shutting down.
 * *Ownership*: ends every model, session and context of the process; their handles become stale.
 * *Thread*: any but those of callbacks.
 * *Blocks*: until everything has stopped.
 */
worker_status_t worker_stop(void);

/**
 * Tells what the health monitor found last, without checking.
 *
 * - out: the answer; its struct_size must be set.
 * - error: why the call failed; may be NULL.
 *
 * *Errors*: WORKER_ERROR_NOT_INITIALIZED (no worker is running), WORKER_ERROR_INVALID_PARAMETER,
 * WORKER_ERROR_ABI_MISMATCH.
 * *Ownership*: the structs stay the caller's.
 * *Thread*: any.
 * *Blocks*: no.
 */
worker_status_t worker_health(worker_health_t *out, worker_error_t *error);

/**
 * Checks health now: the residency of every model's weights, and that the device answers.
 *
 * - out: what was found; its struct_size must be set.
 * - error: why the call failed; may be NULL. That something is not healthy is a finding, not a failure.
 *
 * *Errors*: as worker_health().
 * *Ownership*: the structs stay the caller's.
 * *Thread*: any; checks take turns.
 * *Blocks*: while it checks; with health_repair also while evicted weights are brought back.
 */
worker_status_t worker_health_check(worker_health_t *out, worker_error_t *error);

/**
 * Gives the health monitor's last report as a JSON object: status, reason, checks, last_check_seconds, checked_bytes,
 * resident_bytes, resident.
 *
 * - buffer: where the text goes, in UTF-8 with a NUL at its end; may be NULL with capacity 0.
 * - capacity: bytes of buffer.
 * - needed: set to the bytes that the text takes, its NUL included; may be NULL. It may grow between two calls.
 *
 * *Errors*: WORKER_ERROR_NOT_INITIALIZED, WORKER_ERROR_BUFFER_TOO_SMALL, WORKER_ERROR_INVALID_PARAMETER.
 * *Ownership*: the buffer stays the caller's.
 * *Thread*: any.
 * *Blocks*: no.
 */
worker_status_t worker_health_json(char *buffer, size_t capacity, size_t *needed);

/**
 * Gives the health monitor's last report as lines for people.
 *
 * - buffer: where the text goes, in UTF-8 with a NUL at its end; may be NULL with capacity 0.
 * - capacity: bytes of buffer.
 * - needed: set to the bytes that the text takes, its NUL included; may be NULL. It may grow between two calls.
 *
 * *Errors*: as worker_health_json().
 * *Ownership*: the buffer stays the caller's.
 * *Thread*: any.
 * *Blocks*: no.
 */
worker_status_t worker_health_text(char *buffer, size_t capacity, size_t *needed);

/**
 * Sets who is told when health changes from healthy to unhealthy or back. It ends with the worker.
 *
 * - callback: told of each change; NULL for nobody.
 * - user_data: handed to callback and destroy.
 * - destroy: called once when callback will not be called again, also when this call fails; may be NULL.
 *
 * C++ exceptions that the callback throws are dropped.
 *
 * *Errors*: WORKER_ERROR_NOT_INITIALIZED (no worker is running).
 * *Ownership*: user_data stays the host's until destroy is called.
 * *Thread*: any.
 * *Blocks*: no.
 */
worker_status_t worker_set_health_callback(worker_health_fn callback, void *user_data, worker_destroy_fn destroy);

/**
 * Gives all counters, histograms and gauges of the process as one JSON object.
 *
 * - buffer: where the text goes, in UTF-8 with a NUL at its end; may be NULL with capacity 0.
 * - capacity: bytes of buffer.
 * - needed: set to the bytes that the text takes, its NUL included; may be NULL. It may grow between two calls.
 *
 * *Errors*: WORKER_ERROR_BUFFER_TOO_SMALL, WORKER_ERROR_INVALID_PARAMETER.
 * *Ownership*: the buffer stays the caller's.
 * *Thread*: any.
 * *Blocks*: no.
 */
worker_status_t worker_metrics_json(char *buffer, size_t capacity, size_t *needed);

/**
 * Gives all counters, histograms and gauges of the process in Prometheus's text format, version 0.0.4.
 *
 * - buffer: where the text goes, in UTF-8 with a NUL at its end; may be NULL with capacity 0.
 * - capacity: bytes of buffer.
 * - needed: set to the bytes that the text takes, its NUL included; may be NULL. It may grow between two calls.
 *
 * *Errors*: WORKER_ERROR_BUFFER_TOO_SMALL, WORKER_ERROR_INVALID_PARAMETER.
 * *Ownership*: the buffer stays the caller's.
 * *Thread*: any.
 * *Blocks*: no.
 */
worker_status_t worker_metrics_prometheus(char *buffer, size_t capacity, size_t *needed);

/**
 * Sets who is given log records. Without a callback, as at first, the library is silent.
 *
 * - callback: given each record of the level in force; NULL for silence.
 * - user_data: handed to callback and destroy.
 * - destroy: called once when callback will not be called again, also when this call fails; may be NULL.
 *
 * Works before worker_bootstrap() and without it. When the call returns, the former callback is not called any more,
 * unless the call came from within it. C++ exceptions that the callback throws are dropped.
 *
 * *Errors*: none at present.
 * *Ownership*: user_data stays the host's until destroy is called.
 * *Thread*: any, the callback included.
 * *Blocks*: until the former callback has returned.
 */
worker_status_t worker_set_log_callback(worker_log_fn callback, void *user_data, worker_destroy_fn destroy);

/**
 * Has log records written to a file descriptor, such as a pipe's or a file's: each a JSON object on a line of its own,
 * with timestamp (nanoseconds since 1970), level ("trace" to "error"), target, message and fields. It is for languages
 * whose functions must not be called from threads that are not theirs, and takes the place of
 * worker_set_log_callback(), as that takes its.
 *
 * - descriptor: where to write; -1 for silence. It is duplicated, so the host may close its own.
 *
 * Records that a reader does not take within a second are lost.
 *
 * *Errors*: WORKER_ERROR_INVALID_PARAMETER (it is not open for writing).
 * *Ownership*: the descriptor stays the host's; ours is closed when another sink takes its place.
 * *Thread*: any.
 * *Blocks*: until the former sink has been given what waits for it.
 */
worker_status_t worker_set_log_descriptor(int32_t descriptor);

/**
 * Sets the least level of the records that the callback or the descriptor is given; WORKER_LOG_INFO at first.
 *
 * - level: one of the WORKER_LOG_* values.
 *
 * *Errors*: WORKER_ERROR_INVALID_PARAMETER (no such level).
 * *Ownership*: none.
 * *Thread*: any.
 * *Blocks*: no.
 */
worker_status_t worker_set_log_level(worker_log_level_t level);

/**
 * Adds a record of level WORKER_LOG_TRACE to the library's stream, with target "host".
 *
 * - message: a sentence, in UTF-8; NULL with message_length 0.
 * - message_length: bytes of message.
 * - context_json: the record's fields, any JSON object; NULL with context_length 0 for none.
 * - context_length: bytes of context_json.
 *
 * Works before worker_bootstrap(). Without a callback the arguments are checked and nothing is kept.
 *
 * *Errors*: WORKER_ERROR_INVALID_PARAMETER (not UTF-8, or no JSON object).
 * *Ownership*: the arguments are copied.
 * *Thread*: any.
 * *Blocks*: no.
 */
worker_status_t worker_log_trace(const char *message,
                                 size_t message_length,
                                 const char *context_json,
                                 size_t context_length);

/**
 * Adds a record of level WORKER_LOG_DEBUG; otherwise as worker_log_trace().
 *
 * - message: a sentence, in UTF-8.
 * - message_length: bytes of message.
 * - context_json: the record's fields, any JSON object; NULL with context_length 0 for none.
 * - context_length: bytes of context_json.
 *
 * *Errors*: as worker_log_trace().
 * *Ownership*: the arguments are copied.
 * *Thread*: any.
 * *Blocks*: no.
 */
worker_status_t worker_log_debug(const char *message,
                                 size_t message_length,
                                 const char *context_json,
                                 size_t context_length);

/**
 * Adds a record of level WORKER_LOG_INFO; otherwise as worker_log_trace().
 *
 * - message: a sentence, in UTF-8.
 * - message_length: bytes of message.
 * - context_json: the record's fields, any JSON object; NULL with context_length 0 for none.
 * - context_length: bytes of context_json.
 *
 * *Errors*: as worker_log_trace().
 * *Ownership*: the arguments are copied.
 * *Thread*: any.
 * *Blocks*: no.
 */
worker_status_t worker_log_info(const char *message,
                                size_t message_length,
                                const char *context_json,
                                size_t context_length);

/**
 * Adds a record of level WORKER_LOG_WARN; otherwise as worker_log_trace().
 *
 * - message: a sentence, in UTF-8.
 * - message_length: bytes of message.
 * - context_json: the record's fields, any JSON object; NULL with context_length 0 for none.
 * - context_length: bytes of context_json.
 *
 * *Errors*: as worker_log_trace().
 * *Ownership*: the arguments are copied.
 * *Thread*: any.
 * *Blocks*: no.
 */
worker_status_t worker_log_warn(const char *message,
                                size_t message_length,
                                const char *context_json,
                                size_t context_length);

/**
 * Adds a record of level WORKER_LOG_ERROR; otherwise as worker_log_trace().
 *
 * - message: a sentence, in UTF-8.
 * - message_length: bytes of message.
 * - context_json: the record's fields, any JSON object; NULL with context_length 0 for none.
 * - context_length: bytes of context_json.
 *
 * *Errors*: as worker_log_trace().
 * *Ownership*: the arguments are copied.
 * *Thread*: any.
 * *Blocks*: no.
 */
worker_status_t worker_log_error(const char *message,
                                 size_t message_length,
                                 const char *context_json,
                                 size_t context_length);

/**
 * Gives the handle that a pointer of the cuda_* functions stands for, so that worker_* functions can use the object.
 *
 * - pointer: a `CudaContext *`, `CudaModel *` or `InferenceResult *`; NULL gives 0.
 *
 * The value is not looked up: the function that is given the handle tells whether it is valid. The object stays owned
 * as it was, and may be freed by either group's function, once.
 *
 * *Errors*: none.
 * *Ownership*: none is taken.
 * *Thread*: any.
 * *Blocks*: no.
 */
worker_handle_t worker_handle_from_pointer(const void *pointer);

/**
 * Gives the pointer that stands for a handle in the cuda_* functions: the other direction of
 * worker_handle_from_pointer().
 *
 * - handle: a handle of a context, model or session; 0 gives NULL.
 *
 * The pointer is no address: reading through it faults. It is not looked up here.
 *
 * *Errors*: none.
 * *Ownership*: none is taken.
 * *Thread*: any.
 * *Blocks*: no.
 */
void *worker_handle_to_pointer(worker_handle_t handle);

/**
 * Prepares a device for use.
 *
 * - gpu_device: -1 is the CPU; GPUs count from 0.
 * - error_code: set to 0, or to why the call failed; with NULL the call fails.
 *
 * Returns the context, or NULL on failure.
 *
 * *Errors*: WORKER_ERROR_INVALID_DEVICE (also for 0 on a machine without a GPU), WORKER_ERROR_INVALID_PARAMETER,
 * WORKER_ERROR_OUT_OF_MEMORY, WORKER_ERROR_KERNEL_LAUNCH_FAILED, WORKER_ERROR_UNKNOWN.
 * *Ownership*: the caller ends the context with cuda_destroy().
 * *Thread*: any.
 * *Blocks*: while a driver starts.
 */
struct CudaContext *cuda_init(int gpu_device, int *error_code);

/**
 * Ends a context, and cleanly ends the models and generations that live in it; their pointers become invalid.
 *
 * - ctx: the context; NULL or one that was ended does nothing.
 *
 * *Errors*: none are returned.
 * *Ownership*: ends the caller's ownership of the context and of all that was made with it.
 * *Thread*: any, also while others use the context.
 * *Blocks*: until the step that is running ends.
 */
void cuda_destroy(struct CudaContext *ctx);

/**
 * Counts the GPUs that can be used. The CPU, device -1, is always there besides, and is not counted.
 *
 * Returns 0 where there is none.
 *
 * *Errors*: none.
 * *Ownership*: none.
 * *Thread*: any.
 * *Blocks*: the first call may, while a driver starts.
 */
int cuda_get_device_count(void);

/**
 * Loads a model from a GGUF file onto a context's device, with the library's default options.
 *
 * - ctx: the context.
 * - model_path: the file's path; ends in NUL.
 * - vram_bytes_used: set to the bytes of device memory that the model uses, 0 on failure; with NULL the call fails.
 * - error_code: set to 0, or to why the call failed; with NULL the call fails.
 *
 * Returns the model, or NULL on failure.
 *
 * *Errors*: WORKER_ERROR_MODEL_LOAD_FAILED, WORKER_ERROR_MODEL_UNSUPPORTED, WORKER_ERROR_OUT_OF_MEMORY,
 * WORKER_ERROR_RESIDENCY_FAILED, WORKER_ERROR_INVALID_PARAMETER (NULL, or a context that is none),
 * WORKER_ERROR_INVALID_DEVICE, WORKER_ERROR_UNKNOWN.
 * *Ownership*: the caller ends the model with cuda_unload_model(), or with its context.
 * *Thread*: any.
 * *Blocks*: while the file is read.
 */
struct CudaModel *cuda_load_model(struct CudaContext *ctx,
                                  const char *model_path,
                                  uint64_t *vram_bytes_used,
                                  int *error_code);

/**
 * Unloads a model, and cleanly ends the generations that run on it; their pointers become invalid.
 *
 * - model: the model; NULL or one that was unloaded does nothing.
 *
 * *Errors*: none are returned.
 * *Ownership*: ends the caller's ownership of the model and of its generations.
 * *Thread*: any, also while others use the model.
 * *Blocks*: until the step that is running ends.
 */
void cuda_unload_model(struct CudaModel *model);

/**
 * Tells how much device memory a model uses; on the CPU, the engine's memory for it.
 *
 * - model: the model.
 *
 * Returns bytes; 0 for NULL and for what is no model.
 *
 * *Errors*: none are returned.
 * *Ownership*: none is taken.
 * *Thread*: any.
 * *Blocks*: no.
 */
uint64_t cuda_model_get_vram_usage(struct CudaModel *model);

/**
 * Starts to continue a text.
 *
 * - model: the model.
 * - prompt: the text, in UTF-8; ends in NUL.
 * - max_tokens: tokens to generate at most; at least 1.
 * - temperature: 0 to 2; 0 always takes the likeliest token.
 * - seed: seed of the random numbers: with the same seed come the same tokens.
 * - error_code: set to 0, or to why the call failed; with NULL the call fails.
 *
 * Returns the generation, or NULL on failure.
 *
 * *Errors*: WORKER_ERROR_INVALID_PARAMETER (NULL, out of range, not UTF-8, a prompt longer than the context),
 * WORKER_ERROR_OUT_OF_MEMORY, WORKER_ERROR_INFERENCE_FAILED, WORKER_ERROR_UNKNOWN.
 * *Ownership*: the caller ends it with cuda_inference_free(), or with its model or context. The prompt is copied.
 * *Thread*: any.
 * *Blocks*: no; the prompt is computed in the background.
 */
struct InferenceResult *cuda_inference_start(struct CudaModel *model,
                                             const char *prompt,
                                             int max_tokens,
                                             float temperature,
                                             uint64_t seed,
                                             int *error_code);

/**
 * Waits for the next piece of text. A piece is whole UTF-8 characters and never empty: tokens whose text is not yet
 * certain come with the token that completes it.
 *
 * - result: the generation.
 * - token_out: where the text goes, with a NUL at its end.
 * - token_buffer_size: bytes of token_out; 256 are plenty.
 * - token_index: set to the number of pieces given before this one; may be NULL.
 * - error_code: set to 0, or to why the call failed; with NULL the call fails.
 *
 * Returns true with a piece of text; false at the end (error_code is 0) or on failure (it is not).
 *
 * *Errors*: WORKER_ERROR_INVALID_PARAMETER (NULL, a generation that is none, or a buffer that is too small: call again
 * with a larger one, nothing is lost), WORKER_ERROR_INFERENCE_FAILED, WORKER_ERROR_OUT_OF_MEMORY,
 * WORKER_ERROR_KERNEL_LAUNCH_FAILED, WORKER_ERROR_UNKNOWN.
 * *Ownership*: the buffer stays the caller's.
 * *Thread*: any; calls on one generation wait for each other.
 * *Blocks*: until there is text or the end; freeing the generation from another thread ends the wait.
 */
bool cuda_inference_next_token(struct InferenceResult *result,
                               char *token_out,
                               int token_buffer_size,
                               int *token_index,
                               int *error_code);

/**
 * Ends a generation, whether it has finished or not.
 *
 * - result: the generation; NULL or one that was freed does nothing.
 *
 * *Errors*: none are returned.
 * *Ownership*: ends the caller's ownership of it.
 * *Thread*: any, also while another waits for its next piece.
 * *Blocks*: no.
 */
void cuda_inference_free(struct InferenceResult *result);

/**
 * Checks that a model's weights are where they were put: on a GPU in its own memory, on the CPU in RAM.
 *
 * - model: the model.
 * - error_code: set to 0, or to why the call failed; with NULL the call fails.
 *
 * Returns true when all weights are in place. When some are not, it returns false with WORKER_ERROR_RESIDENCY_FAILED.
 *
 * *Errors*: WORKER_ERROR_RESIDENCY_FAILED, WORKER_ERROR_INVALID_PARAMETER, WORKER_ERROR_UNKNOWN.
 * *Ownership*: none is taken.
 * *Thread*: any.
 * *Blocks*: while it looks.
 */
bool cuda_check_vram_residency(struct CudaModel *model, int *error_code);

/**
 * Tells how much device memory a model uses: the same as cuda_model_get_vram_usage().
 *
 * - model: the model.
 *
 * Returns bytes; 0 for NULL and for what is no model.
 *
 * *Errors*: none are returned.
 * *Ownership*: none is taken.
 * *Thread*: any.
 * *Blocks*: no.
 */
uint64_t cuda_get_vram_usage(struct CudaModel *model);

/**
 * Tells how much of its device's memory this process uses, as worker_device_process_memory() counts: on the CPU what it has
 * in RAM, on a GPU never what other processes have there.
 *
 * - ctx: the context.
 *
 * Returns bytes; 0 for NULL and for what is no context.
 *
 * *Errors*: none are returned.
 * *Ownership*: none is taken.
 * *Thread*: any.
 * *Blocks*: no.
 */
uint64_t cuda_get_process_vram_usage(struct CudaContext *ctx);

/**
 * Checks that a context's device answers and has no lasting fault.
 *
 * - ctx: the context.
 * - error_code: set to 0, or to why the call failed; with NULL the call fails.
 *
 * Returns true when it does; otherwise false, and error_code says why.
 *
 * *Errors*: WORKER_ERROR_INVALID_DEVICE, WORKER_ERROR_INVALID_PARAMETER, WORKER_ERROR_KERNEL_LAUNCH_FAILED,
 * WORKER_ERROR_UNKNOWN.
 * *Ownership*: none is taken.
 * *Thread*: any.
 * *Blocks*: while the device answers, at most some milliseconds.
 */
bool cuda_check_device_health(struct CudaContext *ctx, int *error_code);

/**
 * Says in a few words what a code means; for what happened in particular see worker_last_error().
 *
 * - error_code: any number; "Unrecognized error code" where it is no code of this library.
 *
 * Returns the text, never NULL.
 *
 * *Errors*: none.
 * *Ownership*: the text belongs to the library, ends in NUL, and stays valid until the process ends.
 * *Thread*: any.
 * *Blocks*: no.
 */
const char *cuda_error_message(int error_code);

#ifdef __cplusplus
} /* extern "C" */
#endif

#endif /* WORKER_FFI_H */
