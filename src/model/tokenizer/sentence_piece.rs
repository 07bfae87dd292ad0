//! SentencePiece-style encoding: characters merge into the token of the highest score.

use super::merging::{Merger, Row, Symbol};
use super::vocabulary::Vocabulary;

/// What encoding needs beside the vocabulary.
#[derive(Debug)]
pub(super) struct SentencePiece {
    scores: Vec<f32>,
    /// The token of each byte, for characters that are no tokens.
    byte_tokens: Vec<Option<u32>>,
    /// Whether text that follows a special token, or nothing, gets a space before it.
    pub(super) add_space_prefix: bool,
}

impl SentencePiece {
    pub(super) fn new(vocabulary: &Vocabulary, scores: Vec<f32>, add_space_prefix: bool) -> Self {
        let byte_tokens = (0..=255).map(|byte| vocabulary.byte_token(byte).or(vocabulary.specials.unknown)).collect();
        Self { scores, byte_tokens, add_space_prefix }
    }

    /// Appends the tokens of `text`, with a space before it if asked for.
    pub(super) fn encode(&self, vocabulary: &Vocabulary, text: &str, space_before: bool, ids: &mut Vec<u32>) {
        let mut escaped = if space_before { SPACE.to_owned() } else { String::new() };
        escaped.push_str(&text.replace(' ', SPACE));
        let mut row = Row::new();
        let mut bytes = [0; 4];
        for character in escaped.chars() {
            let number = vocabulary.find(character.encode_utf8(&mut bytes).as_bytes()).unwrap_or(NO_TOKEN);
            row.push(number, character.len_utf8() as u32);
        }
        row.merge(&mut Scored { vocabulary, scores: &self.scores, text: escaped.as_bytes() });
        for symbol in row.symbols() {
            if symbol.number != NO_TOKEN {
                ids.push(symbol.number);
                continue;
            }
            for byte in symbol.text(escaped.as_bytes()) {
                ids.extend(self.byte_tokens[usize::from(*byte)]);
            }
        }
    }
}

/// What a token of such a vocabulary prints.
pub(super) fn print(text: &[u8], bytes: &mut Vec<u8>) {
    let mut rest = text;
    while let Some((first, after)) = rest.split_first() {
        if let Some(after_space) = rest.strip_prefix(SPACE.as_bytes()) {
            bytes.push(b' ');
            rest = after_space;
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
}

struct Scored<'a> {
    vocabulary: &'a Vocabulary,
    scores: &'a [f32],
    text: &'a [u8],
}

impl Merger for Scored<'_> {
    type Priority = u32;

    fn merge(&mut self, left: &Symbol, right: &Symbol) -> Option<(u32, u32)> {
        let id = self.vocabulary.find(text_of(self.text, left.start, left.length + right.length))?;
        Some((descending(self.scores.get(id as usize).copied().unwrap_or(0.0)), id))
    }
}

fn text_of(text: &[u8], start: usize, length: u32) -> &[u8] {
    &text[start..start + length as usize]
}

/// Orders scores (never NaN) from the highest to the lowest, equal ones equal.
fn descending(score: f32) -> u32 {
    // Adding zero makes the two zeros one.
    let bits = (score + 0.0).to_bits();
    let ascending = if bits >> 31 == 0 { bits | 1 << 31 } else { !bits };
    !ascending
}

/// Stands for a space in vocabularies.
const SPACE: &str = "\u{2581}";
const NO_TOKEN: u32 = u32::MAX;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scores_order_from_high_to_low_with_one_zero() {
        let scores = [f32::INFINITY, 3.5, 1e-30, 0.0, -1e-30, -2.0, -1e9, f32::NEG_INFINITY];
        assert!(scores.windows(2).all(|pair| descending(pair[0]) < descending(pair[1])));
        assert_eq!(descending(0.0), descending(-0.0));
    }

    #[test]
    fn spaces_are_printed_as_spaces() {
        let mut bytes = Vec::new();
        print("▁a▁▁é".as_bytes(), &mut bytes);
        assert_eq!(bytes, " a  é".as_bytes());
    }
}
