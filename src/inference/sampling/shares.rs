//! The first tokens of an order that together reach a share of the whole vocabulary's probability, without sorting it.
//!
//! A guess says which tokens are surely among them, which are not, and which few are open. One pass adds up the masses of the
//! first and finds the last, which alone are put in order. Masses are whole numbers, so the answer is that of a full sort; where
//! it shows that the guess was wrong, all tokens are open.

use std::marker::PhantomData;

use super::blocks::{on_each_block, BlockWork, BLOCK};
use super::distribution::{Candidate, Distribution};
use super::exponential::{MassSum, Weights, MOST_EXCESS};
use super::guess::Bands;
use super::kept::Kept;
use super::open::{Open, OpenBlock};
use crate::engine::Lanes;

/// An order of tokens by their logits.
pub(super) trait Order: Copy {
    /// Whether the order begins somewhere between the logits: it then needs the weighted excesses, and has two ends.
    const CENTRED: bool;

    /// The order among tokens of which the likeliest has the logit `maximum`.
    fn among(maximum: f32, sums: Sums) -> Self;
    /// Lower comes first; of equals the lower token.
    fn rank(self, logit: f32) -> f64;
    /// No token's is lower, where the likeliest has the logit `maximum`.
    fn least_rank(self, maximum: f32) -> f64;
    /// Whether ranks do not fall from `low` down, nor from `high` up, which may be infinity.
    fn rises_outside(self, low: f32, high: f32) -> bool;
    /// Those that come before a token, and it.
    fn up_to(self, last: Candidate) -> Kept;
}

/// Over all tokens.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Sums {
    pub(super) mass: u64,
    /// The masses of weights times excesses, where the order needs them.
    pub(super) weighted: u64,
}

/// What the first tokens of an order are.
pub(super) struct First {
    pub(super) kept: Kept,
    /// Theirs, by block, relative to the likeliest of all.
    pub(super) masses: Vec<u64>,
    /// The logit of the likeliest of them, where that is known.
    pub(super) maximum: Option<f32>,
}

/// The first tokens by an order whose masses together reach what `target` says of the mass of all; it is at least 1 and at most
/// that.
pub(super) fn first_reaching<By: Order>(
    distribution: &Distribution<'_>,
    guess: Bands,
    target: impl Fn(u64) -> u64,
) -> First {
    first_within::<By>(distribution, guess, &target)
        .or_else(|| first_within::<By>(distribution, Bands::ALL_OPEN, &target))
        // Not reached: all together reach it.
        .unwrap_or_else(|| First {
            kept: Kept::ALL,
            masses: distribution.block_masses(distribution.maximum(), 1.0).into_owned(),
            maximum: None,
        })
}

/// The same, if the last of them is among the open tokens of `bands`.
fn first_within<By: Order>(
    distribution: &Distribution<'_>,
    bands: Bands,
    target: impl Fn(u64) -> u64,
) -> Option<First> {
    let maximum = distribution.maximum();
    let blocks = distribution.logits().len().div_ceil(BLOCK);
    let sums = Sums::default();
    let (sure, open) = (Vec::with_capacity(blocks), Open::new(blocks));
    let mut survey = Survey::<By> { maximum, bands, weights: Weights::new(), sums, sure, open, order: PhantomData };
    on_each_block(distribution.logits(), &mut survey);
    let Survey { sums, sure: mut masses, open, .. } = survey;
    let order = By::among(maximum, sums);
    let before = masses.iter().sum();
    let reached = open.reaching(order, maximum, bands.open_ranks(order, maximum), (before, target(sums.mass)))?;
    if !bands.divide(order, reached.last.logit, maximum) {
        return None;
    }

    let largest = reached.add_to(&mut masses, &open);
    let maximum = match bands {
        _ if bands.are_sure(maximum) => Some(maximum),
        Bands { sure_from: f32::INFINITY, .. } => Some(largest),
        _ if largest >= bands.sure_to => Some(largest),
        _ => None,
    };
    Some(First { kept: order.up_to(reached.last), masses, maximum })
}

impl Bands {
    #[inline(always)]
    fn are_sure(self, logit: f32) -> bool {
        logit >= self.sure_from && logit < self.sure_to
    }

