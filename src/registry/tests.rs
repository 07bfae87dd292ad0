//! The registry against a plain model of it, and what each wrong handle is told.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::Arc;

use proptest::prelude::*;

use super::slots::{Missing, Place, SlotTable};
use super::*;

struct Context(Arc<AtomicUsize>);
struct Model(Arc<AtomicUsize>);
struct Session(Arc<AtomicUsize>, AtomicBool);

enum Any {
    Context(Arc<Context>),
    Model(Arc<Model>),
    Session(Arc<Session>),
}

impl Object for Any {
    fn kind(&self) -> Kind {
        match self {
            Self::Context(_) => Kind::Context,
            Self::Model(_) => Kind::Model,
            Self::Session(_) => Kind::Session,
        }
    }

    fn close(&self) {
        let closed = match self {
            Self::Context(context) => &context.0,
            Self::Model(model) => &model.0,
            Self::Session(session) => {
                assert!(!session.1.swap(true, Ordering::SeqCst), "closed twice");
                &session.0
            }
        };
        closed.fetch_add(1, Ordering::SeqCst);
    }
}

macro_rules! registered {
    ($($kind:ident)*) => {$(
        impl Registered<Any> for $kind {
            const KIND: Kind = Kind::$kind;

            fn into_object(self: Arc<Self>) -> Any {
                Any::$kind(self)
            }

            fn of(object: &Any) -> Option<&Arc<Self>> {
                if let Any::$kind(object) = object { Some(object) } else { None }
            }
        }
    )*};
}
registered!(Context Model Session);

fn closed() -> Arc<AtomicUsize> {
    Arc::default()
}

fn code<T>(result: Result<T>) -> Code {
    result.err().expect("an error").code
}

#[test]
fn each_wrong_handle_is_told_apart() {
    let registry = Registry::<Any>::new();
    let count = closed();
    let model = registry.insert(Model(count.clone())).unwrap();
    let session = registry.insert_owned(Session(count.clone(), AtomicBool::new(false)), model).unwrap();
    assert!(registry.get::<Model>(model).is_ok());
    assert_eq!(code(registry.get::<Model>(session)), Code::WrongKind);
    assert_eq!(code(registry.get::<Session>(model)), Code::WrongKind);
    assert_eq!(code(registry.close::<Context>(model)), Code::WrongKind);
    // The tag alone was changed: such a handle was never given out.
    assert_eq!(code(registry.get::<Session>(model ^ (u64::from(b'M' ^ b'S') << 56))), Code::InvalidHandle);
    for forged in [0, 1, u64::MAX, model + 1, model + (1 << 24), model ^ (1 << 48), model ^ (1 << 55), 0x4d << 56] {
        assert_eq!(code(registry.get::<Model>(forged)), Code::InvalidHandle, "{forged:#x}");
        assert_eq!(code(registry.close::<Model>(forged)), Code::InvalidHandle, "{forged:#x}");
    }
    assert!(registry.get::<Model>(model).is_ok(), "failed calls leave the object alone");
    registry.close::<Model>(model).unwrap();
    assert_eq!(count.load(Ordering::SeqCst), 2, "the session ended with its model");
    for result in [code(registry.get::<Model>(model)), code(registry.close::<Model>(model))] {
        assert_eq!(result, Code::StaleHandle);
    }
    assert_eq!(code(registry.get::<Session>(session)), Code::StaleHandle);
    assert_eq!(code(registry.insert_owned(Session(count, AtomicBool::new(false)), model)), Code::StaleHandle);
}

#[test]
fn handles_are_not_canonical_addresses() {
    let registry = Registry::<Any>::new();
    let handle = registry.insert(Context(closed())).unwrap();
    let top = handle >> 47;
    assert!(top != 0 && top != (1 << 17) - 1, "48-bit addresses");
    assert!(handle >> 56 != 0 && handle >> 56 != 0xff, "57-bit addresses");
    assert_eq!(handle >> 55 & 1, 1, "the kernel's half, where the top byte is ignored");
}

