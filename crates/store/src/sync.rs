//! What is remembered of synchronisation with the feed.

use jiff::Timestamp;
use rusqlite::params;

use crate::database::{Tx, millis, timestamp};
use crate::error::StoreError;

/// The one row about synchronisation.
#[derive(Debug, Clone, Default)]
pub struct SyncRow {
    /// An administrator asked for a check that has not begun yet.
    pub requested: bool,
    /// Begin of the last cycle.
    pub started_at: Option<Timestamp>,
    /// End of the last good cycle.
    pub succeeded_at: Option<Timestamp>,
    /// End of the last bad cycle.
    pub failed_at: Option<Timestamp>,
    /// Why it was bad; none after a good one.
    pub failure: Option<String>,
    /// The kind of failure, one word.
    pub failure_reason: Option<String>,
    /// Bad cycles since the last good one.
    pub failures_in_row: u32,
    /// When the next cycle begins by itself.
    pub next_at: Option<Timestamp>,
    /// Counts changes of the catalogue.
    pub catalogue_generation: i64,
    /// The generation that was evaluated last.
    pub evaluated_generation: i64,
    /// Versions and expiries of the trusted roles, as JSON.
    pub roles: String,
}

impl Tx<'_> {
    /// Reads the row.
    pub fn sync(&self) -> Result<SyncRow, StoreError> {
        let row = self.one(
            "SELECT requested, started_at, succeeded_at, failed_at, failure, failure_reason, failures_in_row, next_at,
                    catalogue_generation, evaluated_generation, roles FROM sync WHERE id = 1",
            [],
            |r| {
                let at = |index: usize| r.get::<_, Option<i64>>(index).map(|ms| ms.map(timestamp));
                Ok(SyncRow {
                    requested: r.get::<_, i64>(0)? != 0,
                    started_at: at(1)?,
                    succeeded_at: at(2)?,
                    failed_at: at(3)?,
                    failure: r.get(4)?,
                    failure_reason: r.get(5)?,
                    failures_in_row: r.get(6)?,
                    next_at: at(7)?,
                    catalogue_generation: r.get(8)?,
                    evaluated_generation: r.get(9)?,
                    roles: r.get(10)?,
                })
            },
        )?;
        Ok(row.unwrap_or_default())
    }

    /// An administrator asks for a check now.
    pub fn request_sync(&self) -> Result<(), StoreError> {
        self.execute("UPDATE sync SET requested = 1 WHERE id = 1", [])
            .map(drop)
    }

    /// A cycle begins.
    pub fn record_sync_started(&self, now: Timestamp) -> Result<(), StoreError> {
        self.execute(
            "UPDATE sync SET requested = 0, started_at = $1 WHERE id = 1",
            params![millis(now)],
        )
        .map(drop)
    }

    /// A cycle ended well.
    pub fn record_sync_succeeded(
        &self,
        now: Timestamp,
        next_at: Timestamp,
        roles: &str,
    ) -> Result<(), StoreError> {
        self.execute(
            "UPDATE sync SET succeeded_at = $1, failure = NULL, failure_reason = NULL, failures_in_row = 0,
                    next_at = $2, roles = $3 WHERE id = 1",
            params![millis(now), millis(next_at), roles],
        )
        .map(drop)
    }

    /// A cycle ended badly.
    pub fn record_sync_failed(
        &self,
        now: Timestamp,
        next_at: Timestamp,
        reason: &str,
        failure: &str,
    ) -> Result<(), StoreError> {
        self.execute(
            "UPDATE sync SET failed_at = $1, failures_in_row = failures_in_row + 1, next_at = $2, failure_reason = $3,
                    failure = $4 WHERE id = 1",
            params![millis(now), millis(next_at), reason, failure],
        )
        .map(drop)
    }

    /// Name and hash of every catalogue shard that the package rows come from.
    pub fn shards(&self) -> Result<Vec<(String, String)>, StoreError> {
        self.many(
            "SELECT name, sha256 FROM catalogue_shard ORDER BY name LIMIT 4096",
            [],
            |r| Ok((r.get(0)?, r.get(1)?)),
        )
    }

    /// Remembers that a shard's rows are stored, or that the shard is gone.
    pub fn record_shard(&self, name: &str, sha256: Option<&str>) -> Result<(), StoreError> {
        match sha256 {
            Some(sha256) => self.execute(
                "INSERT INTO catalogue_shard (name, sha256) VALUES ($1, $2)
                 ON CONFLICT (name) DO UPDATE SET sha256 = excluded.sha256",
                params![name, sha256],
            )?,
            None => self.execute("DELETE FROM catalogue_shard WHERE name = $1", params![name])?,
        };
        self.execute(
            "UPDATE sync SET catalogue_generation = catalogue_generation + 1 WHERE id = 1",
            [],
        )?;
        Ok(())
    }

    /// Remembers which generation of the catalogue was evaluated.
    pub fn record_evaluated(&self, generation: i64) -> Result<(), StoreError> {
        self.execute(
            "UPDATE sync SET evaluated_generation = $1 WHERE id = 1",
            params![generation],
        )
        .map(drop)
    }
}
