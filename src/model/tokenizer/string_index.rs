//! Hash tables for the vocabulary, small enough to fill with a hundred thousand entries even in an unoptimised build.

use std::hash::{BuildHasher, Hasher, RandomState};

/// Finds the number of a byte string. The strings themselves stay with the owner.
#[derive(Debug)]
pub(super) struct StringIndex {
    seed: u64,
    /// Upper half: part of the hash; lower half: the number plus one; 0: empty. A power of two of them.
    slots: Vec<u64>,
}

impl StringIndex {
    /// Room for `count` strings.
    pub(super) fn with_capacity(count: usize) -> Self {
        Self { seed: random_seed(), slots: vec![0; slots_for(count)] }
    }

    /// The number of `string`, where `text(number)` is the string of a number.
    pub(super) fn get<'a>(&self, string: &[u8], text: impl Fn(u32) -> &'a [u8]) -> Option<u32> {
        self.find(string, hash(self.seed, string), text).ok()
    }

    /// Enters `string` as `number`; if it is there already, nothing changes and its number is returned.
    /// There must be room: the owner sizes the table.
    pub(super) fn insert<'a>(&mut self, string: &[u8], number: u32, text: impl Fn(u32) -> &'a [u8]) -> Option<u32> {
        let hash = hash(self.seed, string);
        match self.find(string, hash, text) {
            Ok(there) => Some(there),
            Err(slot) => {
                self.slots[slot] = (hash & TAG) | (u64::from(number) + 1);
                None
            }
        }
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

/// Finds what a pair of numbers merges to.
#[derive(Debug)]
pub(super) struct PairTable {
    seed: u64,
    slots: Vec<Merge>,
}

/// How a pair of symbols merges.
#[derive(Debug, Clone, Copy)]
pub(super) struct Merge {
    pub(super) left: u32,
    pub(super) right: u32,
    /// The lower merges first.
    pub(super) rank: u32,
    pub(super) merged: u32,
}

impl PairTable {
    /// Room for `count` pairs.
    pub(super) fn with_capacity(count: usize) -> Self {
        Self { seed: random_seed(), slots: vec![EMPTY; slots_for(count)] }
    }

    /// Enters a merge, unless its pair has one. There must be room.
    pub(super) fn insert(&mut self, merge: Merge) {
        let slot = self.slot(merge.left, merge.right);
        if self.slots[slot].left == NO_SYMBOL {
            self.slots[slot] = merge;
        }
    }

    /// The merge of a pair.
    pub(super) fn get(&self, left: u32, right: u32) -> Option<Merge> {
        let merge = self.slots[self.slot(left, right)];
        (merge.left != NO_SYMBOL).then_some(merge)
    }

    /// Where the pair is, or would be.
    fn slot(&self, left: u32, right: u32) -> usize {
        let mask = self.slots.len() - 1;
        let mut slot = fold(self.seed ^ (u64::from(left) << 32 | u64::from(right))) as usize & mask;
        loop {
            let entry = &self.slots[slot];
            if entry.left == NO_SYMBOL || (entry.left == left && entry.right == right) {
                return slot;
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

/// At most half full, never empty.
fn slots_for(count: usize) -> usize {
    (count.max(4) * 2).next_power_of_two()
}

/// Stands for no symbol; no vocabulary is that large.
pub(super) const NO_SYMBOL: u32 = u32::MAX;
const EMPTY: Merge = Merge { left: NO_SYMBOL, right: 0, rank: 0, merged: 0 };
const TAG: u64 = !0 << 32;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_found_and_first_entries_stay() {
        let strings: Vec<String> = (0..5000).map(|number| format!("string {number}")).collect();
        let text = |number: u32| strings[number as usize].as_bytes();
        let mut index = StringIndex::with_capacity(strings.len());
        for (number, string) in strings.iter().enumerate() {
            assert_eq!(index.insert(string.as_bytes(), number as u32, text), None);
        }
        for (number, string) in strings.iter().enumerate() {
            assert_eq!(index.get(string.as_bytes(), text), Some(number as u32));
        }
        assert_eq!(index.insert(b"string 7", 4999, text), Some(7));
        assert_eq!(index.get(b"string", text), None);
        assert_eq!(index.get(b"", text), None);
    }

    #[test]
    fn pairs_keep_their_first_merge() {
        let mut table = PairTable::with_capacity(1000);
        for number in 0..1000 {
            table.insert(Merge { left: number, right: number / 2, rank: number, merged: number + 1 });
        }
        table.insert(Merge { left: 10, right: 5, rank: 0, merged: 0 });
        for number in 0..1000 {
            assert_eq!(
                table.get(number, number / 2).map(|merge| (merge.rank, merge.merged)),
                Some((number, number + 1))
            );
        }
        assert!(table.get(3, 3).is_none());
    }
}
