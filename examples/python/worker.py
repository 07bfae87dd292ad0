"""libworker for Python by ctypes: the structs and functions of worker_ffi.h, and Model and Session over them.

ctypes lets other Python threads run while a call waits, so several sessions may be read at the same time, one thread each.
"""

import ctypes
import os
from ctypes import POINTER, byref, c_char, c_char_p, c_double, c_float, c_int32, c_int64, c_size_t, c_uint32, c_uint64, c_void_p

CPU = -1
WAIT_FOREVER = -1
SUCCESS, INVALID_DEVICE, MODEL_LOAD_FAILED, MODEL_UNSUPPORTED, INVALID_PARAMETER = 0, 1, 3, 4, 6
BUFFER_TOO_SMALL, TIMED_OUT, INPUT_OUTPUT = 120, 121, 150
DEVICE_CPU, DEVICE_GPU = 1, 2
EVENT_TOKEN, EVENT_END, EVENT_ERROR = 1, 2, 3
END_REASONS = ("none", "end_of_text", "maximum_tokens", "stop_string", "cancelled", "closed", "deadline", "context_full",
               "error", "constraint_complete")
CONSTRAINT_JSON_SCHEMA, CONSTRAINT_REGEX, CONSTRAINT_LARK = 1, 2, 3
TOKENIZE_ADD_SPECIAL, TOKENIZE_PARSE_SPECIAL = 1, 2
SCORE_LOGPROBS = 1


class Error(Exception):
    """A failed call: its published code, and what was expected, found, and where."""

    def __init__(self, code, detail):
        super().__init__(detail or library.worker_error_message(code).decode())
        self.code = code

    @property
    def name(self):
        return library.worker_error_name(self.code).decode()


class Sized(ctypes.Structure):
    """A struct that begins with its size."""

    def __init__(self, **fields):
        super().__init__(**fields)
        self.struct_size = ctypes.sizeof(self)


class ErrorStruct(Sized):
    _fields_ = [("struct_size", c_uint32), ("code", c_int32), ("detail", c_char * 504)]


class DeviceInfo(Sized):
    _fields_ = [("struct_size", c_uint32), ("ordinal", c_int32), ("kind", c_uint32), ("compute_capability", c_uint32),
                ("total_memory", c_uint64), ("free_memory", c_uint64), ("threads", c_uint32), ("reserved", c_uint32),
                ("name", c_char * 128), ("kernel_path", c_char * 32)]


class Memory(Sized):
    _fields_ = [("struct_size", c_uint32), ("reserved", c_uint32), ("weights", c_uint64), ("kv_cache", c_uint64),
                ("workspace", c_uint64), ("other", c_uint64), ("total", c_uint64), ("allocations", c_uint64)]


class Residency(Sized):
    _fields_ = [("struct_size", c_uint32), ("resident", c_uint32), ("policy", c_uint32), ("reserved", c_uint32),
                ("checked_bytes", c_uint64), ("resident_bytes", c_uint64), ("allocations", c_uint64),
                ("violations", c_uint64), ("violating_bytes", c_uint64), ("violating", c_char * 192)]


class ModelOptions(Sized):
    _fields_ = [("struct_size", c_uint32), ("device_kind", c_uint32), ("device_ordinal", c_uint32),
                ("context_length", c_uint32), ("kv_type", c_uint32), ("residency", c_uint32), ("load_mode", c_uint32),
                ("threads", c_uint32), ("maximum_sessions", c_uint32), ("reserved", c_uint32),
                ("kv_budget_bytes", c_uint64), ("progress", c_void_p), ("progress_user_data", c_void_p),
                ("progress_destroy", c_void_p)]


class ChatOptions(Sized):
    _fields_ = [("struct_size", c_uint32), ("no_generation_prompt", c_uint32), ("tools_json", c_char_p),
                ("tools_json_length", c_uint64), ("variables_json", c_char_p), ("variables_json_length", c_uint64)]


class Text(ctypes.Structure):
    _fields_ = [("data", c_char_p), ("length", c_uint64)]


class LogitBias(ctypes.Structure):
    _fields_ = [("token", c_uint32), ("bias", c_float)]


class Logprob(ctypes.Structure):
    _fields_ = [("token", c_uint32), ("logprob", c_float)]


class SessionOptions(Sized):
    _fields_ = [("struct_size", c_uint32), ("maximum_tokens", c_uint32), ("temperature", c_float), ("top_k", c_uint32),
                ("top_p", c_float), ("min_p", c_float), ("typical_p", c_float), ("repetition_penalty", c_float),
                ("presence_penalty", c_float), ("frequency_penalty", c_float), ("penalty_window", c_uint32),
                ("seed_given", c_uint32), ("seed", c_uint64), ("logit_bias", POINTER(LogitBias)),
                ("logit_bias_count", c_uint64), ("stop", POINTER(Text)), ("stop_count", c_uint64),
                ("logprobs", c_uint32), ("constraint_kind", c_uint32), ("constraint", c_char_p),
                ("constraint_length", c_uint64), ("deadline_ms", c_uint64), ("ignore_end", c_uint32),
                ("reserved", c_uint32)]


