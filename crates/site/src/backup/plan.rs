//! What is asked for and how the last attempt ended, in the database.

use domain::backup::{BackupSchedule, EVERY_DAYS_MAX, KEEP_MAX};
use jiff::Timestamp;
use protocol::api::{BackupOutcome, BackupScheduleInfo};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use store::{StoreError, Tx};

const SCHEDULE: &str = "backup.schedule";
const REQUESTED: &str = "backup.requested";
const LAST: &str = "backup.last";
const LAST_GOOD: &str = "backup.last-good";

/// A schedule as it is stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Stored {
    #[serde(flatten)]
    info: BackupScheduleInfo,
    since: Timestamp,
}

/// Everything that decides whether a backup is made.
#[derive(Debug, Clone)]
pub struct BackupPlan {
    /// Schedule, as written and as understood.
    pub schedule: Option<(BackupScheduleInfo, BackupSchedule)>,
    /// Folder of a backup that was asked for.
    pub requested: Option<String>,
    /// The last attempt.
    pub last: Option<BackupOutcome>,
    /// The last good one.
    pub last_good: Option<Timestamp>,
}

/// Checks a schedule; the text says what to write instead.
pub fn understood(info: &BackupScheduleInfo, since: Timestamp) -> Result<BackupSchedule, String> {
    if !info.folder.starts_with('/') || info.folder.len() > 1_000 || info.folder.contains('\0') {
        return Err(format!(
            "folder: {:?} is no absolute path on the site server",
            info.folder
        ));
    }
    if !(1..=EVERY_DAYS_MAX).contains(&info.every_days) {
        return Err(format!("every_days: write 1 to {EVERY_DAYS_MAX}"));
    }
    if !(1..=KEEP_MAX).contains(&info.keep) {
        return Err(format!("keep: write 1 to {KEEP_MAX}"));
    }
    let at = jiff::civil::Time::strptime("%H:%M", &info.at)
        .map_err(|_| format!("at: {:?} is no time of the day; write one such as 02:00", info.at))?;
    Ok(BackupSchedule {
        every_days: info.every_days,
        at,
        keep: info.keep,
        since,
    })
}

fn read<T: DeserializeOwned>(tx: &Tx<'_>, name: &'static str) -> Result<Option<T>, StoreError> {
    let Some(text) = tx.setting(name)? else {
        return Ok(None);
    };
    serde_json::from_str(&text)
        .map(Some)
        .map_err(|_| StoreError::Damaged {
            what: name,
            value: text.chars().take(100).collect(),
        })
}

fn write<T: Serialize>(tx: &Tx<'_>, name: &'static str, value: &T) -> Result<(), StoreError> {
    let text = serde_json::to_string(value).map_err(|failure| StoreError::Damaged {
        what: name,
        value: failure.to_string(),
    })?;
    tx.set_setting(name, Some(&text))
}

/// Reads the plan.
pub fn plan(tx: &Tx<'_>) -> Result<BackupPlan, StoreError> {
    let stored: Option<Stored> = read(tx, SCHEDULE)?;
    let schedule = stored
        .map(|stored| {
            let schedule = understood(&stored.info, stored.since).map_err(|problem| StoreError::Damaged {
                what: SCHEDULE,
                value: problem,
            })?;
            Ok::<_, StoreError>((stored.info, schedule))
        })
        .transpose()?;
    Ok(BackupPlan {
        schedule,
        requested: tx.setting(REQUESTED)?,
        last: read(tx, LAST)?,
        last_good: read(tx, LAST_GOOD)?,
    })
}

/// Sets the schedule, or ends it.
pub fn set_schedule(
    tx: &Tx<'_>,
    info: Option<&BackupScheduleInfo>,
    since: Timestamp,
) -> Result<(), StoreError> {
    match info {
        None => tx.set_setting(SCHEDULE, None),
        Some(info) => {
            let stored = Stored {
                info: info.clone(),
                since,
            };
            write(tx, SCHEDULE, &stored)
        }
    }
}

/// Asks for a backup.
pub fn request(tx: &Tx<'_>, folder: &str) -> Result<(), StoreError> {
    tx.set_setting(REQUESTED, Some(folder))
}

/// Records how an attempt ended. One that was asked for is not tried again: whoever asked sees why. What was asked for
/// meanwhile stays asked for.
pub fn ended(tx: &Tx<'_>, outcome: &BackupOutcome, served: Option<&str>) -> Result<(), StoreError> {
    if served.is_some() && tx.setting(REQUESTED)?.as_deref() == served {
        tx.set_setting(REQUESTED, None)?;
    }
    write(tx, LAST, outcome)?;
    match outcome.failure {
        None => write(tx, LAST_GOOD, &outcome.at),
        Some(_) => Ok(()),
    }
}
