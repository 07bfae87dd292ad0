"""Random texts that tokenizers trip over: `Texts(seed, names, pieces)` draws one after the other, the same for the same seed."""

import random

SPACES = " \t\n\r\v\f\u0085\u00a0\u1680\u2000\u2003\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
INVISIBLE = "\u00ad\u200b\u200c\u200d\u200e\u2060\ufeff\u180e\ufe0e\ufe0f\u202e\u061c"
CONTROLS = [chr(code) for code in [*range(0x20), 0x7F, *range(0x80, 0xA0)]]
CONTRACTIONS = ["'s", "'t", "'re", "'ve", "'m", "'ll", "'d", "'S", "'T", "'RE", "'Ve", "'LL", "'D", "\u2019s", "'\u017f", "'s\u0301"]
EMOJI = ["👍", "👍🏽", "👩‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪", "1️⃣", "🦙", "❤️", "🫨", "👨🏿‍🚀"]
WORDS = "the of Hello hELLO iPhone McDonald's don't naïve Straße łódź user assistant import void return self İstanbul ﬁn".split()
# Blocks of scripts: first and last character.
SCRIPTS = [
    (0x41, 0x7A), (0xC0, 0x17F), (0x180, 0x24F), (0x370, 0x3FF), (0x400, 0x52F), (0x530, 0x58F), (0x590, 0x5FF),
    (0x600, 0x6FF), (0x700, 0x74F), (0x900, 0x97F), (0x980, 0x9FF), (0xB80, 0xBFF), (0xE00, 0xE7F), (0xE80, 0xEFF),
    (0x0F00, 0xFFF), (0x1000, 0x109F), (0x10A0, 0x10FF), (0x1100, 0x11FF), (0x1200, 0x137F), (0x13A0, 0x13FF),
    (0x1780, 0x17FF), (0x1800, 0x18AF), (0x1E00, 0x1FFF), (0x2C00, 0x2C5F), (0x3040, 0x30FF), (0x3100, 0x312F),
    (0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0xA000, 0xA4CF), (0xA640, 0xA69F), (0xA720, 0xA7FF), (0xAC00, 0xD7FB), (0xF900, 0xFAFF),
    (0xFB00, 0xFB4F), (0xFE70, 0xFEFF), (0xFF00, 0xFFEF), (0x10330, 0x1034F), (0x10400, 0x1044F), (0x12000, 0x1236E),
    (0x1D400, 0x1D7FF), (0x1E900, 0x1E95F), (0x20000, 0x2A6DF), (0x2EBF0, 0x2EE5D), (0x30000, 0x323AF),
]
DIGITS = [(0x30, 0x39), (0x660, 0x669), (0x966, 0x96F), (0xB2, 0xB3), (0xBC, 0xBE), (0x2150, 0x218B), (0x2460, 0x249B),
          (0x3007, 0x3029), (0xFF10, 0xFF19), (0x1D7CE, 0x1D7FF), (0x10107, 0x10133)]
MARKS = [(0x300, 0x36F), (0x483, 0x489), (0x591, 0x5BD), (0x64B, 0x65F), (0x93A, 0x94F), (0xE31, 0xE3A), (0x1AB0, 0x1ACE),
         (0x1DC0, 0x1DFF), (0x20D0, 0x20F0), (0x3099, 0x309A), (0xFE20, 0xFE2F), (0xE0100, 0xE01EF)]
SYMBOLS = [(0x21, 0x2F), (0x3A, 0x40), (0x5B, 0x60), (0x7B, 0x7E), (0xA1, 0xBF), (0x2010, 0x2027), (0x2030, 0x205E),
           (0x20A0, 0x20C0), (0x2190, 0x23FF), (0x2500, 0x27BF), (0x3001, 0x303F), (0xFF01, 0xFF0F), (0x1F300, 0x1FAFF)]
# Unassigned, private and not characters at all.
STRANGE = [(0x378, 0x379), (0x2FE0, 0x2FEF), (0xFDD0, 0xFDEF), (0xFFFE, 0xFFFF), (0xE000, 0xF8FF), (0x1FFFE, 0x1FFFF),
           (0x40000, 0x40010), (0xE0000, 0xE007F), (0xF0000, 0xF0010), (0x10FFF0, 0x10FFFF), (0x1C89, 0x1C8A), (0xA7CB, 0xA7CD)]


class Texts:
    """Draws texts; `names` are the names of the vocabulary's special tokens, `pieces` what its tokens print."""

    def __init__(self, seed, names, pieces):
        self.random = random.Random(seed)
        self.pieces = [piece for piece in pieces if piece]
        self.names = names or ["</s>"]
        self.kinds = [
            (6, self.script), (3, lambda: self.of(DIGITS, 1, 8)), (3, lambda: self.of(MARKS, 1, 4)), (4, lambda: self.of(SYMBOLS, 1, 5)),
            (2, lambda: self.of(STRANGE, 1, 3)), (3, lambda: self.choices(SPACES, 1, 6)), (4, lambda: " " * self.random.randint(1, 4)),
            (2, lambda: self.choices("\r\n \t", 1, 5)), (1, lambda: self.choices(INVISIBLE, 1, 3)), (2, lambda: self.choices(CONTROLS, 1, 3)),
            (2, lambda: self.random.choice(CONTRACTIONS)), (2, lambda: self.choices(EMOJI, 1, 3)), (5, lambda: self.random.choice(WORDS)),
            (2, self.any), (2, self.look_alike), (1, lambda: "\u2581" * self.random.randint(1, 3)), (2, self.ascii), (1, self.cased),
            (6, self.tokens),
        ]
        self.weights = [weight for weight, _ in self.kinds]

    def draw(self):
        """A text: mostly a dozen parts, now and then a very long run of one."""
        if self.random.random() < 0.01:
            return (self.part() or "x") * self.random.randint(50, 2000)
        return "".join(self.part() for _ in range(self.random.randint(0, 14)))

    def part(self):
        return self.random.choices(self.kinds, self.weights)[0][1]()

    def script(self):
        return self.of([self.random.choice(SCRIPTS)], 1, 9)

    def ascii(self):
        return "".join(chr(self.random.randint(0, 127)) for _ in range(self.random.randint(1, 10)))

    def cased(self):
        return self.choices("aBcDÄöΣςДжǅʰªあ\u0301", 1, 9)

    def any(self):
        code = self.random.randint(0, 0x10F7FF)
        return chr(code if code < 0xD800 else code + 0x800)

    def look_alike(self):
        """The name of a special token, whole, cut, doubled or with something changed."""
        name = self.random.choice(self.names)
        kind = self.random.randrange(6)
        if kind == 0:
            return name[: self.random.randint(0, len(name))]
        if kind == 1:
            return name[self.random.randint(0, len(name)):]
        if kind == 2:
            place = self.random.randint(0, len(name))
            return name[:place] + self.choices(SPACES + "x|<>", 1, 1) + name[place:]
        return name + self.choices(["", " ", "\n", "\t ", name, "<"], 1, 1)

    def tokens(self):
        return self.choices(self.pieces, 1, 5)

    def choices(self, of, least, most):
        return "".join(self.random.choices(of, k=self.random.randint(least, most)))

    def of(self, ranges, least, most):
        drawn = (self.random.randint(*self.random.choice(ranges)) for _ in range(self.random.randint(least, most)))
        return "".join(map(chr, drawn))