class Event(Sized):
    _fields_ = [("struct_size", c_uint32), ("kind", c_uint32), ("text", c_void_p), ("text_capacity", c_uint64),
                ("text_length", c_uint64), ("text_needed", c_uint64), ("top", POINTER(Logprob)),
                ("top_capacity", c_uint32), ("top_count", c_uint32), ("token", c_uint32), ("index", c_uint32),
                ("has_logprob", c_uint32), ("logprob", c_float), ("end_reason", c_uint32), ("error_code", c_int32),
                ("matched_stop", c_int32), ("prompt_tokens", c_uint32), ("cached_tokens", c_uint32),
                ("generated_tokens", c_uint32)]


class Usage(Sized):
    _fields_ = [("struct_size", c_uint32), ("prompt_tokens", c_uint32), ("cached_tokens", c_uint32),
                ("generated_tokens", c_uint32), ("queue_seconds", c_double), ("prefill_seconds", c_double),
                ("decode_seconds", c_double), ("first_token_seconds", c_double)]


class ScoreOptions(Sized):
    _fields_ = [("struct_size", c_uint32), ("kind", c_uint32), ("kv_type", c_uint32), ("reserved", c_uint32),
                ("last", c_uint64)]


class EmbedOptions(Sized):
    _fields_ = [("struct_size", c_uint32), ("pooling", c_uint32), ("normalize", c_uint32), ("reserved", c_uint32)]


def _declare():
    """Opens the library (WORKER_LIBRARY, or by its soname) and states every function's types."""
    found = ctypes.CDLL(os.environ.get("WORKER_LIBRARY", "libworker.so.0"))
    size, error, tokens, floats = POINTER(c_size_t), POINTER(ErrorStruct), POINTER(c_uint32), POINTER(c_float)
    text_out, session = [c_void_p, c_size_t, size, error], POINTER(c_uint64)
    functions = {
        "worker_abi_version": (c_uint32, []),
        "worker_error_name": (c_char_p, [c_int32]),
        "worker_error_message": (c_char_p, [c_int32]),
        "worker_last_error": (c_int32, [c_void_p, c_size_t, size]),
        "worker_device_info": (c_int32, [c_int32, POINTER(DeviceInfo), error]),
        "worker_model_load": (c_int32, [c_char_p, c_size_t, POINTER(ModelOptions), POINTER(c_uint64), error]),
        "worker_model_unload": (c_int32, [c_uint64]),
        "worker_model_info_json": (c_int32, [c_uint64] + text_out),
        "worker_model_memory": (c_int32, [c_uint64, POINTER(Memory), error]),
        "worker_model_check_residency": (c_int32, [c_uint64, POINTER(Residency), error]),
        "worker_model_tokenize": (c_int32, [c_uint64, c_char_p, c_size_t, c_uint32, tokens, c_size_t, size, error]),
        "worker_model_detokenize": (c_int32, [c_uint64, tokens, c_size_t, c_uint32] + text_out),
        "worker_model_apply_chat_template":
            (c_int32, [c_uint64, c_char_p, c_size_t, POINTER(ChatOptions)] + text_out),
        "worker_model_score":
            (c_int32, [c_uint64, tokens, c_size_t, POINTER(ScoreOptions), floats, c_size_t, size, error]),
        "worker_model_embed":
            (c_int32, [c_uint64, tokens, c_size_t, POINTER(EmbedOptions), floats, c_size_t, size, error]),
        "worker_session_start": (c_int32, [c_uint64, c_char_p, c_size_t, POINTER(SessionOptions), session, error]),
        "worker_session_start_chat":
            (c_int32, [c_uint64, c_char_p, c_size_t, POINTER(SessionOptions), session, error]),
        "worker_session_start_tokens":
            (c_int32, [c_uint64, tokens, c_size_t, POINTER(SessionOptions), session, error]),
        "worker_session_next": (c_int32, [c_uint64, POINTER(Event), c_int64, error]),
        "worker_session_cancel": (c_int32, [c_uint64]),
        "worker_session_usage": (c_int32, [c_uint64, POINTER(Usage), error]),
        "worker_session_seed": (c_int32, [c_uint64, POINTER(c_uint64), error]),
        "worker_session_close": (c_int32, [c_uint64]),
    }
    for name, (result, arguments) in functions.items():
        getattr(found, name).restype, getattr(found, name).argtypes = result, arguments
    return found


library = _declare()


def call(function, *arguments):
    """Calls a function whose last parameter is an error struct; raises Error where it fails."""
    error = ErrorStruct()
    code = function(*arguments, byref(error))
    if code != SUCCESS:
        raise Error(code, error.detail.decode(errors="replace"))


def check(code):
    """For functions without an error struct: the detail is this thread's last error."""
    if code != SUCCESS:
        text = ctypes.create_string_buffer(1024)
        library.worker_last_error(text, len(text), None)
        raise Error(code, text.value.decode(errors="replace"))


def read_array(kind, guess, function, *arguments):
    """Calls until the buffer is large enough, and returns what was written."""
    needed = c_size_t(guess)
    while True:
        buffer = (kind * needed.value)()
        try:
            call(function, *arguments, buffer, len(buffer), byref(needed))
            return buffer[:needed.value]
        except Error as error:
            if error.code != BUFFER_TOO_SMALL or needed.value <= len(buffer):
                raise


