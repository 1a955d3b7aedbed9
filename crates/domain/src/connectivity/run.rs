//! When a run is due and whether its outcome is told (internet-access, sections 1 and 6).

use std::time::Duration;

use jiff::Timestamp;

use super::verdict::Outcome;
use crate::status_message::StatusMessageId;

/// Time between runs that nobody asked for.
pub const EVERY: Duration = Duration::from_secs(24 * 60 * 60);
/// The same while something fails: whoever mended it need not ask.
pub const EVERY_WHILE_FAILING: Duration = Duration::from_secs(30 * 60);
/// An outcome that stays the same is told again after this long.
pub const TOLD_EVERY: Duration = Duration::from_secs(24 * 60 * 60);
/// A run this young need not be repeated before a check for updates.
pub const FRESH: Duration = Duration::from_secs(15 * 60);

/// Time from a run with this outcome to the next that nobody asks for.
pub fn interval(outcome: Outcome) -> Duration {
    match outcome {
        Outcome::Passed => EVERY,
        Outcome::Warning | Outcome::Critical | Outcome::Unknown => EVERY_WHILE_FAILING,
    }
}

/// The last outcome that administrators were told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// Which.
    pub outcome: Outcome,
    /// When.
    pub at: Timestamp,
}

/// The one status message of a run; none when the same was told within a day, or nothing was found out.
pub fn message(outcome: Outcome, told: Option<Told>, now: Timestamp) -> Option<StatusMessageId> {
    let id = match outcome {
        Outcome::Passed => StatusMessageId::EndpointsPassed,
        Outcome::Warning => StatusMessageId::EndpointsWarning,
        Outcome::Critical => StatusMessageId::EndpointsCritical,
        Outcome::Unknown => return None,
    };
    let repeated = told.is_some_and(|told| {
        let age = now.as_second() - told.at.as_second();
        // A clock that was set back must not silence an outcome.
        told.outcome == outcome && (0..TOLD_EVERY.as_secs() as i64).contains(&age)
    });
    (!repeated).then_some(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_message_on_change_or_once_a_day() {
        let at = |hour: i64| Timestamp::from_second(1_800_000_000 + hour * 3600).unwrap();
        let told = |outcome, hour| {
            Some(Told {
                outcome,
                at: at(hour),
            })
        };
        for (outcome, last, hour, expected) in [
            (Outcome::Passed, None, 0, Some(StatusMessageId::EndpointsPassed)),
            (Outcome::Passed, told(Outcome::Passed, 0), 23, None),
            (
                Outcome::Passed,
                told(Outcome::Passed, 0),
                24,
                Some(StatusMessageId::EndpointsPassed),
            ),
            (
                Outcome::Warning,
                told(Outcome::Passed, 0),
                1,
                Some(StatusMessageId::EndpointsWarning),
            ),
            (
                Outcome::Critical,
                told(Outcome::Warning, 0),
                1,
                Some(StatusMessageId::EndpointsCritical),
            ),
            (
                Outcome::Critical,
                told(Outcome::Critical, 5),
                1,
                Some(StatusMessageId::EndpointsCritical),
            ),
            (Outcome::Unknown, told(Outcome::Critical, 0), 1, None),
        ] {
            assert_eq!(message(outcome, last, at(hour)), expected, "{outcome:?} {last:?}");
        }
    }
}
