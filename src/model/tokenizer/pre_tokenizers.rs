//! The pre-tokenisers by the names that model files give them (`tokenizer.ggml.pre`).

use super::classes::Class;
use super::split::{Stage, Words};
use crate::error::{Code, Error, Result};

/// What a name stands for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct PreTokenizer {
    names: &'static [&'static str],
    pub(super) stages: &'static [Stage],
    /// Whether a word that is in the vocabulary is that token, whatever the merges say.
    pub(super) ignore_merges: bool,
    /// Whether the beginning token is added where the file does not say.
    pub(super) add_beginning: bool,
}

/// The pre-tokeniser of this name.
pub(super) fn pre_tokenizer(name: &str) -> Result<&'static PreTokenizer> {
    TABLE.iter().find(|entry| entry.names.contains(&name)).ok_or_else(|| {
        let known: Vec<&str> = TABLE.iter().flat_map(|entry| entry.names).copied().collect();
        let detail =
            format!("pre-tokenizer {name:?} (tokenizer.ggml.pre) is not supported; supported: {}", known.join(", "));
        Error::new(Code::ModelUnsupported, detail)
    })
}

const LLAMA3: Words = Words { digits: 3, contractions: true, marks: false, symbols_take_line_ends: true };
const QWEN2: Words = Words { digits: 1, ..LLAMA3 };

const fn plain(names: &'static [&'static str], stages: &'static [Stage]) -> PreTokenizer {
    PreTokenizer { names, stages, ignore_merges: false, add_beginning: false }
}

const fn whole_words(names: &'static [&'static str], stages: &'static [Stage]) -> PreTokenizer {
    PreTokenizer { ignore_merges: true, ..plain(names, stages) }
}

const TABLE: &[PreTokenizer] = &[
    plain(
        &["", "default"],
        &[Stage::Punctuation("$+<=>^~|"), Stage::Gpt2, Stage::Numbers(usize::MAX), Stage::DigitTriples],
    ),
    plain(
        &[
            "gpt-2",
            "phi-2",
            "jina-es",
            "jina-de",
            "gigachat",
            "jina-v2-es",
            "jina-v2-de",
            "a.x-4.0",
            "mellum",
            "modern-bert",
            "exaone4",
            "mpt",
            "olmo",
            "jais",
            "trillion",
            "granite-docling",
        ],
        &[Stage::Gpt2],
    ),
    PreTokenizer {
        names: &[
            "llama-bpe",
            "llama3",
            "llama-v3",
            "falcon3",
            "falcon-h1",
            "pixtral",
            "midm-2.0",
            "lfm2",
            "jina-v5-nano",
        ],
        stages: &[Stage::Words(LLAMA3)],
        ignore_merges: true,
        add_beginning: true,
    },
    plain(&["dbrx", "smaug-bpe", "chatglm-bpe"], &[Stage::Words(LLAMA3)]),
    whole_words(&["glm4", "glm5"], &[Stage::Words(LLAMA3)]),
    whole_words(&["minicpm5"], &[Stage::Numbers(3), Stage::Words(Words { digits: usize::MAX, ..LLAMA3 })]),
    plain(
        &[
            "qwen2",
            "deepseek-r1-qwen",
            "kormo",
            "f2llmv2",
            "megrez",
            "stablelm2",
            "hunyuan",
            "solar-open",
            "grok-2",
            "bailingmoe",
            "bailingmoe2",
            "llada-moe",
        ],
        &[Stage::Words(QWEN2)],
    ),
    plain(&["ufakzeka"], &[Stage::Words(Words { contractions: false, ..QWEN2 })]),
    plain(&["qwen35"], &[Stage::Words(Words { marks: true, ..QWEN2 })]),
    plain(&["seed-coder"], &[Stage::Words(Words { symbols_take_line_ends: false, ..QWEN2 })]),
    plain(&["gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2"], &[Stage::Cased { digits: 3, contractions: true }]),
    PreTokenizer {
        names: &["tekken"],
        stages: &[Stage::Cased { digits: 1, contractions: false }],
        ignore_merges: true,
        add_beginning: true,
    },
    plain(
        &["smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b", "mellum2"],
        &[Stage::Numbers(1), Stage::Gpt2],
    ),
    plain(&["falcon"], &[Stage::Punctuation("$+<=>^~|`"), Stage::Gpt2, Stage::DigitTriples]),
    plain(
        &["deepseek-coder"],
        &[
            Stage::LineEnd,
            Stage::SpacedRun(Class::Letter),
            Stage::SpacedRun(Class::Punctuation),
            Stage::Ranges(&[('\u{4e00}', '\u{9fa5}'), ('\u{800}', '\u{4e00}'), ('\u{ac00}', '\u{d7ff}')]),
            Stage::Numbers(1),
        ],
    ),
    plain(
        &["deepseek-v3", "hunyuan-dense", "hy_v4", "joyai-llm"],
        &[
            Stage::Numbers(3),
            Stage::Ranges(&[('\u{4e00}', '\u{9fa5}'), ('\u{3040}', '\u{309f}'), ('\u{30a0}', '\u{30ff}')]),
            Stage::DeepSeek,
        ],
    ),
    plain(&["bloom", "poro-chat", "gpt3-finnish"], &[Stage::Bloom]),
    plain(&["viking"], &[Stage::Bloom, Stage::Numbers(1)]),
];

