//! A site: its components, the service layer that command line, API and console share, and the
//! process that runs them.

pub mod alert_settings;
pub mod api;
pub mod backup;
pub mod components;
pub mod console;
pub mod context;
mod delivery;
pub mod directory;
pub mod host;
pub mod init;
pub mod internet;
mod live;
pub mod notifications;
pub mod offline;
pub mod product;
pub mod progress;
pub mod run;
pub mod secrets;
pub mod service;
pub mod settings;
pub mod single_sign_on;
mod site_facts;
#[cfg(test)]
mod testing;
pub mod throttle;
mod usage;
pub mod vendor;
mod way_out;
pub mod words;

pub use run::{RunOptions, run};
