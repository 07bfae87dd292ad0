"""Acceptance of the exported file: reads the GGUF, samples haiku, checks them.

The forward pass is written anew in numpy over the quantised weights, so that a
mistake of the trainer or the exporter shows here.
"""

import argparse
import json
import pathlib
import sys

import gguf
import numpy
from gguf.quants import dequantize

import corpus
import syllables
import tokenizer

DEFAULT_MODEL = pathlib.Path(__file__).parents[2] / "examples" / "models" / "haiku.gguf"
BOUNDS = {"topics-seen.txt": 0.90, "topics-unseen.txt": 0.50}
LONGEST_ANSWER = 100


class Llama:
    """A llama model in float32 with a cache of keys and values, one row a sequence."""

    def __init__(self, path):
        reader = gguf.GGUFReader(path)
        self.fields = {name: field.contents() for name, field in reader.fields.items()}
        self.weights = {tensor.name: dequantize(tensor.data, tensor.tensor_type)
                        for tensor in reader.tensors}
        self.layers = self.fields["llama.block_count"]
        self.heads = self.fields["llama.attention.head_count"]
        self.kv_heads = self.fields["llama.attention.head_count_kv"]
        self.head = self.fields["llama.embedding_length"] // self.heads
        self.epsilon = self.fields["llama.attention.layer_norm_rms_epsilon"]
        self.context = self.fields["llama.context_length"]
        self.words = tokenizer.Tokenizer(self.fields["tokenizer.ggml.tokens"],
                                         self.fields["tokenizer.ggml.scores"],
                                         self.fields["tokenizer.ggml.token_type"])
        steps = self.fields["llama.rope.freq_base"] ** (-numpy.arange(0, self.head, 2) / self.head)
        angles = numpy.arange(self.context)[:, None] * steps
        self.cosine = numpy.cos(angles).astype(numpy.float32)
        self.sine = numpy.sin(angles).astype(numpy.float32)

    def start(self, rows):
        """An empty cache for so many sequences."""
        shape = (self.layers, 2, rows, self.context, self.kv_heads, self.head)
        return {"length": 0, "kept": numpy.zeros(shape, numpy.float32)}

    def _norm(self, x, name):
        mean = numpy.mean(x * x, axis=-1, keepdims=True)
        return x / numpy.sqrt(mean + self.epsilon) * self.weights[name]

    def _rotate(self, x, position):
        turned = numpy.empty_like(x)
        cosine, sine = self.cosine[position], self.sine[position]
        turned[..., 0::2] = x[..., 0::2] * cosine - x[..., 1::2] * sine
        turned[..., 1::2] = x[..., 0::2] * sine + x[..., 1::2] * cosine
        return turned

    def step(self, cache, tokens):
        """Feeds one token to every sequence and returns the logits after it."""
        position, rows = cache["length"], len(tokens)
        group = self.heads // self.kv_heads
        x = self.weights["token_embd.weight"][tokens]
        for index in range(self.layers):
            def part(name):
                return self.weights[f"blk.{index}.{name}.weight"]
            y = self._norm(x, f"blk.{index}.attn_norm.weight")
            q = self._rotate((y @ part("attn_q").T).reshape(rows, self.heads, self.head), position)
            k = self._rotate((y @ part("attn_k").T).reshape(rows, self.kv_heads, self.head),
                             position)
            kept = cache["kept"][index]
            kept[0, :, position] = k
            kept[1, :, position] = (y @ part("attn_v").T).reshape(k.shape)
            keys, values = kept[:, :, :position + 1]
            q = q.reshape(rows, self.kv_heads, group, self.head)
            scores = numpy.einsum("rkgh,rtkh->rkgt", q, keys) * self.head ** -0.5
            scores = numpy.exp(scores - scores.max(axis=-1, keepdims=True))
            scores /= scores.sum(axis=-1, keepdims=True)
            mixed = numpy.einsum("rkgt,rtkh->rkgh", scores, values)
            x = x + mixed.reshape(rows, -1) @ part("attn_output").T
            y = self._norm(x, f"blk.{index}.ffn_norm.weight")
            gate = y @ part("ffn_gate").T
            x = x + (gate / (1 + numpy.exp(-gate)) * (y @ part("ffn_up").T)) @ part("ffn_down").T
        cache["length"] += 1
        output = self.weights.get("output.weight", self.weights["token_embd.weight"])
        return self._norm(x, "output_norm.weight") @ output.T


def write(llama, prompt, seeds, temperature):
    """One text for each seed; None stands for an answer that did not end."""
    numbers = [tokenizer.BEGIN] + llama.words.encode(prompt)
    sources = [numpy.random.default_rng(seed) for seed in seeds]
    cache = llama.start(len(seeds))
    for number in numbers:
        logits = llama.step(cache, numpy.full(len(seeds), number))
    answers, ended = [[] for _ in seeds], [False] * len(seeds)
    for _ in range(LONGEST_ANSWER):
        scaled = logits.astype(numpy.float64) / temperature
        chances = numpy.exp(scaled - scaled.max(axis=-1, keepdims=True))
        chances /= chances.sum(axis=-1, keepdims=True)
        chosen = [source.choice(len(row), p=row) for source, row in zip(sources, chances)]
        for row, number in enumerate(chosen):
            if number == tokenizer.END:
                ended[row] = True
            elif not ended[row]:
                answers[row].append(number)
        if all(ended):
            break
        logits = llama.step(cache, numpy.array(chosen))
    return [llama.words.decode(answer) if done else None
            for answer, done in zip(answers, ended)]


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=pathlib.Path, default=DEFAULT_MODEL)
    parser.add_argument("--seeds", type=int, default=20, help="samples of each topic")
    parser.add_argument("--temperature", type=float, default=0.7)
    parser.add_argument("--chat", action="store_true",
                        help="ask as the chat template does, with a line end after the request")
    parser.add_argument("--topics", nargs="+", default=[],
                        help="these topics, with no bound, in place of the two lists")
    parser.add_argument("--jsonl", action="store_true", help="print every text as a JSON line")
    options = parser.parse_args()
    llama = Llama(options.model)
    failed = False
    lists = [(name, corpus.read_topics(name), bound) for name, bound in BOUNDS.items()]
    if options.topics:
        lists = [("given topics", options.topics, 0.0)]
    for name, topics, bound in lists:
        records, worst = [], []
        for topic in topics:
            prompt = f"Write a haiku about {topic}" + ("\n" if options.chat else "")
            texts = write(llama, prompt, range(options.seeds), options.temperature)
            texts = [text or "" for text in texts]
            good = syllables.check((topic, text) for text in texts)["both"]
            worst.append((good / len(texts), topic))
            records.extend((topic, text) for text in texts)
        if options.jsonl:
            for topic, text in records:
                print(json.dumps({"topic": topic, "text": text}))
        summary = syllables.check(records)
        shares = {key: summary[key] / summary["total"] for key in ("form", "topic", "both")}
        failed |= shares["both"] < bound
        print(f"{name}: {summary['total']} texts, 5-7-5 {shares['form']:.1%}, "
              f"names the topic {shares['topic']:.1%}, both {shares['both']:.1%} "
              f"(bound {bound:.0%}); weakest "
              + ", ".join(f"{topic} {share:.0%}" for share, topic in sorted(worst)[:5]),
              file=sys.stderr if options.jsonl else sys.stdout)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