def read_text(function, *arguments):
    """As read_array; the text's NUL is counted."""
    return read_array(c_char, 256, function, *arguments)[:-1].decode(errors="replace")


def token_array(tokens):
    return (c_uint32 * len(tokens))(*tokens)


def device_info(device=CPU):
    out = DeviceInfo()
    call(library.worker_device_info, device, byref(out))
    return out


class Model:
    """A loaded model. Use it in a `with` block, or call unload()."""

    def __init__(self, path, device=CPU):
        options = ModelOptions(device_kind=DEVICE_CPU if device == CPU else DEVICE_GPU, device_ordinal=max(device, 0))
        path, handle = os.fsencode(path), c_uint64()
        call(library.worker_model_load, path, len(path), byref(options), byref(handle))
        self.handle = handle.value

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.unload()

    def unload(self):
        check(library.worker_model_unload(self.handle))

    def memory(self):
        out = Memory()
        call(library.worker_model_memory, self.handle, byref(out))
        return out

    def check_residency(self):
        out = Residency()
        call(library.worker_model_check_residency, self.handle, byref(out))
        return out

    def tokenize(self, text, flags=0):
        text = text.encode()
        return read_array(c_uint32, len(text) + 8, library.worker_model_tokenize, self.handle, text, len(text), flags)

    def detokenize(self, tokens, flags=0):
        return read_text(library.worker_model_detokenize, self.handle, token_array(tokens), len(tokens), flags)

    def apply_chat_template(self, messages_json):
        messages, options = messages_json.encode(), ChatOptions()
        return read_text(library.worker_model_apply_chat_template, self.handle, messages, len(messages), byref(options))

    def score(self, tokens):
        """The log-probability of each token but the first, after those before it."""
        options = ScoreOptions(kind=SCORE_LOGPROBS)
        return read_array(c_float, 0, library.worker_model_score, self.handle, token_array(tokens), len(tokens),
                          byref(options))

    def embed(self, tokens):
        return read_array(c_float, 0, library.worker_model_embed, self.handle, token_array(tokens), len(tokens),
                          byref(EmbedOptions()))

    def start(self, prompt=None, *, chat=None, tokens=None, stop=(), seed=None, json_schema=None, regex=None, **options):
        """Continues a text, answers chat messages (JSON), or continues token ids. Options as in worker_session_options_t."""
        wishes = SessionOptions(**options)
        if seed is not None:
            wishes.seed, wishes.seed_given = seed, 1
        encoded = [text.encode() for text in stop]
        wishes.stop = (Text * len(encoded))(*[Text(text, len(text)) for text in encoded])
        wishes.stop_count = len(encoded)
        constraint = json_schema if json_schema is not None else regex
        if constraint is not None:
            wishes.constraint_kind = CONSTRAINT_JSON_SCHEMA if json_schema is not None else CONSTRAINT_REGEX
            wishes.constraint, wishes.constraint_length = constraint.encode(), len(constraint.encode())
        handle = c_uint64()
        if tokens is not None:
            function, subject = library.worker_session_start_tokens, token_array(tokens)
        elif chat is not None:
            function, subject = library.worker_session_start_chat, chat.encode()
        else:
            function, subject = library.worker_session_start, (prompt or "").encode()
        call(function, self.handle, subject, len(subject), byref(wishes), byref(handle))
        return Session(handle.value)


class Session:
    """A running generation: iterate over it for the text of each token. Use it in a `with` block, or call close()."""

    def __init__(self, handle):
        self.handle = handle
        self.end_reason = None
        self._buffer = ctypes.create_string_buffer(256)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def __iter__(self):
        while True:
            event = self.next_event()
            if event.kind == EVENT_END:
                self.end_reason = END_REASONS[event.end_reason]
                return
            yield self._buffer.raw[:event.text_length].decode()

    def next_event(self, timeout_ms=WAIT_FOREVER, capacity=None):
        """The next event; its text is in this session's buffer. With a capacity, a text that is longer is an Error."""
        while True:
            event = Event(text=ctypes.cast(self._buffer, c_void_p),
                          text_capacity=len(self._buffer) if capacity is None else capacity)
            try:
                call(library.worker_session_next, self.handle, byref(event), timeout_ms)
            except Error as error:
                if error.code != BUFFER_TOO_SMALL or capacity is not None:
                    raise
                self._buffer = ctypes.create_string_buffer(event.text_needed)
                continue
            if event.kind == EVENT_ERROR:
                raise Error(event.error_code, "")
            return event

    def text(self, event):
        return self._buffer.raw[:event.text_length].decode()

    def cancel(self):
        check(library.worker_session_cancel(self.handle))

    def close(self):
        check(library.worker_session_close(self.handle))

    def usage(self):
        out = Usage()
        call(library.worker_session_usage, self.handle, byref(out))
        return out

    def seed(self):
        out = c_uint64()
        call(library.worker_session_seed, self.handle, byref(out))
        return out.value
