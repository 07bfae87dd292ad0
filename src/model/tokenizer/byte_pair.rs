//! Byte-level byte-pair encoding: a word's bytes, each spelled as a printable character, merge by a list of pairs.

use super::merging::{Merger, Row, Symbol};
use super::pre_tokenizers::{pre_tokenizer, PreTokenizer};
use super::split::split;
use super::string_index::StringIndex;
use super::vocabulary::{refuse, Vocabulary};
use crate::error::Result;
use crate::model::{Metadata, StringArray};

/// The byte-pair encoder of a model.
#[derive(Debug)]
pub(super) struct BytePair {
    pub(super) pre_tokenizer: &'static PreTokenizer,
    merges: Merges,
    /// The character of each byte, in UTF-8.
    spellings: Vec<String>,
}

impl BytePair {
    /// Reads the merges and the pre-tokeniser's name.
    pub(super) fn from_metadata(metadata: &Metadata) -> Result<Self> {
        let pre_tokenizer = pre_tokenizer(metadata.string("tokenizer.ggml.pre")?.unwrap_or(""))?;
        let lines = metadata.strings(MERGES)?.ok_or_else(|| refuse(format!("key {MERGES:?} is missing")))?;
        let spellings = (0..=255).map(|byte| character_of(byte).to_string()).collect();
        Ok(Self { pre_tokenizer, merges: Merges::new(&lines)?, spellings })
    }

    /// Appends the tokens of `text`.
    pub(super) fn encode(&self, vocabulary: &Vocabulary, text: &str, ids: &mut Vec<u32>) {
        let mut row = Row::new();
        let mut spelling = Vec::new();
        let mut line = Vec::new();
        let mut rest = text.as_bytes();
        for length in split(text, self.pre_tokenizer.stages) {
            let (word, after) = rest.split_at(length);
            rest = after;
            spelling.clear();
            row.clear();
            for byte in word {
                let character = self.spellings[usize::from(*byte)].as_bytes();
                spelling.extend_from_slice(character);
                row.push(0, character.len() as u32);
            }
            if self.pre_tokenizer.ignore_merges {
                if let Some(id) = vocabulary.find(&spelling) {
                    ids.push(id);
                    continue;
                }
            }
            row.merge(&mut Ranked { merges: &self.merges, spelling: &spelling, line: &mut line });
            for symbol in row.symbols() {
                append(vocabulary, symbol.text(&spelling), ids);
            }
        }
    }
}

/// Appends the token of a symbol.
fn append(vocabulary: &Vocabulary, text: &[u8], ids: &mut Vec<u32>) {
    match vocabulary.find(text) {
        Some(id) => ids.push(id),
        // Not a token: its characters stand for themselves where they can, and are lost where they cannot, as in the
        // reference. Complete vocabularies never come here.
        None => ids.extend(text.iter().filter_map(|byte| vocabulary.find(&[*byte]))),
    }
}

/// The pairs that merge, as the file's lines: two texts with a space between. No symbol has a space in its text, so a
/// pair has one line, and it is found without any numbering of symbols, which took most of the time of reading.
#[derive(Debug)]
struct Merges {
    lines: StringArray,
    index: StringIndex,
    /// The longest line's bytes.
    longest: usize,
}

impl Merges {
    fn new(lines: &StringArray) -> Result<Self> {
        let lines = lines.detached()?;
        let count = u32::try_from(lines.len())
            .map_err(|_| refuse(format!("key {MERGES:?}: {} entries are too many", lines.len())))?;
        let mut longest = 0;
        for (rank, line) in lines.iter().enumerate() {
            // The space is a separator, unless it comes first.
            if !line.iter().skip(1).any(|byte| *byte == b' ') {
                return Err(refuse(format!("key {MERGES:?}: entry {rank} is not two symbols with a space between")));
            }
            longest = longest.max(line.len());
        }
        // Of a pair that is there twice the first counts.
        let index = StringIndex::new(count, |rank| lines.get(rank as usize), |_, _| ());
        Ok(Self { lines, index, longest })
    }

