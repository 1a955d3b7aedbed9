//! What the site stands on: how much room there was at the last look, and the thresholds that were set for it.

use domain::status_message::systems::{SpaceThresholds, SystemObject};
use jiff::Timestamp;
use rusqlite::params;

use crate::database::{Tx, millis, timestamp};
use crate::error::StoreError;

/// How an object stood at the last look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SystemRow {
    /// What was looked at.
    pub object: SystemObject,
    /// Where it is.
    pub place: String,
    /// Free room in KiB.
    pub free_kib: u64,
    /// All room in KiB.
    pub total_kib: u64,
    /// The product's word for its health.
    pub health: String,
    /// When.
    pub checked_at: Timestamp,
}

impl Tx<'_> {
    /// How an object stood at the last look.
    pub fn system_status(&self, object: SystemObject) -> Result<Option<SystemRow>, StoreError> {
        self.one(
            "SELECT place, free_kib, total_kib, health, checked_at FROM system_status WHERE object = $1",
            params![object.as_str()],
            |r| {
                Ok(SystemRow {
                    object,
                    place: r.get(0)?,
                    free_kib: number(r.get(1)?),
                    total_kib: number(r.get(2)?),
                    health: r.get(3)?,
                    checked_at: timestamp(r.get(4)?),
                })
            },
        )
    }

    /// Records a look.
    pub fn record_system_status(&self, row: &SystemRow) -> Result<(), StoreError> {
        self.execute(
            "INSERT INTO system_status (object, place, free_kib, total_kib, health, checked_at)
             VALUES ($1, $2, $3, $4, $5, $6)
             ON CONFLICT (object) DO UPDATE SET place = excluded.place, free_kib = excluded.free_kib,
                 total_kib = excluded.total_kib, health = excluded.health, checked_at = excluded.checked_at",
            params![
                row.object.as_str(),
                row.place,
                stored(row.free_kib),
                stored(row.total_kib),
                row.health,
                millis(row.checked_at)
            ],
        )
        .map(drop)
    }

    /// The thresholds that an administrator set for an object.
    pub fn system_threshold(&self, object: SystemObject) -> Result<Option<SpaceThresholds>, StoreError> {
        self.one(
            "SELECT warning_kib, critical_kib FROM system_threshold WHERE object = $1",
            params![object.as_str()],
            |r| {
                Ok(SpaceThresholds {
                    warning_kib: number(r.get(0)?),
                    critical_kib: number(r.get(1)?),
                })
            },
        )
    }

    /// Sets the thresholds of an object, or takes them back.
    pub fn set_system_threshold(
        &self,
        object: SystemObject,
        thresholds: Option<SpaceThresholds>,
    ) -> Result<(), StoreError> {
        match thresholds {
            Some(thresholds) => self.execute(
                "INSERT INTO system_threshold (object, warning_kib, critical_kib) VALUES ($1, $2, $3)
                 ON CONFLICT (object) DO UPDATE SET warning_kib = excluded.warning_kib,
                     critical_kib = excluded.critical_kib",
                params![
                    object.as_str(),
                    stored(thresholds.warning_kib),
                    stored(thresholds.critical_kib)
                ],
            ),
            None => self.execute(
                "DELETE FROM system_threshold WHERE object = $1",
                params![object.as_str()],
            ),
        }
        .map(drop)
    }

    /// Bytes of the database file, and how many of them are free to be used again.
    pub fn database_bytes(&self) -> Result<(u64, u64), StoreError> {
        let pages = self.one(
            "SELECT page_count, freelist_count, page_size
             FROM pragma_page_count(), pragma_freelist_count(), pragma_page_size()",
            [],
            |r| Ok((number(r.get(0)?), number(r.get(1)?), number(r.get(2)?))),
        )?;
        let (all, free, bytes) = pages.unwrap_or_default();
        Ok((all.saturating_mul(bytes), free.saturating_mul(bytes)))
    }
}

fn number(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

fn stored(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Store;

    #[test]
    fn looks_and_thresholds_read_back() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("site.db")).unwrap();
        store
            .write_blocking::<_, StoreError>(|tx| {
                let object = SystemObject::Database;
                assert_eq!(tx.system_status(object)?, None);
                let row = SystemRow {
                    object,
                    place: "here".into(),
                    free_kib: 5,
                    total_kib: 9,
                    health: "OK".into(),
                    checked_at: Timestamp::UNIX_EPOCH,
                };
                tx.record_system_status(&row)?;
                tx.record_system_status(&SystemRow {
                    free_kib: 4,
                    ..row.clone()
                })?;
                assert_eq!(tx.system_status(object)?.map(|row| row.free_kib), Some(4));
                let set = SpaceThresholds {
                    warning_kib: 3,
                    critical_kib: 2,
                };
                tx.set_system_threshold(object, Some(set))?;
                assert_eq!(tx.system_threshold(object)?, Some(set));
                assert_eq!(tx.system_threshold(SystemObject::FileSystem)?, None);
                tx.set_system_threshold(object, None)?;
                assert_eq!(tx.system_threshold(object)?, None);
                let (all, free) = tx.database_bytes()?;
                assert!(all > 4096 && free < all);
                Ok(())
            })
            .unwrap();
    }
}
