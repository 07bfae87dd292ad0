//! Constrained generation without a model: random logits under the mask, until the constraint says that the text is
//! whole. Whatever the dice say, the text must fit; that is checked by a validator that shares nothing with the
//! constraint.

mod schemas;
mod validator;

use std::path::Path;
use std::sync::{Arc, OnceLock};

use worker::error::Code;
use worker::inference::{Constraint, ConstraintFactory, ConstraintSource};
use worker::model::{GgufFile, LoadMode, Tokenizer};

#[test]
fn random_generation_under_each_schema_is_valid() {
    for (number, (schema, _, _)) in schemas::SCHEMAS.iter().enumerate() {
        let parsed = serde_json::from_str(schema).unwrap();
        for seed in 0..3 {
            let text =
                small().generate(&ConstraintSource::JsonSchema((*schema).to_owned()), 100 * number as u64 + seed);
            let value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{schema}\n{text}\n{error}"));
            validator::validate(&parsed, &value).unwrap_or_else(|error| panic!("{schema}\n{text}\n{error}"));
        }
    }
}

#[test]
fn a_large_vocabulary_gives_valid_texts_too() {
    for (number, (schema, _, _)) in schemas::SCHEMAS.iter().enumerate().step_by(11) {
        let parsed = serde_json::from_str(schema).unwrap();
        let text = large().generate(&ConstraintSource::JsonSchema((*schema).to_owned()), number as u64);
        let value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{schema}\n{text}\n{error}"));
        validator::validate(&parsed, &value).unwrap_or_else(|error| panic!("{schema}\n{text}\n{error}"));
    }
}

#[test]
fn texts_that_fit_are_let_through_and_others_are_not() {
    for (schema, good, bad) in schemas::SCHEMAS {
        let parsed = serde_json::from_str(schema).unwrap();
        let source = ConstraintSource::JsonSchema((*schema).to_owned());
        for (text, fits) in [(good, true), (bad, false)] {
            // The validator must agree with whoever wrote the example.
            let valid = serde_json::from_str(text).is_ok_and(|value| validator::validate(&parsed, &value).is_ok());
            assert_eq!(valid, fits, "{schema}\n{text}");
            assert_eq!(small().lets_through(&source, text), fits, "{schema}\n{text}");
        }
    }
}

#[test]
fn random_generation_under_a_regular_expression_matches_it() {
    for (number, pattern) in [
        "(yes|no|maybe)",
        "[A-Z]{2}-[0-9]{3,5}",
        r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(Z|[+-]\d{2}:\d{2})",
        "(a|b)*abb",
        r"[а-яё]{3,6} [\x20-\x7e]{1,4}",
        r"https?://[a-z]{1,9}\.(com|org)/[^/]{1,5}/x",
    ]
    .iter()
    .enumerate()
    {
        let whole = fancy_regex::Regex::new(&format!("^(?:{pattern})$")).unwrap();
        for seed in 0..5 {
            let text = small().generate(&ConstraintSource::Regex((*pattern).to_owned()), 1000 * number as u64 + seed);
            assert!(whole.is_match(&text).unwrap(), "{pattern}: {text}");
        }
    }
}

#[test]
fn random_generation_under_a_grammar_fits_it() {
    let grammar = r#"
start: list
list: "[" (item ("," item)*)? "]"
item: WORD | NUMBER | list
WORD: /[a-z]{1,6}/
NUMBER: /[1-9][0-9]{0,3}/
"#;
    for seed in 0..10 {
        let text = small().generate(&ConstraintSource::Lark(grammar.to_owned()), seed);
        let quoted: String = fancy_regex::Regex::new("[a-z]+").unwrap().replace_all(&text, "\"$0\"").into_owned();
        assert!(serde_json::from_str::<serde_json::Value>(&quoted).unwrap().is_array(), "{text}");
    }
}

