//! The only crate that knows SQL: what a site has to remember, in one embedded database file; and what an intake of
//! usage data keeps, in such a file or in PostgreSQL ([`intake`]).
//!
//! A [`Store`] hands out transactions: [`Store::write`] runs a closure over a [`Tx`] and everything
//! it did becomes durable together, or not at all; [`Store::read`] sees one consistent state. The
//! methods of `Tx` are the product's verbs. A closure runs on a blocking thread, does no other IO, and
//! every list it reads has a limit.
//!
//! The SQL of a site keeps to what PostgreSQL takes too where that costs nothing: parameters `$1`, `$2` in ascending
//! order, `BIGINT`, `TEXT`, `INSERT … ON CONFLICT`. Times are milliseconds since 1970 in UTC.

mod accounts;
mod alerts;
mod database;
mod devices;
mod error;
mod idempotency;
mod installs;
pub mod intake;
mod internet;
mod migrations;
mod notifications;
mod packages;
mod site;
mod status;
mod status_delete;
mod status_rules;
mod status_summary;
mod status_systems;
mod sync;
mod usage;

pub use accounts::{AccountRow, SessionRow};
pub use alerts::{ALERTS_WAITING_MAX, AlertRow, AlertState};
pub use database::{Store, Tx};
pub use error::StoreError;
pub use idempotency::{KeptAnswer, KeyState};
pub use installs::{FeatureRow, InstallRun, InstalledRow, PrereqRow, RedistRow, SubStageRow};
pub use internet::EndpointRunRow;
pub use notifications::NotificationRow;
pub use packages::{ConditionRow, EvaluationInput, HistoryRow, ListedPackage, PackageRow};
pub use site::SiteRow;
pub use status::{ComponentRow, NewStatusMessage, StateMessageRow, StatusFilter, StatusMessageRow};
pub use status_summary::{SeverityCounts, ThresholdRow, thresholds_of};
pub use status_systems::SystemRow;
pub use sync::SyncRow;
pub use usage::{InventoryImport, InventoryWords, LedgerRow, NOTHING, UsageReportRow};

#[cfg(test)]
mod tests;
