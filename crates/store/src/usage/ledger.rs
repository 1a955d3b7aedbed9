//! The ledger: entries are added and never changed.

use jiff::Timestamp;
use rusqlite::params;

use crate::database::{Tx, millis, timestamp};
use crate::error::StoreError;

/// An entry. Who adds it computes the hashes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[allow(
    missing_docs,
    reason = "the fields are those of protocol::usage::ledger::LedgerEntry"
)]
pub struct LedgerRow {
    pub number: u64,
    pub at: Timestamp,
    pub event: String,
    pub report_id: String,
    pub level: String,
    pub bytes: u64,
    pub sha256: String,
    pub detail: String,
    pub previous: String,
    pub hash: String,
}

const COLUMNS: &str =
    "entry_number, recorded_at, event, report_id, level, bytes, sha256, detail, previous, hash";

fn row(row: &rusqlite::Row<'_>) -> rusqlite::Result<LedgerRow> {
    Ok(LedgerRow {
        number: row.get::<_, i64>(0)?.unsigned_abs(),
        at: timestamp(row.get(1)?),
        event: row.get(2)?,
        report_id: row.get(3)?,
        level: row.get(4)?,
        bytes: row.get::<_, i64>(5)?.unsigned_abs(),
        sha256: row.get(6)?,
        detail: row.get(7)?,
        previous: row.get(8)?,
        hash: row.get(9)?,
    })
}

impl Tx<'_> {
    /// Adds an entry.
    pub fn append_ledger(&self, entry: &LedgerRow) -> Result<(), StoreError> {
        self.execute(
            "INSERT INTO usage_ledger (entry_number, recorded_at, event, report_id, level, bytes, sha256, detail, previous, hash)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
            params![
                i64::try_from(entry.number).unwrap_or(i64::MAX),
                millis(entry.at),
                entry.event,
                entry.report_id,
                entry.level,
                i64::try_from(entry.bytes).unwrap_or(i64::MAX),
                entry.sha256,
                entry.detail,
                entry.previous,
                entry.hash
            ],
        )
        .map(drop)
    }

    /// The last entry.
    pub fn ledger_end(&self) -> Result<Option<LedgerRow>, StoreError> {
        let sql = format!("SELECT {COLUMNS} FROM usage_ledger ORDER BY entry_number DESC LIMIT 1");
        self.one(&sql, [], row)
    }

    /// Entries after a number, in order.
    pub fn ledger(&self, after: u64, limit: u32) -> Result<Vec<LedgerRow>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM usage_ledger WHERE entry_number > $1 ORDER BY entry_number LIMIT $2"
        );
        self.many(
            &sql,
            params![i64::try_from(after).unwrap_or(i64::MAX), limit],
            row,
        )
    }

    /// Entries of one report, in order.
    pub fn ledger_of(&self, report_id: &str) -> Result<Vec<LedgerRow>, StoreError> {
        let sql = format!(
            "SELECT {COLUMNS} FROM usage_ledger WHERE report_id = $1 ORDER BY entry_number LIMIT 1000"
        );
        self.many(&sql, params![report_id], row)
    }

    /// Whether the ledger has such an entry of a report.
    pub fn ledger_has(&self, report_id: &str, event: &str) -> Result<bool, StoreError> {
        let found = self.one(
            "SELECT 1 FROM usage_ledger WHERE report_id = $1 AND event = $2 LIMIT 1",
            params![report_id, event],
            |row| row.get::<_, i64>(0),
        )?;
        Ok(found.is_some())
    }
}
