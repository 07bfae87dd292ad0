//! Work on a vocabulary's logits, block by block.

use crate::engine::{with_wide_vectors, Lanes, WideWork};

/// Logits in one block; a block's sum or maximum stands for it in later searches. Blocks of one known length are what
/// compilers vectorise best.
pub(super) const BLOCK: usize = 256;

/// What is done with each block.
pub(super) trait BlockWork {
    /// Takes the block of this number. Must be `#[inline(always)]`, so that it is compiled for wide vectors.
    fn block<L: Lanes>(&mut self, number: usize, block: &[f32; BLOCK]);
}

/// Has `work` done on each block; the last one is filled up with forbidden logits.
pub(super) fn on_each_block(logits: &[f32], work: &mut impl BlockWork) {
    with_wide_vectors(OnBlocks { logits, chosen: 0..logits.len().div_ceil(BLOCK), work });
}

/// Has `work` done on the blocks of `chosen` numbers.
pub(super) fn on_blocks(logits: &[f32], chosen: impl Iterator<Item = usize>, work: &mut impl BlockWork) {
    with_wide_vectors(OnBlocks { logits, chosen, work });
}

struct OnBlocks<'a, Chosen, Work> {
    logits: &'a [f32],
    chosen: Chosen,
    work: &'a mut Work,
}

impl<Chosen: Iterator<Item = usize>, Work: BlockWork> WideWork for OnBlocks<'_, Chosen, Work> {
    type Answer = ();

    #[inline(always)]
    fn run<L: Lanes>(self) {
        let (blocks, rest) = self.logits.as_chunks::<BLOCK>();
        for number in self.chosen {
            match blocks.get(number) {
                Some(block) => self.work.block::<L>(number, block),
                None => {
                    let mut last = [f32::NEG_INFINITY; BLOCK];
                    last[..rest.len()].copy_from_slice(rest);
                    self.work.block::<L>(number, &last);
                }
            }
        }
    }
}

/// Tokens, found block by block, in rising order.
pub(super) struct Hits {
    pub(super) tokens: Vec<u32>,
    /// One block's places.
    own: [u8; BLOCK + 8],
}

impl Hits {
    pub(super) const fn new() -> Self {
        Self { tokens: Vec::new(), own: [0; BLOCK + 8] }
    }

    /// Appends the tokens of the block of this number for whose logits `is_hit` holds.
    ///
    /// Without a branch for each, which a processor would mispredict: eight at a time come from a table.
    #[inline(always)]
    pub(super) fn append(&mut self, number: usize, block: &[f32; BLOCK], is_hit: impl Fn(f32) -> bool) {
        let hits = block.map(|logit| u8::from(is_hit(logit)));
        let mut count = 0;
        let mut first = 0u64;
        for eight in hits.as_chunks::<8>().0 {
            // Moves the eight bytes' lowest bits into one byte.
            let bits = u64::from_le_bytes(*eight).wrapping_mul(0x0102_0408_1020_4080) >> 56;
            let places = (PLACES[bits as usize] + first).to_le_bytes();
            self.own[count..count + 8].copy_from_slice(&places);
            count += COUNTS[bits as usize] as usize;
            first = first.wrapping_add(0x0808_0808_0808_0808);
        }
        let first = (number * BLOCK) as u32;
        self.tokens.extend(self.own[..count].iter().map(|&place| first + u32::from(place)));
    }
}

/// Of each byte: the places of its ones, in bytes from the lowest on.
const PLACES: [u64; 256] = {
    let mut places = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let (mut place, mut count) = (0, 0);
        while place < 8 {
            if byte >> place & 1 == 1 {
                places[byte] |= place << (8 * count);
                count += 1;
            }
            place += 1;
        }
        byte += 1;
    }
    places
};

/// Of each byte: how many ones it has.
const COUNTS: [u8; 256] = {
    let mut counts = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        counts[byte] = (byte as u32).count_ones() as u8;
        byte += 1;
    }
    counts
};

#[cfg(test)]
mod tests {
    use super::*;

    struct Positive(Hits);

    impl BlockWork for Positive {
        #[inline(always)]
        fn block<L: Lanes>(&mut self, number: usize, block: &[f32; BLOCK]) {
            self.0.append(number, block, |logit| logit > 0.0);
        }
    }

    #[test]
    fn finds_what_is_looked_for_in_every_block_or_the_chosen_ones() {
        for (length, every) in [(0u32, 1), (1, 1), (255, 3), (256, 1), (257, 2), (5000, 7), (5000, 900)] {
            let logits: Vec<f32> = (0..length)
                .map(|token| if (token.wrapping_mul(2_654_435_761) >> 8) % every == 0 { 1.0 } else { -1.0 })
                .collect();
            let expected: Vec<u32> = (0..length).filter(|token| logits[*token as usize] > 0.0).collect();
            let mut work = Positive(Hits::new());
            on_each_block(&logits, &mut work);
            assert_eq!(work.0.tokens, expected);
            let mut work = Positive(Hits::new());
            on_blocks(&logits, (0..(length as usize).div_ceil(BLOCK)).step_by(2), &mut work);
            let is_chosen = |token: &&u32| (**token / BLOCK as u32).is_multiple_of(2);
            assert!(work.0.tokens.iter().eq(expected.iter().filter(is_chosen)));
        }
    }
}
