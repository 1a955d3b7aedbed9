//! What a user did with a notification, and whether it still holds.

use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;

use super::Severity;
use crate::schedule::{is_due, later};

/// For how long a notification may be snoozed (acceptance fact 14).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Snooze {
    /// One hour.
    Hour,
    /// One day.
    Day,
    /// One week.
    Week,
    /// One month, of 30 days.
    Month,
}

impl Snooze {
    /// Every length.
    pub const ALL: [Snooze; 4] = [Snooze::Hour, Snooze::Day, Snooze::Week, Snooze::Month];

    /// The word for people and programs.
    pub fn as_str(self) -> &'static str {
        match self {
            Snooze::Hour => "hour",
            Snooze::Day => "day",
            Snooze::Week => "week",
            Snooze::Month => "month",
        }
    }

    /// How long that is.
    pub fn length(self) -> Duration {
        let hours = match self {
            Snooze::Hour => 1,
            Snooze::Day => 24,
            Snooze::Week => 7 * 24,
            Snooze::Month => 30 * 24,
        };
        Duration::from_secs(hours * 3_600)
    }

    /// When it is over.
    pub fn until(self, now: Timestamp) -> Timestamp {
        later(now, self.length())
    }
}

impl FromStr for Snooze {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|snooze| snooze.as_str() == text)
            .ok_or_else(|| format!("{text:?} is no time to snooze for; write hour, day, week or month"))
    }
}

/// What a user did, and with what.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reaction {
    /// How bad it was then.
    pub severity: Severity,
    /// What its cause was then.
    pub cause: String,
    /// End of the snooze; none means dismissed.
    pub until: Option<Timestamp>,
}

/// How a notification stands with a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It is shown.
    Shown,
    /// It is shown again at this instant.
    Snoozed(Timestamp),
    /// It is shown again when it gets worse or has another cause.
    Dismissed,
}

/// Whether what the user did still holds. A critical notification is always shown.
pub fn standing(severity: Severity, cause: &str, reaction: Option<&Reaction>, now: Timestamp) -> Standing {
    let Some(reaction) = reaction else {
        return Standing::Shown;
    };
    if severity == Severity::Critical || severity > reaction.severity || cause != reaction.cause {
        return Standing::Shown;
    }
    match reaction.until {
        None => Standing::Dismissed,
        // A clock that ran ahead when the user snoozed must not hide it for longer than anybody can ask for.
        Some(until) if is_due(Some(until), now, Snooze::Month.length()) => Standing::Shown,
        Some(until) => Standing::Snoozed(until),
    }
}
