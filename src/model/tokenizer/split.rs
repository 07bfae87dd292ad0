//! Pre-tokenisers: how a text is split into words before byte pairs are merged within each.
//!
//! Each published one is a list of regular expressions, applied one after the other to the pieces the one before left:
//! what it matches become pieces, and so does what lies between. They are scanners by hand here: linear in the text,
//! with no backtracking to run away. Where the reference engine's expression differs from the tokenizer's original, the
//! reference's is followed, since its token ids are the agreed ones.

use super::classes::{Characters, Class};

/// One regular expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+`
    Gpt2,
    /// `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,n}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
    Words(Words),
    /// As words, but a word ends before a capital that follows small letters, contractions belong to the word before, and
    /// slashes follow symbols like line ends.
    Cased { digits: usize, contractions: bool },
    /// `[!-/:-~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
    DeepSeek,
    /// `\p{N}{1,n}`
    Numbers(usize),
    /// `[0-9][0-9][0-9]`
    DigitTriples,
    /// `\p{P}` and these characters, one or more.
    Punctuation(&'static str),
    /// `\s?` and one or more of a class.
    SpacedRun(Class),
    /// ` ?[^(\s|.,!?…。，、।۔،)]+`
    Bloom,
    /// `[\r\n]`
    LineEnd,
    /// One or more characters of these ranges; never spaces, which the reference makes one character before it matches.
    Ranges(&'static [(char, char)]),
}

/// What varies among the expressions of the Llama 3 kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Words {
    /// Most digits in a piece.
    pub(super) digits: usize,
    pub(super) contractions: bool,
    /// Whether marks count as letters.
    pub(super) marks: bool,
    /// Whether line ends belong to the symbols before them.
    pub(super) symbols_take_line_ends: bool,
}

/// The byte length of each piece of `text`, in order; together they are the text.
pub(super) fn split(text: &str, stages: &[Stage]) -> Vec<usize> {
    let characters = Characters::new(text);
    let mut ends = Vec::new();
    if !characters.characters.is_empty() {
        ends.push(characters.characters.len());
    }
    for stage in stages {
        let mut next = Vec::with_capacity(ends.len());
        let mut start = 0;
        for end in ends {
            split_piece(&characters, *stage, start, end, &mut next);
            start = end;
        }
        ends = next;
    }
    let mut start = 0;
    let byte_length = |end: usize| {
        let length = characters.characters[start..end].iter().map(|character| character.len_utf8()).sum();
        start = end;
        length
    };
    ends.into_iter().map(byte_length).collect()
}

fn split_piece(text: &Characters, stage: Stage, start: usize, end: usize, ends: &mut Vec<usize>) {
    let mut previous = start;
    let mut position = start;
    while position < end {
        let piece = Piece { text, position, end };
        match piece.matched(stage) {
            Some(after) => {
                if position > previous {
                    ends.push(position);
                }
                ends.push(after);
                previous = after;
                position = after;
            }
            None => position += 1,
        }
    }
    if end > previous {
        ends.push(end);
    }
}

/// The rest of a piece, to be matched at `position`.
#[derive(Clone, Copy)]
struct Piece<'a> {
    text: &'a Characters,
    position: usize,
    end: usize,
}