#[test]
fn end_tokens_are_allowed_exactly_where_the_text_may_end() {
    let model = small();
    let mut constraint = model.constraint(&ConstraintSource::Regex("ab(c|cd)?".to_owned()));
    let end = model.tokenizer.end().unwrap();
    let mut allowed_ends = Vec::new();
    for token in ["a", "b", "c", "d"] {
        let mut logits = model.logits();
        constraint.mask(&mut logits).unwrap();
        assert_eq!(logits[end as usize].is_finite(), constraint.is_complete());
        allowed_ends.push(constraint.is_complete());
        assert!(!constraint.must_stop());
        constraint.accept(model.token(token)).unwrap();
    }
    assert_eq!(allowed_ends, [false, false, true, true]);
    assert!(constraint.is_complete() && constraint.must_stop());
    let mut logits = model.logits();
    constraint.mask(&mut logits).unwrap();
    let finite: Vec<u32> = (0..logits.len() as u32).filter(|id| logits[*id as usize].is_finite()).collect();
    assert_eq!(finite, model.tokenizer.ends_of_generation());
    constraint.accept(end).unwrap();
    assert_eq!(constraint.accept(end).unwrap_err().code, Code::InvalidParameter);
}

#[test]
fn a_forbidden_token_is_an_error_that_changes_nothing() {
    let model = small();
    let mut constraint = model.constraint(&ConstraintSource::Regex("ab".to_owned()));
    for forbidden in
        [model.token("b"), model.tokenizer.end().unwrap(), model.tokenizer.beginning().unwrap(), 511, 512, u32::MAX]
    {
        let error = constraint.accept(forbidden).unwrap_err();
        assert_eq!(error.code, Code::InvalidParameter, "{forbidden}");
        assert!(error.detail.contains(&format!("token {forbidden}")), "{}", error.detail);
    }
    constraint.accept(model.token("a")).unwrap();
    constraint.accept(model.token("b")).unwrap();
    assert!(constraint.must_stop());
}

#[test]
fn logits_beyond_the_vocabulary_are_forbidden_and_too_few_are_an_error() {
    let model = small();
    let mut constraint = model.constraint(&ConstraintSource::Regex("(?s:.*)".to_owned()));
    let mut logits = vec![0.0; model.tokenizer.vocabulary_size() as usize + 40];
    constraint.mask(&mut logits).unwrap();
    let size = model.tokenizer.vocabulary_size() as usize;
    assert!(logits[size..].iter().all(|logit| *logit == f32::NEG_INFINITY));
    assert!(logits[..size].iter().filter(|logit| logit.is_finite()).count() > size / 2);
    assert_eq!(constraint.mask(&mut logits[..size - 1]).unwrap_err().code, Code::InvalidParameter);
}

#[test]
fn what_is_wrong_with_a_source_is_told() {
    for (source, expected) in [
        (ConstraintSource::JsonSchema("{".to_owned()), "JSON schema: not JSON"),
        (ConstraintSource::JsonSchema("{\"type\": \"strange\"}".to_owned()), "strange"),
        (ConstraintSource::JsonSchema("{\"$ref\": \"#/$defs/none\"}".to_owned()), "none"),
        (ConstraintSource::JsonSchema("{\"type\": \"integer\", \"minimum\": 3, \"maximum\": 1}".to_owned()), "minimum"),
        (ConstraintSource::JsonSchema("5".to_owned()), "JSON schema"),
        (ConstraintSource::Regex("(a".to_owned()), "regular expression"),
        (ConstraintSource::Regex("(a)\\1".to_owned()), "regular expression"),
        (ConstraintSource::Lark("start: missing".to_owned()), "missing"),
        (ConstraintSource::Lark(String::new()), "grammar"),
    ] {
        let error = small().factory.constraint(&source).unwrap_err();
        assert_eq!(error.code, Code::InvalidParameter, "{source:?}");
        assert!(error.detail.contains(expected), "{source:?}: {}", error.detail);
        assert!(!error.detail.contains("<backtrace>"), "{}", error.detail);
    }
}

/// A vocabulary and its constraints.
struct Model {
    tokenizer: Arc<Tokenizer>,
    factory: ConstraintFactory,
}

impl Model {
    fn open(path: &str) -> Self {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/models").join(path);
        let file = GgufFile::open(&path, LoadMode::Map).unwrap();
        let tokenizer = Arc::new(Tokenizer::from_metadata(&file.metadata).unwrap());
        let factory = ConstraintFactory::new(&tokenizer).unwrap();
        Self { tokenizer, factory }
    }

