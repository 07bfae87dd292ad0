//! Random numbers by counting: the n-th number of a seed is computed from n alone, so it depends on nothing that went
//! before and two sessions never share a state.
//!
//! Philox4x32-10 (Salmon and others, "Parallel random numbers: as easy as 1, 2, 3", 2011).

use std::hash::BuildHasher;

/// The whole number from 0 up to but not including `total` that `seed` has at place `index`: a number of 53 bits, scaled.
#[must_use]
pub fn below(seed: u64, index: u64, total: u64) -> u64 {
    ((u128::from(bits(seed, index)) * u128::from(total)) >> 53) as u64
}

fn bits(seed: u64, index: u64) -> u64 {
    let words = philox([low(index), high(index), 0, 0], [low(seed), high(seed)]);
    ((u64::from(words[0]) << 32) | u64::from(words[1])) >> 11
}

/// A seed for who gave none: from the operating system's randomness, by way of the standard library's hash keys.
#[must_use]
pub fn generate_seed() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    // Not the thread's id: asking for it would make the standard library allocate for a host's thread, for ever.
    std::collections::hash_map::RandomState::new().hash_one((now, std::process::id()))
}

/// Ten rounds over a counter of four words under a key of two.
fn philox(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for _ in 0..10 {
        let left = u64::from(MULTIPLIERS[0]) * u64::from(counter[0]);
        let right = u64::from(MULTIPLIERS[1]) * u64::from(counter[2]);
        counter = [high(right) ^ counter[1] ^ key[0], low(right), high(left) ^ counter[3] ^ key[1], low(left)];
        key = [key[0].wrapping_add(WEYL[0]), key[1].wrapping_add(WEYL[1])];
    }
    counter
}

fn low(word: u64) -> u32 {
    (word & 0xffff_ffff) as u32
}

fn high(word: u64) -> u32 {
    (word >> 32) as u32
}

const MULTIPLIERS: [u32; 2] = [0xd251_1f53, 0xcd9e_8d57];
const WEYL: [u32; 2] = [0x9e37_79b9, 0xbb67_ae85];

#[cfg(test)]
mod tests {
    use super::*;

    /// The known answers that come with the authors' Random123 library.
    #[test]
    fn published_vectors() {
        assert_eq!(philox([0; 4], [0; 2]), [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]);
        assert_eq!(philox([u32::MAX; 4], [u32::MAX; 2]), [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]);
        assert_eq!(
            philox([0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344], [0xa409_3822, 0x299f_31d0]),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }

    #[test]
    fn numbers_fill_their_range_evenly() {
        let mut bins = [0u32; 64];
        for index in 0..64_000 {
            bins[below(7, index, 64) as usize] += 1;
        }
        // Chi-squared with 63 degrees of freedom: 103.4 is passed once in a thousand seeds; this seed is fixed.
        let statistic: f64 = bins.iter().map(|&count| (f64::from(count) - 1000.0).powi(2) / 1000.0).sum();
        assert!(statistic < 103.4, "{statistic}");
    }

    #[test]
    fn seeds_and_places_give_different_numbers() {
        let mut seen = std::collections::HashSet::new();
        for seed in [0, 1, 1 << 32, u64::MAX] {
            for index in [0, 1, 1 << 32, u64::MAX] {
                assert!(seen.insert(bits(seed, index)));
            }
        }
        assert_ne!(generate_seed(), generate_seed());
        assert_eq!((below(3, 4, 0), below(3, 4, 1)), (0, 0));
        assert!(below(3, 4, u64::MAX) < u64::MAX);
    }
}
