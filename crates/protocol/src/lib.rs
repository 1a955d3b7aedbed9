//! What crosses a machine or process boundary, in versioned forms: catalogue records and API types.
//!
//! Wire types are converted to and from the domain's here, with every bound checked, so that the
//! domain never depends on how something is written down.

pub mod alert;
pub mod api;
pub mod catalogue;
pub mod connectivity;
pub mod fuzz;
pub mod notice;
pub mod transfer;
pub mod usage;
