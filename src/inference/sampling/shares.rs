//! The first tokens of an order that together reach a share of the whole vocabulary's probability, without sorting it.
//!
//! A guess says which tokens are surely among them, which are not, and which few are open. One pass adds up the masses of the
//! first and finds the last, which alone are put in order. Masses are whole numbers, so the answer is that of a full sort; where
//! it shows that the guess was wrong, all tokens are open.

use std::marker::PhantomData;

use super::blocks::{on_each_block, BlockWork, Hits, BLOCK};
use super::distribution::{Candidate, Distribution};
use super::exponential::{mass_bits, masses_of, Weights, MOST_EXCESS, NO_MASS};
use super::filters::{fewest_reaching, Ranked};
use super::guess::Bands;
use super::kept::Kept;

/// An order of tokens by their logits.
pub(super) trait Order: Copy {
    /// Whether the order begins somewhere between the logits: it then needs the weighted excesses, and has two ends.
    const CENTRED: bool;

    /// The order among tokens of which the likeliest has the logit `maximum`.
    fn among(maximum: f32, sums: Sums) -> Self;
    /// Lower comes first; of equals the lower token.
    fn rank(self, logit: f32) -> f64;
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
    let mut survey = Survey::<By> {
        maximum,
        bands,
        weights: Weights::new(),
        sums: Sums::default(),
        sure: vec![0; distribution.logits().len().div_ceil(BLOCK)],
        open: Hits::new(),
        order: PhantomData,
    };
    on_each_block(distribution.logits(), &mut survey);
    let Survey { sums, sure: mut masses, open: Hits { tokens, .. }, .. } = survey;
    let order = By::among(maximum, sums);
    let before = masses.iter().sum();
    let open = Open::new(tokens, distribution, order);
    let last = open.last_reaching(before, target(sums.mass))?;
    if !bands.divide(order, last.logit, maximum) {
        return None;
    }

    let kept = order.up_to(last);
    let mut largest = f32::NEG_INFINITY;
    for (&token, (&logit, &mass)) in open.tokens.iter().zip(open.logits.iter().zip(&open.masses)) {
        let holds = kept.holds(token, logit);
        masses[token as usize / BLOCK] += if holds { mass } else { 0 };
        largest = if holds && logit > largest { logit } else { largest };
    }
    let maximum = match bands {
        _ if bands.are_sure(maximum) => Some(maximum),
        Bands { sure_from: f32::INFINITY, .. } => Some(largest),
        _ if largest >= bands.sure_to => Some(largest),
        _ => None,
    };
    Some(First { kept, masses, maximum })
}

