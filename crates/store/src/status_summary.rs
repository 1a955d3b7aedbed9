//! Counts of status messages, and the thresholds that turn them into colours.
//!
//! Messages are counted when they are raised, by quarters of an hour: whether a message is written to the database,
//! and when it is deleted there, changes no count. Every tally interval begins on such a quarter, since the offsets
//! of all time zones are whole quarters; a reset removes what was counted before it.

use domain::status_message::{Severity, Thresholds};
use jiff::Timestamp;
use rusqlite::params;

use crate::database::{Tx, millis};
use crate::error::StoreError;

/// Milliseconds of a quarter of an hour.
const QUARTER_MS: i64 = 15 * 60 * 1000;
/// Quarters that are kept one by one: those of the longest interval, a month, with days to spare. Older ones only
/// count "since site installation" and are kept as one.
const QUARTERS_KEPT: i64 = 40 * 24 * 4;
/// Most rows of thresholds: three for each component and three for all.
const THRESHOLDS_MAX: u32 = 300;

/// How many messages of each severity a component raised.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SeverityCounts {
    /// Informational.
    pub informational: u64,
    /// Warning.
    pub warning: u64,
    /// Error.
    pub error: u64,
}

/// Thresholds that an administrator set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ThresholdRow {
    /// Component; none for all components that have none of their own.
    pub component: Option<String>,
    /// Severity it is about.
    pub severity: Severity,
    /// Count that makes it a warning.
    pub warning_at: u64,
    /// Count that makes it critical.
    pub critical_at: u64,
}

impl Tx<'_> {
    /// Counts a message for the summary of its component.
    pub(crate) fn count_status_message(
        &self,
        component: &str,
        severity: u32,
        at: Timestamp,
    ) -> Result<(), StoreError> {
        self.execute(
            "INSERT INTO status_tally (component, severity, quarter, messages) VALUES ($1, $2, $3, 1)
             ON CONFLICT (component, severity, quarter) DO UPDATE SET messages = status_tally.messages + 1",
            params![component, severity, quarter(at)],
        )
        .map(drop)
    }

    /// A component's messages by severity since the quarter of an hour that an instant is in.
    pub fn severity_counts(&self, component: &str, since: Timestamp) -> Result<SeverityCounts, StoreError> {
        let rows: Vec<(u32, i64)> = self.many(
            "SELECT severity, SUM(messages) FROM status_tally WHERE component = $1 AND quarter >= $2
             GROUP BY severity LIMIT 16",
            params![component, quarter(since)],
            |r| Ok((r.get(0)?, r.get(1)?)),
        )?;
        let mut counts = SeverityCounts::default();
        for (severity, count) in rows {
            let count = u64::try_from(count).unwrap_or(0);
            match Severity::from_code(severity) {
                Some(Severity::Informational) => counts.informational = count,
                Some(Severity::Warning) => counts.warning = count,
                Some(Severity::Error) | None => counts.error += count,
            }
        }
        Ok(counts)
    }

    /// Counts a component's messages from zero.
    pub fn reset_tally(&self, component: &str) -> Result<(), StoreError> {
        self.execute(
            "DELETE FROM status_tally WHERE component = $1",
            params![component],
        )
        .map(drop)
    }

    /// Adds up the counts that only "since site installation" asks for, so that their number stays small; says how
    /// many went into the sum.
    pub fn fold_tally(&self, now: Timestamp) -> Result<usize, StoreError> {
        let limit = quarter(now) - QUARTERS_KEPT;
        self.execute(
            "INSERT INTO status_tally (component, severity, quarter, messages)
             SELECT component, severity, $1, SUM(messages) FROM status_tally WHERE quarter < $2
             GROUP BY component, severity
             ON CONFLICT (component, severity, quarter) DO UPDATE SET messages = status_tally.messages + excluded.messages",
            params![limit, limit],
        )?;
        self.execute("DELETE FROM status_tally WHERE quarter < $1", params![limit])
    }

    /// Every threshold that an administrator set, those for all components first.
    pub fn set_thresholds(&self) -> Result<Vec<ThresholdRow>, StoreError> {
        self.many(
            "SELECT component, severity, warning_at, critical_at FROM status_threshold
             ORDER BY component, severity LIMIT $1",
            params![THRESHOLDS_MAX],
            |r| {
                let component: String = r.get(0)?;
                let count = |value: i64| u64::try_from(value).unwrap_or(0);
                Ok(ThresholdRow {
                    component: Some(component).filter(|name| !name.is_empty()),
                    // A number that no severity has was never written; it would read as the strictest.
                    severity: Severity::from_code(r.get(1)?).unwrap_or(Severity::Error),
                    warning_at: count(r.get(2)?),
                    critical_at: count(r.get(3)?),
                })
            },
        )
    }

    /// Sets the thresholds of a component, or of all that have none of their own.
    pub fn set_threshold(&self, row: &ThresholdRow) -> Result<(), StoreError> {
        let number = |count: u64| i64::try_from(count).unwrap_or(i64::MAX);
        self.execute(
            "INSERT INTO status_threshold (component, severity, warning_at, critical_at) VALUES ($1, $2, $3, $4)
             ON CONFLICT (component, severity) DO UPDATE SET warning_at = excluded.warning_at,
                 critical_at = excluded.critical_at",
            params![
                row.component.as_deref().unwrap_or_default(),
                row.severity.code(),
                number(row.warning_at),
                number(row.critical_at)
            ],
        )
        .map(drop)
    }

    /// Takes back what was set for a component, or for all; says how many thresholds those were.
    pub fn reset_thresholds(&self, component: Option<&str>) -> Result<usize, StoreError> {
        self.execute(
            "DELETE FROM status_threshold WHERE component = $1",
            params![component.unwrap_or_default()],
        )
    }
}

