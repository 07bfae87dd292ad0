//! Byte-level byte-pair encoding: a word's bytes, each spelled as a printable character, merge by a list of pairs.

use super::merging::{Merger, Row, Symbol};
use super::pre_tokenizers::{pre_tokenizer, PreTokenizer};
use super::split::split;
use super::string_index::{Merge, PairTable, StringIndex, NO_SYMBOL};
use super::vocabulary::{refuse, Strings, Vocabulary};
use crate::error::Result;
use crate::model::Metadata;

/// The byte-pair encoder of a model.
#[derive(Debug)]
pub(super) struct BytePair {
    pub(super) pre_tokenizer: &'static PreTokenizer,
    merges: PairTable,
    /// The symbol of each byte. Symbols are token ids, and above them texts that only merges name.
    byte_symbols: Vec<u32>,
    /// Texts of the symbols above the vocabulary.
    extra: Strings,
}

impl BytePair {
    /// Reads the merges and the pre-tokeniser's name.
    pub(super) fn from_metadata(metadata: &Metadata, vocabulary: &Vocabulary) -> Result<Self> {
        let pre_tokenizer = pre_tokenizer(metadata.string("tokenizer.ggml.pre")?.unwrap_or(""))?;
        let lines = metadata.strings(MERGES)?.ok_or_else(|| refuse(format!("key {MERGES:?} is missing")))?;
        let mut symbols = Symbols::new(vocabulary, lines.len());
        let byte_symbols = (0..=255).map(|byte| symbols.number(character_of(byte).to_string().as_bytes())).collect();
        let mut merges = PairTable::with_capacity(lines.len());
        let mut merged_text = Vec::new();
        let mut last_merged = None;
        for (rank, line) in lines.iter().enumerate() {
            // The space is a separator, unless it comes first.
            let Some(space) = line.iter().skip(1).position(|byte| *byte == b' ').map(|position| position + 1) else {
                return Err(refuse(format!("key {MERGES:?}: entry {rank} is not two symbols with a space between")));
            };
            let (left, right) = (&line[..space], &line[space + 1..]);
            merged_text.clear();
            merged_text.extend_from_slice(left);
            merged_text.extend_from_slice(right);
            let (left, right) = (symbols.number(left), symbols.number(right));
            // Most vocabularies list the merged tokens in the merges' order: no need to search for the next one.
            let next = last_merged.map_or(0, |last: u32| last.saturating_add(1));
            let merged = if vocabulary.text(next) == merged_text { next } else { symbols.number(&merged_text) };
            last_merged = Some(merged);
            merges.insert(Merge { left, right, rank: rank as u32, merged });
        }
        Ok(Self { pre_tokenizer, merges, byte_symbols, extra: symbols.extra })
    }

    /// Appends the tokens of `text`.
    pub(super) fn encode(&self, vocabulary: &Vocabulary, text: &str, ids: &mut Vec<u32>) {
        let mut row = Row::new();
        let mut spelling = Vec::new();
        let mut rest = text.as_bytes();
        for length in split(text, self.pre_tokenizer.stages) {
            let (word, after) = rest.split_at(length);
            rest = after;
            if self.pre_tokenizer.ignore_merges {
                if let Some(id) = whole_word(vocabulary, word, &mut spelling) {
                    ids.push(id);
                    continue;
                }
            }
            row.clear();
            for byte in word {
                row.push(self.byte_symbols[usize::from(*byte)], 1);
            }
            row.merge(&self.merges);
            for symbol in row.symbols() {
                self.append(vocabulary, symbol.number, ids);
            }
        }
    }

    fn append(&self, vocabulary: &Vocabulary, symbol: u32, ids: &mut Vec<u32>) {
        if symbol < vocabulary.len() {
            ids.push(symbol);
            return;
        }
        // Not a token: its characters stand for themselves where they can, and are lost where they cannot, as in the
        // reference. Complete vocabularies never come here.
        for byte in self.extra.get(symbol - vocabulary.len()) {
            ids.extend(vocabulary.find(&[*byte]));
        }
    }
}

impl Merger for PairTable {
    type Priority = u32;

    fn merge(&self, left: &Symbol, right: &Symbol) -> Option<(u32, u32)> {
        self.get(left.number, right.number).map(|merge| (merge.rank, merge.merged))
    }
}

