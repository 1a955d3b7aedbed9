//! When a site is backed up, and which backups are kept.

use jiff::civil::Time;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan};

/// Longest time between two backups, in days. The original asks for one at least every 5 days
/// (components-status-logs, section 3); nobody wants one a month old.
pub const EVERY_DAYS_MAX: u32 = 31;
/// Most backups that are kept.
pub const KEEP_MAX: u32 = 100;
/// How late a backup may be before it is missing.
const LATE: SignedDuration = SignedDuration::from_hours(24);

/// A schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BackupSchedule {
    /// Days between two.
    pub every_days: u32,
    /// Time of the day, by the site's own clock.
    pub at: Time,
    /// How many are kept.
    pub keep: u32,
    /// When it was set.
    pub since: Timestamp,
}

impl BackupSchedule {
    /// When the next one is due after the last good one; a last one in the future was made by a clock that ran ahead
    /// and counts for nothing.
    pub fn due(&self, last: Option<Timestamp>, now: Timestamp, zone: &TimeZone) -> Timestamp {
        let last = last.filter(|last| *last <= now);
        let (from, days) = match last {
            Some(last) => (last, self.every_days),
            None => (self.since, 0),
        };
        let local = from.to_zoned(zone.clone());
        let on = |days: i64| {
            let date = local.date().checked_add(days.days()).ok()?;
            Some(date.to_datetime(self.at).to_zoned(zone.clone()).ok()?.timestamp())
        };
        let days = i64::from(days);
        match on(days) {
            // The first one: today if the hour is still to come, else tomorrow.
            Some(due) if last.is_some() || due >= from => due,
            _ => on(days + 1).unwrap_or(Timestamp::MAX),
        }
    }

    /// Whether one is missing: it was due more than a day ago.
    pub fn is_missing(&self, last: Option<Timestamp>, now: Timestamp, zone: &TimeZone) -> bool {
        now.duration_since(self.due(last, now, zone)) > LATE
    }
}

/// The backups to remove when one more was made, of the others in the order in which they are of use: all but as many as
/// are kept beside the new one.
pub fn surplus<T>(others: &[T], keep: u32) -> &[T] {
    let kept = usize::try_from(keep.saturating_sub(1)).unwrap_or(usize::MAX);
    &others[..others.len().saturating_sub(kept)]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn schedule(every_days: u32) -> BackupSchedule {
        BackupSchedule {
            every_days,
            at: Time::constant(2, 30, 0, 0),
            keep: 3,
            since: at("2026-11-20T12:00:00Z"),
        }
    }

    #[test]
    fn due_by_the_clock_on_the_wall() {
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        let now = at("2026-11-21T00:00:00Z");
        assert_eq!(schedule(1).due(None, now, &zone), at("2026-11-21T01:30:00Z"));
        let early = BackupSchedule {
            since: at("2026-11-20T00:00:00Z"),
            ..schedule(1)
        };
        assert_eq!(
            early.due(None, now, &zone),
            at("2026-11-20T01:30:00Z"),
            "still to come that day"
        );
        let last = Some(at("2026-11-20T01:31:00Z"));
        assert_eq!(schedule(3).due(last, now, &zone), at("2026-11-23T01:30:00Z"));
        // The night in which 02:30 comes does not exist: an hour later.
        let spring = Some(at("2027-03-27T01:31:00Z"));
        let then = at("2027-03-27T12:00:00Z");
        assert_eq!(schedule(1).due(spring, then, &zone), at("2027-03-28T01:30:00Z"));
        // A clock that ran a year ahead.
        let ahead = Some(at("2027-11-20T01:31:00Z"));
        assert_eq!(schedule(1).due(ahead, now, &zone), at("2026-11-21T01:30:00Z"));
        assert!(!schedule(1).is_missing(last, at("2026-11-22T01:29:00Z"), &zone));
        assert!(schedule(1).is_missing(last, at("2026-11-22T01:31:00Z"), &zone));
    }

    proptest! {
        #[test]
        fn something_is_always_due_after_the_last_and_within_the_interval(
            every in 1_u32..=EVERY_DAYS_MAX, last in 0_i64..4_000_000_000, keep in 0_u32..200, count in 0_usize..200
        ) {
            let last = Timestamp::from_second(last).unwrap();
            let zone = TimeZone::get("Australia/Lord_Howe").unwrap();
            let due = schedule(every).due(Some(last), last, &zone);
            let wait = due.duration_since(last).as_secs();
            prop_assert!(wait > 0 || every == 1, "{wait}");
            prop_assert!(wait <= (i64::from(every) + 1) * 86_400 + 3_600, "{wait}");
            let all: Vec<usize> = (0..count).collect();
            prop_assert_eq!(count - surplus(&all, keep).len(), count.min(keep.saturating_sub(1) as usize));
        }
    }
}
