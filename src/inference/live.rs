//! The models of this process that are loaded, for whoever watches over all of them.

use std::sync::{Arc, Weak};

use parking_lot::Mutex;

use super::model::Model;
use crate::registry::PerProcess;

/// Every model of this process that is in use somewhere.
#[must_use]
pub fn live_models() -> Vec<Arc<Model>> {
    models().lock().iter().filter_map(Weak::upgrade).collect()
}

/// Adds a model; it leaves by itself when it is dropped.
pub(super) fn add(model: &Arc<Model>) {
    let mut models = models().lock();
    models.retain(|model| model.strong_count() > 0);
    models.push(Arc::downgrade(model));
}

fn models() -> &'static Mutex<Vec<Weak<Model>>> {
    static MODELS: PerProcess<Mutex<Vec<Weak<Model>>>> = PerProcess::new();
    MODELS.get_or_init(Mutex::default)
}