/// What a token of a byte-level vocabulary prints: its characters' bytes. Characters that spell no byte are themselves.
pub(super) fn print(text: &[u8], bytes: &mut Vec<u8>) {
    let Ok(text) = std::str::from_utf8(text) else {
        bytes.extend_from_slice(text);
        return;
    };
    for character in text.chars() {
        match byte_of(character) {
            Some(byte) => bytes.push(byte),
            None => bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

/// Numbers texts: tokens by their ids, others from there on.
struct Symbols<'a> {
    vocabulary: &'a Vocabulary,
    extra: Strings,
    count: u32,
    index: StringIndex,
    /// Short texts that were numbered last, by their bytes and length in one word: the same few stand in most merges.
    recent: Vec<(u64, u32)>,
}

impl<'a> Symbols<'a> {
    fn new(vocabulary: &'a Vocabulary, merges: usize) -> Self {
        // Room for the worst case: every merge names three texts that are no tokens.
        Self {
            vocabulary,
            extra: Strings::with_capacity(0),
            count: 0,
            index: StringIndex::with_capacity(3 * merges + 256),
            recent: vec![(0, 0); RECENT],
        }
    }

    fn number(&mut self, text: &[u8]) -> u32 {
        if text.is_empty() || text.len() > 7 {
            return self.search(text);
        }
        let mut word = [0; 8];
        word[..text.len()].copy_from_slice(text);
        word[7] = text.len() as u8;
        let key = u64::from_le_bytes(word);
        let place = (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32) as usize % RECENT;
        if self.recent[place].0 != key {
            self.recent[place] = (key, self.search(text));
        }
        self.recent[place].1
    }

    fn search(&mut self, text: &[u8]) -> u32 {
        if let Some(id) = self.vocabulary.find(text) {
            return id;
        }
        let extra = &self.extra;
        let number = match self.index.insert(text, self.count, |number| extra.get(number)) {
            Some(number) => number,
            None => {
                self.extra.push(text);
                self.count += 1;
                self.count - 1
            }
        };
        debug_assert!(number < NO_SYMBOL - self.vocabulary.len());
        self.vocabulary.len() + number
    }
}

const RECENT: usize = 1 << 15;

fn whole_word(vocabulary: &Vocabulary, word: &[u8], spelling: &mut Vec<u8>) -> Option<u32> {
    if word.len() > vocabulary.longest {
        return None;
    }
    spelling.clear();
    for byte in word {
        spelling.extend_from_slice(character_of(*byte).encode_utf8(&mut [0; 4]).as_bytes());
    }
    vocabulary.find(spelling)
}

/// The printable character that spells a byte: itself where it is one, else one from U+0100 on.
fn character_of(byte: u8) -> char {
    let code = match byte {
        0x00..=0x20 => 0x100 + u32::from(byte),
        0x7f..=0xa0 => 0x121 + u32::from(byte - 0x7f),
        0xad => 0x143,
        _ => u32::from(byte),
    };
    char::from_u32(code).unwrap_or('\u{fffd}')
}

/// The byte that a character spells.
fn byte_of(character: char) -> Option<u8> {
    let code = character as u32;
    match code {
        0x100..=0x120 => Some((code - 0x100) as u8),
        0x121..=0x142 => Some((code - 0x121 + 0x7f) as u8),
        0x143 => Some(0xad),
        0x00..=0x20 | 0x7f..=0xa0 | 0xad => None,
        0x21..=0xff => Some(code as u8),
        _ => None,
    }
}

const MERGES: &str = "tokenizer.ggml.merges";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_has_a_character_of_its_own() {
        let characters: std::collections::HashSet<char> = (0..=255).map(character_of).collect();
        assert_eq!(characters.len(), 256);
        for byte in 0..=255 {
            assert_eq!(byte_of(character_of(byte)), Some(byte));
            assert!(!character_of(byte).is_whitespace() && !character_of(byte).is_control());
        }
        assert_eq!((character_of(b' '), character_of(b'\n'), character_of(0xad)), ('Ġ', 'Ċ', 'Ń'));
        assert_eq!(byte_of('一'), None);
    }
}
