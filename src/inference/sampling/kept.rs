//! Which tokens a filter of the whole vocabulary left: those of an interval of logits, so that nothing has to be copied.

use super::blocks::BLOCK;

/// Where a logit stands in the total order of floats: rises with it, and zero is above minus zero.
#[inline(always)]
pub(super) fn key(logit: f32) -> i32 {
    let bits = logit.to_bits() as i32;
    bits ^ ((bits >> 31) as u32 >> 1) as i32
}

/// The float that [`key`] has this value of.
pub(super) fn logit_of(key: i32) -> f32 {
    f32::from_bits((key ^ ((key >> 31) as u32 >> 1) as i32) as u32)
}

/// The keys from `low` to `high`, both included.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Interval {
    pub(super) low: i32,
    pub(super) high: i32,
}

impl Interval {
    #[inline(always)]
    fn holds(self, logit: f32) -> bool {
        let key = key(logit);
        key >= self.low && key <= self.high
    }
}

/// The tokens that are left. The last of them in a filter's order may be one of several equals, of which the lower tokens
/// are kept.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Kept {
    /// The last token that [`including`](Self::including) is for; after it, [`before`](Self::before).
    pub(super) until: u32,
    pub(super) including: Interval,
    pub(super) before: Interval,
}

impl Kept {
    /// All but the forbidden ones, whose logits are negative infinity.
    pub(super) const ALL: Self = Self { until: u32::MAX, including: Interval::FINITE, before: Interval::FINITE };

    #[inline(always)]
    fn interval(self, token: u32) -> Interval {
        if token <= self.until {
            self.including
        } else {
            self.before
        }
    }

    pub(super) fn holds(self, token: u32, logit: f32) -> bool {
        self.interval(token).holds(logit)
    }

    /// A block of logits with negative infinity in place of what is not kept.
    #[inline(always)]
    pub(super) fn block(self, number: usize, block: &[f32; BLOCK]) -> [f32; BLOCK] {
        let first = (number * BLOCK) as u32;
        let mut own = *block;
        if first <= self.until && self.until < first + (BLOCK as u32 - 1) {
            for (logit, token) in own.iter_mut().zip(first..) {
                *logit = if self.holds(token, *logit) { *logit } else { f32::NEG_INFINITY };
            }
        } else {
            let interval = self.interval(first);
            for logit in &mut own {
                *logit = if interval.holds(*logit) { *logit } else { f32::NEG_INFINITY };
            }
        }
        own
    }

    /// The least logit that any token may have.
    pub(super) fn least(self) -> f32 {
        logit_of(self.including.low.min(self.before.low))
    }

    /// The same without what is below `least`.
    pub(super) fn at_least(mut self, least: f32) -> Self {
        // As floats compare: minus zero is not below zero.
        let low = if least == 0.0 { key(-0.0) } else { key(least) };
        self.including.low = self.including.low.max(low);
        self.before.low = self.before.low.max(low);
        self
    }
}

impl Interval {
    /// Every finite number.
    const FINITE: Self = Self { low: -0x7f7f_ffff - 1, high: 0x7f7f_ffff };
}

/// The first key at or above `from` and below `to` for which `reached` holds, or `to`; it must hold for all after it.
pub(super) fn first_key(from: i32, to: i32, reached: impl Fn(f32) -> bool) -> i32 {
    let (mut from, mut to) = (i64::from(from), i64::from(to));
    while from < to {
        let middle = from + (to - from) / 2;
        if reached(logit_of(middle as i32)) {
            to = middle;
        } else {
            from = middle + 1;
        }
    }
    to as i32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_order_floats_and_give_them_back() {
        let rising = [f32::NEG_INFINITY, f32::MIN, -1.5, -1e-40, -0.0, 0.0, 1e-40, 1.0, f32::MAX, f32::INFINITY];
        assert!(rising.windows(2).all(|pair| key(pair[0]) < key(pair[1])));
        assert!(rising.iter().all(|&logit| logit_of(key(logit)).to_bits() == logit.to_bits()));
        assert_eq!((key(f32::MIN), key(f32::MAX)), (Interval::FINITE.low, Interval::FINITE.high));
        assert!(!Kept::ALL.holds(3, f32::NEG_INFINITY));
    }

    #[test]
    fn finds_the_first_key_that_is_reached() {
        for bound in [-3.0f32, -0.0, 0.0, 1e-40, 7.25] {
            let found = first_key(key(f32::MIN), key(f32::MAX), |logit| logit.total_cmp(&bound).is_ge());
            assert_eq!(found, key(bound));
        }
        assert_eq!(first_key(5, 9, |_| false), 9);
    }

    #[test]
    fn a_least_logit_of_zero_keeps_minus_zero() {
        let kept = Kept::ALL.at_least(0.0);
        assert!(kept.holds(0, -0.0) && kept.holds(0, 0.0) && !kept.holds(0, -1e-40));
        assert_eq!(Kept::ALL.at_least(2.0).least(), 2.0);
    }
}
