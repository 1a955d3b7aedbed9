//! When usage data is collected: every seven days, counted from the day of the installation
//! (usage-data, section 2).

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// Time between collections.
pub const EVERY: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Which week since the installation it is, counted from 0. The first has no collection.
pub fn week(installed_at: Timestamp, now: Timestamp) -> u64 {
    let age_s = now.as_second().saturating_sub(installed_at.as_second());
    age_s.max(0).unsigned_abs() / EVERY.as_secs()
}

/// Whether the collection of this week is due: `collected` has the weeks that were collected already.
pub fn is_due(week: u64, collected: bool) -> bool {
    week >= 1 && !collected
}

/// When the next collection comes, if this week's is done.
pub fn next(installed_at: Timestamp, now: Timestamp) -> Timestamp {
    let weeks = i64::try_from(week(installed_at, now) + 1).unwrap_or(i64::MAX);
    let wait_s = weeks.saturating_mul(EVERY.as_secs() as i64);
    installed_at
        .checked_add(SignedDuration::from_secs(wait_s))
        .unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const WEEK_S: i64 = 7 * 24 * 3_600;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_700_000_000 + second).unwrap()
    }

    #[test]
    fn a4_seven_days_after_the_installation_and_every_seven_days_from_it() {
        let installed = at(0);
        let check = |second, expected_week, next_second| {
            assert_eq!(week(installed, at(second)), expected_week, "{second}");
            assert_eq!(next(installed, at(second)), at(next_second), "{second}");
        };
        check(-5, 0, WEEK_S);
        check(0, 0, WEEK_S);
        check(WEEK_S - 1, 0, WEEK_S);
        check(WEEK_S, 1, 2 * WEEK_S);
        check(2 * WEEK_S + 5, 2, 3 * WEEK_S);
        assert!(!is_due(0, false));
        assert!(is_due(1, false));
        assert!(!is_due(1, true));
    }

    proptest! {
        /// A site that looks at any times collects each week once, whatever the order of looks.
        #[test]
        fn each_week_once(mut looks in proptest::collection::vec(0..20 * WEEK_S, 1..60)) {
            looks.sort_unstable();
            let mut collected = std::collections::BTreeSet::new();
            for look in &looks {
                let week = week(at(0), at(*look));
                if is_due(week, collected.contains(&week)) {
                    prop_assert!(collected.insert(week));
                }
            }
            let expected: std::collections::BTreeSet<u64> =
                looks.iter().map(|look| (*look / WEEK_S) as u64).filter(|week| *week >= 1).collect();
            prop_assert_eq!(collected, expected);
        }
    }
}
