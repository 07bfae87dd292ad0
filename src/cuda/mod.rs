//! The Rust door of the seed documents: contexts, models, inference results, errors.
