//! Collected reports and how far each has come.

use domain::usage_data::sending::{ReportEvent, ReportState};
use jiff::Timestamp;
use rusqlite::params;

use crate::database::{Tx, millis, timestamp};
use crate::error::StoreError;

/// Reports in one list.
const LISTED_MAX: u32 = 1_000;

/// A report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageReportRow {
    /// Random id.
    pub report_id: String,
    /// Week since the installation, for a collection by schedule.
    pub week: Option<u64>,
    /// Level.
    pub level: String,
    /// When it was collected.
    pub collected_at: Timestamp,
    /// Milliseconds the collection took.
    pub took_ms: u64,
    /// Keyed hash of the hierarchy's id, as in the report.
    pub hierarchy: String,
    /// Canonical bytes.
    pub body: String,
    /// SHA-256 of them.
    pub sha256: String,
    /// How far it has come.
    pub state: ReportState,
    /// The bytes that leave, once they are made.
    pub sealed: Option<Vec<u8>>,
    /// Attempts to send it.
    pub attempts: u32,
    /// Not to be tried before this.
    pub next_attempt_at: Option<Timestamp>,
    /// Why the last attempt failed.
    pub failure: Option<String>,
    /// The service's receipt.
    pub receipt: Option<String>,
    /// Last change of its state.
    pub changed_at: Timestamp,
}

const COLUMNS: &str = "report_id, week, level, collected_at, took_ms, hierarchy, body, sha256, state, sealed, attempts, \
                       next_attempt_at, failure, receipt, changed_at";

fn row(row: &rusqlite::Row<'_>) -> rusqlite::Result<(UsageReportRow, String)> {
    let state: String = row.get(8)?;
    let report = UsageReportRow {
        report_id: row.get(0)?,
        week: row.get::<_, Option<i64>>(1)?.map(i64::unsigned_abs),
        level: row.get(2)?,
        collected_at: timestamp(row.get(3)?),
        took_ms: row.get::<_, i64>(4)?.unsigned_abs(),
        hierarchy: row.get(5)?,
        body: row.get(6)?,
        sha256: row.get(7)?,
        state: ReportState::Collected,
        sealed: row.get(9)?,
        attempts: row.get(10)?,
        next_attempt_at: row.get::<_, Option<i64>>(11)?.map(timestamp),
        failure: row.get(12)?,
        receipt: row.get(13)?,
        changed_at: timestamp(row.get(14)?),
    };
    Ok((report, state))
}

fn checked((mut report, state): (UsageReportRow, String)) -> Result<UsageReportRow, StoreError> {
    report.state = ReportState::parse(&state).ok_or(StoreError::Damaged {
        what: "state of a usage report",
        value: state,
    })?;
    Ok(report)
}

impl Tx<'_> {
    /// Keeps a collected report.
    pub fn insert_usage_report(&self, report: &UsageReportRow) -> Result<(), StoreError> {
        self.execute(
            "INSERT INTO usage_report (report_id, week, level, collected_at, took_ms, hierarchy, body, sha256, state, attempts, changed_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, 0, $10)",
            params![
                report.report_id,
                report.week.map(|week| i64::try_from(week).unwrap_or(i64::MAX)),
                report.level,
                millis(report.collected_at),
                i64::try_from(report.took_ms).unwrap_or(i64::MAX),
                report.hierarchy,
                report.body,
                report.sha256,
                report.state.as_str(),
                millis(report.changed_at)
            ],
        )
        .map(drop)
    }

    /// One report.
    pub fn usage_report(&self, report_id: &str) -> Result<Option<UsageReportRow>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM usage_report WHERE report_id = $1");
        self.one(&sql, params![report_id], row)?.map(checked).transpose()
    }

    /// Reports, newest first.
    pub fn usage_reports(&self, limit: u32) -> Result<Vec<UsageReportRow>, StoreError> {
        let sql =
            format!("SELECT {COLUMNS} FROM usage_report ORDER BY collected_at DESC, report_id LIMIT $1");
        let rows = self.many(&sql, params![limit.min(LISTED_MAX)], row)?;
        rows.into_iter().map(checked).collect()
    }

    /// Reports that are still to go out, oldest first.
    pub fn open_usage_reports(&self) -> Result<Vec<UsageReportRow>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM usage_report WHERE state IN ('collected', 'approved', 'sending')
             ORDER BY collected_at, report_id LIMIT {LISTED_MAX}"
        );
        let rows = self.many(&sql, [], row)?;
        rows.into_iter().map(checked).collect()
    }

    /// Whether this week was collected already, by a clock that agrees with `now`. A week that a clock which
    /// ran ahead collected in advance counts no longer.
    pub fn usage_week_collected(&self, week: u64, now: Timestamp) -> Result<bool, StoreError> {
        let week = i64::try_from(week).unwrap_or(i64::MAX);
        let found = self.one(
            "SELECT 1 FROM usage_report WHERE week = $1 AND collected_at <= $2 LIMIT 1",
            params![week, millis(now)],
            |row| row.get::<_, i64>(0),
        )?;
        Ok(found.is_some())
    }

    /// Changes a report's state; says whether the event makes sense in the state it has.
    pub fn change_usage_report(
        &self,
        report_id: &str,
        event: ReportEvent,
        now: Timestamp,
    ) -> Result<bool, StoreError> {
        let Some(report) = self.usage_report(report_id)? else {
            return Ok(false);
        };
        let Some(next) = report.state.next(event) else {
            return Ok(false);
        };
        self.execute(
            "UPDATE usage_report SET state = $1, changed_at = $2 WHERE report_id = $3",
            params![next.as_str(), millis(now), report_id],
        )?;
        Ok(true)
    }

    /// Keeps the bytes that leave; once they are made they never change.
    pub fn seal_usage_report(&self, report_id: &str, sealed: &[u8]) -> Result<(), StoreError> {
        self.execute(
            "UPDATE usage_report SET sealed = $1 WHERE report_id = $2 AND sealed IS NULL",
            params![sealed, report_id],
        )
        .map(drop)
    }

    /// Records an attempt that failed.
    pub fn record_usage_failure(
        &self,
        report_id: &str,
        failure: &str,
        next_attempt_at: Timestamp,
    ) -> Result<(), StoreError> {
        self.execute(
            "UPDATE usage_report SET attempts = attempts + 1, failure = $1, next_attempt_at = $2 WHERE report_id = $3",
            params![failure, millis(next_attempt_at), report_id],
        )
        .map(drop)
    }

    /// The next attempt may come at once.
    pub fn clear_usage_wait(&self) -> Result<(), StoreError> {
        self.execute(
            "UPDATE usage_report SET next_attempt_at = NULL WHERE next_attempt_at IS NOT NULL",
            [],
        )
        .map(drop)
    }

    /// Keeps why the service refused a report.
    pub fn record_usage_refusal(&self, report_id: &str, why: &str) -> Result<(), StoreError> {
        self.execute(
            "UPDATE usage_report SET failure = $1 WHERE report_id = $2",
            params![why, report_id],
        )
        .map(drop)
    }

    /// Keeps the receipt of a report.
    pub fn record_usage_receipt(&self, report_id: &str, receipt: &str) -> Result<(), StoreError> {
        self.execute(
            "UPDATE usage_report SET receipt = $1, failure = NULL, next_attempt_at = NULL WHERE report_id = $2",
            params![receipt, report_id],
        )
        .map(drop)
    }
}
