//! Text to tokens and back, byte-exact with the reference engine.
//!
//! Two kinds, from a model file's own keys: SentencePiece-style (`tokenizer.ggml.model` = "llama": Llama 2, Gemma,
//! Phi-3) and byte-level byte-pair encoding ("gpt2": GPT-2, Llama 3, Qwen, gpt-oss and most others).

mod byte_pair;
mod class_table;
mod classes;
mod merging;
mod pre_tokenizers;
mod sentence_piece;
mod special;
mod split;
mod string_index;
mod vocabulary;

use self::byte_pair::BytePair;
use self::sentence_piece::SentencePiece;
use self::special::{Fragment, SpecialTokens};
use self::vocabulary::{refuse, Specials, Strings, Vocabulary, CONTROL, UNKNOWN};
use super::beside::Beside;
use super::Metadata;
use crate::error::{Code, Error, Result};

/// The tokenizer of a model. Cheap to share, never changed after it is made.
#[derive(Debug)]
pub struct Tokenizer {
    vocabulary: Vocabulary,
    special_tokens: SpecialTokens,
    printed: Strings,
    algorithm: Algorithm,
    add_beginning: bool,
    add_end: bool,
}

#[derive(Debug)]
enum Algorithm {
    SentencePiece(SentencePiece),
    BytePair(BytePair),
}

impl Tokenizer {
    /// Builds the tokenizer that a model file describes, after checking what it says.
    pub fn from_metadata(metadata: &Metadata) -> Result<Self> {
        let model = metadata.string(MODEL)?;
        let (defaults, is_sentence_piece) = match model {
            Some("llama") => (Specials { beginning: Some(1), end: Some(2), unknown: Some(0), ends: Vec::new() }, true),
            Some("gpt2") => (Specials::default(), false),
            Some(other) => {
                let kind = match other {
                    "bert" => " (WordPiece)",
                    "t5" => " (unigram)",
                    "no_vocab" | "none" => " (the file has no vocabulary)",
                    _ => "",
                };
                let detail = format!(
                    "tokenizer {other:?}{kind} (key {MODEL:?}) is not supported; supported: \"llama\" (SentencePiece), \
                     \"gpt2\" (byte-level byte-pair encoding)"
                );
                return Err(Error::new(Code::ModelUnsupported, detail));
            }
            None => return Err(refuse(format!("key {MODEL:?} is missing"))),
        };
        // The merges take as long as the vocabulary, and need nothing of it.
        let byte_pair = (!is_sentence_piece).then(|| {
            let metadata = metadata.clone();
            Beside::start("worker-merges", move || BytePair::from_metadata(&metadata))
        });
        let vocabulary = Vocabulary::from_metadata(metadata, defaults)?;
        let (algorithm, printed, beginning_by_default) = if let Some(reading) = byte_pair {
            let printed = vocabulary.printed(byte_pair::print);
            let byte_pair = reading.finish()?;
            let beginning = byte_pair.pre_tokenizer.add_beginning;
            (Algorithm::BytePair(byte_pair), printed, beginning)
        } else {
            let scores = vocabulary::scores(metadata, vocabulary.len())?;
            let space = metadata.bool("tokenizer.ggml.add_space_prefix")?.unwrap_or(true);
            let algorithm = Algorithm::SentencePiece(SentencePiece::new(&vocabulary, scores, space));
            (algorithm, vocabulary.printed(sentence_piece::print), true)
        };
        let specials = &vocabulary.specials;
        let add = |key: &str, id: Option<u32>, default: bool| match metadata.bool(key)? {
            Some(true) if id.is_none() => Err(refuse(format!("key {key:?} is true, but the file names no such token"))),
            said => Ok(said.unwrap_or(default) && id.is_some()),
        };
        let add_beginning = add("tokenizer.ggml.add_bos_token", specials.beginning, beginning_by_default)?;
        let add_end = add("tokenizer.ggml.add_eos_token", specials.end, false)?;
        let special_tokens = SpecialTokens::new(&vocabulary, strips_after(metadata, &vocabulary)?);
        Ok(Self { vocabulary, special_tokens, printed, algorithm, add_beginning, add_end })
    }