impl Bands {
    #[inline(always)]
    fn are_sure(self, logit: f32) -> bool {
        logit >= self.sure_from && logit < self.sure_to
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
    open: Hits,
    order: PhantomData<By>,
}

impl<By: Order> BlockWork for Survey<By> {
    #[inline(always)]
    fn block(&mut self, number: usize, block: &[f32; BLOCK]) {
        let (maximum, bands) = (self.maximum, self.bands);
        let weights = self.weights.of(block, |logit| logit - maximum);
        let (mut all, mut sure) = (0u64, 0u64);
        for (&weight, &logit) in weights.iter().zip(block) {
            let bits = mass_bits(weight);
            let is_sure = if By::CENTRED { bands.are_sure(logit) } else { logit >= bands.sure_from };
            all = all.wrapping_add(bits);
            sure = sure.wrapping_add(if is_sure { bits } else { NO_MASS });
        }
        self.sums.mass += masses_of(all);
        self.sure[number] = masses_of(sure);
        if By::CENTRED {
            let weighted = weights
                .iter()
                .zip(block)
                .fold(0u64, |sum, (&weight, &logit)| sum.wrapping_add(mass_bits(weight * excess(logit, maximum))));
            self.sums.weighted += masses_of(weighted);
            self.open.append(number, block, |logit| {
                (logit >= bands.from && logit < bands.sure_from) || (logit >= bands.sure_to && logit < bands.to)
            });
        } else {
            self.open.append(number, block, |logit| logit >= bands.from && logit < bands.sure_from);
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

/// The tokens to be looked at one by one, in rising order.
struct Open<By> {
    tokens: Vec<u32>,
    logits: Vec<f32>,
    order: By,
    maximum: f32,
    weights: Weights,
    masses: Vec<u64>,
    ranks: Vec<f64>,
}

impl<By: Order> Open<By> {
    fn new(tokens: Vec<u32>, distribution: &Distribution<'_>, order: By) -> Self {
        let logits: Vec<f32> = tokens.iter().map(|&token| distribution.logits()[token as usize]).collect();
        let room = logits.len() + BLOCK;
        let mut open = Self {
            tokens,
            logits: Vec::new(),
            order,
            maximum: distribution.maximum(),
            weights: Weights::new(),
            masses: Vec::with_capacity(room),
            ranks: Vec::with_capacity(room),
        };
        on_each_block(&logits, &mut open);
        open.ranks.truncate(logits.len());
        open.logits = logits;
        open
    }

    /// The first one at which the masses by the order, and those `before` all of them, reach `target`.
    fn last_reaching(&self, mut before: u64, target: u64) -> Option<Candidate> {
        if before >= target {
            return None;
        }
        let (mut least, mut most) = ([f64::INFINITY; 8], [f64::NEG_INFINITY; 8]);
        for ranks in self.ranks.chunks(8) {
            for ((least, most), &rank) in least.iter_mut().zip(&mut most).zip(ranks) {
                *least = if rank < *least { rank } else { *least };
                *most = if rank > *most { rank } else { *most };
            }
        }
        let least = least.into_iter().fold(f64::INFINITY, f64::min);
        let most = most.into_iter().fold(f64::NEG_INFINITY, f64::max);
        let most = most.min(least + 2.0 * f64::from(MOST_EXCESS));
        let scale = if most > least { LAST_BUCKET as f64 / (most - least) } else { 0.0 };
        let bucket_of = |rank: f64| {
            const ROUND: f64 = (1u64 << 52) as f64;
            let place = (rank - least) * scale;
            (if place < LAST_BUCKET as f64 { place } else { LAST_BUCKET as f64 } + ROUND).to_bits() as u32
        };
        let buckets: Vec<u32> = self.ranks.iter().map(|&rank| bucket_of(rank)).collect();
        let mut sums = [0; LAST_BUCKET + 1];
        for (&bucket, &mass) in buckets.iter().zip(&self.masses) {
            sums[bucket as usize & LAST_BUCKET] += mass;
        }
        let reached = sums.iter().position(|&mass| {
            before += mass;
            before >= target
        })?;
        before -= sums[reached];
        let ranked = |place: usize| Ranked {
            rank: self.ranks[place],
            mass: self.masses[place],
            candidate: Candidate { token: self.tokens[place], logit: self.logits[place] },
        };
        let places = buckets.iter().enumerate().filter(|(_, bucket)| **bucket as usize == reached);
        let mut ranked: Vec<Ranked> = places.map(|(place, _)| ranked(place)).collect();
        let count = fewest_reaching(&mut ranked, target - before);
        ranked[..count].last().map(|last| last.candidate)
    }
}

impl<By: Order> BlockWork for Open<By> {
    #[inline(always)]
    fn block(&mut self, _: usize, block: &[f32; BLOCK]) {
        let maximum = self.maximum;
        let weights = self.weights.of(block, |logit| logit - maximum);
        self.masses.extend_from_slice(&weights.map(|weight| mass_bits(weight) - NO_MASS));
        self.ranks.extend_from_slice(&block.map(|logit| self.order.rank(logit)));
    }
}

const LAST_BUCKET: usize = 1023;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inference::sampling::exponential::block_masses;
    use crate::inference::sampling::filters::{weighted_excess, ByLikelihood, ByTypicality};

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
                assert_eq!(first.masses, block_masses(logits, first.kept, maximum, 1.0), "{name}, {guess:?}");
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