/// The thresholds of a component: its own, or those for all, or the product's.
pub fn thresholds_of(rows: &[ThresholdRow], component: &str) -> Thresholds {
    let set = |thresholds: Thresholds, wanted: Option<&str>| {
        rows.iter()
            .filter(|row| row.component.as_deref() == wanted)
            .fold(thresholds, |thresholds, row| {
                thresholds.with(row.severity, (row.warning_at, row.critical_at))
            })
    };
    set(set(Thresholds::default(), None), Some(component))
}

fn quarter(at: Timestamp) -> i64 {
    millis(at).div_euclid(QUARTER_MS)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Store;

    const INFORMATIONAL: u32 = 0x4000_0000;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn store() -> (tempfile::TempDir, Store) {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(&folder.path().join("site.db")).unwrap();
        (folder, store)
    }

    #[test]
    fn counts_begin_where_an_interval_does_and_survive_folding() {
        let (_folder, store) = store();
        let day = 24 * 3600;
        store
            .write_blocking::<_, StoreError>(|tx| {
                for second in [0, 899, 900, 50 * day, 50 * day + 1] {
                    tx.count_status_message("A", INFORMATIONAL, at(second))?;
                }
                tx.count_status_message("B", INFORMATIONAL, at(0))?;
                let informational =
                    |tx: &Tx<'_>, since| Ok(tx.severity_counts("A", at(since))?.informational);
                assert_eq!(informational(tx, 0)?, 5);
                assert_eq!(informational(tx, 900)?, 3);
                assert_eq!(informational(tx, 50 * day)?, 2);
                assert_eq!(tx.fold_tally(at(50 * day))?, 3);
                assert_eq!(tx.fold_tally(at(50 * day))?, 0);
                assert_eq!(informational(tx, 0)?, 5);
                assert_eq!(informational(tx, 49 * day)?, 2);
                tx.reset_tally("A")?;
                assert_eq!(informational(tx, 0)?, 0);
                assert_eq!(tx.severity_counts("B", at(0))?.informational, 1);
                Ok::<_, StoreError>(())
            })
            .unwrap();
    }

    #[test]
    fn the_closest_threshold_counts() {
        let (_folder, store) = store();
        let row = |component: Option<&str>, severity, warning_at, critical_at| ThresholdRow {
            component: component.map(str::to_owned),
            severity,
            warning_at,
            critical_at,
        };
        store
            .write_blocking::<_, StoreError>(|tx| {
                assert_eq!(thresholds_of(&tx.set_thresholds()?, "A"), Thresholds::default());
                tx.set_threshold(&row(None, Severity::Error, 2, 4))?;
                tx.set_threshold(&row(Some("A"), Severity::Error, 3, 3))?;
                tx.set_threshold(&row(Some("A"), Severity::Error, 7, 8))?;
                let rows = tx.set_thresholds()?;
                assert_eq!(thresholds_of(&rows, "A").error, (7, 8));
                assert_eq!(thresholds_of(&rows, "B").error, (2, 4));
                assert_eq!(thresholds_of(&rows, "B").warning, (10, 50));
                assert_eq!(tx.reset_thresholds(Some("A"))?, 1);
                assert_eq!(thresholds_of(&tx.set_thresholds()?, "A").error, (2, 4));
                assert_eq!(tx.reset_thresholds(None)?, 1);
                assert_eq!(tx.set_thresholds()?, []);
                Ok(())
            })
            .unwrap();
    }
}