    /// About from where to where the ranks of open tokens go.
    fn open_ranks(self, order: impl Order, maximum: f32) -> (f64, f64) {
        let least = if self.sure_from == f32::INFINITY {
            order.least_rank(maximum)
        } else if self.sure_to == f32::INFINITY {
            order.rank(self.sure_from)
        } else {
            order.rank(self.sure_from).min(order.rank(self.sure_to))
        };
        (least, order.rank(self.from).max(order.rank(self.to.min(maximum))))
    }

    /// Whether what is sure comes before the logit `last` in the order, and what is neither sure nor open after it.
    fn divide(self, order: impl Order, last: f32, maximum: f32) -> bool {
        let last = order.rank(last);
        // Ranks are highest at the ends.
        let sure = self.sure_from == f32::INFINITY
            || (order.rank(self.sure_from) < last && order.rank(self.sure_to.min(maximum)) < last);
        let below = self.from == f32::MIN || last < order.rank(self.from);
        let above = self.to == f32::INFINITY || last < order.rank(self.to);
        sure && below && above && order.rises_outside(self.from, self.to)
    }
}

/// Adds masses up, and finds open tokens.
struct Survey<By> {
    maximum: f32,
    bands: Bands,
    weights: Weights,
    sums: Sums,
    /// Masses of sure tokens, by block.
    sure: Vec<u64>,
    open: Open,
    order: PhantomData<By>,
}

impl<By: Order> BlockWork for Survey<By> {
    #[inline(always)]
    fn block<L: Lanes>(&mut self, _: usize, block: &[f32; BLOCK]) {
        let Bands { from, sure_from, sure_to, to } = self.bands;
        let (from, sure_from, sure_to, to) = (L::splat(from), L::splat(sure_from), L::splat(sure_to), L::splat(to));
        let (mut all, mut sure, mut weighted) = (MassSum::<L>::new(), MassSum::new(), MassSum::new());
        let (mut open, room) = (OpenBlock::default(), self.open.room());
        let weights = self.weights.of::<L>(block, self.maximum).as_chunks().0;
        for (number, (logits, weights)) in block.as_chunks().0.iter().zip(weights).enumerate() {
            let (logits, weights) = (L::load(logits), L::load(weights));
            let (is_sure, is_open) = if By::CENTRED {
                let is_sure = L::both(logits.at_least(sure_from), logits.below(sure_to));
                let is_within = L::both(logits.at_least(from), logits.below(to));
                // The excess with its sign turned.
                let lack = logits.minus(L::splat(self.maximum)).or_larger(L::splat(-MOST_EXCESS));
                weighted.add(weights.times(lack));
                (is_sure, L::but_not(is_within, is_sure))
            } else {
                let is_sure = logits.at_least(sure_from);
                (is_sure, L::but_not(logits.at_least(from), is_sure))
            };
            all.add_and(weights, is_sure, &mut sure);
            open.add(number, logits, is_open, room);
        }
        self.open.push(open);
        self.sums.mass += all.total() as u64;
        self.sure.push(sure.total() as u64);
        if By::CENTRED {
            self.sums.weighted += -weighted.total() as u64;
        }
    }
}