    /// The tokens of `text`. With `add_special` the beginning and end tokens are added as the model wants them; with
    /// `parse_special` the names of control tokens in the text become those tokens, which text from strangers must not.
    #[must_use]
    pub fn encode(&self, text: &str, add_special: bool, parse_special: bool) -> Vec<u32> {
        let mut ids = Vec::new();
        if add_special && self.add_beginning {
            ids.extend(self.vocabulary.specials.beginning);
        }
        let mut after_special = true;
        for fragment in self.special_tokens.partition(&self.vocabulary, text, parse_special) {
            match fragment {
                Fragment::Token(id) => ids.push(id),
                Fragment::Text(text) => match &self.algorithm {
                    Algorithm::SentencePiece(pieces) => {
                        let space_before = pieces.add_space_prefix && after_special;
                        pieces.encode(&self.vocabulary, text, space_before, &mut ids);
                    }
                    Algorithm::BytePair(pairs) => pairs.encode(&self.vocabulary, text, &mut ids),
                },
            }
            after_special = matches!(fragment, Fragment::Token(_));
        }
        if add_special && self.add_end {
            ids.extend(self.vocabulary.specials.end);
        }
        ids
    }

    /// What a token prints: empty for control tokens and for ids beyond the vocabulary. Not always whole characters.
    #[must_use]
    pub fn token_bytes(&self, id: u32) -> &[u8] {
        self.printed.get(id)
    }

    /// A token's text as the vocabulary spells it, the names of special tokens too; empty beyond the vocabulary.
    #[must_use]
    pub fn token_text(&self, id: u32) -> &[u8] {
        self.vocabulary.text(id)
    }

    /// The text of `ids`, with the names of control tokens if `special`. The space that encoding put before the text
    /// is taken off again.
    pub fn decode(&self, ids: &[u32], special: bool) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut strip_space = matches!(&self.algorithm, Algorithm::SentencePiece(pieces) if pieces.add_space_prefix);
        for (index, id) in ids.iter().copied().enumerate() {
            if id >= self.vocabulary_size() {
                let detail = format!("token {index} is {id}, but the vocabulary has {} tokens", self.vocabulary_size());
                return Err(Error::new(Code::InvalidParameter, detail));
            }
            if self.is_special(id) {
                if special {
                    bytes.extend_from_slice(self.token_text(id));
                }
                // Behind any special token but the text's beginning a space may be the text's own.
                strip_space &= index == 0 && Some(id) == self.beginning();
                continue;
            }
            let printed = self.token_bytes(id);
            bytes.extend_from_slice(printed.strip_prefix(b" ").filter(|_| strip_space).unwrap_or(printed));
            strip_space = false;
        }
        Ok(bytes)
    }

    /// How many tokens there are; ids are below it.
    #[must_use]
    pub fn vocabulary_size(&self) -> u32 {
        self.vocabulary.len()
    }

    /// The token that begins a text.
    #[must_use]
    pub fn beginning(&self) -> Option<u32> {
        self.vocabulary.specials.beginning
    }

    /// The token that ends a text.
    #[must_use]
    pub fn end(&self) -> Option<u32> {
        self.vocabulary.specials.end
    }

    /// Every token that ends a generation, rising: end of text, end of turn, and what else the model uses.
    #[must_use]
    pub fn ends_of_generation(&self) -> &[u32] {
        &self.vocabulary.specials.ends
    }

    /// Whether a token ends a generation.
    #[must_use]
    pub fn is_end_of_generation(&self, id: u32) -> bool {
        self.ends_of_generation().binary_search(&id).is_ok()
    }

    /// Whether a token is one of control: it prints nothing.
    #[must_use]
    pub fn is_special(&self, id: u32) -> bool {
        self.vocabulary.kind(id) & (CONTROL | UNKNOWN) != 0
    }

    /// Whether `encode` with `add_special` puts the beginning token first.
    #[must_use]
    pub fn adds_beginning(&self) -> bool {
        self.add_beginning
    }
}

/// The special tokens that swallow white space after them, sorted. Files do not say; the reference knows Phi-3 by name.
fn strips_after(metadata: &Metadata, vocabulary: &Vocabulary) -> Result<Vec<u32>> {
    let name = metadata.string("general.name")?.unwrap_or("").to_ascii_lowercase();
    if !name.contains("phi-3") && !name.contains("phi3") {
        return Ok(Vec::new());
    }
    let keeps: [&[u8]; 3] = [b"<unk>", b"<s>", b"<|endoftext|>"];
    let strips = |id: &u32| !keeps.contains(&vocabulary.text(*id));
    Ok(vocabulary.of_kinds(CONTROL | UNKNOWN | vocabulary::USER_DEFINED).filter(strips).collect())
}

const MODEL: &str = "tokenizer.ggml.model";

#[cfg(test)]
mod tests;
