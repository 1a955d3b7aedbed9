//! Internet access: runs of checks, cloud services that cannot be reached, hosts that were.

use jiff::Timestamp;
use rusqlite::params;

use crate::database::{Tx, millis, timestamp};
use crate::error::StoreError;

/// Runs that are kept.
const RUNS_KEPT: u32 = 500;
/// Hosts that are kept per pattern.
const LEARNED_KEPT: u32 = 8;

/// A run of checks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndpointRunRow {
    /// Random id.
    pub run_id: String,
    /// Begin.
    pub started_at: Timestamp,
    /// What caused it.
    pub cause: String,
    /// Outcome, one word.
    pub outcome: String,
    /// One sentence.
    pub summary: String,
    /// Milliseconds it took.
    pub took_ms: u64,
    /// The whole report, as JSON.
    pub report: String,
}

impl Tx<'_> {
    /// Keeps a run, and forgets the oldest ones.
    pub fn record_endpoint_run(&self, run: &EndpointRunRow) -> Result<(), StoreError> {
        self.execute(
            "INSERT INTO endpoint_run (run_id, started_at, cause, outcome, summary, took_ms, report)
             VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT (run_id) DO NOTHING",
            params![
                run.run_id,
                millis(run.started_at),
                run.cause,
                run.outcome,
                run.summary,
                i64::try_from(run.took_ms).unwrap_or(i64::MAX),
                run.report
            ],
        )?;
        self.execute(
            "DELETE FROM endpoint_run WHERE run_id NOT IN
             (SELECT run_id FROM endpoint_run ORDER BY started_at DESC, run_id LIMIT $1)",
            params![RUNS_KEPT],
        )
        .map(drop)
    }

    /// The newest runs, newest first.
    pub fn endpoint_runs(&self, limit: u32) -> Result<Vec<EndpointRunRow>, StoreError> {
        self.many(
            "SELECT run_id, started_at, cause, outcome, summary, took_ms, report FROM endpoint_run
             ORDER BY started_at DESC, run_id LIMIT $1",
            params![limit],
            |row| {
                Ok(EndpointRunRow {
                    run_id: row.get(0)?,
                    started_at: timestamp(row.get(1)?),
                    cause: row.get(2)?,
                    outcome: row.get(3)?,
                    summary: row.get(4)?,
                    took_ms: row.get::<_, i64>(5)?.unsigned_abs(),
                    report: row.get(6)?,
                })
            },
        )
    }

    /// Features whose required hosts could not be reached in the last run.
    pub fn endpoint_alarms(&self) -> Result<Vec<String>, StoreError> {
        self.many(
            "SELECT feature FROM endpoint_alarm ORDER BY feature LIMIT 1000",
            [],
            |row| row.get(0),
        )
    }

    /// Replaces the features that cannot be reached.
    pub fn set_endpoint_alarms(&self, features: &[String], now: Timestamp) -> Result<(), StoreError> {
        for known in self.endpoint_alarms()? {
            if !features.contains(&known) {
                self.execute("DELETE FROM endpoint_alarm WHERE feature = $1", params![known])?;
            }
        }
        for feature in features {
            self.execute(
                "INSERT INTO endpoint_alarm (feature, since) VALUES ($1, $2) ON CONFLICT (feature) DO NOTHING",
                params![feature, millis(now)],
            )?;
        }
        Ok(())
    }

    /// Remembers a host that was reached and fits a wildcard pattern.
    pub fn learn_endpoint(&self, pattern: &str, host: &str, now: Timestamp) -> Result<(), StoreError> {
        self.execute(
            "INSERT INTO endpoint_learned (pattern, host, reached_at) VALUES ($1, $2, $3)
             ON CONFLICT (pattern, host) DO UPDATE SET reached_at = excluded.reached_at",
            params![pattern, host, millis(now)],
        )?;
        self.execute(
            "DELETE FROM endpoint_learned WHERE pattern = $1 AND host NOT IN
             (SELECT host FROM endpoint_learned WHERE pattern = $2 ORDER BY reached_at DESC, host LIMIT $3)",
            params![pattern, pattern, LEARNED_KEPT],
        )
        .map(drop)
    }

    /// Every remembered host as (pattern, host).
    pub fn learned_endpoints(&self) -> Result<Vec<(String, String)>, StoreError> {
        self.many(
            "SELECT pattern, host FROM endpoint_learned ORDER BY pattern, reached_at DESC, host LIMIT 10000",
            [],
            |row| Ok((row.get(0)?, row.get(1)?)),
        )
    }
}
