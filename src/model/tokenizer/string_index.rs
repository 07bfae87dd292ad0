//! A hash table for vocabularies and merges, small enough to fill with hundreds of thousands of entries even in an
//! unoptimised build.

use std::hash::{BuildHasher, Hasher, RandomState};

/// Finds the number of a byte string. The strings themselves stay with the owner.
#[derive(Debug)]
pub(super) struct StringIndex {
    seed: u64,
    /// Upper half: part of the hash; lower half: the number plus one; 0: empty. A power of two of them.
    slots: Vec<u64>,
}

impl StringIndex {
    /// The strings `text(0)` to `text(count - 1)`. Of equal ones the first is entered, and `equal` is told of it and of
    /// the later one.
    pub(super) fn new<'a>(count: u32, text: impl Fn(u32) -> &'a [u8], mut equal: impl FnMut(u32, u32)) -> Self {
        let mut index = Self { seed: random_seed(), slots: vec![0; slots_for(count as usize)] };
        let mut hashes = [0; AT_ONCE as usize];
        for first in (0..count).step_by(AT_ONCE as usize) {
            let numbers = first..count.min(first + AT_ONCE);
            // The slots of some strings are asked for together: each is far away, and the search for one would not
            // begin before the one before has been found.
            let mut asked = 0;
            for (number, hash) in numbers.clone().zip(&mut hashes) {
                *hash = self::hash(index.seed, text(number));
                asked |= index.slots[*hash as usize & (index.slots.len() - 1)];
            }
            std::hint::black_box(asked);
            for (number, hash) in numbers.zip(hashes) {
                match index.find(text(number), hash, &text) {
                    Ok(there) => equal(there, number),
                    Err(slot) => index.slots[slot] = (hash & TAG) | (u64::from(number) + 1),
                }
            }
        }
        index
    }

    /// The number of `string`, where `text(number)` is the string of a number.
    pub(super) fn get<'a>(&self, string: &[u8], text: impl Fn(u32) -> &'a [u8]) -> Option<u32> {
        self.find(string, hash(self.seed, string), text).ok()
    }

    fn find<'a>(&self, string: &[u8], hash: u64, text: impl Fn(u32) -> &'a [u8]) -> Result<u32, usize> {
        let mask = self.slots.len() - 1;
        let mut slot = hash as usize & mask;
        loop {
            let entry = self.slots[slot];
            if entry == 0 {
                return Err(slot);
            }
            if entry & TAG == hash & TAG {
                let number = (entry & !TAG) as u32 - 1;
                if text(number) == string {
                    return Ok(number);
                }
            }
            slot = (slot + 1) & mask;
        }
    }
}

/// Multiply and fold over eight bytes at a time. The seed differs in every process, so that a file cannot hold
/// strings chosen to collide.
fn hash(seed: u64, bytes: &[u8]) -> u64 {
    let mut state = fold(seed ^ bytes.len() as u64);
    let mut rest = bytes;
    while let Some((word, after)) = rest.split_first_chunk::<8>() {
        state = fold(state ^ u64::from_le_bytes(*word));
        rest = after;
    }
    if !rest.is_empty() {
        let mut word = [0; 8];
        word[..rest.len()].copy_from_slice(rest);
        state = fold(state ^ u64::from_le_bytes(word));
    }
    state
}

fn fold(value: u64) -> u64 {
    let product = u128::from(value ^ 0x9e37_79b9_7f4a_7c15) * 0xa076_1d64_78bd_642f;
    (product as u64) ^ (product >> 64) as u64
}

fn random_seed() -> u64 {
    RandomState::new().build_hasher().finish()
}

/// At most two thirds full.
fn slots_for(count: usize) -> usize {
    (count.max(4) * 3 / 2).next_power_of_two()
}

const TAG: u64 = !0 << 32;
const AT_ONCE: u32 = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_found_and_first_entries_stay() {
        let mut strings: Vec<String> = (0..5000).map(|number| format!("string {number}")).collect();
        strings[4321] = strings[17].clone();
        let text = |number: u32| strings[number as usize].as_bytes();
        let mut equal = Vec::new();
        let index = StringIndex::new(5000, text, |first, second| equal.push((first, second)));
        for (number, string) in strings.iter().enumerate() {
            let first = if number == 4321 { 17 } else { number as u32 };
            assert_eq!(index.get(string.as_bytes(), text), Some(first));
        }
        assert_eq!(equal, [(17, 4321)]);
        assert_eq!(index.get(b"string", text), None);
        assert_eq!(index.get(b"", text), None);
        assert_eq!(StringIndex::new(0, text, |_, _| ()).get(b"string 1", text), None);
    }
}
