use super::*;
use crate::model::gguf::writer::Pair;

/// A SentencePiece-style vocabulary: three control tokens, the 256 bytes, then these.
fn pieces(tokens: &[(&str, f32, i32)], more: &[(&str, Pair)]) -> Result<Tokenizer> {
    let mut texts: Vec<Vec<u8>> = ["<unk>", "<s>", "</s>"].iter().map(|text| text.as_bytes().to_vec()).collect();
    let mut scores = vec![0.0; 3];
    let mut kinds = vec![2, 3, 3];
    for byte in 0..256 {
        texts.push(format!("<0x{byte:02X}>").into_bytes());
        scores.push(0.0);
        kinds.push(6);
    }
    for (text, score, kind) in tokens {
        texts.push(text.as_bytes().to_vec());
        scores.push(*score);
        kinds.push(*kind);
    }
    let mut pairs = vec![
        ("tokenizer.ggml.model", Pair::text("llama")),
        ("tokenizer.ggml.tokens", Pair::Strings(texts)),
        ("tokenizer.ggml.scores", Pair::F32s(scores)),
        ("tokenizer.ggml.token_type", Pair::I32s(kinds)),
    ];
    for (key, value) in more {
        pairs.retain(|(present, _)| present != key);
        pairs.push((key, value.clone()));
    }
    Tokenizer::from_metadata(&Metadata::from_pairs(&pairs))
}

/// A byte-level vocabulary of the printable ASCII characters, the space, and these.
fn pairs(tokens: &[(&str, i32)], merges: &[&str], more: &[(&str, Pair)]) -> Result<Tokenizer> {
    let characters: Vec<String> = ('!'..='~').chain(['Ġ']).map(String::from).collect();
    let mut texts: Vec<&str> = characters.iter().map(String::as_str).collect();
    let mut kinds = vec![1; texts.len()];
    for (text, kind) in tokens {
        texts.push(text);
        kinds.push(*kind);
    }
    let mut pairs = vec![
        ("tokenizer.ggml.model", Pair::text("gpt2")),
        ("tokenizer.ggml.pre", Pair::text("gpt-2")),
        ("tokenizer.ggml.tokens", Pair::texts(&texts)),
        ("tokenizer.ggml.token_type", Pair::I32s(kinds)),
        ("tokenizer.ggml.merges", Pair::texts(merges)),
    ];
    for (key, value) in more {
        pairs.retain(|(present, _)| present != key);
        pairs.push((key, value.clone()));
    }
    Tokenizer::from_metadata(&Metadata::from_pairs(&pairs))
}

fn spelled(tokenizer: &Tokenizer, text: &str, parse_special: bool) -> Vec<String> {
    let ids = tokenizer.encode(text, false, parse_special);
    ids.iter().map(|id| String::from_utf8_lossy(tokenizer.token_text(*id)).into_owned()).collect()
}

#[test]
fn the_highest_score_merges_first_and_then_the_leftmost() {
    let tokens = [("a", -9.0, 1), ("b", -9.0, 1), ("ab", -2.0, 1), ("ba", -1.0, 1), ("aa", -3.0, 1), ("▁", -9.0, 1)];
    let tokenizer = pieces(&tokens, &[]).unwrap();
    assert_eq!(spelled(&tokenizer, "aba", false), ["▁", "a", "ba"]);
    assert_eq!(spelled(&tokenizer, "aaa", false), ["▁", "aa", "a"]);
    assert_eq!(spelled(&tokenizer, "aé", false), ["▁", "a", "<0xC3>", "<0xA9>"]);
    assert_eq!(tokenizer.decode(&tokenizer.encode("aé b", true, false), false).unwrap(), "aé b".as_bytes());
}

#[test]
fn the_space_prefix_and_the_beginning_are_the_files_to_say() {
    let tokens = [("a", -1.0, 1), ("▁", -2.0, 1), ("  ", 0.0, 4)];
    let keys =
        [("tokenizer.ggml.add_space_prefix", Pair::Bool(false)), ("tokenizer.ggml.add_bos_token", Pair::Bool(false))];
    let gemma = pieces(&tokens, &keys).unwrap();
    assert_eq!(spelled(&gemma, "a", false), ["a"]);
    assert_eq!(gemma.encode("a", true, false), gemma.encode("a", false, false));
    // User-defined tokens are cut out of the text first, as they are spelled.
    assert_eq!(spelled(&gemma, " a  a", false), ["▁", "a", "  ", "a"]);
    assert_eq!(gemma.decode(&gemma.encode(" a  a", false, false), false).unwrap(), b" a  a");
    let both = pieces(&tokens, &[("tokenizer.ggml.add_eos_token", Pair::Bool(true))]).unwrap();
    assert_eq!(both.encode("", true, false), [1, 2]);
}

