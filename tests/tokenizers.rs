//! Tokenizers against the reference engine's own test vectors, and against themselves.

use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use proptest::prelude::*;
use worker::model::{GgufFile, LoadMode, Tokenizer};

/// The vocabulary files with test vectors.
const NAMES: [&str; 5] = ["gpt-2", "llama-bpe", "llama-spm", "phi-3", "qwen2"];

#[test]
fn every_vector_of_the_reference_engine_matches() {
    for name in NAMES {
        let tokenizer = tokenizer(name);
        let texts = std::fs::read_to_string(vocabulary_file(&format!("{name}.gguf.inp"))).unwrap();
        let expected = std::fs::read_to_string(vocabulary_file(&format!("{name}.gguf.out"))).unwrap();
        let mut texts: Vec<&str> = texts.split("\n__ggml_vocab_test__\n").collect();
        // The last separator ends the last text.
        assert_eq!(texts.pop(), Some(""));
        let expected: Vec<Vec<u32>> = expected.lines().map(ids).collect();
        assert!(texts.len() > 40);
        assert_eq!(texts.len(), expected.len(), "{name}");
        for (text, expected) in texts.iter().zip(&expected) {
            assert_eq!(&tokenizer.encode(text, false, false), expected, "{name}: {text:?}");
            let decoded = tokenizer.decode(expected, false).unwrap();
            assert_eq!(String::from_utf8_lossy(&decoded), **text, "{name}");
        }
    }
}

#[test]
fn beginning_tokens_are_added_where_the_model_wants_them() {
    let first = |name: &str| tokenizer(name).encode("Hello", true, false);
    assert_eq!(first("llama-spm"), [1, 15043]);
    assert_eq!(first("llama-bpe"), [128000, 9906]);
    assert_eq!(first("gpt-2"), [15496]);
    assert_eq!(first("qwen2"), [9707]);
    assert_eq!(tokenizer("llama-spm").encode("", true, false), [1]);
    assert_eq!(tokenizer("llama-spm").encode("", false, false), [0; 0]);
}

#[test]
fn special_tokens_are_read_only_when_asked_for() {
    let qwen = tokenizer("qwen2");
    let text = "<|im_start|>user\nHi<|im_end|>";
    let ids = qwen.encode(text, false, true);
    assert_eq!((ids[0], *ids.last().unwrap()), (151644, 151645));
    assert_eq!(ids.len(), 5);
    assert_eq!(qwen.decode(&ids, true).unwrap(), text.as_bytes());
    assert_eq!(qwen.decode(&ids, false).unwrap(), b"user\nHi");
    let plain = qwen.encode(text, false, false);
    assert!(plain.iter().all(|id| !qwen.is_special(*id)));
    assert_eq!(qwen.decode(&plain, false).unwrap(), text.as_bytes());
}

#[test]
fn text_after_a_special_token_gets_its_own_space_prefix_and_phi3_swallows_spaces() {
    let llama = tokenizer("llama-spm");
    assert_eq!(llama.encode("a</s> b", false, true), [263, 2, 29871, 289]);
    let phi = tokenizer("phi-3");
    // <|user|> and <|end|>, with the line ends after them gone.
    let ids = phi.encode("<|user|>\nHello<|end|>\n<|assistant|>\n", false, true);
    assert_eq!(ids, [32010, 15043, 32007, 32001]);
    assert_eq!(phi.encode("<s>\nHi", false, true)[..3], [1, 29871, 13]);
}

#[test]
fn ends_of_generation_are_known_by_key_and_by_name() {
    for (name, ends) in [
        ("gpt-2", vec!["<|endoftext|>"]),
        ("llama-spm", vec!["</s>"]),
        ("llama-bpe", vec!["<|end_of_text|>", "<|eot_id|>"]),
        ("phi-3", vec!["</s>", "<|endoftext|>", "<|end|>"]),
        ("qwen2", vec!["</s>", "<|endoftext|>", "<|im_end|>"]),
    ] {
        let tokenizer = tokenizer(name);
        let found: Vec<String> = tokenizer
            .ends_of_generation()
            .iter()
            .map(|id| String::from_utf8_lossy(tokenizer.token_text(*id)).into_owned())
            .collect();
        assert_eq!(found, ends, "{name}");
        assert!(tokenizer.is_end_of_generation(tokenizer.end().unwrap()));
        assert!(!tokenizer.is_end_of_generation(5));
    }
}

#[test]
fn ids_beyond_the_vocabulary_are_an_error_and_print_nothing() {
    let tokenizer = tokenizer("gpt-2");
    let error = tokenizer.decode(&[1, 50257], false).unwrap_err();
    assert_eq!(error.code, worker::error::Code::InvalidParameter);
    assert!(error.detail.contains("token 1 is 50257") && error.detail.contains("50257 tokens"), "{}", error.detail);
    assert_eq!(tokenizer.token_bytes(u32::MAX), b"");
    assert_eq!(tokenizer.token_text(50257), b"");
}

