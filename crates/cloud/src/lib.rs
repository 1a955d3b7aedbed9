//! The vendor's side: makes a feed, publishes packages into it, and serves it.
//!
//! This crate refuses to read the clock or the environment (`now` is an argument), and to sign anything it has not
//! checked as a site would.

pub mod console;
mod deltas;
mod error;
mod files;
mod fleet;
mod fresh;
mod history;
mod hotfix;
pub mod intake;
pub mod package_toml;
mod publish;
pub mod sample;
pub mod serve;
mod service;
mod settings;
mod shards;
mod small_targets;
mod tls;

pub use error::CloudError;
pub use files::ServiceDir;
pub use fleet::fleet_page;
pub use fresh::keep_fresh;
pub use history::{Did, Entry, Outcome, Stamp, history};
pub use hotfix::hotfix;
pub use intake::set_intake;
pub use publish::{
    Bases, LEVEL, PublishReport, PublishRequest, Rollout, Step, packages, publish, rollout, withdraw,
};
pub use service::{InitOptions, InitReport, KeyRole, init, init_with, keys, renew, rotate_key};
pub use settings::Settings;
pub use small_targets::{
    notices, retract_notice, service_config, set_endpoints, set_notice, set_service_config,
};