    fn rank(&self, line: &[u8]) -> Option<u32> {
        self.index.get(line, |rank| self.lines.get(rank as usize))
    }
}

/// The merges, for the symbols of a word.
struct Ranked<'a> {
    merges: &'a Merges,
    spelling: &'a [u8],
    /// Where lines are put together.
    line: &'a mut Vec<u8>,
}

impl Merger for Ranked<'_> {
    type Priority = u32;

    fn merge(&mut self, left: &Symbol, right: &Symbol) -> Option<(u32, u32)> {
        let (left, right) = (left.text(self.spelling), right.text(self.spelling));
        if left.len() + right.len() >= self.merges.longest {
            return None;
        }
        self.line.clear();
        self.line.extend_from_slice(left);
        self.line.push(b' ');
        self.line.extend_from_slice(right);
        self.merges.rank(self.line).map(|rank| (rank, 0))
    }
}

/// What a token of a byte-level vocabulary prints: its characters' bytes. Characters that spell no byte are themselves,
/// and so is a text that is no UTF-8.
pub(super) fn print(text: &[u8], bytes: &mut Vec<u8>) {
    let before = bytes.len();
    let mut rest = text;
    // Characters below U+0180, of which nearly all tokens are, without the checks that others need.
    loop {
        match *rest {
            [] => return,
            [ascii @ 0..=0x7f, ..] => {
                bytes.push(ascii);
                rest = &rest[1..];
            }
            [first @ 0xc2..=0xc5, second @ 0x80..=0xbf, ..] => {
                match byte_of(u32::from(first & 0x1f) << 6 | u32::from(second & 0x3f)) {
                    Some(byte) => bytes.push(byte),
                    None => bytes.extend_from_slice(&[first, second]),
                }
                rest = &rest[2..];
            }
            _ => break,
        }
    }
    let Ok(rest) = std::str::from_utf8(rest) else {
        bytes.truncate(before);
        bytes.extend_from_slice(text);
        return;
    };
    for character in rest.chars() {
        match byte_of(character as u32) {
            Some(byte) => bytes.push(byte),
            None => bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
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

/// The byte that the character of a code spells.
fn byte_of(code: u32) -> Option<u8> {
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
            assert_eq!(byte_of(character_of(byte) as u32), Some(byte));
            assert!(!character_of(byte).is_whitespace() && !character_of(byte).is_control());
        }
        assert_eq!((character_of(b' '), character_of(b'\n'), character_of(0xad)), ('Ġ', 'Ċ', 'Ń'));
        assert_eq!(byte_of('一' as u32), None);
    }

    #[test]
    fn tokens_print_their_characters_bytes() {
        let printed = |text: &[u8]| {
            let mut bytes = b"before ".to_vec();
            print(text, &mut bytes);
            bytes.split_off(7)
        };
        assert_eq!(printed("Ġrain".as_bytes()), b" rain");
        // All 256, and characters that spell none: a space, U+00A0, U+0144.
        let all: String = (0..=255).map(character_of).collect();
        assert_eq!(printed(all.as_bytes()), (0..=255).collect::<Vec<u8>>());
        assert_eq!(printed(" \u{a0}\u{144}".as_bytes()), " \u{a0}\u{144}".as_bytes());
        // Beyond two bytes, with ones that spell bytes before and behind.
        assert_eq!(printed("Ġ一Ġ😀Ċ".as_bytes()), " 一 😀\n".as_bytes());
        // What is no UTF-8 stays as it is, the beginning too.
        for broken in [&b"\xc4\xa0\xff"[..], b"\xc4\xa0\xc4", b"\xc4\xa0\xe4\xb8"] {
            assert_eq!(printed(broken), broken);
        }
    }
}
