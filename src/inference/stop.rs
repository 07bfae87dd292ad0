//! Stop strings, found in the text wherever the tokens' boundaries fall, and never let out in part.
//!
//! Each stop string is followed byte by byte with its own Knuth-Morris-Pratt automaton, so the cost is linear in the
//! text whatever the strings are. The match that ends first counts, and of those the longest: the same text is cut at
//! the same place however it was divided into tokens.

/// Finds stop strings in a stream of text, and holds back what may be the beginning of one.
pub struct StopMatcher {
    automata: Vec<Automaton>,
    /// Text that may turn out to begin a stop string.
    held: String,
}

/// What pushing text gave.
#[derive(Debug, PartialEq, Eq)]
pub enum StopOutcome {
    /// This much text is certain not to belong to a stop string.
    Continue(String),
    /// The stop string of this index is complete; this text came before it.
    Matched(usize, String),
}

impl StopMatcher {
    /// A matcher for `stops`, none of which is empty.
    #[must_use]
    pub fn new(stops: &[String]) -> Self {
        Self { automata: stops.iter().map(|stop| Automaton::new(stop)).collect(), held: String::new() }
    }

    /// Takes `text` in.
    pub fn push(&mut self, text: &str) -> StopOutcome {
        if self.automata.is_empty() {
            return StopOutcome::Continue(text.to_owned());
        }
        let before = self.held.len();
        self.held.push_str(text);
        for (offset, byte) in text.bytes().enumerate() {
            let mut longest: Option<(usize, usize)> = None; // length, index
            for (index, automaton) in self.automata.iter_mut().enumerate() {
                let length = automaton.pattern.len();
                if automaton.step(byte) && longest.is_none_or(|(other, _)| length > other) {
                    longest = Some((length, index));
                }
            }
            if let Some((length, index)) = longest {
                self.held.truncate(before + offset + 1 - length);
                return StopOutcome::Matched(index, std::mem::take(&mut self.held));
            }
        }
        let keep = self.automata.iter().map(|automaton| automaton.matched).max().unwrap_or(0);
        let kept = self.held.split_off(self.held.len() - keep);
        StopOutcome::Continue(std::mem::replace(&mut self.held, kept))
    }

    /// Whether text is being held back.
    #[must_use]
    pub fn is_holding(&self) -> bool {
        !self.held.is_empty()
    }

    /// The text held back: no stop string came of it.
    pub fn flush(&mut self) -> String {
        self.automata.iter_mut().for_each(|automaton| automaton.matched = 0);
        std::mem::take(&mut self.held)
    }
}

/// One stop string, and how much of it the text's end matches.
struct Automaton {
    pattern: Box<[u8]>,
    /// For each length, the longest proper prefix of the pattern that is a suffix of its first so many bytes.
    fallback: Box<[u32]>,
    matched: usize,
}

impl Automaton {
    fn new(pattern: &str) -> Self {
        let pattern = pattern.as_bytes();
        let mut fallback = vec![0u32; pattern.len()];
        let mut length = 0usize;
        for index in 1..pattern.len() {
            while length > 0 && pattern[index] != pattern[length] {
                length = fallback[length - 1] as usize;
            }
            if pattern[index] == pattern[length] {
                length += 1;
            }
            fallback[index] = length as u32;
        }
        Self { pattern: pattern.into(), fallback: fallback.into(), matched: 0 }
    }

    /// Takes a byte in; true when the pattern is complete.
    fn step(&mut self, byte: u8) -> bool {
        while self.matched > 0 && self.pattern.get(self.matched) != Some(&byte) {
            self.matched = self.fallback[self.matched - 1] as usize;
        }
        if self.pattern.get(self.matched) == Some(&byte) {
            self.matched += 1;
        }
        self.matched == self.pattern.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn run(stops: &[&str], pieces: &[&str]) -> (String, Option<usize>) {
        let stops: Vec<String> = stops.iter().map(|stop| (*stop).to_owned()).collect();
        let mut matcher = StopMatcher::new(&stops);
        let mut text = String::new();
        for piece in pieces {
            match matcher.push(piece) {
                StopOutcome::Continue(released) => text.push_str(&released),
                StopOutcome::Matched(index, released) => return (text + &released, Some(index)),
            }
        }
        (text + &matcher.flush(), None)
    }

    #[test]
    fn found_within_and_across_pieces() {
        assert_eq!(run(&["END"], &["abENDcd"]), ("ab".into(), Some(0)));
        assert_eq!(run(&["END"], &["abE", "N", "Dcd"]), ("ab".into(), Some(0)));
        assert_eq!(run(&["END"], &["abEN", "Ecd"]), ("abENEcd".into(), None));
        assert_eq!(run(&["aab"], &["a", "a", "a", "b"]), ("a".into(), Some(0)));
        assert_eq!(run(&[], &["a", "b"]), ("ab".into(), None));
    }

    #[test]
    fn the_first_to_end_wins_and_of_those_the_longest() {
        assert_eq!(run(&["bcd", "c"], &["abcd"]), ("ab".into(), Some(1)));
        assert_eq!(run(&["c", "bc"], &["abcd"]), ("a".into(), Some(1)));
    }

    #[test]
    fn what_may_begin_a_stop_string_is_held_and_flushed() {
        let mut matcher = StopMatcher::new(&["\n\n".to_owned()]);
        assert_eq!(matcher.push("line\n"), StopOutcome::Continue("line".into()));
        assert!(matcher.is_holding());
        assert_eq!(matcher.push("more\n"), StopOutcome::Continue("\nmore".into()));
        assert_eq!(matcher.flush(), "\n");
        assert!(!matcher.is_holding());
    }

    /// The definition, by search: the match that ends first, of those the longest.
    fn expected(stops: &[String], text: &str) -> (String, Option<usize>) {
        let mut best: Option<(usize, usize, usize)> = None; // end, start, index
        for (index, stop) in stops.iter().enumerate() {
            if let Some(start) = text.find(stop.as_str()) {
                let end = start + stop.len();
                if best.is_none_or(|(other_end, other_start, _)| (end, start) < (other_end, other_start)) {
                    best = Some((end, start, index));
                }
            }
        }
        best.map_or((text.to_owned(), None), |(_, start, index)| (text[..start].to_owned(), Some(index)))
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]
        #[test]
        fn agrees_with_plain_search_however_the_text_is_cut(
            stops in proptest::collection::vec("[abé]{1,4}", 0..4),
            text in "[abé]{0,24}",
        ) {
            let pieces: Vec<String> = text.chars().map(String::from).collect();
            let stop_names: Vec<&str> = stops.iter().map(String::as_str).collect();
            let wanted = expected(&stops, &text);
            let one_by_one = run(&stop_names, &pieces.iter().map(String::as_str).collect::<Vec<_>>());
            let at_once = run(&stop_names, &[&text]);
            prop_assert_eq!(&one_by_one, &wanted);
            prop_assert_eq!(&at_once, &wanted);
        }
    }
}
