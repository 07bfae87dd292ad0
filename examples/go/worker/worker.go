// Package worker is libworker for Go by cgo: Model and Session over the functions of worker_ffi.h.
//
// Tokens are pulled; only the functions given to LogTo and OnHealthChange are called by C. Everything may be used from any
// goroutine: the library's errors travel in a struct of the call, not by thread.
package worker

/*
#cgo pkg-config: worker
#include <stdlib.h>
#include <worker_ffi.h>
*/
import "C"

import (
	"errors"
	"runtime"
	"unsafe"
)

// CPU is the device every machine has; GPUs are 0, 1, ...
const CPU = int32(C.WORKER_CPU)

// Codes of Error that programs look at.
const (
	InvalidDevice    = int(C.WORKER_ERROR_INVALID_DEVICE)
	ModelLoadFailed  = int(C.WORKER_ERROR_MODEL_LOAD_FAILED)
	ModelUnsupported = int(C.WORKER_ERROR_MODEL_UNSUPPORTED)
	BufferTooSmall   = int(C.WORKER_ERROR_BUFFER_TOO_SMALL)
	InputOutput      = int(C.WORKER_ERROR_INPUT_OUTPUT)
)

// Error is a failed call: its published code, and what was expected, found, and where.
type Error struct {
	Code   int
	Detail string
}

func (e *Error) Error() string { return e.Detail }

// Name is the code's name in the header.
func (e *Error) Name() string { return C.GoString(C.worker_error_name(C.worker_status_t(e.Code))) }

// CodeOf is the code of a library error, 0 for nil, and -1 for any other error.
func CodeOf(err error) int {
	var failure *Error
	switch {
	case err == nil:
		return 0
	case errors.As(err, &failure):
		return failure.Code
	default:
		return -1
	}
}

func newError() C.worker_error_t {
	return C.worker_error_t{struct_size: C.sizeof_worker_error_t}
}

func check(status C.worker_status_t, failure *C.worker_error_t) error {
	if status == C.WORKER_SUCCESS {
		return nil
	}
	return &Error{int(status), C.GoString(&failure.detail[0])}
}

// checkLast is for the functions without an error struct: their detail is the thread's, so the goroutine must not move
// to another one between the call and this.
func checkLast(call func() C.worker_status_t) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	status := call()
	if status == C.WORKER_SUCCESS {
		return nil
	}
	var text [1024]C.char
	C.worker_last_error(&text[0], C.size_t(len(text)), nil)
	return &Error{int(status), C.GoString(&text[0])}
}

// ABIVersion is the header's number and the library's.
func ABIVersion() (header, library uint32) {
	return C.WORKER_ABI_VERSION, uint32(C.worker_abi_version())
}

// DeviceInfo tells what a device is.
type DeviceInfo struct {
	Name        string
	KernelPath  string
	Threads     uint32
	TotalMemory uint64
	FreeMemory  uint64
}

// Describe describes a device.
func Describe(device int32) (DeviceInfo, error) {
	out := C.worker_device_info_t{struct_size: C.sizeof_worker_device_info_t}
	failure := newError()
	if err := check(C.worker_device_info(C.int32_t(device), &out, &failure), &failure); err != nil {
		return DeviceInfo{}, err
	}
	return DeviceInfo{
		C.GoString(&out.name[0]), C.GoString(&out.kernel_path[0]), uint32(out.threads),
		uint64(out.total_memory), uint64(out.free_memory),
	}, nil
}

// Model is a loaded model. Its handle may be copied and compared.
type Model struct{ Handle uint64 }

// Load loads a GGUF file onto a device.
func Load(path string, device int32) (Model, error) {
	options := C.worker_model_options_t{struct_size: C.sizeof_worker_model_options_t, device_kind: C.WORKER_DEVICE_CPU}
	if device != CPU {
		options.device_kind = C.WORKER_DEVICE_GPU
		options.device_ordinal = C.uint32_t(device)
	}
	text := C.CString(path)
	defer C.free(unsafe.Pointer(text))
	var handle C.worker_model_t
	failure := newError()
	status := C.worker_model_load(text, C.size_t(len(path)), &options, &handle, &failure)
	return Model{uint64(handle)}, check(status, &failure)
}

// Unload ends the model's sessions and frees its memory.
func (m Model) Unload() error {
	return checkLast(func() C.worker_status_t { return C.worker_model_unload(C.worker_model_t(m.Handle)) })
}

// Memory is device memory in bytes, by purpose.
type Memory struct{ Weights, KVCache, Workspace, Other, Total uint64 }

// Memory tells what the model uses.
func (m Model) Memory() (Memory, error) {
	out := C.worker_memory_t{struct_size: C.sizeof_worker_memory_t}
	failure := newError()
	err := check(C.worker_model_memory(C.worker_model_t(m.Handle), &out, &failure), &failure)
	return Memory{
		uint64(out.weights), uint64(out.kv_cache), uint64(out.workspace), uint64(out.other), uint64(out.total),
	}, err
}

