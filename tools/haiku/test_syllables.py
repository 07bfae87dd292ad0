import io
import json
import pathlib
import subprocess
import sys
import unittest

import syllables

HERE = pathlib.Path(__file__).parent
HAIKU = "the old moon at rest\nevery small thing has its place\nthe silence answers"

# Counted by hand, a word from each corner of the rules.
WORDS = {
    1: """moon stone leaves breathe shore fire hour eyes tongue played walked turned laughed
          knight dreams waves bridge quilt youth yacht league friend the she blue""",
    2: """river table apple little roses bridges wanted faded quiet poem lion chaos being
          going player flower people pigeon ocean ancient evening someone moonlight candle
          peaceful lonely movement beyond argue""",
    3: """butterfly umbrella radio piano violin museum idea everything September cathedral
          meteor library syllable banana volcano loneliness animal""",
    4: "January caterpillar imagining alligator watermelon television magnificent",
    5: "imagination university refrigerator",
}


class CountTest(unittest.TestCase):
    def test_words(self):
        for count, words in WORDS.items():
            for word in words.split():
                self.assertEqual(syllables.count_word(word), count, word)

    def test_case_and_apostrophes(self):
        self.assertEqual(syllables.count_word("Evening"), 2)
        self.assertEqual(syllables.count_word("don't"), 1)
        self.assertEqual(syllables.count_word("didn't"), 2)
        self.assertEqual(syllables.count_word("moon's"), 1)
        self.assertEqual(syllables.count_word("fox's"), 2)
        self.assertEqual(syllables.count_word("moon\u2019s"), 1)

    def test_lines(self):
        self.assertEqual(syllables.count_line(""), 0)
        self.assertEqual(syllables.count_line("The old moon, at rest."), 5)
        self.assertEqual(syllables.count_line("... 12 ..."), 0)


class FormTest(unittest.TestCase):
    def test_three_lines_of_five_seven_five(self):
        self.assertTrue(syllables.has_form(HAIKU))
        self.assertTrue(syllables.has_form("\n" + HAIKU + "\n\n"))

    def test_other_forms_fail(self):
        lines = HAIKU.split("\n")
        self.assertFalse(syllables.has_form(""))
        self.assertFalse(syllables.has_form("\n".join(lines[:2])))
        self.assertFalse(syllables.has_form("\n".join(lines + ["one more"])))
        self.assertFalse(syllables.has_form("\n".join([lines[1], lines[0], lines[2]])))

    def test_topic_is_a_whole_word(self):
        self.assertTrue(syllables.mentions(HAIKU, "moon"))
        self.assertTrue(syllables.mentions(HAIKU.upper(), "Moon"))
        self.assertTrue(syllables.mentions(HAIKU, "old moon"))
        self.assertFalse(syllables.mentions(HAIKU, "moo"))
        self.assertFalse(syllables.mentions(HAIKU, "sun"))
        self.assertFalse(syllables.mentions(HAIKU, ""))


class FilterTest(unittest.TestCase):
    def run_filter(self, text):
        return subprocess.run([sys.executable, str(HERE / "syllables.py"), "--check"],
                              input=text, capture_output=True, text=True, check=False)

    def test_counts(self):
        records = [("moon", HAIKU), ("sun", HAIKU), ("moon", "the moon"), ("sun", "")]
        result = self.run_filter("\n".join(
            json.dumps({"topic": topic, "text": text}) for topic, text in records) + "\n\n")
        self.assertEqual(result.returncode, 0, result.stderr)
        self.assertEqual(json.loads(result.stdout),
                         {"total": 4, "form": 2, "topic": 2, "both": 1})

    def test_nothing(self):
        self.assertEqual(json.loads(self.run_filter("").stdout)["total"], 0)

    def test_bad_input_is_told(self):
        for bad in ("nonsense", "[]", '{"topic": "moon"}'):
            result = self.run_filter(bad + "\n")
            self.assertEqual(result.returncode, 2, bad)
            self.assertIn("line 1", result.stderr)


class ExceptionsTest(unittest.TestCase):
    def test_sorted_and_single(self):
        text = (HERE / "syllable-exceptions.txt").read_text(encoding="utf-8")
        words = [line.split()[0] for line in io.StringIO(text) if not line.startswith("#")]
        self.assertEqual(words, sorted(set(words)))


if __name__ == "__main__":
    unittest.main()
