#!/usr/bin/env python3
"""llama.cpp's figures for one model, as JSON: the other half of this bench.

Needs llama-cpp-python, installed outside the project.
"""
import argparse
import json
import time


def main():
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("model", help="a GGUF file")
    arguments.add_argument("--threads", type=int, default=2)
    arguments.add_argument("--tokens", type=int, default=48, help="tokens to decode")
    arguments.add_argument("--context", type=int, default=0, help="also decode after so many tokens")
    arguments.add_argument("--prefill", action="store_true", help="also read prompts of 512 and 16 tokens")
    arguments.add_argument("--single", action="store_true", help="also decode with one thread")
    arguments.add_argument("--first-token", action="store_true", help="load, run four tokens, print the most memory held")
    given = arguments.parse_args()
    if given.first_token:
        load(given.model, given.threads, 1024).eval([3, 4, 5, 6])
        print(peak_resident_bytes())
        return
    model = load(given.model, given.threads, max(1024, given.context) + given.tokens + 16)
    answer = {"decode": decode(model, 4, given.tokens)}
    if given.prefill:
        answer["prefill_512"] = prefill(model, 512)
        answer["prefill_16"] = prefill(model, 16)
    if given.context:
        answer["decode_late"] = decode(model, given.context, given.tokens)
    if given.single:
        model = load(given.model, 1, 1024)
        answer["decode_single"] = decode(model, 4, given.tokens)
    print(json.dumps(answer))


def load(path, threads, context):
    import llama_cpp

    return llama_cpp.Llama(path, n_ctx=context, n_batch=512, n_threads=threads, n_threads_batch=threads, verbose=False)


def prefill(model, length):
    model.reset()
    begun = time.perf_counter()
    model.eval([5 + place * 7 % 200 for place in range(length)])
    return length / (time.perf_counter() - begun)


def decode(model, context, tokens):
    model.reset()
    model.eval([5 + place * 7 % 200 for place in range(context)])
    begun = time.perf_counter()
    for place in range(tokens - 1):
        model.eval([5 + place % 200])
    return (tokens - 1) / (time.perf_counter() - begun)


def peak_resident_bytes():
    with open("/proc/self/status", encoding="ascii") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:"))


if __name__ == "__main__":
    main()
