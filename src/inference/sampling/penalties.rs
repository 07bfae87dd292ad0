//! Penalties on what was said lately.

use std::collections::{HashMap, VecDeque};

use crate::engine::TokenCount;
use crate::inference::request::{SamplingOptions, DEFAULT_PENALTY_WINDOW};

/// How often each token occurs among the last ones, the prompt's included.
pub(super) struct PenaltyWindow {
    repetition: f32,
    presence: f32,
    frequency: f32,
    length: usize,
    recent: VecDeque<u32>,
    counts: HashMap<u32, u32>,
}

impl PenaltyWindow {
    /// A window over the end of `prompt`; none where `options` penalise nothing.
    pub(super) fn new(options: &SamplingOptions, prompt: &[u32]) -> Option<Self> {
        if options.repetition_penalty == 1.0 && options.presence_penalty == 0.0 && options.frequency_penalty == 0.0 {
            return None;
        }
        let length = match options.penalty_window {
            0 => DEFAULT_PENALTY_WINDOW,
            length => length,
        } as usize;
        let mut window = Self {
            repetition: options.repetition_penalty,
            presence: options.presence_penalty,
            frequency: options.frequency_penalty,
            length,
            recent: VecDeque::new(),
            counts: HashMap::new(),
        };
        for &token in &prompt[prompt.len().saturating_sub(length)..] {
            window.accept(token);
        }
        Some(window)
    }

    /// Takes a token in, and lets the oldest one go.
    pub(super) fn accept(&mut self, token: u32) {
        if self.recent.len() == self.length {
            if let Some(oldest) = self.recent.pop_front() {
                if let Some(count) = self.counts.get_mut(&oldest) {
                    *count -= 1;
                    if *count == 0 {
                        self.counts.remove(&oldest);
                    }
                }
            }
        }
        self.recent.push_back(token);
        *self.counts.entry(token).or_default() += 1;
    }

    /// The tokens of the window, and how often each is in it.
    pub(super) fn tokens(&self) -> Vec<TokenCount> {
        self.counts.iter().map(|(&token, &count)| TokenCount { token, count }).collect()
    }

    /// Lowers the logits of the window's tokens. Each is changed by itself, so the map's order does not matter.
    pub(super) fn apply(&self, logits: &mut [f32]) {
        for (&token, &count) in &self.counts {
            let Some(logit) = logits.get_mut(token as usize) else { continue };
            // Dividing a negative logit would make the token likelier.
            *logit = if *logit > 0.0 { *logit / self.repetition } else { *logit * self.repetition };
            *logit -= count as f32 * self.frequency + self.presence;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(window: u32) -> SamplingOptions {
        SamplingOptions {
            repetition_penalty: 2.0,
            presence_penalty: 0.5,
            frequency_penalty: 0.25,
            penalty_window: window,
            ..SamplingOptions::default()
        }
    }

    #[test]
    fn neutral_penalties_need_no_window() {
        assert!(PenaltyWindow::new(&SamplingOptions::default(), &[1, 2]).is_none());
    }

    #[test]
    fn each_token_is_penalised_by_its_count_in_the_window() {
        // Of the prompt only the last three tokens count: 1, 2, 2.
        let window = PenaltyWindow::new(&options(3), &[0, 1, 2, 2]).unwrap();
        let mut logits = [4.0, 4.0, 4.0, 4.0];
        window.apply(&mut logits);
        assert_eq!(logits, [4.0, 2.0 - 0.25 - 0.5, 2.0 - 0.5 - 0.5, 4.0]);
        let mut negative = [-4.0; 4];
        window.apply(&mut negative);
        assert_eq!(negative, [-4.0, -8.75, -9.0, -4.0]);
    }

    #[test]
    fn tokens_leave_the_window_again() {
        let mut window = PenaltyWindow::new(&options(2), &[0, 1]).unwrap();
        window.accept(3);
        window.accept(3);
        let mut logits = [1.0; 4];
        window.apply(&mut logits);
        assert_eq!(logits, [1.0, 1.0, 1.0, 0.5 - 0.5 - 0.5]);
        assert_eq!(window.counts.len(), 1);
    }

    #[test]
    fn forbidden_tokens_stay_forbidden() {
        let window = PenaltyWindow::new(&options(2), &[0]).unwrap();
        let mut logits = [f32::NEG_INFINITY, 0.0];
        window.apply(&mut logits);
        assert_eq!(logits, [f32::NEG_INFINITY, 0.0]);
    }

    #[test]
    fn the_default_window_is_sixty_four_tokens() {
        let mut prompt = vec![0u32];
        prompt.extend(std::iter::repeat_n(1, 64));
        let window = PenaltyWindow::new(&options(0), &prompt).unwrap();
        let mut logits = [8.0, 8.0];
        window.apply(&mut logits);
        assert_eq!(logits[0], 8.0);
        assert!(logits[1] < 4.0);
    }
}
