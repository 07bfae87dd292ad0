//! The global handle registry: typed, generational.
