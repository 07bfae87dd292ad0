//! The managed worker of a process: its configuration, its life, and its health.

pub mod configuration;
pub mod health;
pub mod lifecycle;

pub use configuration::Configuration;
pub use health::{HealthMonitor, HealthReport};
pub use lifecycle::{bootstrap, state, status, stop, transition_to_graceful_shutdown, State, Status};
