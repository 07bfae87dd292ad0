//! Loops over whole vocabularies, compiled for wider vectors where the processor has them.
//!
//! Nothing is fused or reordered by that: results have the same bits on every path.

/// Work that gains by wide vectors. `run` must be `#[inline(always)]`, and all that is to gain inlined into it: only then
/// is it compiled anew for each kind of vectors.
pub trait WideWork {
    /// What it gives.
    type Answer;

    /// Does it.
    fn run(self) -> Self::Answer;
}

/// Runs `work`, compiled for the widest vectors of this processor that are known here.
pub fn with_wide_vectors<Work: WideWork>(work: Work) -> Work::Answer {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512dq")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vl")
        {
            // SAFETY: the processor has these instructions.
            return unsafe { with_avx512(work) };
        }
        if is_x86_feature_detected!("avx2") {
            // SAFETY: the processor has these instructions.
            return unsafe { with_avx2(work) };
        }
    }
    work.run()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn with_avx2<Work: WideWork>(work: Work) -> Work::Answer {
    work.run()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn with_avx512<Work: WideWork>(work: Work) -> Work::Answer {
    work.run()
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Squares<'a>(&'a [f32]);

    impl WideWork for Squares<'_> {
        type Answer = f32;

        #[inline(always)]
        fn run(self) -> f32 {
            self.0.iter().map(|number| number * number).sum()
        }
    }

    #[test]
    fn gives_what_the_work_gives() {
        let numbers: Vec<f32> = (0..1000).map(|index| (index as f32).sin()).collect();
        assert_eq!(with_wide_vectors(Squares(&numbers)).to_bits(), Squares(&numbers).run().to_bits());
    }
}
