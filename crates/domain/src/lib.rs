//! What is true about sites, update packages and components, as plain values and pure functions.
//!
//! Nothing here reads a clock, a file, a socket or a random source: `now` and randomness are
//! arguments. Nothing here is serialised: wire and storage forms live in `protocol` and `store`,
//! so that a change of wording on the wire never bends the rules and the reverse.

pub mod access;
pub mod backup;
pub mod component;
pub mod connectivity;
pub mod hierarchy;
pub mod mode;
pub mod notification;
pub mod schedule;
pub mod servicing;
pub mod status_message;
pub mod throttle;
pub mod usage_data;