// Resident tells whether all weights are where they were put.
func (m Model) Resident() (bool, error) {
	out := C.worker_residency_t{struct_size: C.sizeof_worker_residency_t}
	failure := newError()
	err := check(C.worker_model_check_residency(C.worker_model_t(m.Handle), &out, &failure), &failure)
	return out.resident != 0, err
}

// Tokenize turns text into tokens.
func (m Model) Tokenize(text string, addSpecial bool) ([]uint32, error) {
	flags := C.uint32_t(0)
	if addSpecial {
		flags = C.WORKER_TOKENIZE_ADD_SPECIAL
	}
	in := C.CString(text)
	defer C.free(unsafe.Pointer(in))
	return read(len(text)+8, func(out *uint32, capacity C.size_t, needed *C.size_t, e *C.worker_error_t) C.worker_status_t {
		return C.worker_model_tokenize(C.worker_model_t(m.Handle), in, C.size_t(len(text)), flags,
			(*C.uint32_t)(out), capacity, needed, e)
	})
}

// Detokenize turns tokens into text.
func (m Model) Detokenize(tokens []uint32) (string, error) {
	return readText(func(out *byte, capacity C.size_t, needed *C.size_t, e *C.worker_error_t) C.worker_status_t {
		return C.worker_model_detokenize(C.worker_model_t(m.Handle), first(tokens), C.size_t(len(tokens)), 0,
			(*C.char)(unsafe.Pointer(out)), capacity, needed, e)
	})
}

// ApplyChatTemplate gives the prompt that the model's template makes of messages in JSON.
func (m Model) ApplyChatTemplate(messages string) (string, error) {
	in := C.CString(messages)
	defer C.free(unsafe.Pointer(in))
	return readText(func(out *byte, capacity C.size_t, needed *C.size_t, e *C.worker_error_t) C.worker_status_t {
		return C.worker_model_apply_chat_template(C.worker_model_t(m.Handle), in, C.size_t(len(messages)), nil,
			(*C.char)(unsafe.Pointer(out)), capacity, needed, e)
	})
}

// Score gives the log-probability of each token but the first, after those before it.
func (m Model) Score(tokens []uint32) ([]float32, error) {
	options := C.worker_score_options_t{struct_size: C.sizeof_worker_score_options_t, kind: C.WORKER_SCORE_LOGPROBS}
	return read(0, func(out *float32, capacity C.size_t, needed *C.size_t, e *C.worker_error_t) C.worker_status_t {
		return C.worker_model_score(C.worker_model_t(m.Handle), first(tokens), C.size_t(len(tokens)), &options,
			(*C.float)(out), capacity, needed, e)
	})
}

// Embed gives the tokens' embedding: the mean of their states.
func (m Model) Embed(tokens []uint32) ([]float32, error) {
	return read(0, func(out *float32, capacity C.size_t, needed *C.size_t, e *C.worker_error_t) C.worker_status_t {
		return C.worker_model_embed(C.worker_model_t(m.Handle), first(tokens), C.size_t(len(tokens)), nil,
			(*C.float)(out), capacity, needed, e)
	})
}

// StructSizes gives the size of each public struct.
func StructSizes() map[string]uintptr {
	return map[string]uintptr{
		"error": C.sizeof_worker_error_t, "device_info": C.sizeof_worker_device_info_t,
		"memory": C.sizeof_worker_memory_t, "residency": C.sizeof_worker_residency_t,
		"model_options": C.sizeof_worker_model_options_t, "chat_options": C.sizeof_worker_chat_options_t,
		"session_options": C.sizeof_worker_session_options_t, "event": C.sizeof_worker_event_t,
		"usage": C.sizeof_worker_usage_t, "score_options": C.sizeof_worker_score_options_t,
		"embed_options": C.sizeof_worker_embed_options_t, "bootstrap": C.sizeof_worker_bootstrap_t,
		"overview": C.sizeof_worker_overview_t, "health": C.sizeof_worker_health_t,
	}
}

// read calls until the buffer is large enough, and returns what was written.
func read[T any](guess int, call func(*T, C.size_t, *C.size_t, *C.worker_error_t) C.worker_status_t) ([]T, error) {
	buffer := make([]T, guess)
	for {
		var needed C.size_t
		var start *T
		if len(buffer) > 0 {
			start = &buffer[0]
		}
		failure := newError()
		status := call(start, C.size_t(len(buffer)), &needed, &failure)
		if int(status) == BufferTooSmall && int(needed) > len(buffer) {
			buffer = make([]T, needed)
			continue
		}
		if err := check(status, &failure); err != nil {
			return nil, err
		}
		return buffer[:needed], nil
	}
}

// readText is read for text, whose NUL is counted.
func readText(call func(*byte, C.size_t, *C.size_t, *C.worker_error_t) C.worker_status_t) (string, error) {
	bytes, err := read(256, call)
	if err != nil || len(bytes) == 0 {
		return "", err
	}
	return string(bytes[:len(bytes)-1]), nil
}

func first(tokens []uint32) *C.uint32_t {
	if len(tokens) == 0 {
		return nil
	}
	return (*C.uint32_t)(&tokens[0])
}
