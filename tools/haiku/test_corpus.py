import pathlib
import unittest

import corpus
import syllables
import tokenizer

HERE = pathlib.Path(__file__).parent


class CorpusTest(unittest.TestCase):
    def test_every_example_keeps_the_form_and_names_its_topic(self):
        writer = corpus.Writer(3)
        for _ in range(2000):
            topic, prompt, text = writer.draw()
            self.assertIn(topic, prompt)
            self.assertTrue(syllables.has_form(text), text)
            self.assertTrue(syllables.mentions(text, topic), (topic, text))

    def test_the_same_seed_writes_the_same(self):
        one, other = corpus.Writer(4), corpus.Writer(4)
        self.assertEqual([one.draw() for _ in range(200)], [other.draw() for _ in range(200)])

    def test_held_out_topics_never_appear(self):
        writer = corpus.Writer(5)
        held_out = set(corpus.read_topics("topics-unseen.txt"))
        for _ in range(5000):
            _, prompt, text = writer.draw()
            words = set(syllables.WORD.findall(f"{prompt}\n{text}".lower()))
            self.assertFalse(words & held_out)

    def test_topic_lists(self):
        seen, unseen = (corpus.read_topics(f"topics-{name}.txt") for name in ("seen", "unseen"))
        self.assertEqual((len(set(seen)), len(set(unseen))), (50, 20))
        self.assertLessEqual(set(seen), set(corpus.read_nouns()))


class TokenizerTest(unittest.TestCase):
    def setUp(self):
        writer = corpus.Writer(6)
        self.texts = [f"{prompt}\n{text}" for _, prompt, text in
                      (writer.draw() for _ in range(500))]
        pieces = tokenizer.learn(self.texts, 400)
        self.words = tokenizer.Tokenizer.from_pieces(pieces)

    def test_round_trip(self):
        self.assertEqual(len(self.words.tokens), 400)
        for text in self.texts + ["caf\u00e9 \u96ea\n\t~", ""]:
            self.assertEqual(self.words.decode(self.words.encode(text)), " " + text)

    def test_the_cached_encoder_agrees(self):
        cached = tokenizer.CachedEncoder(self.words)
        for text in self.texts:
            self.assertEqual(cached.encode(text), self.words.encode(text))


if __name__ == "__main__":
    unittest.main()
