package worker

/*
#include <stdlib.h>
#include <worker_ffi.h>

extern void libworkerGoLog(void *, worker_log_record_t *);
extern void libworkerGoHealth(void *, worker_health_t *);
extern void libworkerGoRelease(void *);

// cgo.Handle is an integer, which travels as the pointer that C never looks into.
static worker_status_t set_log(uintptr_t handle) {
    return worker_set_log_callback((worker_log_fn)libworkerGoLog, (void *)handle, libworkerGoRelease);
}
static worker_status_t set_health(uintptr_t handle) {
    return worker_set_health_callback((worker_health_fn)libworkerGoHealth, (void *)handle, libworkerGoRelease);
}
*/
import "C"

import (
	"fmt"
	"runtime/cgo"
	"time"
	"unsafe"
)

// Level is how much a log record matters.
type Level uint32

// The levels, from the least.
const (
	Trace Level = 1 + iota
	Debug
	Info
	Warn
	ErrorLevel
)

// LogRecord is one thing that happened: Target is the event's stable name ("host" for the program's own records), Fields
// a JSON object.
type LogRecord struct {
	Level                   Level
	Time                    time.Time
	Target, Message, Fields string
}

// LogTo gives log records to function, one at a time, on a thread of the library; nil for silence. When it returns, the
// former function is not called any more.
func LogTo(function func(LogRecord)) error {
	return checkLast(func() C.worker_status_t {
		if function == nil {
			return C.worker_set_log_callback(nil, nil, nil)
		}
		return C.set_log(C.uintptr_t(cgo.NewHandle(function)))
	})
}

// SetLogLevel sets the least level that is recorded.
func SetLogLevel(level Level) error {
	return checkLast(func() C.worker_status_t { return C.worker_set_log_level(C.worker_log_level_t(level)) })
}

// Log adds a record of the program's own to the stream; fields is a JSON object, or empty.
func Log(level Level, message, fields string) error {
	var texts arena
	defer texts.free()
	text, length := texts.text(message), C.size_t(len(message))
	context, contextLength := texts.text(fields), C.size_t(len(fields))
	return checkLast(func() C.worker_status_t {
		switch level {
		case Trace:
			return C.worker_log_trace(text, length, context, contextLength)
		case Debug:
			return C.worker_log_debug(text, length, context, contextLength)
		case Info:
			return C.worker_log_info(text, length, context, contextLength)
		case Warn:
			return C.worker_log_warn(text, length, context, contextLength)
		default:
			return C.worker_log_error(text, length, context, contextLength)
		}
	})
}

// Managed is the process's one managed worker. Model is the one that the configuration named, with Handle 0 where it named
// none; it ends with the worker.
type Managed struct {
	ID    string
	Model Model
}

// Bootstrap starts the managed worker; configuration is a JSON object with the keys of worker_bootstrap.
func Bootstrap(configuration string) (*Managed, error) {
	var texts arena
	defer texts.free()
	out := C.worker_bootstrap_t{struct_size: C.sizeof_worker_bootstrap_t}
	failure := newError()
	status := C.worker_bootstrap(texts.text(configuration), C.size_t(len(configuration)), &out, &failure)
	if err := check(status, &failure); err != nil {
		return nil, err
	}
	return &Managed{C.GoString(&out.worker_id[0]), Model{uint64(out.model)}}, nil
}

// ShutDown refuses new work, lets sessions finish for so long, then stops.
func (*Managed) ShutDown(deadline time.Duration) error {
	if deadline < 0 {
		deadline = 0
	}
	return checkLast(func() C.worker_status_t {
		return C.worker_transition_to_graceful_shutdown(C.uint64_t(deadline.Milliseconds()))
	})
}

// Stop ends everything at once.
func (*Managed) Stop() error {
	return checkLast(func() C.worker_status_t { return C.worker_stop() })
}

// Health is what a check found. LastCheck is negative before the first.
type Health struct {
	Healthy                             bool
	Reason                              string
	Checks, CheckedBytes, ResidentBytes uint64
	LastCheck                           time.Duration
}

// Health tells what the last check found.
func (*Managed) Health() (Health, error) {
	return health(func(out *C.worker_health_t, e *C.worker_error_t) C.worker_status_t { return C.worker_health(out, e) })
}

// CheckHealth checks now.
func (*Managed) CheckHealth() (Health, error) {
	return health(func(out *C.worker_health_t, e *C.worker_error_t) C.worker_status_t {
		return C.worker_health_check(out, e)
	})
}

