//! The global handle registry: typed, generational.
//!
//! A handle is a number: 8 bits of kind, 8 bits of fork epoch, 24 bits of slot, 24 bits of generation. Its upper bytes
//! are such that it is never a canonical address, so that a host that reads through it as a pointer faults at once.
//! Every wrong handle is an error that says what is wrong with it: never given out, closed, of another kind, or the
//! parent process'.
//!
//! Objects form a tree (contexts own models, models own sessions): closing one closes what it owns. Closing takes the
//! entry out first, so that no new call finds it, and then tells the object, which ends the calls that are running.

pub mod slots;

use std::sync::{Arc, OnceLock};

use crate::engine::fork::{forks, watch};
use crate::error::{Code, Error, Result};
use slots::{Missing, Place, SlotTable, GENERATION_BITS, SLOT_BITS};

/// Any object that a registry may hold: one of several types, which only its user knows.
pub trait Object: Send + Sync {
    /// The kind that its handles carry.
    fn kind(&self) -> Kind;

    /// Ends the object: calls that are running on it end soon, and later ones fail. Called once, when it is taken out of
    /// the registry.
    fn close(&self);
}

/// One of the types that a registry of `O` holds.
pub trait Registered<O: Object>: Sized {
    /// The kind that its handles carry; no other type has it.
    const KIND: Kind;

    /// The object as any object.
    fn into_object(self: Arc<Self>) -> O;

    /// The object, if it is of this type.
    fn of(object: &O) -> Option<&Arc<Self>>;
}

/// A kind of object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// A device prepared for use.
    Context = b'C',
    /// A loaded model.
    Model = b'M',
    /// A running or finished generation.
    Session = b'S',
}

/// Typed objects behind handles. At most 2^24 at once; inserting and closing take a lock of one shard exclusively, and
/// lookups share it.
pub struct Registry<O> {
    objects: SlotTable<Entry<O>>,
}

struct Entry<O> {
    object: O,
    owner: Option<u64>,
    owned: Vec<u64>,
}

const SHARDS: usize = 16;

impl<O: Object> Registry<O> {
    /// An empty one.
    #[must_use]
    pub fn new() -> Self {
        Self { objects: SlotTable::new(SHARDS, u32::MAX) }
    }

    /// Gives an object a handle.
    pub fn insert<T: Registered<O>>(&self, object: T) -> Result<u64> {
        self.insert_entry(object, None)
    }

    /// Gives an object a handle, to be closed with its owner. When the owner is gone already, the object is closed.
    pub fn insert_owned<T: Registered<O>>(&self, object: T, owner: u64) -> Result<u64> {
        // First the object, then its mention at the owner: the two may be in shards that others lock the other way round.
        let handle = self.insert_entry(object, Some(owner))?;
        let mention = self.place(owner).and_then(|(place, kind)| {
            self.objects
                .with_mut(place, |entry| entry.owned.push(handle))
                .map_err(|missing| explain(missing, owner, kind))
        });
        if let Err(error) = mention {
            // The owner was closed meanwhile, and does not know of the object.
            let _ = self.close::<T>(handle);
            return Err(error);
        }
        Ok(handle)
    }

    /// Finds an object.
    pub fn get<T: Registered<O>>(&self, handle: u64) -> Result<Arc<T>> {
        self.find(handle, Arc::clone)
    }

    /// Looks at an object without keeping it: `look` runs under the registry's lock, must be short, and must not come
    /// back here.
    pub fn with<T: Registered<O>, R>(&self, handle: u64, look: impl FnOnce(&T) -> R) -> Result<R> {
        self.find(handle, |object: &Arc<T>| look(object))
    }

    /// Takes an object out, and ends it and what it owns. Of several threads that try, one succeeds.
    pub fn close<T: Registered<O>>(&self, handle: u64) -> Result<()> {
        let (place, tag) = self.place(handle)?;
        let entry = self
            .objects
            .remove_if(place, |entry| tag == T::KIND && entry.object.kind() == T::KIND)
            .map_err(|missing| explain(missing, handle, tag))?;
        // Found, but not as this kind: a lookup tells why.
        let Some(entry) = entry else { return self.find(handle, |_: &Arc<T>| ()) };
        if let Some((owner, _)) = entry.owner.and_then(|owner| self.place(owner).ok()) {
            let _ = self.objects.with_mut(owner, |owner| owner.owned.retain(|other| *other != handle));
        }
        self.end(entry);
        Ok(())
    }

    /// All objects of a type, with their handles, in the handles' order.
    pub fn all<T: Registered<O>>(&self) -> Vec<(u64, Arc<T>)> {
        let mut found = Vec::new();
        self.objects.for_each(|place, entry| {
            if let Some(object) = T::of(&entry.object) {
                found.push((handle_of(T::KIND, place), Arc::clone(object)));
            }
        });
        found.sort_by_key(|(handle, _)| *handle);
        found
    }

    fn insert_entry<T: Registered<O>>(&self, object: T, owner: Option<u64>) -> Result<u64> {
        check_epoch()?;
        let entry = Entry { object: Arc::new(object).into_object(), owner, owned: Vec::new() };
        match self.objects.insert(entry) {
            Some(place) => Ok(handle_of(T::KIND, place)),
            None => Err(Error::new(Code::HandlesExhausted, format!("{} handles are in use", 1 << SLOT_BITS))),
        }
    }

