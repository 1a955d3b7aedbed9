//! Counts for usage data: aggregates only, never rows.

use std::collections::BTreeMap;

use domain::servicing::state::PackageState;
use jiff::Timestamp;
use rusqlite::params;

use crate::database::{Tx, millis};
use crate::error::StoreError;

impl Tx<'_> {
    /// Packages by the name of their state.
    pub fn packages_by_state(&self) -> Result<BTreeMap<String, u64>, StoreError> {
        let rows: Vec<(u32, i64)> =
            self.many("SELECT state, COUNT(*) FROM package GROUP BY state", [], |row| {
                Ok((row.get(0)?, row.get(1)?))
            })?;
        let named = rows.into_iter().map(|(code, count)| {
            let name = PackageState::from_code(code).map_or("UNKNOWN", PackageState::name);
            (name.to_owned(), count.unsigned_abs())
        });
        Ok(named.collect())
    }

    /// Packages whose installation was rolled back.
    pub fn rolled_back_packages(&self) -> Result<u64, StoreError> {
        let count = self.one("SELECT COUNT(*) FROM package WHERE rolled_back <> 0", [], |row| {
            row.get::<_, i64>(0)
        })?;
        Ok(count.unwrap_or_default().unsigned_abs())
    }

    /// Status messages since an instant, by id.
    pub fn messages_by_id(&self, since: Timestamp) -> Result<BTreeMap<String, u64>, StoreError> {
        let rows: Vec<(i64, i64)> = self.many(
            "SELECT message_id, COUNT(*) FROM status_message WHERE recorded_at >= $1 GROUP BY message_id",
            params![millis(since)],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        Ok(rows
            .into_iter()
            .map(|(id, count)| (id.to_string(), count.unsigned_abs()))
            .collect())
    }

    /// Messages of one id since an instant, by component.
    pub fn messages_by_component(
        &self,
        id: u32,
        since: Timestamp,
    ) -> Result<BTreeMap<String, u64>, StoreError> {
        let rows: Vec<(String, i64)> = self.many(
            "SELECT component, COUNT(*) FROM status_message WHERE message_id = $1 AND recorded_at >= $2 GROUP BY component",
            params![id, millis(since)],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        Ok(rows
            .into_iter()
            .map(|(name, count)| (name, count.unsigned_abs()))
            .collect())
    }

    /// Rings that packages of the catalogue name.
    pub fn rings(&self) -> Result<Vec<String>, StoreError> {
        self.many(
            "SELECT DISTINCT ring.value FROM package, json_each(package.record, '$.rings') AS ring
             WHERE ring.type = 'text' ORDER BY ring.value LIMIT 1000",
            [],
            |row| row.get(0),
        )
    }

    /// Prerequisite rules of the last checks, by result.
    pub fn prerequisites_by_result(&self) -> Result<BTreeMap<String, u64>, StoreError> {
        let rows: Vec<(String, i64)> = self.many(
            "SELECT result, COUNT(*) FROM prereq_result GROUP BY result",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        Ok(rows
            .into_iter()
            .map(|(result, count)| (result, count.unsigned_abs()))
            .collect())
    }

    /// Version of the database engine.
    pub fn engine_version(&self) -> Result<Option<String>, StoreError> {
        self.one("SELECT sqlite_version()", [], |row| row.get(0))
    }

    /// Checks of internet access that are kept, by outcome.
    pub fn endpoint_runs_by_outcome(&self) -> Result<BTreeMap<String, u64>, StoreError> {
        let rows: Vec<(String, i64)> = self.many(
            "SELECT outcome, COUNT(*) FROM endpoint_run GROUP BY outcome",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )?;
        Ok(rows
            .into_iter()
            .map(|(outcome, count)| (outcome, count.unsigned_abs()))
            .collect())
    }

    /// Names of all tables, in order.
    pub fn table_names(&self) -> Result<Vec<String>, StoreError> {
        self.many(
            "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY name LIMIT 1000",
            [],
            |row| row.get(0),
        )
    }
}
