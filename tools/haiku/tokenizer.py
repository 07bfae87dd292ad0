"""A SentencePiece-style vocabulary with byte fallback: learning and encoding.

Encoding repeats the best-scored merge of two neighbours, which is what readers
of GGUF do for `tokenizer.ggml.model` = "llama".
"""

import collections
import json
import pathlib
import string

SPACE = "\u2581"
UNKNOWN, BEGIN, END = 0, 1, 2
FIRST_BYTE = 3
TYPE_NORMAL, TYPE_UNKNOWN, TYPE_CONTROL, TYPE_BYTE = 1, 2, 3, 6
CHARACTERS = SPACE + string.ascii_letters + string.digits + ".,'!?-:;\"()"


def _words(text):
    """Splits so that a piece never reaches across a space or a line end."""
    for line in text.split("\n"):
        for index, word in enumerate(line.split(" ")):
            yield (SPACE if index else "") + word


def learn(texts, size):
    """The pieces of a vocabulary of `size` entries, the commonest merges first."""
    counts = collections.Counter()
    for text in texts:
        counts.update(_words(" " + text))
    words = [(list(word), count) for word, count in sorted(counts.items())]
    pieces = []
    while FIRST_BYTE + 256 + len(CHARACTERS) + len(pieces) < size:
        pairs = collections.Counter()
        for symbols, count in words:
            for left, right in zip(symbols, symbols[1:]):
                pairs[left, right] += count
        left, right = max(pairs, key=lambda pair: (pairs[pair], pair))
        pieces.append(left + right)
        for symbols, _ in words:
            at = 0
            while at + 1 < len(symbols):
                if symbols[at] == left and symbols[at + 1] == right:
                    symbols[at:at + 2] = [left + right]
                at += 1
    return pieces


class Tokenizer:
    """Tokens, scores and types in the order of their numbers."""

    def __init__(self, tokens, scores, types):
        self.tokens, self.scores, self.types = tokens, scores, types
        self.numbers = {token: number for number, token in enumerate(tokens)
                        if types[number] == TYPE_NORMAL}

    @classmethod
    def from_pieces(cls, pieces):
        ranked = list(pieces) + list(CHARACTERS)
        tokens = ["<unk>", "<s>", "</s>"] + [f"<0x{byte:02X}>" for byte in range(256)] + ranked
        scores = [0.0] * (FIRST_BYTE + 256) + [-float(rank) for rank in range(len(ranked))]
        types = ([TYPE_UNKNOWN, TYPE_CONTROL, TYPE_CONTROL] + [TYPE_BYTE] * 256
                 + [TYPE_NORMAL] * len(ranked))
        return cls(tokens, scores, types)

    @classmethod
    def load(cls, path):
        return cls.from_pieces(json.loads(pathlib.Path(path).read_text(encoding="utf-8")))

    def encode(self, text):
        """Token numbers of a text that follows a special token; none are added."""
        symbols = list((" " + text).replace(" ", SPACE))
        while True:
            best, best_score = None, None
            for at, (left, right) in enumerate(zip(symbols, symbols[1:])):
                number = self.numbers.get(left + right)
                if number is not None and (best is None or self.scores[number] > best_score):
                    best, best_score = at, self.scores[number]
            if best is None:
                break
            symbols[best:best + 2] = [symbols[best] + symbols[best + 1]]
        numbers = []
        for symbol in symbols:
            if symbol in self.numbers:
                numbers.append(self.numbers[symbol])
            else:
                numbers.extend(FIRST_BYTE + byte for byte in symbol.encode("utf-8"))
        return numbers

    def decode(self, numbers):
        """The text of generated tokens; control tokens vanish."""
        data = bytearray()
        for number in numbers:
            if self.types[number] == TYPE_BYTE:
                data.append(number - FIRST_BYTE)
            elif self.types[number] == TYPE_NORMAL:
                data += self.tokens[number].replace(SPACE, " ").encode("utf-8")
        return data.decode("utf-8", errors="replace")


class CachedEncoder:
    """Encodes word by word: no piece crosses a space or line end, so it is the same."""

    def __init__(self, tokenizer):
        self.tokenizer = tokenizer
        self.cache = {}

    def encode(self, text):
        numbers = []
        for index, line in enumerate((" " + text).split("\n")):
            if index:
                numbers.append(FIRST_BYTE + ord("\n"))
            for word in _words(line):
                if word not in self.cache:
                    # The encoder puts a space first; a word with its own needs none.
                    if word.startswith(SPACE):
                        found = self.tokenizer.encode(word[1:])
                    else:
                        found = self._bare(word)
                    self.cache[word] = found
                numbers.extend(self.cache[word])
        return numbers

    def _bare(self, word):
        # A line end stops every merge, so what follows it is encoded bare.
        encoded = self.tokenizer.encode("\n" + word)
        return encoded[encoded.index(FIRST_BYTE + ord("\n")) + 1:]
