//! A site: its components, the service layer that command line, API and console share, and the
//! process that runs them.

pub mod alert_settings;
pub mod api;
pub mod components;
pub mod context;
mod delivery;
pub mod directory;
pub mod host;
pub mod init;
pub mod internet;
pub mod offline;
pub mod product;
pub mod progress;
pub mod run;
pub mod secrets;
pub mod service;
pub mod settings;
mod site_facts;
pub mod throttle;
mod usage;
mod way_out;

pub use run::{RunOptions, run};
