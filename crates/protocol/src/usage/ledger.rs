//! The ledger of what left: entries in a chain of hashes, so that a missing or altered one shows.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// What the first entry follows.
pub const BEGINNING: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// What happened to a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LedgerEvent {
    /// An administrator let it go.
    Approved,
    /// An administrator discarded it.
    Discarded,
    /// Its first byte was about to leave.
    Sending,
    /// It was written to a file that is carried to the service.
    Carried,
    /// The service confirmed it.
    Receipt,
    /// The service refused it.
    Refused,
}

impl LedgerEvent {
    /// As shown.
    pub fn as_str(self) -> &'static str {
        match self {
            LedgerEvent::Approved => "approved",
            LedgerEvent::Discarded => "discarded",
            LedgerEvent::Sending => "sending",
            LedgerEvent::Carried => "carried",
            LedgerEvent::Receipt => "receipt",
            LedgerEvent::Refused => "refused",
        }
    }
}

/// An entry. The hash covers every field above it and the hash of the entry before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LedgerEntry {
    /// Number, from 1 on.
    pub number: u64,
    /// When.
    pub at: Timestamp,
    /// What.
    pub event: LedgerEvent,
    /// Id of the report.
    pub report: String,
    /// Level of the report.
    pub level: String,
    /// Bytes of the report.
    pub bytes: u64,
    /// SHA-256 of the report.
    pub sha256: String,
    /// Host it went to, who approved it, the receipt, or why it was refused.
    pub detail: String,
    /// Hash of the entry before.
    pub previous: String,
    /// Hash of this entry.
    pub hash: String,
}

impl LedgerEntry {
    /// The hash that this entry has to have.
    pub fn expected_hash(&self) -> String {
        let fields = serde_json::json!([
            self.number,
            self.at.to_string(),
            self.event.as_str(),
            self.report,
            self.level,
            self.bytes,
            self.sha256,
            self.detail,
            self.previous,
        ]);
        hex::encode(Sha256::digest(fields.to_string()))
    }

    /// The entry with its hash filled in.
    pub fn sealed(mut self) -> Self {
        self.hash = self.expected_hash();
        self
    }
}

/// Where a ledger is not whole.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum LedgerBroken {
    /// A number is not the one after the last.
    #[error("entry {expected} is missing; {found} follows")]
    Missing {
        /// The number that should come.
        expected: u64,
        /// The number that came.
        found: u64,
    },
    /// An entry does not follow the one before it.
    #[error("entry {number} does not follow the entry before it: one of them was altered")]
    Unchained {
        /// Number.
        number: u64,
    },
    /// The fields are not those that were hashed.
    #[error("entry {number} was altered")]
    Altered {
        /// Number.
        number: u64,
    },
    /// The last entries are gone.
    #[error("the ledger ends with entry {found}; it had {expected}")]
    Cut {
        /// The number it had.
        expected: u64,
        /// The number it has.
        found: u64,
    },
}

/// Follows a ledger entry by entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerCheck {
    /// Entries so far.
    pub entries: u64,
    /// Hash of the last.
    pub head: String,
}

impl Default for LedgerCheck {
    fn default() -> Self {
        LedgerCheck {
            entries: 0,
            head: BEGINNING.to_owned(),
        }
    }
}

impl LedgerCheck {
    /// Takes the next entry.
    pub fn next(&mut self, entry: &LedgerEntry) -> Result<(), LedgerBroken> {
        let expected = self.entries + 1;
        if entry.number != expected {
            return Err(LedgerBroken::Missing {
                expected,
                found: entry.number,
            });
        }
        if entry.previous != self.head {
            return Err(LedgerBroken::Unchained { number: expected });
        }
        if entry.hash != entry.expected_hash() {
            return Err(LedgerBroken::Altered { number: expected });
        }
        self.entries = expected;
        self.head.clone_from(&entry.hash);
        Ok(())
    }

    /// Compares the end with what was noted of it.
    pub fn end(&self, entries: u64, head: &str) -> Result<(), LedgerBroken> {
        if self.entries < entries {
            return Err(LedgerBroken::Cut {
                expected: entries,
                found: self.entries,
            });
        }
        match self.entries == entries && self.head != head {
            true => Err(LedgerBroken::Altered { number: entries }),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(entries: u64) -> Vec<LedgerEntry> {
        let mut all: Vec<LedgerEntry> = Vec::new();
        for number in 1..=entries {
            let previous = all
                .last()
                .map_or(BEGINNING.to_owned(), |entry| entry.hash.clone());
            let entry = LedgerEntry {
                number,
                at: Timestamp::from_second(number as i64).unwrap(),
                event: LedgerEvent::Sending,
                report: format!("r{number}"),
                level: "basic".into(),
                bytes: number,
                sha256: "s".into(),
                detail: "d".into(),
                previous,
                hash: String::new(),
            };
            all.push(entry.sealed());
        }
        all
    }

    fn follow(entries: &[LedgerEntry]) -> Result<LedgerCheck, LedgerBroken> {
        let mut check = LedgerCheck::default();
        entries.iter().try_for_each(|entry| check.next(entry))?;
        Ok(check)
    }

    #[test]
    fn every_alteration_and_every_gap_shows() {
        let whole = ledger(6);
        let end = follow(&whole).unwrap();
        assert_eq!(end.end(6, &whole[5].hash), Ok(()));
        for at in 0..6 {
            let mut gap = whole.clone();
            gap.remove(at);
            let found = follow(&gap).and_then(|check| check.end(6, &end.head));
            assert!(found.is_err(), "without {at}");
            let alter: [fn(&mut LedgerEntry); 6] = [
                |e| e.bytes += 1,
                |e| e.level = "full".into(),
                |e| e.at = Timestamp::UNIX_EPOCH,
                |e| e.event = LedgerEvent::Receipt,
                |e| e.report.push('x'),
                |e| e.detail.clear(),
            ];
            for change in alter {
                let mut altered = whole.clone();
                change(&mut altered[at]);
                assert_eq!(
                    follow(&altered),
                    Err(LedgerBroken::Altered {
                        number: at as u64 + 1
                    })
                );
                // With a hash of its own it no longer leads to the next, or to the end that was noted.
                altered[at] = altered[at].clone().sealed();
                assert!(
                    follow(&altered)
                        .and_then(|check| check.end(6, &end.head))
                        .is_err()
                );
            }
        }
    }
}
