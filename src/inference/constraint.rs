//! Constrained decoding: which tokens may come next, so that the text as a whole fits a JSON schema, a regular
//! expression or a grammar.

use std::panic::{catch_unwind, AssertUnwindSafe};
use std::sync::Arc;

use llguidance::api::TopLevelGrammar;
use llguidance::earley::SlicedBiasComputer;
use llguidance::toktrie::{InferenceCapabilities, TokEnv, TokRxInfo, TokTrie, TokenId, TokenizerEnv};
use llguidance::{Matcher, ParserFactory};
use once_cell::sync::OnceCell;

use crate::error::{Code, Error, Result};
use crate::model::Tokenizer;

/// What the generated text must fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConstraintSource {
    /// A JSON schema, as text. White space between values may be up to 40 characters, unless the schema's
    /// `x-guidance` says otherwise.
    JsonSchema(String),
    /// A regular expression that the whole text matches.
    Regex(String),
    /// A grammar in llguidance's dialect of Lark.
    Lark(String),
}

/// Makes the constraints of one model. Building the table of its tokens is left to the first constraint, since most
/// models never see one.
pub struct ConstraintFactory {
    tokenizer: Arc<Tokenizer>,
    parsers: OnceCell<ParserFactory>,
}

/// The state of one constrained generation.
pub struct Constraint {
    matcher: Matcher,
    vocabulary_size: u32,
    ends: Vec<u32>,
    accepting: bool,
    ended: bool,
}

impl ConstraintFactory {
    /// A factory for models with this tokenizer.
    pub fn new(tokenizer: &Arc<Tokenizer>) -> Result<Self> {
        if tokenizer.ends_of_generation().is_empty() {
            let detail = "constraints need a token that ends the generation, and the model file names none".to_owned();
            return Err(Error::new(Code::ModelUnsupported, detail));
        }
        Ok(Self { tokenizer: Arc::clone(tokenizer), parsers: OnceCell::new() })
    }

    /// A constraint for one generation. What is wrong with the source is told in the error.
    pub fn constraint(&self, source: &ConstraintSource) -> Result<Constraint> {
        let grammar = grammar(source)?;
        let parsers = self.parsers.get_or_try_init(|| parsers(&self.tokenizer))?;
        let parser = parsers.create_parser(grammar).map_err(|error| refuse(source, &error))?;
        let mut matcher = Matcher::new(Ok(parser));
        let accepting = matcher.is_accepting().map_err(|error| refuse(source, &error))?;
        Ok(Constraint {
            matcher,
            vocabulary_size: self.tokenizer.vocabulary_size(),
            ends: self.tokenizer.ends_of_generation().to_vec(),
            accepting,
            ended: false,
        })
    }
}

impl std::fmt::Debug for ConstraintFactory {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "ConstraintFactory(built: {})", self.parsers.get().is_some())
    }
}

impl Constraint {
    /// Which of a model's `tokens` tokens may come next: one bit each, the lowest bit of the first word for token 0. End
    /// tokens may come where the text may end, and alone once it must.
    pub fn allowed(&mut self, tokens: usize) -> Result<Vec<u32>> {
        let size = self.vocabulary_size as usize;
        if tokens < size {
            let detail = format!("{tokens} logits for a vocabulary of {size} tokens");
            return Err(Error::new(Code::InvalidParameter, detail));
        }
        let allowed = self.matcher.compute_mask_or_eos().map_err(|error| fail(&error))?;
        let mut words = allowed.as_slice().to_vec();
        // A model may have more logits than its vocabulary has tokens; the set's last word may reach beyond too.
        words.truncate(size.div_ceil(32));
        if let (Some(last), 1..) = (words.get_mut(size / 32), size % 32) {
            *last &= (1 << (size % 32)) - 1;
        }
        words.resize(tokens.div_ceil(32), 0);
        Ok(words)
    }

    /// Sets the logit of every token that may not come next to minus infinity.
    pub fn mask(&mut self, logits: &mut [f32]) -> Result<()> {
        forbid(logits, &self.allowed(logits.len())?);
        Ok(())
    }

    /// Goes on with `token`. One that may not come next is an error and changes nothing.
    pub fn accept(&mut self, token: u32) -> Result<()> {
        if token >= self.vocabulary_size {
            return Err(forbidden(token, &format!("the vocabulary has {} tokens", self.vocabulary_size)));
        }
        let is_end = self.ends.contains(&token);
        if self.ended || (self.matcher.is_stopped() && !is_end) {
            return Err(forbidden(token, "the text is complete"));
        }
        if is_end {
            if !self.is_complete() {
                return Err(forbidden(token, "the text may not end here"));
            }
            self.ended = true;
            return Ok(());
        }
        match self.matcher.try_consume_tokens(&[token]).map_err(|error| fail(&error))? {
            0 => Err(forbidden(token, "it does not fit")),
            _ => {
                self.accepting =
                    self.matcher.is_stopped() || self.matcher.is_accepting().map_err(|error| fail(&error))?;
                Ok(())
            }
        }
    }

    /// Whether the text so far is a whole one: generation may stop here.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.accepting
    }

    /// Whether nothing may follow: generation must stop here.
    #[must_use]
    pub fn must_stop(&self) -> bool {
        self.ended || self.matcher.is_stopped()
    }
}

