"""Counts English syllables and checks haiku; standard library only.

As a filter (`--check`) it reads JSON lines {"topic": ..., "text": ...} on
standard input and prints {"total": n, "form": n, "topic": n, "both": n}.
"""

import argparse
import functools
import json
import pathlib
import re
import sys

PATTERN = (5, 7, 5)
EXCEPTIONS_FILE = pathlib.Path(__file__).with_name("syllable-exceptions.txt")

WORD = re.compile(r"[a-z]+(?:'[a-z]+)?")
VOWEL_GROUP = re.compile(r"[aeiouy]+")
# Vowel pairs that are normally spoken as two syllables.
SPLIT_PAIR = re.compile(r"i[aou]|eo|[aeou]ing$|ua$|[aeou]y[aeiou]")
# ... unless they belong to one of these endings or spellings.
JOINED_PAIR = re.compile(r"[cst]i(?:on|ou|al|an)|gi(?:on|ou)|geon|geo(?:us)$|eon$|people")


def load_exceptions(path=EXCEPTIONS_FILE):
    """Lines of `word count`; `#` starts a comment."""
    table = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        line = line.split("#", 1)[0].strip()
        if line:
            word, count = line.split()
            table[word] = int(count)
    return table


_EXCEPTIONS = load_exceptions()


def count_by_rule(word):
    """Syllables of one lower-case word by spelling alone."""
    # The u of "qu" is a consonant sound, and so is y before a vowel at the start.
    letters = re.sub(r"qu", "q", word)
    letters = re.sub(r"^y(?=[aeiou])", "j", letters)
    # The ending of "tongue" is as silent as a plain e.
    letters = re.sub(r"gue(?=s?$)", "ge", letters)
    count = len(VOWEL_GROUP.findall(letters))
    if not JOINED_PAIR.search(letters):
        count += len(SPLIT_PAIR.findall(letters))
    if re.search(r"[^aeiouy]e$", letters) and not re.search(r"[^aeiouylr]le$", letters):
        count -= 1
    elif re.search(r"[^aeiouy]es$", letters):
        # "roses" and "bridges" sound the e; "stones" and "leaves" do not.
        if not re.search(r"(?:[sxzcg]|ch|sh|[^aeiouylr]l)es$", letters):
            count -= 1
    elif re.search(r"[^aeioutd]ed$", letters):
        count -= 1
    if re.search(r"[aeiouy][^aeiouyl]e(?:ness|ment|less|ful|ly)$", letters):
        count -= 1
    return max(count, 1)


@functools.lru_cache(maxsize=1 << 16)
def count_word(word):
    """Syllables of one word; the exceptions list overrules the spelling."""
    word = word.lower().replace("\u2019", "'")
    if word in _EXCEPTIONS:
        return _EXCEPTIONS[word]
    if word.endswith("'s"):
        stem = word[:-2]
        hiss = re.search(r"(?:[sxz]|[cgsz]e|ch|sh)$", stem)
        return count_word(stem) + (1 if hiss else 0)
    return count_by_rule(word.replace("'", ""))


@functools.lru_cache(maxsize=1 << 16)
def count_line(line):
    """Syllables of all the words of a line."""
    words = WORD.findall(line.lower().replace("\u2019", "'"))
    return sum(count_word(word) for word in words)


def lines_of(text):
    """The lines of a text that are not blank."""
    return [line.strip() for line in text.splitlines() if line.strip()]


def has_form(text):
    """True for exactly three lines of five, seven and five syllables."""
    return tuple(count_line(line) for line in lines_of(text)) == PATTERN


def mentions(text, topic):
    """True where the topic stands in the text as whole words, in any case."""
    found = " ".join(WORD.findall(text.lower()))
    wanted = " ".join(WORD.findall(topic.lower()))
    return bool(wanted) and f" {wanted} " in f" {found} "


def check(records):
    """Counts over (topic, text) pairs."""
    summary = {"total": 0, "form": 0, "topic": 0, "both": 0}
    for topic, text in records:
        form, topical = has_form(text), mentions(text, topic)
        summary["total"] += 1
        summary["form"] += form
        summary["topic"] += topical
        summary["both"] += form and topical
    return summary


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true",
                        help="read JSON lines on standard input and print the counts")
    parser.add_argument("words", nargs="*", help="print the syllables of each word")
    options = parser.parse_args(arguments)
    if options.check:
        records = []
        for number, line in enumerate(sys.stdin, 1):
            if not line.strip():
                continue
            try:
                record = json.loads(line)
                records.append((record["topic"], record["text"]))
            except (ValueError, KeyError, TypeError) as error:
                print(f"line {number}: not a record: {error}", file=sys.stderr)
                return 2
        print(json.dumps(check(records)))
        return 0
    for word in options.words:
        print(word, count_word(word))
    return 0


if __name__ == "__main__":
    sys.exit(main())
