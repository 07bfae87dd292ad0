//! Sessions, scheduler, sampling, stop strings, text streams, constraints.

pub mod constraint;
pub mod request;
pub mod sampling;
pub mod scheduler;
pub mod session;
pub mod stop;
pub mod text_stream;

pub use constraint::{Constraint, ConstraintFactory, ConstraintSource};
pub use request::{Prompt, SamplingOptions, SessionRequest};
pub use session::{EndReason, Event, Next, Session, Usage};
