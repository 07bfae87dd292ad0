"""Streams a haiku, then reports what it took. Run with the library where the loader finds it (LD_LIBRARY_PATH)."""

import argparse
import json
import sys
import time

import worker

HINTS = {
    worker.INPUT_OUTPUT: "give the path of a readable GGUF model with --model",
    worker.MODEL_LOAD_FAILED: "give the path of a readable GGUF model with --model",
    worker.MODEL_UNSUPPORTED: "give the path of a readable GGUF model with --model",
    worker.INVALID_DEVICE: "--device -1 is the CPU, which every machine has",
}


def ask(model, topic, seed):
    """Asks in the way the model was trained for: by its chat template, or in plain words where it has none."""
    wish = f"Write a haiku about {topic}"
    options = {"maximum_tokens": 80, "temperature": 0.7, "seed": seed}
    try:
        return model.start(chat=json.dumps([{"role": "user", "content": wish}]), **options)
    except worker.Error as error:
        if error.code != worker.MODEL_UNSUPPORTED:
            raise
        return model.start(wish, **options)


def report(model, session, device, load_seconds):
    information, usage, memory = worker.device_info(device), session.usage(), model.memory()
    speed = usage.generated_tokens / max(usage.decode_seconds, 1e-9)
    print(f"device     {information.name.decode()}, {information.threads} threads")
    print(f"load       {load_seconds * 1e3:.1f} ms")
    print(f"tokens     {usage.prompt_tokens} in, {usage.generated_tokens} out, {speed:.0f} tokens/s; seed {session.seed()}")
    print(f"memory     weights {memory.weights / 1e6:.2f} MB, KV cache {memory.kv_cache / 1e6:.2f} MB, "
          f"workspace {memory.workspace / 1e6:.2f} MB")
    print(f"residency  {'resident' if model.check_residency().resident else 'NOT resident'}")


def run(options):
    begin = time.monotonic()
    with worker.Model(options.model, options.device) as model:
        load_seconds = time.monotonic() - begin
        with ask(model, " ".join(options.topic) or "the autumn moon", options.seed) as session:
            for text in session:
                print(text, end="", flush=True)
            print("\n")
            report(model, session, options.device, load_seconds)


def main():
    parser = argparse.ArgumentParser(prog="haiku.py", description="Streams a haiku about TOPIC, then reports what it took.")
    parser.add_argument("--model", default="examples/models/haiku.gguf", metavar="FILE", help="a GGUF model (default %(default)s)")
    parser.add_argument("--device", type=int, default=worker.CPU, metavar="N", help="-1 is the CPU (default), 0 and up are GPUs")
    parser.add_argument("--seed", type=int, metavar="N", help="the same seed gives the same words (default: any)")
    parser.add_argument("topic", nargs="*", metavar="TOPIC")
    options = parser.parse_args()
    try:
        run(options)
    except worker.Error as error:
        print(f"haiku.py: {error}\nhaiku.py: {error.name}; hint: {HINTS.get(error.code, 'see the message above')}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
