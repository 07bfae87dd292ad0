//! The tokens of a model: their texts, kinds and scores, what they print, and which ones are special.

use super::string_index::StringIndex;
use crate::error::{Code, Error, Result};
use crate::model::Metadata;

/// What a token is, as bits: a well-known end token may be a normal one that is also control.
pub(super) type Kind = u8;
pub(super) const NORMAL: Kind = 1;
pub(super) const UNKNOWN: Kind = 2;
pub(super) const CONTROL: Kind = 4;
pub(super) const USER_DEFINED: Kind = 8;
pub(super) const BYTE: Kind = 16;
/// Unused or undefined: prints nothing.
const SILENT: Kind = 32;

/// Every token of a model, checked.
#[derive(Debug)]
pub(super) struct Vocabulary {
    texts: Strings,
    kinds: Vec<Kind>,
    index: StringIndex,
    /// The longest token's bytes.
    pub(super) longest: usize,
    pub(super) specials: Specials,
}

/// The tokens with a part of their own.
#[derive(Debug, Default)]
pub(super) struct Specials {
    pub(super) beginning: Option<u32>,
    pub(super) end: Option<u32>,
    pub(super) unknown: Option<u32>,
    /// Tokens that end a generation, sorted.
    pub(super) ends: Vec<u32>,
}

impl Vocabulary {
    /// Reads and checks the vocabulary; `defaults` are the special tokens that a file need not name.
    pub(super) fn from_metadata(metadata: &Metadata, defaults: Specials) -> Result<Self> {
        let tokens = metadata.strings(TOKENS)?.ok_or_else(|| refuse(format!("key {TOKENS:?} is missing")))?;
        let count = tokens.len();
        if count == 0 || count >= (1 << 24) {
            return Err(refuse(format!("key {TOKENS:?}: expected 1 to 2^24 - 1 tokens, found {count}")));
        }
        let kinds = match metadata.i32s(KINDS)? {
            None => vec![NORMAL; count],
            Some(numbers) if numbers.len() != count => return Err(length_differs(KINDS, numbers.len(), count)),
            Some(numbers) => numbers.into_iter().map(kind).collect(),
        };
        let mut texts = Strings::with_capacity(count);
        let mut longest = 0;
        for (id, text) in tokens.iter().enumerate() {
            let replacement = format_empty(text, id);
            let text = replacement.as_deref().unwrap_or(text);
            texts.push(text);
            longest = longest.max(text.len());
        }
        let mut equal = None;
        let index = StringIndex::new(
            count as u32,
            |id| texts.get(id),
            |first, id| {
                equal.get_or_insert((first, id));
            },
        );
        if let Some((first, id)) = equal {
            let shown = String::from_utf8_lossy(texts.get(id));
            return Err(refuse(format!("key {TOKENS:?}: token {shown:?} has ids {first} and {id}")));
        }
        let mut vocabulary = Self { texts, kinds, index, longest, specials: Specials::default() };
        vocabulary.find_specials(metadata, defaults)?;
        Ok(vocabulary)
    }

    /// How many tokens.
    pub(super) fn len(&self) -> u32 {
        self.kinds.len() as u32
    }

    /// The token with this text.
    pub(super) fn find(&self, text: &[u8]) -> Option<u32> {
        if text.len() > self.longest {
            return None;
        }
        self.index.get(text, |id| self.texts.get(id))
    }

    /// A token's text; empty for an id beyond the vocabulary.
    pub(super) fn text(&self, id: u32) -> &[u8] {
        self.texts.get(id)
    }

    /// A token's kind; 0 for an id beyond the vocabulary.
    pub(super) fn kind(&self, id: u32) -> Kind {
        self.kinds.get(id as usize).copied().unwrap_or(0)
    }