    fn constraint(&self, source: &ConstraintSource) -> Constraint {
        self.factory.constraint(source).unwrap_or_else(|error| panic!("{source:?}: {error}"))
    }

    fn logits(&self) -> Vec<f32> {
        vec![0.0; self.tokenizer.vocabulary_size() as usize]
    }

    /// The token that prints just this.
    fn token(&self, text: &str) -> u32 {
        (0..self.tokenizer.vocabulary_size()).find(|id| self.tokenizer.token_bytes(*id) == text.as_bytes()).unwrap()
    }

    /// Generates at random until an end token is drawn.
    fn generate(&self, source: &ConstraintSource, seed: u64) -> String {
        let mut constraint = self.constraint(source);
        let mut random = Random(seed);
        let mut bytes = Vec::new();
        for step in 0..600 {
            let mut logits: Vec<f32> = (0..self.tokenizer.vocabulary_size()).map(|_| random.next()).collect();
            // Random texts have no sense of an ending: after a while what closes is preferred, more and more.
            let wish = (step as f32 - 25.0).max(0.0) / 10.0;
            for (id, logit) in logits.iter_mut().enumerate() {
                *logit += wish * self.closing(id as u32);
            }
            constraint.mask(&mut logits).unwrap();
            for end in self.tokenizer.ends_of_generation() {
                assert_eq!(logits[*end as usize].is_finite(), constraint.is_complete());
            }
            let (token, logit) = logits.iter().enumerate().max_by(|left, right| left.1.total_cmp(right.1)).unwrap();
            assert!(logit.is_finite(), "nothing is allowed after {:?}", String::from_utf8_lossy(&bytes));
            constraint.accept(token as u32).unwrap();
            if self.tokenizer.is_end_of_generation(token as u32) {
                assert!(constraint.is_complete() && constraint.must_stop());
                return String::from_utf8(bytes).unwrap();
            }
            bytes.extend_from_slice(self.tokenizer.token_bytes(token as u32));
        }
        panic!("no end after {:?}", String::from_utf8_lossy(&bytes));
    }

    fn closing(&self, id: u32) -> f32 {
        if self.tokenizer.is_end_of_generation(id) {
            return 4.0;
        }
        match self.tokenizer.token_bytes(id) {
            b"}" => 3.0,
            b"]" => 2.5,
            b"\"" => 2.0,
            b"," | b":" => 1.0,
            [b'a'..=b'z' | b'0'..=b'9'] => 0.5,
            _ => 0.0,
        }
    }

    /// Whether the text, byte by byte, is allowed and whole.
    fn lets_through(&self, source: &ConstraintSource, text: &str) -> bool {
        let mut constraint = self.constraint(source);
        let tokens = text.bytes().map(|byte| {
            let prints = |id: &u32| self.tokenizer.token_bytes(*id) == [byte];
            (0..self.tokenizer.vocabulary_size()).find(prints).unwrap()
        });
        for token in tokens {
            let mut logits = self.logits();
            constraint.mask(&mut logits).unwrap();
            let allowed = logits[token as usize].is_finite();
            assert_eq!(constraint.accept(token).is_ok(), allowed);
            if !allowed {
                return false;
            }
        }
        constraint.is_complete()
    }
}

/// 512 tokens, bytes among them: masks are cheap even in an unoptimised build.
fn small() -> &'static Model {
    static MODEL: OnceLock<Model> = OnceLock::new();
    MODEL.get_or_init(|| Model::open("stories260K-f32.gguf"))
}

/// 50257 tokens.
fn large() -> &'static Model {
    static MODEL: OnceLock<Model> = OnceLock::new();
    MODEL.get_or_init(|| Model::open("vocab/ggml-vocab-gpt-2.gguf"))
}

/// Numbers from 0 to 1 (SplitMix64).
struct Random(u64);

impl Random {
    fn next(&mut self) -> f32 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ mixed >> 31) >> 40) as f32 / (1u32 << 24) as f32
    }
}