    #[inline]
    fn find<T: Registered<O>, R>(&self, handle: u64, look: impl FnOnce(&Arc<T>) -> R) -> Result<R> {
        let (place, tag) = self.place(handle)?;
        let found = self.objects.with(place, |entry| match T::of(&entry.object) {
            Some(object) if tag == T::KIND => Ok(look(object)),
            _ => Err(entry.object.kind()),
        });
        match found {
            Ok(Ok(found)) => Ok(found),
            Ok(Err(actual)) if actual == tag => Err(Error::new(
                Code::WrongKind,
                format!("handle {handle:#018x} names a {}, expected a {}", actual.name(), T::KIND.name()),
            )),
            Ok(Err(_)) => Err(never(handle)),
            Err(missing) => Err(explain(missing, handle, tag)),
        }
    }

    /// Ends what an entry owns, then its object: whoever waits in a session hears of its own end first.
    fn end(&self, entry: Entry<O>) {
        for handle in entry.owned {
            if let Ok((place, _)) = self.place(handle) {
                if let Ok(Some(owned)) = self.objects.remove_if(place, |_| true) {
                    self.end(owned);
                }
            }
        }
        entry.object.close();
    }

    /// Takes a handle apart.
    #[inline]
    fn place(&self, handle: u64) -> Result<(Place, Kind)> {
        let generation = handle as u32 & ((1 << GENERATION_BITS) - 1);
        let slot = (handle >> GENERATION_BITS) as u32 & ((1 << SLOT_BITS) - 1);
        let epoch = (handle >> 48) as u8;
        let Some(kind) = Kind::of_tag((handle >> 56) as u8) else { return Err(never(handle)) };
        let current = forks();
        if u32::from(epoch) == EPOCH_FLAG | current {
            return Ok((Place { slot, generation }, kind));
        }
        if u32::from(epoch) >= EPOCH_FLAG && u32::from(epoch) < EPOCH_FLAG | current {
            return Err(Error::new(
                Code::Forked,
                format!("{} {handle:#018x} belongs to the parent process; load afresh in the child", kind.name()),
            ));
        }
        Err(never(handle))
    }
}

impl<O: Object> Default for Registry<O> {
    fn default() -> Self {
        Self::new()
    }
}

impl Kind {
    fn of_tag(tag: u8) -> Option<Self> {
        match tag {
            b'C' => Some(Self::Context),
            b'M' => Some(Self::Model),
            b'S' => Some(Self::Session),
            _ => None,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Context => "context",
            Self::Model => "model",
            Self::Session => "session",
        }
    }
}

fn handle_of(kind: Kind, place: Place) -> u64 {
    let epoch = u64::from(EPOCH_FLAG | forks());
    u64::from(kind as u8) << 56 | epoch << 48 | u64::from(place.slot) << GENERATION_BITS | u64::from(place.generation)
}

fn explain(missing: Missing, handle: u64, kind: Kind) -> Error {
    match missing {
        Missing::Never => never(handle),
        Missing::Stale => Error::new(
            Code::StaleHandle,
            format!("{} {handle:#018x} was closed, or ended with what owned it", kind.name()),
        ),
    }
}

#[cold]
fn never(handle: u64) -> Error {
    let detail = if handle == 0 { "handle is 0".to_owned() } else { format!("{handle:#018x} was never given out") };
    Error::new(Code::InvalidHandle, detail)
}

/// Stands beside the count of forks in every handle, and makes the handle no address on machines that ignore a pointer's top
/// byte.
const EPOCH_FLAG: u32 = 0x80;
const EPOCHS: usize = 128;

/// How many forks lie between the first process and this one. What was made in another epoch belongs to another process:
/// it must be left alone, not even dropped, for its threads are not here and its locks may be held for ever.
#[must_use]
pub fn fork_epoch() -> u32 {
    watch();
    forks()
}

fn check_epoch() -> Result<()> {
    if forks() as usize >= EPOCHS - 1 {
        return Err(Error::new(Code::Forked, format!("more than {} processes have forked in a row", EPOCHS - 2)));
    }
    Ok(())
}

/// A global value that each process has for itself: in the child of a fork it is made anew.
pub struct PerProcess<T> {
    values: [OnceLock<T>; EPOCHS],
}

impl<T> PerProcess<T> {
    /// Nothing made yet.
    #[must_use]
    pub const fn new() -> Self {
        Self { values: [const { OnceLock::new() }; EPOCHS] }
    }

    /// This process' value.
    #[inline]
    pub fn get_or_init(&self, make: impl FnOnce() -> T) -> &T {
        // Beyond the last epoch nothing is ever inserted: see `check_epoch`.
        let epoch = (forks() as usize).min(EPOCHS - 1);
        self.values[epoch].get_or_init(|| {
            watch();
            make()
        })
    }
}

impl<T> Default for PerProcess<T> {
    fn default() -> Self {
        Self::new()
    }
}

/// Something whose threads and locks are this process' own. The child of a fork inherits the memory, but can neither use
/// it nor free it: there it is an error, and dropping it does nothing.
pub struct ProcessOwned<T> {
    value: Option<T>,
    epoch: u32,
}

impl<T> ProcessOwned<T> {
    /// Owned by this process.
    #[must_use]
    pub fn new(value: T) -> Self {
        Self { value: Some(value), epoch: fork_epoch() }
    }

    /// The value, in the process that made it.
    #[inline]
    pub fn get(&self) -> Result<&T> {
        match &self.value {
            Some(value) if self.epoch == forks() => Ok(value),
            _ => Err(Error::new(Code::Forked, "the object belongs to the parent process; load afresh in the child")),
        }
    }
}

impl<T> Drop for ProcessOwned<T> {
    fn drop(&mut self) {
        if self.get().is_err() {
            std::mem::forget(self.value.take());
        }
    }
}

#[cfg(test)]
mod tests;
