//! Logs in CMTrace form, one file per component (components-status-logs, sections 6 and 7).

pub mod format;
mod layer;
pub mod read;
mod rolling;

pub use layer::{CmTraceLayer, LogSettings};

#[cfg(test)]
mod viewer_tests;