// OnHealthChange has function called when health changes, on a thread of the library; nil ends that.
func (*Managed) OnHealthChange(function func(Health)) error {
	return checkLast(func() C.worker_status_t {
		if function == nil {
			return C.worker_set_health_callback(nil, nil, nil)
		}
		return C.set_health(C.uintptr_t(cgo.NewHandle(function)))
	})
}

// State is where the managed worker is in its life.
type State uint32

// The states.
const (
	Stopped State = iota
	Starting
	Running
	ShuttingDown
	Failed
)

func (s State) String() string {
	names := [...]string{"stopped", "starting", "running", "shutting down", "error"}
	if int(s) < len(names) {
		return names[s]
	}
	return fmt.Sprintf("state %d", uint32(s))
}

// Overview is the managed worker at one moment. Reason tells why the last bootstrap failed, where the state is Failed.
type Overview struct {
	State                           State
	ID, Reason                      string
	Device                          int32
	Healthy                         bool
	Uptime                          time.Duration
	StepsProcessed, StepsFailed     uint64
	SessionsRunning, SessionsQueued uint64
	Models, Memory                  uint64
}

// Status tells how the managed worker is, or that there is none.
func Status() (Overview, error) {
	out := C.worker_overview_t{struct_size: C.sizeof_worker_overview_t}
	failure := newError()
	err := check(C.worker_status(&out, &failure), &failure)
	return Overview{
		State: State(out.state), ID: C.GoString(&out.worker_id[0]), Reason: C.GoString(&out.reason[0]),
		Device: int32(out.device), Healthy: out.healthy != 0, Uptime: seconds(float64(out.uptime_seconds)),
		StepsProcessed: uint64(out.steps_processed), StepsFailed: uint64(out.steps_failed),
		SessionsRunning: uint64(out.sessions_running), SessionsQueued: uint64(out.sessions_queued),
		Models: uint64(out.models), Memory: uint64(out.memory),
	}, err
}

// MetricsJSON gives all counters, histograms and gauges of the process.
func MetricsJSON() (string, error) {
	return readGrowing(func(out *C.char, capacity C.size_t, needed *C.size_t) C.worker_status_t {
		return C.worker_metrics_json(out, capacity, needed)
	})
}

// MetricsPrometheus gives them in Prometheus's text format.
func MetricsPrometheus() (string, error) {
	return readGrowing(func(out *C.char, capacity C.size_t, needed *C.size_t) C.worker_status_t {
		return C.worker_metrics_prometheus(out, capacity, needed)
	})
}

func health(call func(*C.worker_health_t, *C.worker_error_t) C.worker_status_t) (Health, error) {
	out := C.worker_health_t{struct_size: C.sizeof_worker_health_t}
	failure := newError()
	err := check(call(&out, &failure), &failure)
	return healthOf(&out), err
}

func healthOf(found *C.worker_health_t) Health {
	return Health{
		Healthy: found.healthy != 0, Reason: C.GoString(&found.reason[0]), Checks: uint64(found.checks),
		CheckedBytes: uint64(found.checked_bytes), ResidentBytes: uint64(found.resident_bytes),
		LastCheck: seconds(float64(found.last_check_seconds)),
	}
}

func seconds(value float64) time.Duration { return time.Duration(value * float64(time.Second)) }

// readGrowing reads a text that may be longer when it is asked for again, by a function without an error struct.
func readGrowing(call func(*C.char, C.size_t, *C.size_t) C.worker_status_t) (string, error) {
	return readText(func(out *byte, capacity C.size_t, needed *C.size_t, e *C.worker_error_t) C.worker_status_t {
		return call((*C.char)(unsafe.Pointer(out)), capacity, needed)
	})
}

//export libworkerGoLog
func libworkerGoLog(data unsafe.Pointer, record *C.worker_log_record_t) {
	cgo.Handle(data).Value().(func(LogRecord))(LogRecord{
		Level(record.level), time.Unix(0, int64(record.timestamp)),
		C.GoStringN(record.target, C.int(record.target_length)), C.GoStringN(record.message, C.int(record.message_length)),
		C.GoStringN(record.fields, C.int(record.fields_length)),
	})
}

//export libworkerGoHealth
func libworkerGoHealth(data unsafe.Pointer, found *C.worker_health_t) {
	cgo.Handle(data).Value().(func(Health))(healthOf(found))
}

//export libworkerGoRelease
func libworkerGoRelease(data unsafe.Pointer) { cgo.Handle(data).Delete() }