#[test]
fn merges_go_by_rank_and_missing_results_fall_apart() {
    let tokenizer = pairs(&[("ab", 1), ("abc", 1), ("Ġa", 1)], &["b c", "a b", "ab c", "Ġ a"], &[]).unwrap();
    // "bc" is named by a merge but is no token: it is spelled by its characters.
    assert_eq!(spelled(&tokenizer, "abc", false), ["a", "b", "c"]);
    assert_eq!(spelled(&tokenizer, "ab a", false), ["ab", "Ġa"]);
    // A byte that has no token is lost, as in the reference.
    assert_eq!(spelled(&tokenizer, "a\u{e9}", false), ["a"]);
}

#[test]
fn the_longest_special_token_wins_even_if_it_starts_later() {
    let tokens = [("<x>", 3), ("<x><y>", 3), ("y><zzz>", 3), ("<u>", 4)];
    let tokenizer = pairs(&tokens, &[], &[]).unwrap();
    assert_eq!(spelled(&tokenizer, "<x><y><zzz>", true), ["<x>", "<", "y><zzz>"]);
    assert_eq!(spelled(&tokenizer, "<x><y><x>", true), ["<x><y>", "<x>"]);
    assert_eq!(spelled(&tokenizer, "<x><u>", false), ["<", "x", ">", "<u>"]);
}

#[test]
fn harmony_marks_are_printed_and_its_message_end_is_no_end() {
    let marks = ["<|start|>", "<|end|>", "<|message|>", "<|channel|>", "<|return|>", "<|call|>", "<|endoftext|>"];
    let tokens: Vec<(&str, i32)> = marks.iter().map(|mark| (*mark, 3)).collect();
    let tokenizer = pairs(&tokens, &[], &[("tokenizer.ggml.pre", Pair::text("gpt-4o"))]).unwrap();
    let ends: Vec<String> = tokenizer
        .ends_of_generation()
        .iter()
        .map(|id| String::from_utf8_lossy(tokenizer.token_text(*id)).into_owned())
        .collect();
    assert_eq!(ends, ["<|return|>", "<|call|>", "<|endoftext|>"]);
    let ids = tokenizer.encode("<|start|>a<|end|><|return|>", false, true);
    assert_eq!(tokenizer.decode(&ids, false).unwrap(), b"<|start|>a<|end|>");
    // Without the others it does end.
    let phi = pairs(&[("<|end|>", 1)], &[], &[]).unwrap();
    assert_eq!(phi.ends_of_generation().len(), 1);
    assert!(phi.is_special(phi.ends_of_generation()[0]));
}

#[test]
fn the_html_tag_of_that_name_is_an_end_unless_a_mark_says_otherwise() {
    let tag = pairs(&[("</s>", 1)], &[], &[]).unwrap();
    assert!(tag.is_end_of_generation(95) && tag.is_special(95));
    let gemma4 = pairs(&[("</s>", 1), ("<|tool_response>", 3)], &[], &[]).unwrap();
    assert_eq!(gemma4.ends_of_generation(), [96]);
    assert_eq!(gemma4.decode(&[95], false).unwrap(), b"</s>");
}

#[test]
fn some_take_a_word_of_the_vocabulary_whole_whatever_the_merges_say() {
    let with = |pre| pairs(&[("abc", 1)], &[], &[("tokenizer.ggml.pre", Pair::text(pre))]).unwrap();
    for pre in ["llama-bpe", "tekken", "glm4", "minicpm5"] {
        assert_eq!(spelled(&with(pre), "abc", false), ["abc"], "{pre}");
    }
    for pre in ["gpt-2", "qwen2", "chatglm-bpe"] {
        assert_eq!(spelled(&with(pre), "abc", false), ["a", "b", "c"], "{pre}");
    }
}