#[test]
fn every_model_file_has_a_tokenizer_that_gives_texts_back() {
    let mut files = 0;
    for folder in ["", "micro"] {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/models").join(folder);
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "gguf") {
                continue;
            }
            let file = GgufFile::open(&path, LoadMode::Map).unwrap();
            let tokenizer = Tokenizer::from_metadata(&file.metadata).unwrap();
            let text = "Once upon a time, there were 3 naïve 🦙.";
            let ids = tokenizer.encode(text, true, true);
            assert_eq!(tokenizer.decode(&ids, false).unwrap(), text.as_bytes(), "{}", path.display());
            files += 1;
        }
    }
    assert!(files > 30);
}

#[test]
fn a_megabyte_without_a_space_is_encoded_in_bounded_time() {
    let word = "abcdefghij".repeat(100_000);
    let symbols = "\u{1f600}".repeat(30_000);
    for name in ["gpt-2", "llama-spm"] {
        let tokenizer = tokenizer(name);
        let started = Instant::now();
        for text in [&word, &symbols] {
            let ids = tokenizer.encode(text, false, true);
            assert_eq!(tokenizer.decode(&ids, false).unwrap(), text.as_bytes(), "{name}");
        }
        assert!(started.elapsed() < Duration::from_secs(30), "{name}: {:?}", started.elapsed());
    }
}

#[test]
fn a_large_vocabulary_loads_fast() {
    let file = GgufFile::open(&vocabulary_file("qwen2.gguf"), LoadMode::Map).unwrap();
    let started = Instant::now();
    Tokenizer::from_metadata(&file.metadata).unwrap();
    // Unoptimised and beside other tests; measured alone it is well below one second.
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}

/// Any text, with what tokenizers trip over more often than chance would have it.
fn texts() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        3 => any::<char>().prop_map(String::from),
        2 => "[a-zA-Z]{1,8}",
        1 => "[0-9]{1,5}",
        2 => " {1,4}",
        1 => "[\\r\\n\\t\u{b}\u{85}\u{a0}\u{3000}]{1,3}",
        1 => "['’]([sdtmSDTM]|ll|re|VE)",
        1 => "[一-龥かなកို\u{301}👍🏽]{1,3}",
        1 => Just("<|endoftext|>".to_owned()),
        1 => Just("</s>".to_owned()),
        1 => Just("▁".to_owned()),
    ];
    prop::collection::vec(part, 0..12).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn byte_level_vocabularies_give_every_text_back(text in texts()) {
        for name in ["gpt-2", "llama-bpe", "qwen2"] {
            let tokenizer = tokenizer(name);
            for parse_special in [false, true] {
                let ids = tokenizer.encode(&text, false, parse_special);
                prop_assert_eq!(tokenizer.decode(&ids, true).unwrap(), text.as_bytes(), "{}", name);
            }
        }
    }

    #[test]
    fn sentence_piece_gives_every_text_back_but_for_its_own_space_mark(text in texts()) {
        let tokenizer = tokenizer("llama-spm");
        let ids = tokenizer.encode(&text, true, false);
        prop_assert_eq!(ids[0], 1);
        let decoded = String::from_utf8(tokenizer.decode(&ids, false).unwrap()).unwrap();
        prop_assert_eq!(decoded, text.replace('▁', " "));
    }

    #[test]
    fn tokens_of_a_text_print_it_piece_by_piece(text in texts()) {
        let tokenizer = tokenizer("qwen2");
        let ids = tokenizer.encode(&text, false, false);
        let printed: Vec<u8> = ids.iter().flat_map(|id| tokenizer.token_bytes(*id)).copied().collect();
        prop_assert_eq!(printed, text.as_bytes());
    }
}

fn tokenizer(name: &str) -> &'static Tokenizer {
    static TOKENIZERS: OnceLock<Vec<OnceLock<Tokenizer>>> = OnceLock::new();
    let all = TOKENIZERS.get_or_init(|| NAMES.iter().map(|_| OnceLock::new()).collect());
    let index = NAMES.iter().position(|known| *known == name).unwrap();
    all[index].get_or_init(|| {
        let file = GgufFile::open(&vocabulary_file(&format!("{name}.gguf")), LoadMode::Map).unwrap();
        Tokenizer::from_metadata(&file.metadata).unwrap()
    })
}

fn vocabulary_file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/models/vocab").join(format!("ggml-vocab-{name}"))
}

fn ids(line: &str) -> Vec<u32> {
    line.split_whitespace().map(|id| id.parse().unwrap()).collect()
}