    /// The tokens of any of these kinds.
    pub(super) fn of_kinds(&self, kinds: Kind) -> impl Iterator<Item = u32> + '_ {
        (0..self.len()).filter(move |id| self.kind(*id) & kinds != 0)
    }

    /// The token that stands for a byte, in vocabularies that have such.
    pub(super) fn byte_token(&self, byte: u8) -> Option<u32> {
        self.find(format!("<0x{byte:02X}>").as_bytes()).or_else(|| self.find(&[byte]))
    }

    /// What each token prints, where `print` says it for normal tokens: nothing for control tokens.
    pub(super) fn printed(&self, print: impl Fn(&[u8], &mut Vec<u8>)) -> Strings {
        let mut printed = Strings::with_capacity(self.kinds.len());
        for (id, kind) in self.kinds.iter().enumerate() {
            let text = self.text(id as u32);
            printed.push_with(|bytes| {
                if kind & (CONTROL | UNKNOWN) != 0 {
                } else if kind & USER_DEFINED != 0 {
                    bytes.extend_from_slice(text);
                } else if kind & NORMAL != 0 {
                    print(text, bytes);
                } else if kind & BYTE != 0 {
                    bytes.extend(byte_of(text));
                }
            });
        }
        printed
    }

    fn find_specials(&mut self, metadata: &Metadata, defaults: Specials) -> Result<()> {
        let count = self.len();
        let id = |key: &str, default: Option<u32>| -> Result<Option<u32>> {
            match metadata.u32(key)? {
                None => Ok(default.filter(|id| *id < count)),
                Some(id) if id < count => Ok(Some(id)),
                Some(id) => Err(refuse(format!("key {key:?}: token {id}, but the vocabulary has {count} tokens"))),
            }
        };
        let mut specials = Specials {
            beginning: id("tokenizer.ggml.bos_token_id", defaults.beginning)?,
            end: id("tokenizer.ggml.eos_token_id", defaults.end)?,
            unknown: id("tokenizer.ggml.unknown_token_id", defaults.unknown)?,
            ends: Vec::new(),
        };
        for key in END_KEYS {
            specials.ends.extend(id(key, None)?);
        }
        specials.ends.extend(specials.end);
        for name in FILL_IN_NAMES {
            if let Some(id) = self.find(name.as_bytes()) {
                self.kinds[id as usize] |= CONTROL;
            }
        }
        for name in END_NAMES {
            if let Some(id) = self.find(name.as_bytes()) {
                self.kinds[id as usize] |= CONTROL;
                specials.ends.push(id);
            }
        }
        for name in HARMONY_NAMES {
            if let Some(id) = self.find(name.as_bytes()) {
                self.kinds[id as usize] = USER_DEFINED;
            }
        }
        let holds = |name: &str| self.find(name.as_bytes()).is_some();
        // Where these exist, `<|end|>` ends a message, not the generation.
        let goes_on = (holds("<|call|>") || holds("<|calls|>")) && (holds("<|return|>") || holds("<|flush|>"));
        if let Some(end) = self.find(b"<|end|>").filter(|_| goes_on) {
            specials.ends.retain(|id| *id != end);
            self.kinds[end as usize] = USER_DEFINED;
        }
        // Where one of these ends a generation, `</s>` is the HTML tag.
        let has_tag = specials.ends.iter().any(|id| TAG_MARKS.contains(&self.text(*id)));
        if let Some(tag) = self.find(b"</s>").filter(|_| has_tag) {
            specials.ends.retain(|id| *id != tag);
            self.kinds[tag as usize] = NORMAL;
        }
        specials.ends.sort_unstable();
        specials.ends.dedup();
        self.specials = specials;
        Ok(())
    }
}

/// Byte strings end to end.
#[derive(Debug)]
pub(super) struct Strings {
    bytes: Vec<u8>,
    /// Where each string starts, and where the last one ends.
    bounds: Vec<usize>,
}

impl Strings {
    pub(super) fn with_capacity(count: usize) -> Self {
        let mut bounds = Vec::with_capacity(count + 1);
        bounds.push(0);
        Self { bytes: Vec::with_capacity(count * 8), bounds }
    }

    pub(super) fn push(&mut self, string: &[u8]) {
        self.push_with(|bytes| bytes.extend_from_slice(string));
    }

    /// One more string, which `append` writes behind the others.
    pub(super) fn push_with(&mut self, append: impl FnOnce(&mut Vec<u8>)) {
        append(&mut self.bytes);
        self.bounds.push(self.bytes.len());
    }

    /// String `index`, empty beyond the last.
    pub(super) fn get(&self, index: u32) -> &[u8] {
        match self.bounds.get(index as usize..index as usize + 2) {
            Some([start, end]) => &self.bytes[*start..*end],
            _ => &[],
        }
    }
}

