//! Loops over whole vocabularies, compiled for wider vectors where the processor has them.
//!
//! Nothing is fused or reordered by that: results have the same bits on every path.

use super::lanes::Lanes;
#[cfg(target_arch = "aarch64")]
use super::lanes_neon::Baseline;
#[cfg(target_arch = "x86_64")]
use super::{lanes_avx2::Avx2, lanes_avx512::Avx512, lanes_sse2::Baseline};

/// Work that gains by wide vectors. `run` must be `#[inline(always)]`, and all that is to gain inlined into it: only then
/// is it compiled anew for each kind of vectors.
pub trait WideWork {
    /// What it gives.
    type Answer;

    /// Does it, with what the processor has for sixteen floats.
    fn run<L: Lanes>(self) -> Self::Answer;
}

/// Runs `work`, compiled for the widest vectors of this processor that are known here.
pub fn with_wide_vectors<Work: WideWork>(work: Work) -> Work::Answer {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
            && is_x86_feature_detected!("popcnt")
        {
            // SAFETY: the processor has these instructions.
            return unsafe { with_avx512(work) };
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("popcnt") {
            // SAFETY: the processor has these instructions.
            return unsafe { with_avx2(work) };
        }
    }
    work.run::<Baseline>()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,popcnt")]
fn with_avx2<Work: WideWork>(work: Work) -> Work::Answer {
    work.run::<Avx2>()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,popcnt")]
fn with_avx512<Work: WideWork>(work: Work) -> Work::Answer {
    work.run::<Avx512>()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::lanes::LANES;

    /// What every operation gives for two times sixteen numbers, as bits.
    struct Everything<'a>(&'a [f32; LANES], &'a [f32; LANES]);

    impl WideWork for Everything<'_> {
        type Answer = Vec<u32>;

        #[inline(always)]
        fn run<L: Lanes>(self) -> Vec<u32> {
            let (a, b) = (L::load(self.0), L::load(self.1));
            let (at_least, below) = (a.at_least(b), a.below(L::splat(1.5)));
            let masks = [at_least, below, L::both(at_least, below), L::but_not(at_least, below)];
            let mut counts = L::no_counts();
            let mut answer = vec![a.largest().to_bits()];
            let numbers = [
                a.plus(b),
                a.minus(b),
                a.times(b),
                a.or_larger(b),
                a.minus_exact_product(b, L::splat(0.5)),
                a.times_two_to_the_low_bits(L::splat(12_582_912.0 - 3.0)),
                a.or_negative_infinity(masks[0]),
            ];
            for numbers in numbers {
                let mut stored = [0.0; LANES];
                numbers.store(&mut stored);
                answer.extend(stored.map(f32::to_bits));
                counts = numbers.count(counts);
            }
            for mask in masks {
                let mut packed = [0.0; LANES];
                let count = a.pack(mask, &mut packed);
                answer.extend([u32::from(L::bits(mask)), count as u32]);
                answer.extend(packed[..count].iter().map(|number| number.to_bits()));
                counts = b.count_where(mask, counts);
            }
            answer.push(L::total(counts));
            answer
        }
    }

    #[test]
    fn wide_vectors_give_what_every_processor_gives() {
        let number = |index: usize| (index as f32 * 12.9898).sin() * 4.0;
        for round in 0..100 {
            let mut a: [f32; LANES] = std::array::from_fn(|lane| number(round * 32 + lane));
            let b = std::array::from_fn(|lane| number(round * 32 + 16 + lane));
            a[round % LANES] = [b[round % LANES], -0.0, f32::NEG_INFINITY, 1.5][round % 4];
            let baseline = Everything(&a, &b).run::<Baseline>();
            assert_eq!(with_wide_vectors(Everything(&a, &b)), baseline, "{a:?} {b:?}");
            #[cfg(target_arch = "x86_64")]
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("popcnt") {
                // SAFETY: the processor has these instructions.
                assert_eq!(unsafe { with_avx2(Everything(&a, &b)) }, baseline, "{a:?} {b:?}");
            }
        }
    }

    #[test]
    fn lanes_do_what_their_names_say() {
        let a: [f32; LANES] = std::array::from_fn(|lane| lane as f32);
        let (numbers, five) = (Baseline::load(&a), Baseline::splat(5.0));
        let mask = numbers.at_least(five);
        assert_eq!((Baseline::bits(mask), Baseline::bits(numbers.below(five))), (0xffe0, 0x001f));
        assert_eq!(Baseline::bits(Baseline::but_not(mask, numbers.at_least(Baseline::splat(7.0)))), 0x0060);
        let mut packed = [0.0; LANES];
        assert_eq!(numbers.pack(mask, &mut packed), 11);
        assert_eq!(packed[..11], a[5..]);
        assert_eq!(
            (numbers.largest(), five.times_two_to_the_low_bits(Baseline::splat(12_582_914.0)).largest()),
            (15.0, 20.0)
        );
        assert_eq!(numbers.or_negative_infinity(numbers.below(five)).largest(), 4.0);
        let ones = Baseline::splat(f32::from_bits(1));
        let counts = ones.count_where(mask, ones.count(Baseline::no_counts()));
        assert_eq!(Baseline::total(counts), 27);
    }
}
