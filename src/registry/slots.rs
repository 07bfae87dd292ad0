//! The table under the registry: values in slots, named by slot and generation.
//!
//! A generation counts a slot's occupants. A name whose generation is the occupant's finds it; a lower one is stale; a
//! higher one was never given out. A slot whose generations are used up is retired, so that no name ever finds a second
//! object.
//!
//! A read-write lock, not a lock-free table: a lookup costs some nanoseconds against the hundreds of microseconds of
//! a decode step, and whoever closes must wait for nobody but the lookups of that instant. Sharded, so that lookups of
//! different objects do not meet in one lock. `tests/loom` runs this file under a model checker.

#[cfg(loom)]
use loom::sync::{
    atomic::{AtomicUsize, Ordering},
    RwLock, RwLockReadGuard, RwLockWriteGuard,
};
#[cfg(not(loom))]
use parking_lot::{RwLock, RwLockReadGuard, RwLockWriteGuard};
#[cfg(not(loom))]
use std::sync::atomic::{AtomicUsize, Ordering};

/// Where a value is: `slot` and `generation` have [`SLOT_BITS`] and [`GENERATION_BITS`] bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Place {
    /// Which slot.
    pub slot: u32,
    /// Which of its occupants, from 1.
    pub generation: u32,
}

/// Why a place has no value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Missing {
    /// It had one, which was removed.
    Stale,
    /// It never had one.
    Never,
}

/// Bits of a slot's number.
pub const SLOT_BITS: u32 = 24;
/// Bits of a generation.
pub const GENERATION_BITS: u32 = 24;

/// Values in slots. At most 2^24 at once; each slot has 2^24 - 1 occupants in turn, and is retired then. Lookups take a
/// shared lock of one shard, inserting and removing an exclusive one, all for a constant time.
pub struct SlotTable<T> {
    shards: Box<[Shard<T>]>,
    /// Of the slot's number, this many bits choose the shard.
    shard_bits: u32,
    next_shard: AtomicUsize,
    last_generation: u32,
}

/// Aligned so that two shards' locks never share a cache line.
#[repr(align(128))]
struct Shard<T> {
    slots: RwLock<Slots<T>>,
}

struct Slots<T> {
    all: Vec<Slot<T>>,
    vacant: Vec<u32>,
}

struct Slot<T> {
    /// Of the occupant, or of the next one.
    generation: u32,
    occupant: Option<T>,
}

impl<T> SlotTable<T> {
    /// A table of `shards` shards (a power of two), whose slots are retired after the occupant of `last_generation`.
    #[must_use]
    pub fn new(shards: usize, last_generation: u32) -> Self {
        let shard = || Shard { slots: RwLock::new(Slots { all: Vec::new(), vacant: Vec::new() }) };
        let shard_bits = shards.next_power_of_two().trailing_zeros();
        Self {
            shard_bits,
            shards: (0..1usize << shard_bits).map(|_| shard()).collect(),
            next_shard: AtomicUsize::new(0),
            last_generation: last_generation.min((1 << GENERATION_BITS) - 1),
        }
    }

    /// Puts a value in; `None`, and the value is dropped, when the shard whose turn it is has no slot left.
    pub fn insert(&self, value: T) -> Option<Place> {
        let shard = self.next_shard.fetch_add(1, Ordering::Relaxed) & (self.shards.len() - 1);
        let mut slots = write(&self.shards[shard].slots);
        let index = match slots.vacant.pop() {
            Some(index) => index,
            None => {
                let index = u32::try_from(slots.all.len()).ok()?;
                if self.number(shard, index) >= 1 << SLOT_BITS {
                    return None;
                }
                slots.all.push(Slot { generation: 1, occupant: None });
                index
            }
        };
        let slot = &mut slots.all[index as usize];
        slot.occupant = Some(value);
        Some(Place { slot: self.number(shard, index) as u32, generation: slot.generation })
    }

    /// Calls `look` with the value at `place`, under the shard's shared lock.
    #[inline]
    pub fn with<R>(&self, place: Place, look: impl FnOnce(&T) -> R) -> Result<R, Missing> {
        let (shard, index) = self.split(place.slot);
        let slots = read(&self.shards[shard].slots);
        let slot = slots.all.get(index).ok_or(Missing::Never)?;
        match &slot.occupant {
            Some(value) if slot.generation == place.generation => Ok(look(value)),
            _ => Err(slot.missing(place.generation)),
        }
    }

    /// Calls `change` with the value at `place`, under the shard's exclusive lock.
    pub fn with_mut<R>(&self, place: Place, change: impl FnOnce(&mut T) -> R) -> Result<R, Missing> {
        let (shard, index) = self.split(place.slot);
        let mut slots = write(&self.shards[shard].slots);
        let slot = slots.all.get_mut(index).ok_or(Missing::Never)?;
        let missing = slot.missing(place.generation);
        match &mut slot.occupant {
            Some(value) if slot.generation == place.generation => Ok(change(value)),
            _ => Err(missing),
        }
    }

    /// Takes the value at `place` out; of several threads that try, one gets it.
    pub fn remove_if(&self, place: Place, wanted: impl FnOnce(&T) -> bool) -> Result<Option<T>, Missing> {
        let (shard, index) = self.split(place.slot);
        let mut slots = write(&self.shards[shard].slots);
        let slot = slots.all.get_mut(index).ok_or(Missing::Never)?;
        let missing = slot.missing(place.generation);
        match &slot.occupant {
            Some(value) if slot.generation == place.generation => {
                if !wanted(value) {
                    return Ok(None);
                }
            }
            _ => return Err(missing),
        }
        let value = slot.occupant.take();
        slot.generation += 1;
        if slot.generation <= self.last_generation {
            slots.vacant.push(index as u32);
        }
        Ok(value)
    }

    /// Calls `look` with every value and its place, shard by shard under their shared locks.
    pub fn for_each(&self, mut look: impl FnMut(Place, &T)) {
        for (shard, table) in self.shards.iter().enumerate() {
            let slots = read(&table.slots);
            for (index, slot) in slots.all.iter().enumerate() {
                if let Some(value) = &slot.occupant {
                    let number = index * self.shards.len() + shard;
                    look(Place { slot: number as u32, generation: slot.generation }, value);
                }
            }
        }
    }

    fn number(&self, shard: usize, index: u32) -> u64 {
        index as u64 * self.shards.len() as u64 + shard as u64
    }

    fn split(&self, slot: u32) -> (usize, usize) {
        (slot as usize & (self.shards.len() - 1), slot as usize >> self.shard_bits)
    }
}

impl<T> Slot<T> {
    fn missing(&self, generation: u32) -> Missing {
        if generation != 0 && generation < self.generation {
            Missing::Stale
        } else {
            Missing::Never
        }
    }
}

#[cfg(not(loom))]
fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read()
}
#[cfg(not(loom))]
fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write()
}
#[cfg(loom)]
fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap()
}
#[cfg(loom)]
fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap()
}
