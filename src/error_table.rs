// The one table of error codes. `build.rs` and `src/error.rs` both include this file, so the constants, names,
// messages, HTTP statuses, retry advice and the header's text cannot disagree.
//
// Numbers are published: they are added, never changed and never reused. 0 to 99 are the locked codes of the seed
// documents; from 100 up the `worker_*` functions' finer ones, grouped by tens.
//
// (code, Rust name, C name, message, HTTP status, does a retry help, documentation)
macro_rules! error_table {
    ($row:ident) => {
        $row! {
            (1, InvalidDevice, "WORKER_ERROR_INVALID_DEVICE", "Invalid device", 500, false, "The device does not exist here, or cannot be used.");
            (2, OutOfMemory, "WORKER_ERROR_OUT_OF_MEMORY", "Insufficient device memory", 503, true, "An allocation failed, on the device or in the process. Everything else goes on working.");
            (3, ModelLoadFailed, "WORKER_ERROR_MODEL_LOAD_FAILED", "Model loading failed", 500, false, "The model file is damaged or contradicts itself; the detail names the key or tensor.");
            (4, ModelUnsupported, "WORKER_ERROR_MODEL_UNSUPPORTED", "Model is not supported", 500, false, "The file is sound, but its architecture, tensor type or tokenizer is not known; the detail names it and what is supported.");
            (5, InferenceFailed, "WORKER_ERROR_INFERENCE_FAILED", "Inference execution failed", 500, false, "The engine could not run the model on this input.");
            (6, InvalidParameter, "WORKER_ERROR_INVALID_PARAMETER", "Invalid function parameter", 400, false, "An argument is NULL, out of range or malformed; the detail names it.");
            (7, KernelLaunchFailed, "WORKER_ERROR_KERNEL_LAUNCH_FAILED", "Kernel launch failed", 500, false, "A GPU kernel could not be started or ended with an error.");
            (8, ResidencyFailed, "WORKER_ERROR_RESIDENCY_FAILED", "Memory residency check failed", 500, false, "Weights are not where they were put, or could not be locked there; the detail names the allocation.");
            (99, Unknown, "WORKER_ERROR_UNKNOWN", "Unknown error", 500, false, "A failure that fits no other code.");
            (100, NotInitialized, "WORKER_ERROR_NOT_INITIALIZED", "Worker is not running", 503, false, "No worker is running in this process; bootstrap one first.");
            (101, AlreadyInitialized, "WORKER_ERROR_ALREADY_INITIALIZED", "Worker is already running", 409, false, "A worker is starting, running or shutting down; it is untouched.");
            (102, ShuttingDown, "WORKER_ERROR_SHUTTING_DOWN", "Worker is shutting down", 503, true, "The worker takes no new work; what runs may finish.");
            (103, Unhealthy, "WORKER_ERROR_UNHEALTHY", "Worker is unhealthy", 503, true, "The last health check failed and the worker is configured to refuse new work until one succeeds.");
            (110, InvalidHandle, "WORKER_ERROR_INVALID_HANDLE", "Invalid handle", 400, false, "The value was never given out by this library: zero, forged or damaged.");
            (111, StaleHandle, "WORKER_ERROR_STALE_HANDLE", "Handle is no longer valid", 400, false, "The object was closed, perhaps by another thread, or ended with what owned it.");
            (112, WrongKind, "WORKER_ERROR_WRONG_KIND", "Handle is of another kind", 400, false, "The handle names an object of another kind, such as a session where a model is asked for.");
            (113, HandlesExhausted, "WORKER_ERROR_HANDLES_EXHAUSTED", "Too many live handles", 503, true, "The registry is full; close what is not needed.");
            (120, BufferTooSmall, "WORKER_ERROR_BUFFER_TOO_SMALL", "Buffer is too small", 400, true, "The needed size was written; call again with a larger buffer. Nothing is lost.");
            (121, TimedOut, "WORKER_ERROR_TIMED_OUT", "Timed out", 504, true, "The time given passed before the result was there; call again to go on waiting.");
            (130, Cancelled, "WORKER_ERROR_CANCELLED", "Cancelled", 499, false, "The host cancelled the operation.");
            (140, Busy, "WORKER_ERROR_BUSY", "Busy", 503, true, "The queue is full; try again when a session has ended.");
            (150, InputOutput, "WORKER_ERROR_INPUT_OUTPUT", "Input or output failed", 500, false, "The operating system could not open or read a file; the detail has its reason.");
            (190, Panic, "WORKER_ERROR_PANIC", "Internal error", 500, false, "A fault inside the library was contained; please report the detail.");
            (200, Forked, "WORKER_ERROR_FORKED", "Handle was inherited over fork", 500, false, "The object belongs to the parent process; load afresh in the child.");
            (210, AbiMismatch, "WORKER_ERROR_ABI_MISMATCH", "Struct does not fit this library", 500, false, "A struct_size is too small, or holds non-zero options that this library does not know.");
        }
    };
}
