package worker

/*
#include <stdlib.h>
#include <worker_ffi.h>
*/
import "C"

import "unsafe"

// EndReasons names the WORKER_END_* values.
var EndReasons = [...]string{
	"none", "end_of_text", "maximum_tokens", "stop_string", "cancelled", "closed", "deadline", "context_full", "error",
	"constraint_complete",
}

// Prompt is what a session continues: chat messages in JSON, token ids, or text; the first that is given.
type Prompt struct {
	Chat   string
	Tokens []uint32
	Text   string
}

// Options tell how to generate; see worker_session_options_t. Seed nil: the library draws one.
type Options struct {
	MaximumTokens uint32
	Temperature   float32
	TopK          uint32
	TopP          float32
	Seed          *uint64
	Stop          []string
	JSONSchema    string
	Regex         string
}

// Session is a running or finished generation.
type Session struct {
	Handle uint64
	// EndReason is one of EndReasons once the end was read.
	EndReason string
}

// Event is a token's text, or the end.
type Event struct {
	End  bool
	Text string
}

// Start begins to generate.
func (m Model) Start(prompt Prompt, wishes Options) (*Session, error) {
	options := C.worker_session_options_t{
		struct_size: C.sizeof_worker_session_options_t, maximum_tokens: C.uint32_t(wishes.MaximumTokens),
		temperature: C.float(wishes.Temperature), top_k: C.uint32_t(wishes.TopK), top_p: C.float(wishes.TopP),
	}
	if wishes.Seed != nil {
		options.seed, options.seed_given = C.uint64_t(*wishes.Seed), 1
	}
	// What the struct points to must be C's memory: a Go pointer may not travel inside another.
	var texts arena
	defer texts.free()
	if len(wishes.Stop) > 0 {
		size := C.size_t(len(wishes.Stop)) * C.sizeof_worker_text_t
		table := (*C.worker_text_t)(texts.keep(C.malloc(size)))
		for index, stop := range wishes.Stop {
			unsafe.Slice(table, len(wishes.Stop))[index] = C.worker_text_t{data: texts.text(stop), length: C.uint64_t(len(stop))}
		}
		options.stop, options.stop_count = table, C.uint64_t(len(wishes.Stop))
	}
	constraint := wishes.JSONSchema
	if constraint != "" {
		options.constraint_kind = C.WORKER_CONSTRAINT_JSON_SCHEMA
	} else if constraint = wishes.Regex; constraint != "" {
		options.constraint_kind = C.WORKER_CONSTRAINT_REGEX
	}
	if constraint != "" {
		options.constraint, options.constraint_length = texts.text(constraint), C.uint64_t(len(constraint))
	}

	model := C.worker_model_t(m.Handle)
	var handle C.worker_session_t
	var status C.worker_status_t
	failure := newError()
	switch {
	case prompt.Chat != "":
		status = C.worker_session_start_chat(model, texts.text(prompt.Chat), C.size_t(len(prompt.Chat)), &options, &handle, &failure)
	case len(prompt.Tokens) > 0:
		status = C.worker_session_start_tokens(model, first(prompt.Tokens), C.size_t(len(prompt.Tokens)), &options, &handle, &failure)
	default:
		status = C.worker_session_start(model, texts.text(prompt.Text), C.size_t(len(prompt.Text)), &options, &handle, &failure)
	}
	return &Session{Handle: uint64(handle)}, check(status, &failure)
}

// Next waits for the next event.
func (s *Session) Next() (Event, error) {
	capacity := 256
	for {
		event, needed, err := s.next(capacity)
		if CodeOf(err) == BufferTooSmall && needed > capacity {
			capacity = needed
			continue
		}
		return event, err
	}
}

// NextWithin is Next with a buffer of so many bytes; a token that needs more is an Error, and is not lost.
func (s *Session) NextWithin(capacity int) (Event, error) {
	event, _, err := s.next(capacity)
	return event, err
}

func (s *Session) next(capacity int) (Event, int, error) {
	buffer := (*C.char)(C.malloc(C.size_t(capacity)))
	defer C.free(unsafe.Pointer(buffer))
	event := C.worker_event_t{struct_size: C.sizeof_worker_event_t, text: buffer, text_capacity: C.uint64_t(capacity)}
	failure := newError()
	status := C.worker_session_next(C.worker_session_t(s.Handle), &event, C.WORKER_WAIT_FOREVER, &failure)
	if err := check(status, &failure); err != nil {
		return Event{}, int(event.text_needed), err
	}
	switch event.kind {
	case C.WORKER_EVENT_ERROR:
		return Event{}, 0, &Error{int(event.error_code), C.GoString(C.worker_error_message(event.error_code))}
	case C.WORKER_EVENT_END:
		s.EndReason = EndReasons[event.end_reason]
		return Event{End: true}, 0, nil
	default:
		return Event{Text: C.GoStringN(buffer, C.int(event.text_length))}, 0, nil
	}
}

// Cancel ends the session from any goroutine; its reader is told.
func (s *Session) Cancel() error {
	return checkLast(func() C.worker_status_t { return C.worker_session_cancel(C.worker_session_t(s.Handle)) })
}

// Close frees what the session holds.
func (s *Session) Close() error {
	return checkLast(func() C.worker_status_t { return C.worker_session_close(C.worker_session_t(s.Handle)) })
}

// Usage is what a session took.
type Usage struct {
	PromptTokens, GeneratedTokens    uint32
	DecodeSeconds, FirstTokenSeconds float64
}

// Usage tells what the session took so far.
func (s *Session) Usage() (Usage, error) {
	out := C.worker_usage_t{struct_size: C.sizeof_worker_usage_t}
	failure := newError()
	err := check(C.worker_session_usage(C.worker_session_t(s.Handle), &out, &failure), &failure)
	return Usage{
		uint32(out.prompt_tokens), uint32(out.generated_tokens), float64(out.decode_seconds), float64(out.first_token_seconds),
	}, err
}

// Seed tells the seed of the session's random numbers.
func (s *Session) Seed() (uint64, error) {
	var seed C.uint64_t
	failure := newError()
	err := check(C.worker_session_seed(C.worker_session_t(s.Handle), &seed, &failure), &failure)
	return uint64(seed), err
}

// arena is C memory that is freed together.
type arena []unsafe.Pointer

func (a *arena) keep(memory unsafe.Pointer) unsafe.Pointer {
	*a = append(*a, memory)
	return memory
}

func (a *arena) text(text string) *C.char {
	return (*C.char)(a.keep(unsafe.Pointer(C.CString(text))))
}

func (a *arena) free() {
	for _, memory := range *a {
		C.free(memory)
	}
}