#[test]
fn only_the_texts_first_space_is_taken_off_again() {
    let tokenizer = pieces(&[("▁a", -1.0, 1)], &[]).unwrap();
    let a = tokenizer.encode("a", false, false)[0];
    for (ids, text, named) in [
        (vec![a, a], "a a", "a a"),
        (vec![1, a], "a", "<s>a"),
        (vec![2, a], " a", "</s> a"),
        (vec![1, 1, a], " a", "<s><s> a"),
    ] {
        assert_eq!(String::from_utf8(tokenizer.decode(&ids, false).unwrap()).unwrap(), text);
        assert_eq!(String::from_utf8(tokenizer.decode(&ids, true).unwrap()).unwrap(), named);
    }
}

#[test]
fn keys_name_ends_of_generation() {
    let more = [("tokenizer.ggml.eos_token_id", Pair::U32(5)), ("tokenizer.ggml.eot_token_id", Pair::U32(3))];
    let tokenizer = pairs(&[], &[], &more).unwrap();
    assert_eq!(tokenizer.ends_of_generation(), [3, 5]);
    assert_eq!(tokenizer.end(), Some(5));
    assert_eq!(tokenizer.beginning(), None);
}

#[test]
fn vocabularies_that_contradict_themselves_are_refused_by_key() {
    let refused = |result: Result<Tokenizer>, expected: &str| {
        let error = result.unwrap_err();
        assert_eq!(error.code, Code::ModelLoadFailed, "{expected}");
        assert!(error.detail.contains(expected), "{expected}: {}", error.detail);
    };
    let one = |key: &'static str, value: Pair| pieces(&[], &[(key, value)]);
    refused(
        one("tokenizer.ggml.scores", Pair::F32s(vec![0.0; 5])),
        "\"tokenizer.ggml.scores\" has 5 entries, \"tokenizer.ggml.tokens\" has 259",
    );
    refused(one("tokenizer.ggml.scores", Pair::F32s(vec![f32::NAN; 259])), "tokenizer.ggml.scores");
    refused(one("tokenizer.ggml.token_type", Pair::I32s(vec![1; 300])), "tokenizer.ggml.token_type");
    refused(one("tokenizer.ggml.bos_token_id", Pair::U32(259)), "tokenizer.ggml.bos_token_id");
    refused(one("tokenizer.ggml.eot_token_id", Pair::U32(u32::MAX)), "tokenizer.ggml.eot_token_id");
    refused(one("tokenizer.ggml.tokens", Pair::Strings(Vec::new())), "tokenizer.ggml.tokens");
    refused(pieces(&[("x", 0.0, 1), ("x", 0.0, 1)], &[]), "token \"x\" has ids 259 and 260");
    refused(pairs(&[], &["ab"], &[]), "tokenizer.ggml.merges");
    refused(pairs(&[], &[], &[("tokenizer.ggml.add_bos_token", Pair::Bool(true))]), "tokenizer.ggml.add_bos_token");
    refused(Tokenizer::from_metadata(&Metadata::from_pairs(&[])), "tokenizer.ggml.model");
    let no_merges = [("tokenizer.ggml.model", Pair::text("gpt2")), ("tokenizer.ggml.tokens", Pair::texts(&["a"]))];
    refused(Tokenizer::from_metadata(&Metadata::from_pairs(&no_merges)), "tokenizer.ggml.merges");
    // Two empty tokens are no duplicates.
    assert_eq!(pieces(&[("", 0.0, 1), ("", 0.0, 1)], &[]).unwrap().vocabulary_size(), 261);
}

#[test]
fn other_kinds_of_tokenizer_are_named_as_unsupported() {
    for (model, expected) in [("bert", "WordPiece"), ("t5", "unigram"), ("rwkv", "\"rwkv\""), ("plamo2", "\"plamo2\"")]
    {
        let error = Tokenizer::from_metadata(&Metadata::from_pairs(&[("tokenizer.ggml.model", Pair::text(model))]))
            .unwrap_err();
        assert_eq!(error.code, Code::ModelUnsupported);
        assert!(error.detail.contains(expected) && error.detail.contains("\"gpt2\""), "{}", error.detail);
    }
    let error = pairs(&[], &[], &[("tokenizer.ggml.pre", Pair::text("kimi-k2"))]).unwrap_err();
    assert_eq!(error.code, Code::ModelUnsupported);
    assert!(error.detail.contains("kimi-k2") && error.detail.contains("llama-bpe"), "{}", error.detail);
}
