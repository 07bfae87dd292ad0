"""The managed worker for Python, over worker.py: one per process, with health, logs and metrics.

    managed.log_to(logging.getLogger("worker"))
    with managed.Worker(model="model.gguf", health_interval_seconds=30) as host:
        for text in host.model.start("Once upon a time"):
            print(text, end="")
"""

import atexit
import ctypes
import json
import logging
from ctypes import POINTER, byref, c_char, c_char_p, c_double, c_int32, c_size_t, c_uint32, c_uint64, c_void_p

import worker
from worker import ErrorStruct, Sized, call, check, library

STATES = ("stopped", "starting", "running", "shutting_down", "error")
LEVELS = {"trace": 1, "debug": 2, "info": 3, "warn": 4, "error": 5}
# Python's logging has no trace.
LOGGING_LEVELS = {1: 5, 2: logging.DEBUG, 3: logging.INFO, 4: logging.WARNING, 5: logging.ERROR}


class LogRecord(Sized):
    _fields_ = [("struct_size", c_uint32), ("level", c_uint32), ("timestamp", c_uint64), ("target", c_char_p),
                ("message", c_char_p), ("fields", c_char_p), ("target_length", c_uint64),
                ("message_length", c_uint64), ("fields_length", c_uint64)]


class Bootstrap(Sized):
    _fields_ = [("struct_size", c_uint32), ("reserved", c_uint32), ("model", c_uint64), ("worker_id", c_char * 136)]


class Overview(Sized):
    _fields_ = [("struct_size", c_uint32), ("state", c_uint32), ("device", c_int32), ("healthy", c_uint32),
                ("uptime_seconds", c_double), ("steps_processed", c_uint64), ("steps_failed", c_uint64),
                ("sessions_running", c_uint64), ("sessions_queued", c_uint64), ("models", c_uint64),
                ("memory", c_uint64), ("worker_id", c_char * 136), ("reason", c_char * 504)]


class Health(Sized):
    _fields_ = [("struct_size", c_uint32), ("healthy", c_uint32), ("checks", c_uint64),
                ("last_check_seconds", c_double), ("checked_bytes", c_uint64), ("resident_bytes", c_uint64),
                ("reason", c_char * 504)]


LOG_FUNCTION = ctypes.CFUNCTYPE(None, c_void_p, POINTER(LogRecord))
HEALTH_FUNCTION = ctypes.CFUNCTYPE(None, c_void_p, POINTER(Health))


def _declare():
    size, error = POINTER(c_size_t), POINTER(ErrorStruct)
    text_out, log = [c_void_p, c_size_t, size], [c_char_p, c_size_t, c_char_p, c_size_t]
    functions = {
        "worker_bootstrap": [c_char_p, c_size_t, POINTER(Bootstrap), error],
        "worker_status": [POINTER(Overview), error],
        "worker_status_json": text_out,
        "worker_transition_to_graceful_shutdown": [c_uint64],
        "worker_stop": [],
        "worker_health": [POINTER(Health), error],
        "worker_health_check": [POINTER(Health), error],
        "worker_set_health_callback": [HEALTH_FUNCTION, c_void_p, c_void_p],
        "worker_metrics_json": text_out,
        "worker_metrics_prometheus": text_out,
        "worker_set_log_callback": [LOG_FUNCTION, c_void_p, c_void_p],
        "worker_set_log_level": [c_uint32],
        **{f"worker_log_{level}": log for level in LEVELS},
    }
    for name, arguments in functions.items():
        getattr(library, name).restype, getattr(library, name).argtypes = c_int32, arguments


_declare()
# What C calls must stay alive as long as C may call it.
_kept = {"log": None, "health": None}


class Worker:
    """The process's one managed worker; its configuration's keys are those of worker_bootstrap. Use it in a `with` block:
    it is stopped at the end, gently where no exception ended the block."""

    def __init__(self, **configuration):
        text, out = json.dumps(configuration).encode(), Bootstrap()
        call(library.worker_bootstrap, text, len(text), byref(out))
        self.id = out.worker_id.decode()
        self.model = None
        if out.model:
            # It belongs to the worker: nobody unloads it.
            self.model = worker.Model.__new__(worker.Model)
            self.model.handle = out.model

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        try:
            self.shut_down(10) if kind is None else self.stop()
        except worker.Error as error:
            if error.name != "WORKER_ERROR_NOT_INITIALIZED":
                raise

    def shut_down(self, seconds):
        """Refuses new work, lets sessions finish for so long, then stops."""
        check(library.worker_transition_to_graceful_shutdown(int(seconds * 1000)))
        self._ended()

    def stop(self):
        check(library.worker_stop())
        self._ended()

    def health(self):
        """What the last check found, as a Health."""
        return self._health(library.worker_health)

    def check_health(self):
        return self._health(library.worker_health_check)

    def on_health_change(self, function):
        """Has `function(healthy, reason)` called when health changes, on a thread of the library; None ends that."""
        def told(_, health):
            function(bool(health.contents.healthy), health.contents.reason.decode(errors="replace"))

        callback = HEALTH_FUNCTION(told) if function else HEALTH_FUNCTION()
        check(library.worker_set_health_callback(callback, None, None))
        # Older ones too: one may be running at this moment. They go with the worker.
        _kept["health"] = [*(_kept["health"] or []), callback]

    @staticmethod
    def _health(function):
        out = Health()
        call(function, byref(out))
        return out

    @staticmethod
    def _ended():
        _kept["health"] = None


def status():
    """The worker as a dictionary, whether there is one or not; `state` is one of STATES."""
    return json.loads(_text(library.worker_status_json))


def overview():
    out = Overview()
    call(library.worker_status, byref(out))
    return out


def metrics():
    """Counters, histograms and gauges, as a dictionary."""
    return json.loads(_text(library.worker_metrics_json))


def metrics_prometheus():
    return _text(library.worker_metrics_prometheus)


def log_to(target):
    """Gives log records to a logging.Logger, or to `function(level, target, message, fields)`; None for silence.

    They come on a thread of the library. Records name their event as `worker::...`, and `fields` is a dictionary."""
    if isinstance(target, logging.Logger):
        logger, target = target, lambda level, event, message, fields: logger.log(
            LOGGING_LEVELS[level], message, extra={"event": event, "fields": fields})

    def told(_, record):
        found = record.contents
        target(found.level, found.target.decode(), found.message.decode(), json.loads(found.fields))

    callback = LOG_FUNCTION(told) if target else LOG_FUNCTION()
    # When this returns, the former function is not called any more.
    check(library.worker_set_log_callback(callback, None, None))
    _kept["log"] = callback


def set_log_level(level):
    """The least level that is recorded, by its name in LEVELS."""
    check(library.worker_set_log_level(LEVELS[level]))


def log(level, message, **fields):
    """Adds a record of the program's own to the stream, with target `host`."""
    message, fields = message.encode(), json.dumps(fields).encode()
    check(getattr(library, f"worker_log_{level}")(message, len(message), fields, len(fields)))


def _text(function):
    needed = c_size_t(4096)
    while True:
        buffer = ctypes.create_string_buffer(needed.value)
        code = function(buffer, len(buffer), byref(needed))
        if code != worker.BUFFER_TOO_SMALL:
            check(code)
            return buffer.value.decode()


# Python is gone before the library's threads are: they must not call into it at the end.
atexit.register(log_to, None)
