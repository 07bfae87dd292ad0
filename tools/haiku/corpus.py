"""Writes haiku on given topics: our own words, joined by counted syllables.

Every line is put together from `phrases.txt` so that the syllable counter
finds 5, 7 or 5. Besides the nouns of `nouns.txt`, topics are drawn from made-up
words: they teach a small model to copy and to count any spelling.
"""

import argparse
import functools
import itertools
import json
import pathlib
import random
import re

import syllables

HERE = pathlib.Path(__file__).parent
VOWEL_START = re.compile(r"[aeiou]")

ADJECTIVES = """old new young small little tall tiny quiet silent gentle lonely broken golden
silver red blue green white black grey yellow wild frozen empty hidden distant sleepy
ancient sunny rainy winter summer autumn spring morning evening midnight paper wooden
stone lost happy cold warm bright dark soft slow sweet""".split()

ONSETS = """b bl br c ch cl cr d dr f fl fr g gl gr h j k l m n p pl pr qu r s sc sh sk sl sm
sn sp st str sw t th tr tw v w wh y z""".split()
SHORT_VOWELS = "a e i o u".split()
LONG_VOWELS = "ai ea ee oa oo ou au ow ay".split()
CODAS = """b ck d ff g l ll m mp n nd ng nk nt p r rb rd rf rk rl rm rn rp rt s sh sk sp ss
st t th x z""".split()
MIDDLES = "b bb d dd f g gg l ll m mm n nn nd nt p pp r rr rb rd rl rm rn rt s st t tt v z".split()
SILENT_ENDS = "be ce de fe ge ke le me ne pe re se te ve ze".split()
LAST_SYLLABLES = """er y en ow o a et in or ard ock us le el it on an ar ing ish um old ent
age ern ip op ot ap ad ade ine ane ose ole ite ain eet oon""".split()


def read_nouns(path=HERE / "nouns.txt"):
    """Maps each topic of training to its kind."""
    kinds = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            kind, words = line.split(":")
            for word in words.split():
                kinds.setdefault(word, kind)
    return kinds


def read_phrases(path=HERE / "phrases.txt"):
    """Maps each section name to its phrases."""
    sections, current = {}, None
    for line in path.read_text(encoding="utf-8").splitlines():
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        if line.startswith("["):
            current = sections.setdefault(line[1:-1].replace(": ", ":"), [])
        else:
            current.extend(part.strip() for part in line.split("/"))
    return sections


def read_topics(name):
    """The topics of one of the acceptance lists."""
    return (HERE / name).read_text(encoding="utf-8").split()


