"""Trains the haiku model on one CPU thread; the same seed gives the same model."""

import argparse
import json
import os
import pathlib
import time

# One thread leaves the other cores alone and fixes the order of the sums.
os.environ.setdefault("XLA_FLAGS", "--xla_cpu_multi_thread_eigen=false")
os.environ.setdefault("OMP_NUM_THREADS", "1")
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

import jax
import jax.numpy as jnp
import numpy

import corpus
import model
import tokenizer

VOCABULARY_SAMPLES = 20000
SINGLE_LENGTH, SINGLE_ROWS = 56, 64
CHAIN_LENGTH, CHAIN_ROWS = 192, 16
CHAIN_EVERY = 5
MATRIX_RATE, VECTOR_RATE = 0.02, 4e-3
MOMENTUM, DECAY = 0.95, 0.02


def encode_example(encoder, example):
    """Token numbers of one exchange and the length of its question."""
    _, prompt, text = example
    question = [tokenizer.BEGIN] + encoder.encode(prompt)
    answer = encoder.encode(prompt + "\n" + text)[len(question) - 1:]
    return question + answer + [tokenizer.END], len(question)


def fill(rows, length, take):
    """Rows of exchanges, each after the last; only answers are to be predicted."""
    tokens = numpy.full((rows, length + 1), tokenizer.END, numpy.int32)
    wanted = numpy.full((rows, length + 1), -1, numpy.int32)
    for row in range(rows):
        at = 0
        while True:
            numbers, question = take()
            if at + len(numbers) > length + 1:
                if at == 0:
                    continue
                break
            end = at + len(numbers)
            tokens[row, at:end] = numbers
            wanted[row, at + question:end] = numbers[question:]
            at = end
            if length == SINGLE_LENGTH:
                break
    return tokens[:, :-1], wanted[:, 1:]


def orthogonal(matrices):
    """The nearest matrices with equal singular values, by five Newton-Schulz steps."""
    tall = matrices.shape[-2] > matrices.shape[-1]
    x = jnp.swapaxes(matrices, -1, -2) if tall else matrices
    x = x / (jnp.linalg.norm(x, axis=(-2, -1), keepdims=True) + 1e-7)
    for _ in range(5):
        square = x @ jnp.swapaxes(x, -1, -2)
        x = 3.4445 * x + (-4.7750 * square + 2.0315 * square @ square) @ x
    return jnp.swapaxes(x, -1, -2) if tall else x


def is_matrix(path):
    return path[0].key == "layers" and not path[-1].key.endswith("norm")


def update(weights, gradients, first, second, rate, step):
    """Momentum with orthogonal steps for the blocks' matrices, Adam for the rest."""
    def one(path, weight, gradient, m, v):
        if is_matrix(path):
            m = MOMENTUM * m + gradient
            direction = orthogonal(gradient + MOMENTUM * m)
            scale = max(1.0, weight.shape[-2] / weight.shape[-1]) ** 0.5
            size = rate * MATRIX_RATE
            return weight * (1 - size * DECAY) - size * scale * direction, m, v
        m = 0.9 * m + 0.1 * gradient
        v = 0.98 * v + 0.02 * gradient * gradient
        corrected = (m / (1 - 0.9 ** step)) / (jnp.sqrt(v / (1 - 0.98 ** step)) + 1e-9)
        return weight - rate * VECTOR_RATE * corrected, m, v

    changed = jax.tree_util.tree_map_with_path(one, weights, gradients, first, second)
    return [jax.tree_util.tree_map(lambda entry: entry[index], changed,
                                   is_leaf=lambda entry: isinstance(entry, tuple))
            for index in range(3)]


def schedule(step, steps):
    """Warms up, stays, and falls to nothing over the last half."""
    return min(1.0, (step + 1) / 100, 2.0 * (steps - step) / steps)


def save(path, weights):
    flat = {}
    for parts, value in jax.tree_util.tree_leaves_with_path(weights):
        flat[".".join(part.key for part in parts)] = numpy.asarray(value)
    numpy.savez(path, **flat)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=pathlib.Path, default=pathlib.Path(__file__).parent / "build")
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=20)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)

    writer = corpus.Writer(options.seed)
    sample = (writer.draw() for _ in range(VOCABULARY_SAMPLES))
    config = model.Config()
    pieces = tokenizer.learn((f"{prompt}\n{text}" for _, prompt, text in sample),
                             config.vocabulary)
    (options.out / "pieces.json").write_text(json.dumps(pieces), encoding="utf-8")
    encoder = tokenizer.CachedEncoder(tokenizer.Tokenizer.from_pieces(pieces))

    weights = model.initial(config, jax.random.PRNGKey(options.seed))
    first = jax.tree_util.tree_map(jnp.zeros_like, weights)
    second = jax.tree_util.tree_map(jnp.zeros_like, weights)

    @jax.jit
    def advance(weights, first, second, tokens, wanted, rate, step):
        value, gradients = jax.value_and_grad(
            lambda current: model.loss(config, current, tokens, wanted))(weights)
        return (value, *update(weights, gradients, first, second, rate, step))

    def take():
        return encode_example(encoder, writer.draw())

    started, recent = time.time(), []
    for step in range(options.steps):
        if step % CHAIN_EVERY == CHAIN_EVERY - 1:
            tokens, wanted = fill(CHAIN_ROWS, CHAIN_LENGTH, take)
        else:
            tokens, wanted = fill(SINGLE_ROWS, SINGLE_LENGTH, take)
        value, weights, first, second = advance(
            weights, first, second, tokens, wanted,
            jnp.float32(schedule(step, options.steps)), jnp.float32(step + 1))
        recent.append(float(value))
        if (step + 1) % 50 == 0 or step + 1 == options.steps:
            print(f"step {step + 1} loss {sum(recent) / len(recent):.4f} "
                  f"seconds {time.time() - started:.0f}", flush=True)
            recent = []
    save(options.out / "weights.npz", weights)


if __name__ == "__main__":
    main()
