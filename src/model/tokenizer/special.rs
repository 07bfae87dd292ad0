//! Finds special tokens in a text, before anything else is done with it.

use super::vocabulary::{Vocabulary, CONTROL, UNKNOWN, USER_DEFINED};

/// The special tokens of a vocabulary.
#[derive(Debug)]
pub(super) struct SpecialTokens {
    /// Ids, the longest text first: the order in which the reference engine looks for them.
    by_length: Vec<u32>,
    /// Ids by text, and whether they take part when control tokens are not to be read.
    by_text: Vec<u32>,
    /// Tokens that swallow white space after them, sorted.
    strips_after: Vec<u32>,
    /// Whether some token starts with this byte.
    starts: [bool; 256],
}

/// A part of a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fragment<'a> {
    Text(&'a str),
    Token(u32),
}

impl SpecialTokens {
    /// The special tokens, of which `strips_after` (sorted) swallow the white space that follows.
    pub(super) fn new(vocabulary: &Vocabulary, strips_after: Vec<u32>) -> Self {
        // A token that is not UTF-8 cannot be in a text.
        let mut by_length: Vec<u32> = vocabulary
            .of_kinds(CONTROL | USER_DEFINED | UNKNOWN)
            .filter(|id| std::str::from_utf8(vocabulary.text(*id)).is_ok())
            .collect();
        let mut by_text = by_length.clone();
        by_text.sort_unstable_by(|left, right| vocabulary.text(*left).cmp(vocabulary.text(*right)));
        by_length.sort_by_key(|id| std::cmp::Reverse(vocabulary.text(*id).len()));
        let mut starts = [false; 256];
        for id in &by_length {
            if let Some(first) = vocabulary.text(*id).first() {
                starts[usize::from(*first)] = true;
            }
        }
        Self { by_length, by_text, strips_after, starts }
    }

    /// Cuts `text` at its special tokens; control tokens count as text unless `parse_special`.
    pub(super) fn partition<'a>(
        &self,
        vocabulary: &Vocabulary,
        text: &'a str,
        parse_special: bool,
    ) -> Vec<Fragment<'a>> {
        let mut fragments = Vec::new();
        if !text.is_empty() {
            fragments.push(Fragment::Text(text));
        }
        let present = self.present(vocabulary, text.as_bytes());
        for id in self.by_length.iter().copied().filter(|id| present.binary_search(id).is_ok()) {
            if !parse_special && vocabulary.kind(id) & (CONTROL | UNKNOWN) != 0 {
                continue;
            }
            let Ok(name) = std::str::from_utf8(vocabulary.text(id)) else { continue };
            let strips = self.strips_after.binary_search(&id).is_ok();
            let mut cut = Vec::with_capacity(fragments.len());
            for fragment in fragments {
                match fragment {
                    Fragment::Text(text) => cut_at(text, name, id, strips, &mut cut),
                    token => cut.push(token),
                }
            }
            fragments = cut;
        }
        fragments
    }

    /// The tokens that occur anywhere in `text`, sorted: nearly always none, so that most texts are read once.
    fn present(&self, vocabulary: &Vocabulary, text: &[u8]) -> Vec<u32> {
        let mut present = Vec::new();
        let mut seen = vec![false; self.by_text.len()];
        for start in 0..text.len() {
            if !self.starts[usize::from(text[start])] {
                continue;
            }
            // The tokens that begin with the bytes read so far, narrowed byte by byte.
            let (mut low, mut high) = (0, self.by_text.len());
            for (depth, byte) in text[start..].iter().enumerate() {
                let range = &self.by_text[low..high];
                let at = |id: &u32| vocabulary.text(*id).get(depth);
                let first = range.partition_point(|id| at(id) < Some(byte));
                let last = range.partition_point(|id| at(id) <= Some(byte));
                (low, high) = (low + first, low + last);
                if low == high {
                    break;
                }
                if vocabulary.text(self.by_text[low]).len() == depth + 1 && !seen[low] {
                    seen[low] = true;
                    present.push(self.by_text[low]);
                }
            }
        }
        present.sort_unstable();
        present
    }
}

fn cut_at<'a>(text: &'a str, name: &str, id: u32, strips: bool, fragments: &mut Vec<Fragment<'a>>) {
    let mut rest = text;
    while let Some((before, after)) = rest.split_once(name) {
        if !before.is_empty() {
            fragments.push(Fragment::Text(before));
        }
        fragments.push(Fragment::Token(id));
        rest = if strips { after.trim_start_matches([' ', '\t', '\n', '\u{b}', '\u{c}', '\r']) } else { after };
    }
    if !rest.is_empty() {
        fragments.push(Fragment::Text(rest));
    }
}
