//! Sums of exponentials over a whole vocabulary, fast enough to be done for every token.

/// Logits in one block; a block's sum and maximum stand for it in later searches.
pub(super) const BLOCK: usize = 64;

/// e^x for x <= 0, to within 3 units in the last place, 0 below -87; straight-line code that compilers vectorise.
#[inline(always)]
pub(super) fn exponential(x: f32) -> f32 {
    // Adding and taking away 1.5 * 2^23 rounds to the nearest whole number.
    const ROUND: f32 = 12_582_912.0;
    let clamped = if x > -87.0 { x } else { -87.0 };
    let shifted = clamped * std::f32::consts::LOG2_E + ROUND;
    let whole = shifted - ROUND;
    // ln 2 in two parts, so that the remainder is exact.
    let rest = clamped - whole * 0.693_359_4 + whole * 2.121_944_4e-4;
    let mut series = 1.987_569_1e-4f32;
    series = series * rest + 1.398_199_9e-3;
    series = series * rest + 8.333_452e-3;
    series = series * rest + 4.166_579_6e-2;
    series = series * rest + 1.666_666_5e-1;
    series = series * rest + 0.5;
    let fraction = series * rest * rest + rest + 1.0;
    // The low bits of `shifted` are the whole number: moved into the exponent, they multiply by 2^whole.
    let scaled = f32::from_bits(fraction.to_bits().wrapping_add(shifted.to_bits() << 23));
    if x > -87.0 {
        scaled
    } else {
        0.0
    }
}

/// The sums of e^((logit - maximum) * scale) over each block of `logits`, in double precision.
pub(super) fn block_sums(logits: &[f32], maximum: f32, scale: f32) -> Vec<f64> {
    logits.chunks(BLOCK).map(|block| block_sum(block, maximum, scale)).collect()
}

/// The natural logarithm of the sum of e^logit, exact to double rounding of single-precision terms.
pub(super) fn log_sum(logits: &[f32], maximum: f32) -> f64 {
    f64::from(maximum) + block_sums(logits, maximum, 1.0).iter().sum::<f64>().ln()
}

fn block_sum(block: &[f32], maximum: f32, scale: f32) -> f64 {
    // Eight lanes with a fixed assignment: vectorised, and the same order on every machine. A lane adds at most eight
    // terms, so single precision loses no more than the terms themselves have.
    let mut lanes = [0f32; 8];
    let (chunks, rest) = block.as_chunks::<8>();
    for chunk in chunks {
        for (lane, &logit) in lanes.iter_mut().zip(chunk) {
            *lane += exponential((logit - maximum) * scale);
        }
    }
    for (lane, &logit) in lanes.iter_mut().zip(rest) {
        *lane += exponential((logit - maximum) * scale);
    }
    lanes.iter().map(|&lane| f64::from(lane)).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn close_to_the_true_exponential_over_its_whole_range() {
        let mut worst = 0f64;
        for step in 0..870_000 {
            let x = -(step as f32) * 1e-4;
            let truth = f64::from(x).exp();
            worst = worst.max(((f64::from(exponential(x)) - truth) / truth).abs());
        }
        assert!(worst < 2e-7, "{worst}");
    }

    #[test]
    fn exact_at_the_ends() {
        assert_eq!(exponential(0.0), 1.0);
        assert_eq!(exponential(-88.0), 0.0);
        assert_eq!(exponential(f32::NEG_INFINITY), 0.0);
    }

    #[test]
    fn log_sums_of_blocks_that_do_not_divide_evenly() {
        for length in [1usize, 7, 8, 63, 64, 65, 1000] {
            let logits: Vec<f32> = (0..length).map(|index| (index as f32 * 0.37).sin() * 5.0).collect();
            let maximum = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let truth = logits.iter().map(|&logit| f64::from(logit).exp()).sum::<f64>().ln();
            assert!((log_sum(&logits, maximum) - truth).abs() < 1e-6, "{length}");
        }
    }
}
