//! Runs components: one supervised task each, activated by a timer, a wake-up or a start.
//!
//! The executive knows nothing of the product. A component that fails or panics is logged, counted and
//! tried again with back-off; the others never notice. It is also the only place that looks at the
//! system clock, so that everything above it can run on a clock that a test moves by hand.

mod activation;
mod clock;
pub mod logs;
mod supervisor;

pub use activation::{Activation, Component, ComponentError, Next, Report, Waiting};
pub use clock::{Clock, FakeClock};
pub use supervisor::{
    ComponentSnapshot, Executive, ExecutiveEvent, ExecutiveHandle, Supervision, UnknownComponent,
};

#[cfg(test)]
mod tests;