/// How much more surprising than the likeliest token one is, as far as it can have a mass.
#[inline(always)]
pub(super) fn excess(logit: f32, maximum: f32) -> f32 {
    let excess = maximum - logit;
    if excess < MOST_EXCESS {
        excess
    } else {
        MOST_EXCESS
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inference::sampling::exponential::kept_masses;
    use crate::inference::sampling::filters::{fewest_reaching, weighted_excess, ByLikelihood, ByTypicality, Ranked};

    /// Around a place that is given in hundredths.
    #[derive(Clone, Copy)]
    struct Around<const EXPECTED: u64>(ByTypicality);

    impl<const EXPECTED: u64> Order for Around<EXPECTED> {
        const CENTRED: bool = true;

        fn among(maximum: f32, _: Sums) -> Self {
            Self(ByTypicality { maximum, expected: EXPECTED as f64 / 100.0 })
        }
        fn rank(self, logit: f32) -> f64 {
            self.0.rank(logit)
        }
        fn least_rank(self, maximum: f32) -> f64 {
            self.0.least_rank(maximum)
        }
        fn rises_outside(self, low: f32, high: f32) -> bool {
            self.0.rises_outside(low, high)
        }
        fn up_to(self, last: Candidate) -> Kept {
            self.0.up_to(last)
        }
    }

    /// Coarse where there are few levels, so that there are ties; now and then forbidden, or minus zero.
    fn logits(count: u32, levels: u32) -> Vec<f32> {
        let logit = |token: u32| match token.wrapping_mul(2_654_435_761) >> 16 {
            hash if token > 0 && hash % 11 == 0 => f32::NEG_INFINITY,
            hash if hash % 13 == 0 => -0.0,
            hash => (hash % levels) as f32 / levels as f32 * 3.0,
        };
        (0..count).map(logit).collect()
    }

    /// Good and bad ones.
    fn guesses(distribution: &Distribution<'_>, share: f64) -> Vec<Bands> {
        let band = |from, sure_from, sure_to, to| Bands { from, sure_from, sure_to, to };
        let end = f32::INFINITY;
        vec![
            Bands::ALL_OPEN,
            Bands::of_likeliest(distribution, share),
            Bands::of_typical(distribution, share),
            band(0.5, 2.5, end, end),
            band(1.0, 1.25, 1.75, 2.0),
            band(-1.0, 1.2, 1.3, end),
            band(2.0, 2.5, 2.75, end),
            band(f32::MIN, f32::MIN, end, end),
            band(end, end, end, end),
        ]
    }

    fn check<By: Order>(logits: &[f32], name: &str) {
        let distribution = Distribution::new(logits).unwrap();
        let maximum = distribution.maximum();
        let total: u64 = distribution.block_masses(maximum, 1.0).iter().sum();
        for part in [1, 6, 9, 10] {
            let target = (total / 10 * part).clamp(1, total);
            let mut order = None;
            for guess in guesses(&distribution, part as f64 / 10.0) {
                let first = first_reaching::<By>(&distribution, guess, |all| {
                    assert_eq!(all, total);
                    target
                });
                let order = *order.get_or_insert_with(|| {
                    let mut survey = Sums { mass: total, weighted: 0 };
                    let excesses = logits.iter().filter(|logit| **logit > f32::NEG_INFINITY);
                    survey.weighted = excesses.map(|&logit| weighted_excess(logit, maximum)).sum();
                    By::among(maximum, survey)
                });
                let candidates = distribution.all().into_iter();
                let mut ranked: Vec<Ranked> =
                    candidates.map(|candidate| Ranked::new(order.rank(candidate.logit), candidate, maximum)).collect();
                let count = fewest_reaching(&mut ranked, target);
                let mut expected: Vec<u32> = ranked[..count].iter().map(|ranked| ranked.candidate.token).collect();
                expected.sort_unstable();

                let tokens = 0..logits.len() as u32;
                let found: Vec<u32> =
                    tokens.filter(|token| first.kept.holds(*token, logits[*token as usize])).collect();
                assert_eq!(found, expected, "{name}, {} tokens, {part} tenths, {guess:?}", logits.len());
                for (number, block) in logits.as_chunks::<BLOCK>().0.iter().enumerate() {
                    for (token, logit) in (number as u32 * BLOCK as u32..).zip(first.kept.block(number, block)) {
                        assert_eq!(logit > f32::NEG_INFINITY, expected.binary_search(&token).is_ok());
                    }
                }
                let blocks = 0..logits.len().div_ceil(BLOCK);
                let masses = kept_masses(logits, first.kept, blocks, maximum, 1.0);
                assert_eq!(first.masses, masses, "{name}, {guess:?}");
                let largest = found.iter().map(|token| logits[*token as usize]).fold(f32::NEG_INFINITY, f32::max);
                assert!(first.maximum.is_none_or(|maximum| maximum == largest), "{name}, {guess:?}");
            }
        }
    }

    #[test]
    fn keeps_what_a_full_order_keeps_whatever_the_guess() {
        for (count, levels) in [(4500u32, 4096u32), (1100, 7), (1100, 2), (70, 1), (1, 1)] {
            let logits = logits(count, levels);
            check::<ByLikelihood>(&logits, "by likelihood");
            check::<ByTypicality>(&logits, "by typicality");
            // Ties on both sides of what is expected, and on one.
            check::<Around<150>>(&logits, "around 1.5");
            check::<Around<25>>(&logits, "around 0.25");
            check::<Around<0>>(&logits, "around 0");
            check::<Around<4000>>(&logits, "around 40");
        }
        // So far apart that ranks of different logits are equal.
        let wide: Vec<f32> = (0..300).map(|token| if token % 50 == 7 { 1e30 } else { token as f32 }).collect();
        check::<ByLikelihood>(&wide, "wide, by likelihood");
        check::<ByTypicality>(&wide, "wide, by typicality");
        check::<Around<1000>>(&wide, "wide, around 10");
    }
}
