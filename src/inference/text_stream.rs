//! Text from tokens' bytes, in whole UTF-8 characters only.
//!
//! Tokens may end in the middle of a character; such bytes are held until the rest comes. Bytes that can never become
//! a character are left out: no replacement characters appear that the model did not write.

/// Joins tokens' bytes into text.
#[derive(Default)]
pub struct TextStream {
    /// The beginning of a character, at most three bytes.
    held: Vec<u8>,
}

impl TextStream {
    /// The whole characters that `bytes` completed.
    pub fn push(&mut self, bytes: &[u8]) -> String {
        let joined;
        let mut rest = if self.held.is_empty() {
            bytes
        } else {
            joined = [std::mem::take(&mut self.held).as_slice(), bytes].concat();
            &joined
        };
        let mut text = String::with_capacity(rest.len());
        loop {
            match std::str::from_utf8(rest) {
                Ok(valid) => {
                    text.push_str(valid);
                    return text;
                }
                Err(error) => {
                    let (valid, after) = rest.split_at(error.valid_up_to());
                    // Checked just now, so nothing is lost here.
                    text.push_str(std::str::from_utf8(valid).unwrap_or_default());
                    match error.error_len() {
                        Some(length) => rest = &after[length..],
                        None => {
                            self.held = after.to_vec();
                            return text;
                        }
                    }
                }
            }
        }
    }

    /// Whether the beginning of a character is being held.
    #[must_use]
    pub fn is_holding(&self) -> bool {
        !self.held.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn characters_come_out_whole() {
        let mut stream = TextStream::default();
        assert_eq!(stream.push("a".as_bytes()), "a");
        let snowman = "☃".as_bytes();
        assert_eq!(stream.push(&snowman[..1]), "");
        assert!(stream.is_holding());
        assert_eq!(stream.push(&snowman[1..2]), "");
        assert_eq!(stream.push(&[snowman[2], b'!']), "☃!");
        assert!(!stream.is_holding());
    }

    #[test]
    fn bytes_that_cannot_become_a_character_are_left_out() {
        let mut stream = TextStream::default();
        assert_eq!(stream.push(b"a\xffb\xc0\xafc"), "abc");
        // A character cut short by an ordinary letter.
        assert_eq!(stream.push(b"\xe2\x98"), "");
        assert_eq!(stream.push(b"d"), "d");
        // A surrogate half is no character.
        assert_eq!(stream.push(b"\xed\xa0\x80e"), "e");
    }

    proptest! {
        #[test]
        fn any_cutting_of_valid_text_gives_it_back(text in "\\PC{0,40}", cuts in proptest::collection::vec(0usize..160, 0..12)) {
            let bytes = text.as_bytes();
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(bytes.len())).chain([0, bytes.len()]).collect();
            cuts.sort_unstable();
            let mut stream = TextStream::default();
            let joined: String = cuts.windows(2).map(|pair| stream.push(&bytes[pair[0]..pair[1]])).collect();
            prop_assert_eq!(joined, text);
            prop_assert!(!stream.is_holding());
        }

        #[test]
        fn cutting_does_not_change_what_bytes_give(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            let mut whole = TextStream::default();
            let expected = whole.push(&bytes);
            let mut single = TextStream::default();
            let joined: String = bytes.iter().map(|byte| single.push(&[*byte])).collect();
            prop_assert_eq!(joined, expected);
            prop_assert_eq!(single.held, whole.held);
        }
    }
}