#[test]
fn closing_an_owner_closes_the_whole_tree_once() {
    let registry = Registry::<Any>::new();
    let count = closed();
    let context = registry.insert(Context(count.clone())).unwrap();
    let models: Vec<u64> = (0..3).map(|_| registry.insert_owned(Model(count.clone()), context).unwrap()).collect();
    for model in &models {
        for _ in 0..4 {
            registry.insert_owned(Session(count.clone(), AtomicBool::new(false)), *model).unwrap();
        }
    }
    registry.close::<Model>(models[1]).unwrap();
    assert_eq!(count.load(Ordering::SeqCst), 5);
    registry.close::<Context>(context).unwrap();
    assert_eq!(count.load(Ordering::SeqCst), 1 + 3 + 12);
    assert!(registry.all::<Session>().is_empty());
}

#[test]
fn a_slot_is_retired_when_its_generations_are_used_up() {
    let table = SlotTable::new(1, 2);
    let first = table.insert('a').unwrap();
    assert_eq!(table.remove_if(first, |_| true), Ok(Some('a')));
    let second = table.insert('b').unwrap();
    assert_eq!((second.slot, second.generation), (first.slot, 2));
    assert_eq!(table.remove_if(second, |_| true), Ok(Some('b')));
    let third = table.insert('c').unwrap();
    assert_ne!(third.slot, first.slot);
    for stale in [first, second] {
        assert_eq!(table.with(stale, |value| *value), Err(Missing::Stale));
    }
    assert_eq!(table.with(Place { slot: first.slot, generation: 3 }, |value| *value), Err(Missing::Never));
}

#[test]
fn of_many_threads_that_close_one_object_one_succeeds() {
    let registry = Arc::new(Registry::<Any>::new());
    let count = closed();
    for _ in 0..200 {
        let model = registry.insert(Model(count.clone())).unwrap();
        let successes: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4)
                .map(|_| {
                    scope.spawn(|| {
                        let _ = registry.insert_owned(Session(closed(), AtomicBool::new(false)), model);
                        usize::from(registry.close::<Model>(model).is_ok())
                    })
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(successes, 1);
    }
    assert_eq!(count.load(Ordering::SeqCst), 200);
    assert!(registry.all::<Session>().is_empty(), "no session outlives its model");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn the_table_does_what_a_map_does(operations in prop::collection::vec((0u8..4, any::<prop::sample::Index>()), 1..200)) {
        let table = SlotTable::new(4, 3);
        let mut live: HashMap<Place, usize> = HashMap::new();
        let mut dead: Vec<Place> = Vec::new();
        for (number, (operation, choice)) in operations.into_iter().enumerate() {
            let mut places: Vec<Place> = live.keys().copied().collect();
            places.sort_unstable();
            match operation {
                0 | 1 => {
                    let place = table.insert(number).unwrap();
                    prop_assert!(live.insert(place, number).is_none());
                    prop_assert!(!dead.contains(&place), "a name was given out twice");
                }
                2 if !places.is_empty() => {
                    let place = places[choice.index(places.len())];
                    prop_assert_eq!(table.remove_if(place, |_| true), Ok(live.remove(&place)));
                    dead.push(place);
                }
                _ if !dead.is_empty() => {
                    let place = dead[choice.index(dead.len())];
                    prop_assert_eq!(table.remove_if(place, |_| true), Err(Missing::Stale));
                }
                _ => {}
            }
            for (place, value) in &live {
                prop_assert_eq!(table.with(*place, |found| *found), Ok(*value));
            }
        }
        let mut seen = HashMap::new();
        table.for_each(|place, value| { seen.insert(place, *value); });
        prop_assert_eq!(seen, live);
    }

    #[test]
    fn no_number_is_taken_for_a_handle(number: u64) {
        let registry = Registry::<Any>::new();
        let handle = registry.insert(Model(closed())).unwrap();
        prop_assume!(number != handle);
        prop_assert!(registry.get::<Model>(number).is_err());
        prop_assert!(registry.close::<Model>(number).is_err());
    }
}