#[cfg(test)]
mod tests {
    use super::super::split::split;
    use super::*;

    fn pieces<'a>(name: &str, text: &'a str) -> Vec<&'a str> {
        let mut rest = text;
        let mut pieces = Vec::new();
        for length in split(text, pre_tokenizer(name).unwrap().stages) {
            let (piece, after) = rest.split_at(length);
            pieces.push(piece);
            rest = after;
        }
        assert_eq!(rest, "");
        pieces
    }

    #[test]
    fn names_are_unique_and_an_unknown_one_is_named_with_the_known() {
        let names: Vec<&str> = TABLE.iter().flat_map(|entry| entry.names).copied().collect();
        assert_eq!(names.len(), names.iter().collect::<std::collections::HashSet<_>>().len());
        let error = pre_tokenizer("martian").unwrap_err();
        assert_eq!(error.code, Code::ModelUnsupported);
        assert!(error.detail.contains("martian") && error.detail.contains("qwen2"), "{}", error.detail);
    }

    #[test]
    fn gpt2_keeps_a_space_with_the_word_after_it() {
        assert_eq!(
            pieces("gpt-2", "I'll  see 12ab!!\n\n x'S  "),
            ["I", "'ll", " ", " see", " 12", "ab", "!!", "\n\n", " x", "'", "S", "  "]
        );
        assert_eq!(pieces("gpt-2", ""), [""; 0]);
    }

    #[test]
    fn llama3_and_qwen2_differ_in_digits() {
        let text = "A'LL $x 12345 a\u{a0}b!\r\n \n  c";
        assert_eq!(
            pieces("llama-bpe", text),
            ["A", "'LL", " $", "x", " ", "123", "45", " a", "\u{a0}b", "!\r\n", " \n", " ", " c"]
        );
        assert_eq!(pieces("qwen2", "x123 4"), ["x", "1", "2", "3", " ", "4"]);
    }

    #[test]
    fn qwen35_keeps_marks_with_their_letters() {
        assert_eq!(pieces("qwen35", "कि है"), ["कि", " है"]);
        assert_eq!(pieces("qwen2", "कि"), ["क", "ि"]);
    }

    #[test]
    fn gpt4o_splits_before_a_capital_and_keeps_contractions() {
        assert_eq!(
            pieces("gpt-4o", "HelloWorld's HTTPServer ABC abcÄB ÄPFEL //\n1234"),
            ["Hello", "World's", " HTTPServer", " ABC", " abcÄ", "B", " Ä", "PFEL", " //\n", "123", "4"]
        );
        assert_eq!(pieces("tekken", "We'll12"), ["We", "'ll", "1", "2"]);
    }

    #[test]
    fn staged_expressions_split_what_earlier_ones_left() {
        assert_eq!(pieces("default", "a 1234=b."), ["a", " ", "123", "4", "=", "b", "."]);
        assert_eq!(pieces("smollm", "a 12"), ["a", " ", "1", "2"]);
        assert_eq!(pieces("falcon", "in 2024`x`"), ["in", " ", "202", "4", "`", "x", "`"]);
        assert_eq!(
            pieces("deepseek-v3", "1234在日本 it's ~~ (x"),
            ["123", "4", "在日本", " it", "'s", " ~~", " (", "x"]
        );
        assert_eq!(pieces("deepseek-coder", "if x:\n 日本12"), ["if", " x", ":", "\n", " ", "日本", "1", "2"]);
        // Ogham's space lies among the ranges of that one.
        assert_eq!(pieces("deepseek-coder", "日 \u{1680}1"), ["日", " \u{1680}", "1"]);
        assert_eq!(pieces("bloom", "Hej, du!  12"), ["Hej", ",", " du", "! ", " 12"]);
        assert_eq!(pieces("viking", "a12"), ["a", "1", "2"]);
    }

    #[test]
    fn every_split_is_linear_and_complete_on_hostile_text() {
        let texts =
            ["a".repeat(20_000), " ".repeat(20_000), "ÄA".repeat(10_000), "1".repeat(20_000), "~ ".repeat(10_000)];
        for entry in TABLE {
            for text in &texts {
                assert_eq!(split(text, entry.stages).iter().sum::<usize>(), text.len(), "{:?}", entry.names);
            }
        }
    }
}
