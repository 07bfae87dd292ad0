#!/usr/bin/env python3
"""llama.cpp's figures for one model, as JSON: the other half of benches/throughput.rs.

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
    given = arguments.parse_args()
    begun = time.perf_counter()
    import llama_cpp

    model = llama_cpp.Llama(
        given.model, n_ctx=1024, n_batch=512, n_threads=given.threads, n_threads_batch=given.threads, verbose=False
    )
    model.eval([3, 4, 5, 6])
    first = time.perf_counter() - begun
    answer = {
        "first_token_seconds": first,
        "prefill_512": median(prefill(model, 512) for _ in range(3)),
        "prefill_16": median(prefill(model, 16) for _ in range(3)),
        "decode": median(decode(model, given.tokens) for _ in range(3)),
    }
    print(json.dumps(answer))


def prefill(model, length):
    model.reset()
    begun = time.perf_counter()
    model.eval([5 + place * 7 % 200 for place in range(length)])
    return length / (time.perf_counter() - begun)


def decode(model, tokens):
    model.reset()
    model.eval([3, 4, 5, 6])
    begun = time.perf_counter()
    for place in range(tokens - 1):
        model.eval([5 + place % 200])
    return (tokens - 1) / (time.perf_counter() - begun)


def median(values):
    values = sorted(values)
    return values[len(values) // 2]


if __name__ == "__main__":
    main()