/// The scores of the tokens, for vocabularies whose merges they drive.
pub(super) fn scores(metadata: &Metadata, count: u32) -> Result<Vec<f32>> {
    // Some files hold whole numbers.
    let scores = metadata.f32s(SCORES).or_else(|error| match metadata.i32s(SCORES) {
        Ok(Some(numbers)) => Ok(Some(numbers.into_iter().map(|number| number as f32).collect())),
        _ => Err(error),
    })?;
    let Some(scores) = scores else { return Ok(vec![0.0; count as usize]) };
    if scores.len() != count as usize {
        return Err(length_differs(SCORES, scores.len(), count as usize));
    }
    match scores.iter().position(|score| score.is_nan()) {
        Some(id) => Err(refuse(format!("key {SCORES:?}: the score of token {id} is not a number"))),
        None => Ok(scores),
    }
}

/// Says what is wrong with the file.
pub(super) fn refuse(detail: String) -> Error {
    Error::new(Code::ModelLoadFailed, detail)
}

fn length_differs(key: &str, found: usize, tokens: usize) -> Error {
    refuse(format!("key {key:?} has {found} entries, {TOKENS:?} has {tokens}"))
}

/// An empty token gets a name that no text spells by chance, so that names stay unique.
fn format_empty(text: &[u8], id: usize) -> Option<Vec<u8>> {
    text.is_empty().then(|| format!("[EMPTY_{id}]").into_bytes())
}

fn kind(number: i32) -> Kind {
    match number {
        1 => NORMAL,
        2 => UNKNOWN,
        3 => CONTROL,
        4 => USER_DEFINED,
        6 => BYTE,
        _ => SILENT,
    }
}

/// The byte that `<0x0A>` stands for.
fn byte_of(text: &[u8]) -> Option<u8> {
    let digits = text.strip_prefix(b"<0x")?.strip_suffix(b">")?;
    u8::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
}

const TOKENS: &str = "tokenizer.ggml.tokens";
const KINDS: &str = "tokenizer.ggml.token_type";
const SCORES: &str = "tokenizer.ggml.scores";

/// Keys whose token ends a generation, beside `eos_token_id`.
const END_KEYS: [&str; 5] = [
    "tokenizer.ggml.eot_token_id",
    "tokenizer.ggml.eom_token_id",
    "tokenizer.ggml.fim_pad_token_id",
    "tokenizer.ggml.fim_rep_token_id",
    "tokenizer.ggml.fim_sep_token_id",
];

/// Names of tokens that end a generation, whatever their kind: many files mark them wrongly or not at all.
const END_NAMES: [&str; 33] = [
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|return|>",
    "<|call|>",
    "<|flush|>",
    "<|calls|>",
    "<end_of_turn>",
    "<|endoftext|>",
    "</s>",
    "<|eom_id|>",
    "<EOT>",
    "_<EOT>",
    "[EOT]",
    "[EOS]",
    "<|end_of_text|>",
    "<end_of_utterance>",
    "<eos>",
    "<turn|>",
    "<|tool_response>",
    "<｜end▁of▁sentence｜>",
    "[e~[",
    "<|fim_pad|>",
    "<fim-pad>",
    "<fim_pad>",
    "<PAD>",
    "[PAD]",
    "<|fim_repo|>",
    "<|repo_name|>",
    "<fim-repo>",
    "<REPO>",
    "<reponame>",
    "<|file_sep|>",
];

/// Names of ends that tell that `</s>` is none.
const TAG_MARKS: [&[u8]; 2] = [b"<|tool_response>", b"<|plamo:eos|>"];

/// Names of tokens around a gap to fill in, which print nothing.
const FILL_IN_NAMES: [&str; 24] = [
    "<|fim_prefix|>",
    "<fim-prefix>",
    "<fim_prefix>",
    "<｜fim▁begin｜>",
    "<PRE>",
    "▁<PRE>",
    "<|code_prefix|>",
    "<|prefix|>",
    "<|fim_suffix|>",
    "<fim-suffix>",
    "<fim_suffix>",
    "<｜fim▁hole｜>",
    "<SUF>",
    "▁<SUF>",
    "<|code_suffix|>",
    "<|suffix|>",
    "<|fim_middle|>",
    "<fim-middle>",
    "<fim_middle>",
    "<｜fim▁end｜>",
    "<MID>",
    "▁<MID>",
    "<|code_middle|>",
    "<|middle|>",
];

/// Marks within a message that the host must see.
const HARMONY_NAMES: [&str; 4] = ["<|channel|>", "<|message|>", "<|start|>", "<|constrain|>"];
