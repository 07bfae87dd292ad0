"""The Python host of the conformance cases, over examples/python/worker.py and managed.py; README.md beside this file has the protocol."""

import ctypes
import json
import math
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "examples/python"))
import managed  # noqa: E402
import worker  # noqa: E402

STRUCTS = {
    "bootstrap": managed.Bootstrap, "chat_options": worker.ChatOptions, "device_info": worker.DeviceInfo, "embed_options": worker.EmbedOptions,
    "error": worker.ErrorStruct, "event": worker.Event, "health": managed.Health,
    "memory": worker.Memory, "model_options": worker.ModelOptions,
    "overview": managed.Overview, "residency": worker.Residency, "score_options": worker.ScoreOptions, "session_options": worker.SessionOptions,
    "usage": worker.Usage,
}
HEADER_ABI_VERSION = 1
KINDS = {worker.EVENT_TOKEN: "token", worker.EVENT_END: "end"}


def model(handle):
    """A model by its number, which may be any: a case may name one that was never given out."""
    found = worker.Model.__new__(worker.Model)
    found.handle = int(handle)
    return found


def session(handle):
    return worker.Session(int(handle))


def ids(word):
    return [int(number) for number in word.split()]


def load(path, device):
    return [worker.Model(path, int(device)).handle]


def start(handle, *pairs):
    kinds = {"max_tokens": ("maximum_tokens", int), "temperature": ("temperature", float), "top_k": ("top_k", int),
             "top_p": ("top_p", float), "seed": ("seed", int), "schema": ("json_schema", str), "regex": ("regex", str),
             "prompt": ("prompt", str), "chat": ("chat", str), "tokens": ("tokens", ids)}
    options, stop = {}, []
    for pair in pairs:
        key, value = pair.split("=", 1)
        if key == "stop":
            stop.append(value)
        else:
            name, kind = kinds[key]
            options[name] = kind(value)
    return [model(handle).start(stop=stop, **options).handle]


def next_event(handle, capacity):
    found = session(handle)
    event = found.next_event(capacity=int(capacity))
    return [KINDS[event.kind], found.text(event)]


def read(handle):
    found = session(handle)
    text = "".join(found)
    usage = found.usage()
    return [text, found.end_reason, usage.prompt_tokens, usage.generated_tokens]


def score(handle, word):
    return [f"{sum(model(handle).score(ids(word))):.4f}"]


def embed(handle, word):
    embedding = model(handle).embed(ids(word))
    return [len(embedding), f"{math.sqrt(sum(value * value for value in embedding)):.4f}"]


def bootstrap(configuration):
    global host
    host = managed.Worker(**json.loads(configuration))
    return [host.id, host.model.handle if host.model else 0]


def status():
    found = managed.overview()
    return [found.state, found.models, found.worker_id.decode()]


def health():
    found = host.check_health()
    return [found.healthy, found.checks]


def collect(level):
    collected.clear()
    managed.set_log_level(level_name(level))
    managed.log_to(lambda *record: collected.append(record))
    return []


def log(level, message, fields):
    return done(managed.log(level_name(level), message, **json.loads(fields)))


def records(target):
    managed.log_to(None)
    lines = [f"{level} {message} {json.dumps(fields, ensure_ascii=False, separators=(',', ':'))}"
             for level, event, message, fields in collected if event == target]
    return [len(lines), "\n".join(lines)]


def metrics():
    mark = "\nworker_tokens_generated_total "
    line = managed.metrics_prometheus().split(mark)[1].splitlines()[0]
    return [managed.metrics()["tokens"]["generated"], line]


def level_name(number):
    return list(managed.LEVELS)[int(number) - 1]


def done(_):
    return []


collected = []
# A case may stop a worker that was never there.
host = managed.Worker.__new__(managed.Worker)


VERBS = {
    "version": lambda: [HEADER_ABI_VERSION, worker.library.worker_abi_version()],
    "sizes": lambda: [f"{name}={ctypes.sizeof(struct)}" for name, struct in STRUCTS.items()],
    "bootstrap": bootstrap,
    "status": status,
    "health": health,
    "shutdown": lambda milliseconds: done(host.shut_down(int(milliseconds) / 1000)),
    "stop": lambda: done(host.stop()),
    "collect": collect,
    "log": log,
    "records": records,
    "metrics": metrics,
    "load": load,
    "unload": lambda handle: done(model(handle).unload()),
    "memory": lambda handle: [model(handle).memory().weights],
    "residency": lambda handle: [model(handle).check_residency().resident],
    "tokenize": lambda handle, text, special: [
        " ".join(map(str, model(handle).tokenize(text, worker.TOKENIZE_ADD_SPECIAL if special == "1" else 0)))],
    "detokenize": lambda handle, word: [model(handle).detokenize(ids(word))],
    "chat": lambda handle, messages: [model(handle).apply_chat_template(messages)],
    "start": start,
    "next": next_event,
    "read": read,
    "cancel": lambda handle: done(session(handle).cancel()),
    "close": lambda handle: done(session(handle).close()),
    "score": score,
    "embed": embed,
}


def escape(word):
    return str(word).replace("\\", "\\\\").replace("\t", "\\t").replace("\n", "\\n").replace("\r", "\\r")


def unescape(word):
    parts = word.split("\\\\")
    return "\\".join(part.replace("\\t", "\t").replace("\\n", "\n").replace("\\r", "\r") for part in parts)


def answer(line):
    verb, *words = (unescape(word) for word in line.split("\t"))
    try:
        return ["ok", *VERBS[verb](*words)]
    except worker.Error as error:
        return ["error", error.code, str(error)]
    except Exception as error:
        return ["error", -1, repr(error)]


def main():
    sys.stdin.reconfigure(encoding="utf-8", newline="\n")
    sys.stdout.reconfigure(encoding="utf-8", newline="\n")
    for line in sys.stdin:
        print("\t".join(escape(word) for word in answer(line.rstrip("\n"))), flush=True)


if __name__ == "__main__":
    main()
