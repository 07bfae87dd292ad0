//! Every interleaving of lookups, insertions and closings of the registry's table that loom can find.
//!
//! A crate of its own, for `--cfg loom` would otherwise rebuild the whole product. `tests/registry_loom.rs` runs it.
#![cfg(all(loom, test))]

#[path = "../../../src/registry/slots.rs"]
mod slots;

use loom::sync::Arc;
use loom::thread;
use slots::{Missing, SlotTable};

#[test]
fn a_lookup_that_races_a_close_finds_the_object_or_hears_that_it_is_stale() {
    loom::model(|| {
        let table = Arc::new(SlotTable::new(1, 100));
        let place = table.insert(7).unwrap();
        let other = Arc::clone(&table);
        let closer = thread::spawn(move || other.remove_if(place, |_| true));
        let seen = table.with(place, |value| *value);
        assert!(seen == Ok(7) || seen == Err(Missing::Stale));
        assert_eq!(closer.join().unwrap(), Ok(Some(7)));
        assert_eq!(table.with(place, |value| *value), Err(Missing::Stale));
    });
}

#[test]
fn of_two_closes_one_succeeds() {
    loom::model(|| {
        let table = Arc::new(SlotTable::new(1, 100));
        let place = table.insert(7).unwrap();
        let other = Arc::clone(&table);
        let closer = thread::spawn(move || other.remove_if(place, |_| true));
        let mine = table.remove_if(place, |_| true);
        let theirs = closer.join().unwrap();
        assert!(
            (mine == Ok(Some(7)) && theirs == Err(Missing::Stale))
                || (mine == Err(Missing::Stale) && theirs == Ok(Some(7)))
        );
    });
}

#[test]
fn a_reused_slot_is_never_found_by_the_old_name() {
    loom::model(|| {
        let table = Arc::new(SlotTable::new(1, 100));
        let old = table.insert(1).unwrap();
        let other = Arc::clone(&table);
        let replacer = thread::spawn(move || {
            other.remove_if(old, |_| true).unwrap();
            other.insert(2).unwrap()
        });
        let seen = table.with(old, |value| *value);
        assert!(seen == Ok(1) || seen == Err(Missing::Stale), "{seen:?}");
        let new = replacer.join().unwrap();
        assert_ne!(old, new);
        assert_eq!(table.with(new, |value| *value), Ok(2));
    });
}

#[test]
fn two_insertions_get_two_names() {
    loom::model(|| {
        let table = Arc::new(SlotTable::new(2, 100));
        let other = Arc::clone(&table);
        let inserter = thread::spawn(move || other.insert(1).unwrap());
        let mine = table.insert(2).unwrap();
        let theirs = inserter.join().unwrap();
        assert_ne!(mine, theirs);
        assert_eq!((table.with(theirs, |value| *value), table.with(mine, |value| *value)), (Ok(1), Ok(2)));
    });
}
