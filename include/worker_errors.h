/*
 * Error codes of libworker.
 *
 * 0 to 99 are the codes of the cuda_* functions; worker_* functions return these and the finer ones from 100 up.
 * Numbers are never changed and never reused; new ones may be added, so treat a number that you do not know as a failure.
 */

#ifndef WORKER_ERRORS_H
#define WORKER_ERRORS_H

/* Generated from the Rust source by `make headers`; do not edit. */

#include <stdint.h>

/**
 * What a fallible function returns: WORKER_SUCCESS or one of the WORKER_ERROR_* values. New values may be added.
 */
typedef int32_t worker_status_t;

/**
 * The call did what it says.
 */
#define WORKER_SUCCESS 0

/**
 * The device does not exist here, or cannot be used.
 */
#define WORKER_ERROR_INVALID_DEVICE 1

/**
 * An allocation failed, on the device or in the process. Everything else goes on working.
 */
#define WORKER_ERROR_OUT_OF_MEMORY 2

/**
 * The model file is damaged or contradicts itself; the detail names the key or tensor.
 */
#define WORKER_ERROR_MODEL_LOAD_FAILED 3

/**
 * The file is sound, but its architecture, tensor type or tokenizer is not known; the detail names it and what is supported.
 */
#define WORKER_ERROR_MODEL_UNSUPPORTED 4

/**
 * The engine could not run the model on this input.
 */
#define WORKER_ERROR_INFERENCE_FAILED 5

/**
 * An argument is NULL, out of range or malformed; the detail names it.
 */
#define WORKER_ERROR_INVALID_PARAMETER 6

/**
 * A GPU kernel could not be started or ended with an error.
 */
#define WORKER_ERROR_KERNEL_LAUNCH_FAILED 7

/**
 * Weights are not where they were put, or could not be locked there; the detail names the allocation.
 */
#define WORKER_ERROR_RESIDENCY_FAILED 8

/**
 * A failure that fits no other code.
 */
#define WORKER_ERROR_UNKNOWN 99

/**
 * No worker is running in this process; bootstrap one first.
 */
#define WORKER_ERROR_NOT_INITIALIZED 100

/**
 * A worker is starting, running or shutting down; it is untouched.
 */
#define WORKER_ERROR_ALREADY_INITIALIZED 101

/**
 * The worker takes no new work; what runs may finish.
 */
#define WORKER_ERROR_SHUTTING_DOWN 102

/**
 * The last health check failed and the worker is configured to refuse new work until one succeeds.
 */
#define WORKER_ERROR_UNHEALTHY 103

/**
 * The value was never given out by this library: zero, forged or damaged.
 */
#define WORKER_ERROR_INVALID_HANDLE 110

/**
 * The object was closed, perhaps by another thread, or ended with what owned it.
 */
#define WORKER_ERROR_STALE_HANDLE 111

/**
 * The handle names an object of another kind, such as a session where a model is asked for.
 */
#define WORKER_ERROR_WRONG_KIND 112

/**
 * The registry is full; close what is not needed.
 */
#define WORKER_ERROR_HANDLES_EXHAUSTED 113

/**
 * The needed size was written; call again with a larger buffer. Nothing is lost.
 */
#define WORKER_ERROR_BUFFER_TOO_SMALL 120

/**
 * The time given passed before the result was there; call again to go on waiting.
 */
#define WORKER_ERROR_TIMED_OUT 121

/**
 * The host cancelled the operation.
 */
#define WORKER_ERROR_CANCELLED 130

/**
 * The queue is full; try again when a session has ended.
 */
#define WORKER_ERROR_BUSY 140

/**
 * The operating system could not open or read a file; the detail has its reason.
 */
#define WORKER_ERROR_INPUT_OUTPUT 150

/**
 * A fault inside the library was contained; please report the detail.
 */
#define WORKER_ERROR_PANIC 190

/**
 * The object belongs to the parent process; load afresh in the child.
 */
#define WORKER_ERROR_FORKED 200

/**
 * A struct_size is too small, or holds non-zero options that this library does not know.
 */
#define WORKER_ERROR_ABI_MISMATCH 210

#endif  /* WORKER_ERRORS_H */
