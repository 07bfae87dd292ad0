//! What kind of character a character is, as far as splitting a text into words asks.

use super::class_table::RUNS;

/// The classes that pre-tokenisers tell apart. The numbers are those of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Class {
    /// Control, format, private, unassigned.
    Other = 0,
    Letter = 1,
    Number = 2,
    Punctuation = 3,
    Mark = 4,
    Symbol = 5,
    /// Unicode's White_Space.
    Space = 6,
}

/// A text, and the class of each of its characters.
pub(super) struct Characters {
    pub(super) characters: Vec<char>,
    pub(super) classes: Vec<Class>,
}

impl Characters {
    pub(super) fn new(text: &str) -> Self {
        let characters: Vec<char> = text.chars().collect();
        let classes = characters.iter().map(|character| class(*character)).collect();
        Self { characters, classes }
    }
}

/// The class of a character.
pub(super) fn class(character: char) -> Class {
    let code = character as u32;
    // The first run whose start is beyond the character follows the one that holds it.
    let after = RUNS.partition_point(|run| run >> 3 <= code);
    match after.checked_sub(1).map_or(0, |index| RUNS[index] & 7) {
        1 => Class::Letter,
        2 => Class::Number,
        3 => Class::Punctuation,
        4 => Class::Mark,
        5 => Class::Symbol,
        6 => Class::Space,
        _ => Class::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_in_order_and_knows_known_characters() {
        assert!(RUNS.windows(2).all(|pair| pair[0] >> 3 < pair[1] >> 3 && pair[0] & 7 != pair[1] & 7));
        assert_eq!(RUNS[0] >> 3, 0);
        for (character, expected) in [
            ('a', Class::Letter),
            ('Z', Class::Letter),
            ('7', Class::Number),
            ('!', Class::Punctuation),
            ('~', Class::Symbol),
            ('\n', Class::Space),
            ('\u{a0}', Class::Space),
            ('\u{200b}', Class::Other),
            ('\u{301}', Class::Mark),
            ('ក', Class::Letter),
            ('្', Class::Mark),
            ('Ⅷ', Class::Number),
            ('😀', Class::Symbol),
            ('\u{0}', Class::Other),
            ('\u{10ffff}', Class::Other),
            ('\u{2ebf0}', Class::Letter),
            ('\u{1c89}', Class::Other),
        ] {
            assert_eq!(class(character), expected, "{character:?}");
        }
    }

    #[test]
    fn white_space_is_the_standard_librarys() {
        // No White_Space lies above.
        for character in '\0'..='\u{3100}' {
            assert_eq!(class(character) == Class::Space, character.is_whitespace(), "{character:?}");
        }
    }
}
