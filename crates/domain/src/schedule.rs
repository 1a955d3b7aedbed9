//! When something happens next: intervals with jitter and back-off. Pure; randomness is an argument.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

/// Doubling waits between attempts, with jitter, up to a longest one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// Wait after the first failure.
    pub first: Duration,
    /// Longest wait.
    pub longest: Duration,
}

impl Backoff {
    /// The wait after this many failures in a row. `random` spreads it over the upper half, so that
    /// many sites that failed together do not come back together.
    pub fn wait(&self, failures: u32, random: u64) -> Duration {
        let doubled = self
            .first
            .saturating_mul(1_u32 << failures.saturating_sub(1).min(20));
        let full = doubled.min(self.longest);
        let half = full / 2;
        half + share(full - half, random)
    }
}

/// The next regular activation: one interval from `now`, less up to a tenth of it, so that the sites of
/// a vendor do not all ask in the same minute, and "every 24 hours" is never exceeded.
pub fn next_regular(now: Timestamp, interval: Duration, random: u64) -> Timestamp {
    later(now, interval - share(interval / 10, random))
}

/// Whether a planned instant has come. One that lies further ahead than the longest wait was planned by a
/// clock that ran ahead; it counts as come, so that a wrong clock delays nothing once it is right again.
pub fn is_due(planned: Option<Timestamp>, now: Timestamp, longest_wait: Duration) -> bool {
    planned.is_none_or(|planned| planned <= now || planned > later(now, longest_wait))
}

/// An instant after `now`; saturates at the end of time.
pub fn later(now: Timestamp, wait: Duration) -> Timestamp {
    SignedDuration::try_from(wait)
        .ok()
        .and_then(|wait| now.checked_add(wait).ok())
        .unwrap_or(Timestamp::MAX)
}

/// A uniform share of a duration.
fn share(whole: Duration, random: u64) -> Duration {
    let nanos = (whole.as_nanos() * u128::from(random)) >> 64;
    Duration::from_nanos(nanos as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BACKOFF: Backoff = Backoff {
        first: Duration::from_secs(1),
        longest: Duration::from_secs(60),
    };

    #[test]
    fn a_clock_that_ran_ahead_delays_nothing() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let check = |planned: Option<i64>, now, expected| {
            assert_eq!(
                is_due(planned.map(at), at(now), Duration::from_secs(100)),
                expected,
                "{planned:?} at {now}"
            );
        };
        check(None, 0, true);
        check(Some(50), 0, false);
        check(Some(50), 50, true);
        check(Some(100), 0, false);
        // Planned a year ahead of its time.
        check(Some(31_536_000), 0, true);
    }

    proptest! {
        #[test]
        fn backoff_stays_within_its_bounds(failures: u32, random: u64) {
            let wait = BACKOFF.wait(failures, random);
            prop_assert!(wait >= BACKOFF.first / 2 && wait <= BACKOFF.longest);
        }

        #[test]
        fn backoff_grows(failures in 1u32..5, random: u64) {
            prop_assert!(BACKOFF.wait(failures + 1, random) >= BACKOFF.wait(failures, random));
        }

        #[test]
        fn a_regular_activation_comes_within_the_interval(seconds in 1u64..1_000_000, random: u64) {
            let now = Timestamp::UNIX_EPOCH;
            let interval = Duration::from_secs(seconds);
            let next = next_regular(now, interval, random);
            prop_assert!(next <= later(now, interval) && next >= later(now, interval.mul_f64(0.89)));
        }
    }
}