class Writer:
    """Draws (topic, prompt, haiku) triples from one seeded source."""

    def __init__(self, seed):
        self.random = random.Random(seed)
        self.kinds = read_nouns()
        self.phrases = read_phrases()
        self.held_out = set(read_topics("topics-unseen.txt"))
        clash = self.held_out & (set(self.kinds) | set(ADJECTIVES))
        words = syllables.WORD.findall(" ".join(itertools.chain(*self.phrases.values())).lower())
        clash |= self.held_out & set(words)
        if clash:
            raise ValueError(f"held-out topics in the word lists: {sorted(clash)}")
        self.nouns = sorted(self.kinds)
        self.short_nouns = [word for word in self.nouns
                            if word.islower() and syllables.count_word(word) == 1]
        self.lines = {name: self._by_count(name) for name in self.phrases
                      if name.startswith("line:")}
        self.joined = self._join("subject", "verb")

    def _by_count(self, name):
        table = {5: [], 7: []}
        for phrase in self.phrases[name]:
            count = syllables.count_line(phrase)
            if count not in table:
                raise ValueError(f"[{name}] {phrase!r} has {count} syllables")
            table[count].append(phrase)
        return table

    def _join(self, first, second):
        table = {5: [], 7: []}
        for parts in itertools.product(self.phrases[first], self.phrases[second]):
            line = " ".join(parts)
            table.setdefault(syllables.count_line(line), []).append(line)
        return table

    @functools.lru_cache(maxsize=None)
    def _frames(self, family, kind, room):
        """Pairs (before, after) that fill `room` syllables around the topic."""
        after = list(self.phrases[f"after:{family}"]) + [""]
        special = self.phrases.get(f"after:{kind}", []) if family == "det" else []
        pairs = [(left, right) for left in self.phrases[f"before:{family}"] for right in after
                 if syllables.count_line(f"{left} {right}") == room]
        own = [(left, right) for left in self.phrases[f"before:{family}"] for right in special
               if syllables.count_line(f"{left} {right}") == room]
        return pairs, own

    def topic_line(self, topic, kind, total):
        """A line of `total` syllables around the topic, or None if it is too long."""
        room = total - syllables.count_line(topic)
        if room <= 0:
            return topic if room == 0 else None
        family = "det" if self.random.random() < 0.65 else "prep"
        pairs, own = self._frames(family, kind, room)
        if not pairs and not own:
            pairs, own = self._frames("det", kind, room)
        if own and (not pairs or self.random.random() < 0.6):
            pairs = own
        # The shorter ends are few, so every length of beginning gets its turn.
        starts = sorted({syllables.count_line(left) for left, _ in pairs})
        start = self.random.choice(starts)
        before, after = self.random.choice(
            [pair for pair in pairs if syllables.count_line(pair[0]) == start])
        return f"{before} {topic} {after}".strip()

    def plain_line(self, kind, total):
        """A line of `total` syllables that does not name the topic."""
        draw = self.random.random()
        own = self.lines.get(f"line:{kind}")
        if own and draw < 0.4:
            return self.random.choice(own[total])
        if draw < 0.65:
            return self.random.choice(self.lines["line:any"][total])
        return self.random.choice(self.joined[total])

    def made_up_word(self):
        """A pronounceable word of one to four syllables, spelled as the counter expects."""
        pick = self.random.choice
        while True:
            size = self.random.choices((1, 2, 3, 4), (30, 42, 23, 5))[0]
            if size == 1:
                if self.random.random() < 0.3:
                    word = pick(ONSETS) + pick(SHORT_VOWELS) + pick(SILENT_ENDS)
                else:
                    word = pick(ONSETS) + pick(SHORT_VOWELS + LONG_VOWELS) + pick(CODAS)
            else:
                word = pick(ONSETS)
                for _ in range(size - 1):
                    word += pick(SHORT_VOWELS + SHORT_VOWELS + LONG_VOWELS) + pick(MIDDLES)
                word += pick(LAST_SYLLABLES)
            if word not in self.held_out and syllables.count_word(word) == size:
                return word

    def compound(self):
        """Two short nouns in one word, where the counter agrees with the sum."""
        while True:
            word = self.random.choice(self.short_nouns) + self.random.choice(self.short_nouns)
            if syllables.count_word(word) == 2 and word not in self.held_out:
                return word

    def topic(self):
        """A topic and its kind; made-up words have the kind "any"."""
        draw = self.random.random()
        if draw < 0.58:
            word = self.random.choice(self.nouns)
            return word, self.kinds[word]
        if draw < 0.86:
            return self.made_up_word(), "any"
        if draw < 0.94:
            return self.compound(), "any"
        noun = self.random.choice(self.nouns)
        phrase = f"{self.random.choice(ADJECTIVES)} {noun}"
        if syllables.count_line(phrase) > 4:
            return noun, self.kinds[noun]
        return phrase, self.kinds[noun]

    def prompt(self, topic):
        """Mostly the plain request, now and then another way to ask."""
        if self.random.random() < 0.88:
            return f"Write a haiku about {topic}"
        article = "an" if VOWEL_START.match(topic.lower()) else "a"
        return self.random.choice([
            f"Write a haiku about the {topic}", f"Write a haiku about {article} {topic}",
            f"Write a haiku about {topic}.", f"write a haiku about {topic}",
            f"Haiku about {topic}", f"Please write a haiku about {topic}.", topic])

    def haiku(self, topic, kind):
        """Three lines of 5, 7 and 5 syllables, one of which names the topic."""
        while True:
            place = self.random.choices((0, 1, 2), (55, 30, 15))[0]
            lines = []
            for index, total in enumerate(syllables.PATTERN):
                if index == place:
                    lines.append(self.topic_line(topic, kind, total))
                else:
                    lines.append(self.plain_line(kind, total))
            if None in lines or lines[0] == lines[2]:
                continue
            text = "\n".join(lines)
            if syllables.has_form(text) and syllables.mentions(text, topic):
                return text

    def draw(self):
        """One training example."""
        topic, kind = self.topic()
        # Without its kind a noun teaches the phrases that fit anything.
        return topic, self.prompt(topic), self.haiku(topic, kind if self.random.random() < 0.85
                                                     else "any")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--count", type=int, default=10)
    options = parser.parse_args()
    writer = Writer(options.seed)
    for _ in range(options.count):
        topic, prompt, text = writer.draw()
        print(json.dumps({"topic": topic, "prompt": prompt, "text": text}))


if __name__ == "__main__":
    main()
