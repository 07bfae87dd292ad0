//! Sessions, scheduler, sampling, stop strings, text streams, constraints.
//!
//! [`Model`] loads; [`Model::start`] makes a [`Session`], whose events its host reads from any thread. All sessions of a
//! model run together on one thread (`scheduler`).

pub mod constraint;
mod embed;
mod evaluation;
mod event_descriptor;
mod live;
pub mod model;
pub mod request;
pub mod sampling;
mod scheduler;
mod score;
pub mod session;
pub mod stop;
pub mod text_stream;

pub use constraint::{Constraint, ConstraintFactory, ConstraintSource};
pub use embed::Pooling;
pub use event_descriptor::EventDescriptor;
pub use live::live_models;
pub use model::{LoadOptions, Model};
pub use request::{Prompt, SamplingOptions, SessionRequest};
pub use scheduler::Activity;
pub use score::ScoreKind;
pub use session::{EndReason, Event, Next, Session, Usage, Waker};
