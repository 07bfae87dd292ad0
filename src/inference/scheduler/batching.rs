//! How many prompt tokens go into one step, and whose.
//!
//! Every step carries one row of each session that decodes; prompt rows fill it up. More prompt rows make better use of
//! the machine, but everyone who decodes waits for them: so their number follows from how long such rows take here.
//! None of this changes a token: a row's result does not depend on what it is batched with.

use std::time::Duration;

/// Chooses how many prompt rows a step may have.
pub struct PromptBudget {
    seconds_per_row: Option<f64>,
}

impl PromptBudget {
    /// Knows nothing yet.
    pub fn new() -> Self {
        Self { seconds_per_row: None }
    }

    /// Prompt rows for the next step.
    pub fn rows(&self, someone_decodes: bool) -> usize {
        let (target, least, most) =
            if someone_decodes { (STEP_WHILE_DECODING, LEAST_ROWS, 128) } else { (STEP_ALONE, LEAST_ROWS_ALONE, 512) };
        let Some(seconds_per_row) = self.seconds_per_row else { return FIRST_ROWS };
        let rows = (target.as_secs_f64() / seconds_per_row) as usize;
        // Whole multiples of the kernels' row blocks; of pairs of them where there are several.
        let multiple = if rows >= 4 * LEAST_ROWS { 2 * LEAST_ROWS } else { LEAST_ROWS };
        (rows / multiple * multiple).clamp(least, most)
    }

    /// Learns from a step.
    pub fn note(&mut self, prompt_rows: usize, took: Duration) {
        // A step with few prompt rows says little about what one costs.
        if prompt_rows < LEAST_ROWS {
            return;
        }
        let measured = (took.as_secs_f64() / prompt_rows as f64).max(1e-9);
        self.seconds_per_row = Some(self.seconds_per_row.map_or(measured, |known| 0.7 * known + 0.3 * measured));
    }
}

/// Divides `budget` rows among sessions that want `wanted` each: everyone gets the same, but nobody more than wanted.
/// What cannot be divided goes to the first ones.
pub fn share(wanted: &[usize], budget: usize) -> Vec<usize> {
    let mut given = vec![0; wanted.len()];
    let mut left = budget.min(wanted.iter().sum());
    while left > 0 {
        let hungry: Vec<usize> = (0..wanted.len()).filter(|&index| given[index] < wanted[index]).collect();
        let portion = (left / hungry.len()).max(1);
        for index in hungry.into_iter().take(left) {
            let more = portion.min(wanted[index] - given[index]);
            given[index] += more;
            left -= more;
        }
    }
    given
}

const STEP_WHILE_DECODING: Duration = Duration::from_millis(60);
// Each step reads and unpacks all weights: few rows for that are slow, many are a long wait for who comes meanwhile.
const STEP_ALONE: Duration = Duration::from_millis(500);
const FIRST_ROWS: usize = 64;
const LEAST_ROWS: usize = 16;
const LEAST_ROWS_ALONE: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn slow_machines_get_few_rows_and_fast_ones_many() {
        let mut budget = PromptBudget::new();
        assert_eq!(budget.rows(true), FIRST_ROWS);
        budget.note(64, Duration::from_secs(64));
        assert_eq!((budget.rows(true), budget.rows(false)), (16, 64));
        let mut fast = PromptBudget::new();
        fast.note(64, Duration::from_micros(64));
        assert_eq!((fast.rows(true), fast.rows(false)), (128, 512));
        let mut medium = PromptBudget::new();
        medium.note(100, Duration::from_millis(100));
        assert_eq!((medium.rows(true), medium.rows(false)), (48, 480));
        medium.note(3, Duration::from_secs(9));
        assert_eq!(medium.rows(true), 48);
    }

    proptest! {
        #[test]
        fn shares_use_the_budget_and_are_even(wanted in proptest::collection::vec(0usize..100, 0..9), budget in 0usize..300) {
            let given = share(&wanted, budget);
            prop_assert_eq!(given.iter().sum::<usize>(), budget.min(wanted.iter().sum()));
            for (index, &mine) in given.iter().enumerate() {
                prop_assert!(mine <= wanted[index]);
                // Who is not satisfied has no less than anyone else, but for the one that cannot be divided.
                if mine < wanted[index] {
                    prop_assert!(given.iter().all(|&other| other <= mine + 1));
                }
            }
        }
    }
}
