//! Loops over whole vocabularies, compiled for wider vectors where the processor has them.
//!
//! Nothing is fused or reordered by that: results have the same bits on every path.

/// Runs `work`, compiled for the widest vectors of this processor that are known here. Only what is inlined into `work`
/// gains by it.
#[inline]
pub fn with_wide_vectors<Answer>(work: impl FnOnce() -> Answer) -> Answer {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512dq")
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
    work()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn with_avx2<Answer>(work: impl FnOnce() -> Answer) -> Answer {
    work()
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512dq,avx512vl")]
fn with_avx512<Answer>(work: impl FnOnce() -> Answer) -> Answer {
    work()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_what_the_work_gives() {
        let numbers: Vec<f32> = (0..1000).map(|index| (index as f32).sin()).collect();
        let sum = || numbers.iter().map(|number| number * number).sum::<f32>();
        assert_eq!(with_wide_vectors(sum).to_bits(), sum().to_bits());
    }
}
