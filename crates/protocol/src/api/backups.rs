//! Backups of a site.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `backup list`: what is scheduled, how the last attempt ended, and what is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BackupsInfo {
    /// The schedule; none means that backups are made on request only.
    pub schedule: Option<BackupScheduleInfo>,
    /// When the next one is due.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next: Option<Timestamp>,
    /// Folder of a backup that was asked for and is not made yet.
    pub requested: Option<String>,
    /// The last attempt.
    pub last: Option<BackupOutcome>,
    /// When the last good one was made.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_good: Option<Timestamp>,
    /// Backups in the folder of the schedule, the newest first.
    pub backups: Vec<BackupInfo>,
}

/// A schedule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BackupScheduleInfo {
    /// Absolute path of the folder of backups on the site server.
    pub folder: String,
    /// Days between two, 1 to 31.
    pub every_days: u32,
    /// Time of the day by the site's own clock, such as `02:00`.
    pub at: String,
    /// How many are kept, 1 to 100.
    pub keep: u32,
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BackupOutcome {
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// The folder of backups.
    pub folder: String,
    /// Bytes of a good one.
    pub bytes: Option<u64>,
    /// Why it failed.
    pub failure: Option<String>,
}

/// A backup that is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BackupInfo {
    /// Its folder.
    pub path: String,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    pub made: Timestamp,
}

/// Asks for a backup now.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BackupRequest {
    /// Folder of backups; that of the schedule unless given.
    pub folder: Option<String>,
}
