//! Bytes on their way, for people who watch. Kept in memory: after a restart a download resumes and
//! tells again how far it is.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use domain::servicing::package::PackageGuid;
use jiff::Timestamp;

/// How far one transfer is.
#[derive(Debug, Clone, PartialEq)]
pub struct Transfer {
    /// What is being moved, for people.
    pub what: String,
    /// Host it comes from; empty for local work.
    pub host: String,
    /// Bytes done.
    pub done: u64,
    /// Bytes to do.
    pub total: u64,
    /// Begin of this attempt.
    pub started_at: Timestamp,
    /// Bytes that were done when this attempt began.
    pub done_at_start: u64,
    /// Last report.
    pub updated_at: Timestamp,
    /// What is being done here with what came, for people; nothing while more comes.
    pub doing: Option<String>,
}

impl Transfer {
    /// Mean rate of this attempt in bytes per second, once a tenth of a second has gone by.
    pub fn rate(&self) -> Option<u64> {
        let elapsed_ms = self.updated_at.as_millisecond() - self.started_at.as_millisecond();
        let moved = self.done.saturating_sub(self.done_at_start);
        (elapsed_ms >= 100).then(|| (u128::from(moved) * 1000 / elapsed_ms as u128) as u64)
    }
}

/// The transfers under way, by package.
#[derive(Debug, Default)]
pub struct ProgressBoard {
    transfers: Mutex<HashMap<PackageGuid, Transfer>>,
}

impl ProgressBoard {
    fn transfers(&self) -> MutexGuard<'_, HashMap<PackageGuid, Transfer>> {
        self.transfers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A transfer begins or begins again.
    pub fn begin(&self, guid: PackageGuid, what: &str, host: &str, done: u64, total: u64, now: Timestamp) {
        let transfer = Transfer {
            what: what.to_owned(),
            host: host.to_owned(),
            done,
            total,
            started_at: now,
            done_at_start: done,
            updated_at: now,
            doing: None,
        };
        self.transfers().insert(guid, transfer);
    }

    /// A transfer has moved to this many bytes.
    pub fn advance(&self, guid: PackageGuid, done: u64, now: Timestamp) {
        if let Some(transfer) = self.transfers().get_mut(&guid) {
            transfer.done = done.min(transfer.total);
            transfer.updated_at = now;
        }
    }

    /// What came is being worked on; nothing once that is done.
    pub fn work(&self, guid: PackageGuid, doing: Option<String>) {
        if let Some(transfer) = self.transfers().get_mut(&guid) {
            transfer.doing = doing;
        }
    }

    /// A transfer is over, well or not.
    pub fn end(&self, guid: PackageGuid) {
        self.transfers().remove(&guid);
    }

    /// How far a package's transfer is.
    pub fn of(&self, guid: PackageGuid) -> Option<Transfer> {
        self.transfers().get(&guid).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_counts_only_this_attempt() {
        let at = |ms| Timestamp::from_millisecond(ms).unwrap();
        let board = ProgressBoard::default();
        let guid = PackageGuid(1);
        board.begin(guid, "payload", "feed.example", 1000, 5000, at(0));
        assert_eq!(board.of(guid).unwrap().rate(), None);
        board.advance(guid, 3000, at(500));
        assert_eq!(board.of(guid).unwrap().rate(), Some(4000));
        board.advance(guid, 9000, at(600));
        assert_eq!(board.of(guid).unwrap().done, 5000);
        board.work(guid, Some("applying".into()));
        assert_eq!(board.of(guid).unwrap().doing.as_deref(), Some("applying"));
        board.work(guid, None);
        assert_eq!(board.of(guid).unwrap().doing, None);
        board.end(guid);
        board.work(guid, Some("applying".into()));
        assert_eq!(board.of(guid), None);
    }
}