impl Piece<'_> {
    /// Where the stage's match at the position ends; never an empty match.
    fn matched(self, stage: Stage) -> Option<usize> {
        let at = self.position;
        let run = |allowed: &dyn Fn(usize) -> bool| {
            let end = self.run(at, allowed);
            (end > at).then_some(end)
        };
        match stage {
            Stage::Gpt2 => self.gpt2(),
            Stage::Words(words) => self.words(words),
            Stage::Cased { digits, contractions } => self.cased(digits, contractions),
            Stage::DeepSeek => self.deep_seek(),
            Stage::Numbers(most) => {
                let limit = at.saturating_add(most);
                run(&|index| index < limit && self.class(index) == Some(Class::Number))
            }
            Stage::DigitTriples => {
                let digit = |index| self.character(index).is_some_and(|character| character.is_ascii_digit());
                (digit(at) && digit(at + 1) && digit(at + 2)).then_some(at + 3)
            }
            Stage::Punctuation(extra) => run(&|index| {
                self.class(index) == Some(Class::Punctuation)
                    || self.character(index).is_some_and(|character| extra.contains(character))
            }),
            Stage::SpacedRun(class) => {
                let first = at + usize::from(self.class(at) == Some(Class::Space));
                let end = self.run(first, &|index| self.class(index) == Some(class));
                (end > first).then_some(end)
            }
            Stage::Bloom => {
                let first = at + usize::from(self.character(at) == Some(' '));
                let end = self.run(first, &|index| {
                    self.class(index).is_some_and(|class| class != Class::Space)
                        && self.character(index).is_some_and(|character| !"(|.,!?…。，、।۔،)".contains(character))
                });
                (end > first).then_some(end)
            }
            Stage::LineEnd => self.is_line_end(at).then_some(at + 1),
            Stage::Ranges(ranges) => run(&|index| {
                self.class(index) != Some(Class::Space)
                    && self
                        .character(index)
                        .is_some_and(|character| ranges.iter().any(|(low, high)| (*low..=*high).contains(&character)))
            }),
        }
    }

    fn gpt2(self) -> Option<usize> {
        if let Some(end) = self.contraction(self.position, false) {
            return Some(end);
        }
        let first = self.position + usize::from(self.character(self.position) == Some(' '));
        let kind = |index: usize| match self.class(index) {
            None | Some(Class::Space) => None,
            Some(class @ (Class::Letter | Class::Number)) => Some(class),
            Some(_) => Some(Class::Symbol),
        };
        match kind(first) {
            Some(wanted) => Some(self.run(first, &|index| kind(index) == Some(wanted))),
            None => self.spaces(),
        }
    }

    fn words(self, words: Words) -> Option<usize> {
        let at = self.position;
        if words.contractions {
            if let Some(end) = self.contraction(at, true) {
                return Some(end);
            }
        }
        let is_letter = |index: usize| match self.class(index) {
            Some(Class::Letter) => true,
            Some(Class::Mark) => words.marks,
            _ => false,
        };
        if let Some(end) = self.prefixed_letters(&is_letter) {
            return Some(end);
        }
        if self.class(at) == Some(Class::Number) {
            return self.matched(Stage::Numbers(words.digits));
        }
        let is_symbol = |index: usize| match self.class(index) {
            None | Some(Class::Space | Class::Letter | Class::Number) => false,
            Some(Class::Mark) => !words.marks,
            Some(_) => true,
        };
        let line_end = |index| words.symbols_take_line_ends && self.is_line_end(index);
        self.spaced_symbols(&is_symbol, &line_end).or_else(|| self.line_ends()).or_else(|| self.spaces())
    }

    /// `[^\r\n\p{L}\p{N}]?` and one or more letters.
    fn prefixed_letters(self, is_letter: &dyn Fn(usize) -> bool) -> Option<usize> {
        let at = self.position;
        let starts = self.can_prefix_letters(at) && is_letter(at + 1);
        let first = if starts { at + 1 } else { at };
        let end = self.run(first, is_letter);
        (end > first).then_some(end)
    }

    fn can_prefix_letters(self, index: usize) -> bool {
        self.class(index).is_some_and(|class| !matches!(class, Class::Letter | Class::Number))
            && !self.is_line_end(index)
    }

    fn cased(self, digits: usize, contractions: bool) -> Option<usize> {
        let at = self.position;
        let first = at + usize::from(self.can_prefix_letters(at));
        // The reference knows the case of ASCII letters only: every other letter counts as both.
        let letter = |index: usize| match self.class(index) {
            Some(Class::Letter) => self.character(index),
            _ => None,
        };
        let upper = |index: usize| letter(index).is_some_and(|character| !character.is_ascii_lowercase());
        let lower = |index: usize| letter(index).is_some_and(|character| !character.is_ascii_uppercase());
        let capitals_end = self.run(first, &upper);
        let mut end = self.run(capitals_end, &lower);
        if end == capitals_end {
            // `U*L+` gives capitals back until a letter that is both can be the one small letter it needs.
            // Else `U+L*` takes all the capitals.
            end = (first..capitals_end).rev().find(|index| lower(*index)).map_or(capitals_end, |index| index + 1);
        }
        if end > first {
            let suffix = if contractions { self.contraction(end, true) } else { None };
            return Some(suffix.unwrap_or(end));
        }
        if self.class(at) == Some(Class::Number) {
            return self.matched(Stage::Numbers(digits));
        }
        let is_symbol = |index: usize| {
            self.class(index).is_some_and(|class| !matches!(class, Class::Space | Class::Letter | Class::Number))
        };
        let tail = |index| self.is_line_end(index) || self.character(index) == Some('/');
        self.spaced_symbols(&is_symbol, &tail).or_else(|| self.line_ends()).or_else(|| self.spaces())
    }

    fn deep_seek(self) -> Option<usize> {
        let at = self.position;
        let is_ascii_letter =
            |index| self.character(index).is_some_and(|character: char| character.is_ascii_alphabetic());
        if self.character(at).is_some_and(|character| character.is_ascii_punctuation()) && is_ascii_letter(at + 1) {
            return Some(self.run(at + 1, &is_ascii_letter));
        }
        let is_letter = |index: usize| matches!(self.class(index), Some(Class::Letter | Class::Mark));
        let is_symbol = |index: usize| matches!(self.class(index), Some(Class::Punctuation | Class::Symbol));
        let prefix = self.class(at) != Some(Class::Letter) && !self.is_line_end(at) && !is_symbol(at);
        let first = if prefix && is_letter(at + 1) { at + 1 } else { at };
        let end = self.run(first, &is_letter);
        if end > first {
            return Some(end);
        }
        let line_end = |index| self.is_line_end(index);
        self.spaced_symbols(&is_symbol, &line_end).or_else(|| self.line_ends()).or_else(|| self.spaces())
    }

    /// ` ?`, one or more symbols, and what may follow them.
    fn spaced_symbols(self, is_symbol: &dyn Fn(usize) -> bool, tail: &dyn Fn(usize) -> bool) -> Option<usize> {
        let first = self.position + usize::from(self.character(self.position) == Some(' '));
        let end = self.run(first, is_symbol);
        (end > first).then(|| self.run(end, tail))
    }

    /// `\s*[\r\n]+`
    fn line_ends(self) -> Option<usize> {
        let spaces_end = self.run(self.position, &|index| self.class(index) == Some(Class::Space));
        (self.position..spaces_end).rev().find(|index| self.is_line_end(*index)).map(|index| index + 1)
    }

    /// `\s+(?!\S)|\s+`: a space is left for the word that follows, if there is another.
    fn spaces(self) -> Option<usize> {
        let at = self.position;
        let end = self.run(at, &|index| self.class(index) == Some(Class::Space));
        if end > at + 1 && end < self.end {
            return Some(end - 1);
        }
        (end > at).then_some(end)
    }

    /// `'s|'t|'re|'ve|'m|'ll|'d` at `at`.
    fn contraction(self, at: usize, ignore_case: bool) -> Option<usize> {
        if self.character(at) != Some('\'') {
            return None;
        }
        let letter = |index| self.character(index).map(|c: char| if ignore_case { c.to_ascii_lowercase() } else { c });
        match (letter(at + 1)?, letter(at + 2)) {
            ('s' | 't' | 'm' | 'd', _) => Some(at + 2),
            ('r' | 'v', Some('e')) | ('l', Some('l')) => Some(at + 3),
            _ => None,
        }
    }

    fn run(self, start: usize, allowed: &dyn Fn(usize) -> bool) -> usize {
        let mut index = start;
        while index < self.end && allowed(index) {
            index += 1;
        }
        index
    }

    fn is_line_end(self, index: usize) -> bool {
        matches!(self.character(index), Some('\r' | '\n'))
    }

    fn character(self, index: usize) -> Option<char> {
        (index < self.end).then(|| self.text.characters[index])
    }

    fn class(self, index: usize) -> Option<Class> {
        (index < self.end).then(|| self.text.classes[index])
    }
}
