#!/usr/bin/env python3
"""Compares our tokenizers with the reference engine's own on random texts; see README.md beside this."""

import argparse
import json
import pathlib
import random
import subprocess
import sys
import tempfile
import time

from gguf_edit import Vocabulary
from reference import Reference, open_library
from texts import Texts

MODES = ["plain", "specials added", "specials read", "both"]


def main():
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--library", required=True, help="a shared library that exports llama.cpp's C functions")
    arguments.add_argument("--ours", required=True, help="the built example compare_tokenizers")
    arguments.add_argument("--count", type=int, default=20000, help="texts per vocabulary")
    arguments.add_argument("--seed", type=int, default=1)
    arguments.add_argument("--pre", nargs="*", default=[], help="these pre-tokenizers instead of each file's own")
    arguments.add_argument("--set", nargs="*", default=[], metavar="KEY=BOOL", help="bool keys to change in each file")
    arguments.add_argument("--user-defined", type=int, default=0, metavar="N", help="make N normal tokens user-defined")
    arguments.add_argument("--show", type=int, default=5, help="differences to show of each kind")
    arguments.add_argument("files", nargs="+", help="GGUF files")
    given = arguments.parse_args()
    library = open_library(given.library)
    different = 0
    for file in given.files:
        for pre in given.pre or [None]:
            with tempfile.TemporaryDirectory() as folder:
                different += compare(library, given, changed(file, pre, given, folder), f"{pathlib.Path(file).name} {pre or ''}".strip())
    return 1 if different else 0


def changed(file, pre, given, folder):
    """The file, or a copy with the changes that the arguments ask for."""
    if not (pre is not None or given.set or given.user_defined):
        return file
    vocabulary = Vocabulary(file)
    if pre is not None:
        vocabulary.set_string("tokenizer.ggml.pre", pre)
    for change in given.set:
        key, value = change.split("=")
        vocabulary.set_bool(key, value == "true")
    if given.user_defined:
        key = "tokenizer.ggml.token_type"
        kinds = vocabulary.numbers(key)
        normal = [token for token, kind in enumerate(kinds) if kind == 1]
        for token in random.Random(given.seed).sample(normal, given.user_defined):
            kinds[token] = 4
        vocabulary.set_numbers(key, kinds)
    path = pathlib.Path(folder) / "changed.gguf"
    vocabulary.write(path)
    return str(path)


def compare(library, given, file, name):
    begun = time.time()
    reference = Reference(library, file)
    names = [text.decode("utf-8", "ignore") for text in reference.special_names()]
    pieces = [reference.piece(token, False).decode("utf-8", "ignore") for token in range(reference.size)]
    texts = Texts(given.seed, [name for name in names if name], pieces)
    drawn = [texts.draw() for _ in range(given.count)]
    chance = random.Random(given.seed)
    requests = [{"pieces": 0}] + [{"text": text} for text in drawn]
    id_lists = [[chance.randrange(reference.size) for _ in range(chance.randint(1, 12))] for _ in range(given.count // 4)]
    encoded = [reference.encode(text.encode(), True, True) for text in drawn]
    id_lists += encoded
    requests += [{"ids": ids} for ids in id_lists]
    process = subprocess.run([given.ours, file], input="\n".join(map(json.dumps, requests)), capture_output=True, text=True)
    if process.returncode != 0:
        print(f"{name}: ours fails: {process.stderr.strip()}")
        return 1
    answers = [json.loads(line) for line in process.stdout.splitlines()]
    differences = Differences(given.show)
    for token, ours in enumerate(answers[0]["pieces"]):
        differences.check("piece", token, bytes.fromhex(ours), reference.piece(token, False))
    differences.check("ends", name, answers[0]["ends"], reference.ends())
    for text, ours, both in zip(drawn, answers[1:], encoded):
        theirs = [reference.encode(text.encode(), add, read) for read in (False, True) for add in (False, True)]
        assert theirs[3] == both
        for mode in range(4):
            differences.check(MODES[mode], text, ours[mode], theirs[mode])
    for ids, ours in zip(id_lists, answers[1 + len(drawn):]):
        for special in (False, True):
            differences.check(f"decode, specials {special}", ids, bytes.fromhex(ours[special]), reference.decode(ids, special))
    tokens = sum(map(len, encoded))
    print(f"{name}: {len(drawn)} texts of {tokens} tokens, {len(id_lists)} lists decoded: "
          f"{differences.summary()} ({time.time() - begun:.0f} s)", flush=True)
    return differences.total()


class Differences:
    """Counts differences by kind, and shows the first of each."""

    def __init__(self, show):
        self.show, self.counts = show, {}

    def check(self, kind, what, ours, theirs):
        if ours == theirs:
            return
        self.counts[kind] = self.counts.get(kind, 0) + 1
        if self.counts[kind] <= self.show:
            first = next((at for at, (left, right) in enumerate(zip(ours, theirs)) if left != right), min(len(ours), len(theirs)))
            around = slice(max(0, first - 3), first + 6)
            print(f"  {kind}: {str(what)[:120]!r}\n    at {first}: ours {ours[around]} theirs {theirs[around]}")

    def summary(self):
        return ", ".join(f"{kind}: {count} differ" for kind, count in self.counts.items()) or "no difference"

    def total(self):
        return sum(self.counts.values())


if __name__ == "__main__":
    sys.exit(main())