impl std::fmt::Debug for Constraint {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "Constraint(complete: {}, must stop: {})", self.is_complete(), self.must_stop())
    }
}

/// Sets the logits of tokens that `allowed` has no bit for to negative infinity.
pub(super) fn forbid(logits: &mut [f32], allowed: &[u32]) {
    // Words with all or none set need no look at each token.
    for (logits, &word) in logits.chunks_mut(32).zip(allowed) {
        if word == 0 {
            logits.fill(f32::NEG_INFINITY);
        } else if word != u32::MAX {
            for (bit, logit) in logits.iter_mut().enumerate() {
                if word >> bit & 1 == 0 {
                    *logit = f32::NEG_INFINITY;
                }
            }
        }
    }
}

fn grammar(source: &ConstraintSource) -> Result<TopLevelGrammar> {
    match source {
        ConstraintSource::JsonSchema(text) => {
            let mut schema: serde_json::Value = serde_json::from_str(text)
                .map_err(|error| Error::new(Code::InvalidParameter, format!("JSON schema: not JSON: {error}")))?;
            if let Some(object) = schema.as_object_mut() {
                // Small models like to go on with white space for ever.
                let entry = object.entry("x-guidance").or_insert_with(|| serde_json::json!({}));
                if let Some(options) =
                    entry.as_object_mut().filter(|options| !options.contains_key("whitespace_flexible"))
                {
                    options.entry("whitespace_pattern").or_insert_with(|| WHITE_SPACE.into());
                }
            }
            Ok(TopLevelGrammar::from_json_schema(schema))
        }
        ConstraintSource::Regex(text) => Ok(TopLevelGrammar::from_regex(text)),
        ConstraintSource::Lark(text) => Ok(TopLevelGrammar::from_lark(text.clone())),
    }
}

fn parsers(tokenizer: &Tokenizer) -> Result<ParserFactory> {
    let build = || {
        let environment: TokEnv = Arc::new(Environment { trie: trie(tokenizer) });
        let slices = SlicedBiasComputer::json_slices();
        let mut parsers = ParserFactory::new(&environment, InferenceCapabilities::default(), &slices)
            .map_err(|error| unsupported(&error.to_string()))?;
        parsers.quiet();
        // Errors go to the host: they must not recite the grammar and the text so far.
        parsers.limits_mut().verbose_errors = false;
        Ok(parsers)
    };
    // The crate asserts on vocabularies beyond its limits.
    match catch_unwind(AssertUnwindSafe(build)) {
        Ok(built) => built,
        Err(_) => Err(unsupported("its size or shape is beyond what the constraint engine can index")),
    }
}

/// The tokens' bytes as a tree, control tokens under a byte that no text has.
fn trie(tokenizer: &Tokenizer) -> TokTrie {
    let size = tokenizer.vocabulary_size();
    let ends = tokenizer.ends_of_generation();
    let words: Vec<Vec<u8>> = (0..size)
        .map(|id| {
            let word = if tokenizer.is_special(id) || tokenizer.is_end_of_generation(id) {
                let mut word = vec![TokTrie::SPECIAL_TOKEN_MARKER];
                word.extend_from_slice(tokenizer.token_text(id));
                word
            } else {
                tokenizer.token_bytes(id).to_vec()
            };
            if word.len() > LONGEST_TOKEN {
                Vec::new()
            } else {
                word
            }
        })
        .collect();
    let end = tokenizer.end().filter(|end| ends.contains(end)).unwrap_or(ends[0]);
    let mut information = TokRxInfo::new(size, end);
    information.tok_bos = tokenizer.beginning();
    TokTrie::from(&information, &words).with_eos_tokens(ends)
}

struct Environment {
    trie: TokTrie,
}

impl TokenizerEnv for Environment {
    fn tok_trie(&self) -> &TokTrie {
        &self.trie
    }

    fn tokenize_bytes(&self, bytes: &[u8]) -> Vec<TokenId> {
        self.trie.greedy_tokenize(bytes)
    }

    // The model chooses among all spellings of a forced text.
    fn tokenize_is_canonical(&self) -> bool {
        false
    }
}

fn refuse(source: &ConstraintSource, error: &impl std::fmt::Display) -> Error {
    let kind = match source {
        ConstraintSource::JsonSchema(_) => "JSON schema",
        ConstraintSource::Regex(_) => "regular expression",
        ConstraintSource::Lark(_) => "grammar",
    };
    Error::new(Code::InvalidParameter, format!("{kind}: {error}"))
}

fn forbidden(token: u32, why: &str) -> Error {
    Error::new(Code::InvalidParameter, format!("the constraint forbids token {token} here: {why}"))
}

fn fail(error: &impl std::fmt::Display) -> Error {
    Error::new(Code::InferenceFailed, format!("constraint: {error}"))
}

fn unsupported(why: &str) -> Error {
    Error::new(Code::ModelUnsupported, format!("constraints do not work with this model's vocabulary: {why}"))
}

/// White space between JSON values: enough for pretty printing, not for ever.
const WHITE_SPACE: &str = r"[\x20\x0A\x0D\x09]{1,40}";
/// The constraint engine's tree is at most 1024 deep.
const LONGEST_TOKEN: usize = 1000;
