//! The ledger of this site: adding to it, and proving that it is whole.

use jiff::Timestamp;
use protocol::usage::ledger::{BEGINNING, LedgerBroken, LedgerCheck, LedgerEntry, LedgerEvent};
use serde::{Deserialize, Serialize};
use store::{LedgerRow, StoreError, Tx, UsageReportRow};

use crate::secrets::Secrets;

/// Where the end of the ledger is noted, encrypted: without the site's key it cannot be made to fit a
/// ledger that lost its last entries.
const END: &str = "usage.ledger-end";
const END_NAME: &str = "ledger end";
const PAGE: u32 = 500;

#[derive(Serialize, Deserialize)]
struct End {
    entries: u64,
    head: String,
}

/// Adds an entry, in the transaction of what it speaks of.
pub fn append(
    tx: &Tx<'_>,
    secrets: &Secrets,
    event: LedgerEvent,
    report: &UsageReportRow,
    detail: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    let last = tx.ledger_end()?;
    let entry = LedgerEntry {
        number: last.as_ref().map_or(1, |last| last.number + 1),
        at: Timestamp::from_millisecond(now.as_millisecond()).unwrap_or(now),
        event,
        report: report.report_id.clone(),
        level: report.level.clone(),
        bytes: report.body.len() as u64,
        sha256: report.sha256.clone(),
        detail: detail.to_owned(),
        previous: last.map_or_else(|| BEGINNING.to_owned(), |last| last.hash),
        hash: String::new(),
    };
    let entry = entry.sealed();
    let end = End {
        entries: entry.number,
        head: entry.hash.clone(),
    };
    tx.append_ledger(&row(&entry))?;
    // A site without randomness goes on without the note; the chain itself stays.
    let sealed = serde_json::to_string(&end)
        .ok()
        .and_then(|text| secrets.seal(END_NAME, &text).ok());
    tx.set_setting(END, sealed.as_deref())
}

/// Follows the whole ledger. Blocks for as long as it is.
pub fn check(tx: &Tx<'_>, secrets: &Secrets) -> Result<(LedgerCheck, Option<LedgerBroken>), StoreError> {
    let mut check = LedgerCheck::default();
    loop {
        let page = tx.ledger(check.entries, PAGE)?;
        if page.is_empty() {
            break;
        }
        for row in page {
            let Some(entry) = entry(row) else {
                let number = check.entries + 1;
                return Ok((check, Some(LedgerBroken::Altered { number })));
            };
            if let Err(broken) = check.next(&entry) {
                return Ok((check, Some(broken)));
            }
        }
    }
    let noted = tx.setting(END)?;
    let noted = noted.and_then(|sealed| secrets.open_sealed(END_NAME, &sealed).ok());
    let noted: Option<End> = noted.and_then(|text| serde_json::from_str(&text).ok());
    let broken = match noted {
        Some(end) => check.end(end.entries, &end.head).err(),
        None if check.entries > 0 => Some(LedgerBroken::Altered {
            number: check.entries,
        }),
        None => None,
    };
    Ok((check, broken))
}

fn row(entry: &LedgerEntry) -> LedgerRow {
    LedgerRow {
        number: entry.number,
        at: entry.at,
        event: entry.event.as_str().to_owned(),
        report_id: entry.report.clone(),
        level: entry.level.clone(),
        bytes: entry.bytes,
        sha256: entry.sha256.clone(),
        detail: entry.detail.clone(),
        previous: entry.previous.clone(),
        hash: entry.hash.clone(),
    }
}

/// The wire form of a stored entry; nothing if what is stored is no entry.
pub fn entry(row: LedgerRow) -> Option<LedgerEntry> {
    let event = serde_json::from_value(serde_json::Value::String(row.event)).ok()?;
    Some(LedgerEntry {
        number: row.number,
        at: row.at,
        event,
        report: row.report_id,
        level: row.level,
        bytes: row.bytes,
        sha256: row.sha256,
        detail: row.detail,
        previous: row.previous,
        hash: row.hash,
    })
}
