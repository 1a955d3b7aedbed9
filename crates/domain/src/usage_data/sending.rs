//! How a collected report leaves, or does not: the policy of the administrator and the states of a report.

use std::fmt;
use std::str::FromStr;

use super::Level;
use crate::mode::Mode;

/// Whether reports go out by themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sending {
    /// As soon as they are collected.
    #[default]
    Automatic,
    /// After an administrator has approved each.
    Hold,
    /// Not at all. Which updates are offered does not depend on it.
    Never,
}

impl Sending {
    /// Every policy.
    pub const ALL: [Sending; 3] = [Sending::Automatic, Sending::Hold, Sending::Never];

    /// As shown and stored.
    pub fn as_str(self) -> &'static str {
        match self {
            Sending::Automatic => "automatic",
            Sending::Hold => "hold",
            Sending::Never => "never",
        }
    }
}

impl fmt::Display for Sending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Sending {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|sending| sending.as_str() == text)
            .ok_or_else(|| format!("{text:?} is no way of sending; write automatic, hold or never"))
    }
}

/// Where a report is on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReportState {
    /// Collected; nothing of it has left.
    Collected,
    /// An administrator let it go; nothing of it has left.
    Approved,
    /// Its bytes have begun to leave; the service has not confirmed them.
    Sending,
    /// The service has confirmed it with a receipt.
    Sent,
    /// The service refused it for good.
    Refused,
    /// An administrator discarded it.
    Discarded,
    /// A newer report took its place before it went out.
    Replaced,
}

/// What happens to a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ReportEvent {
    /// An administrator lets it go.
    Approve,
    /// An administrator discards it.
    Discard,
    /// Its first byte is about to leave.
    Begin,
    /// A valid receipt arrived.
    Receipt,
    /// The service refuses it for good.
    Refuse,
    /// A newer one was collected, or it holds more than the level allows by now.
    Replace,
}

impl ReportEvent {
    /// Every event.
    pub const ALL: [ReportEvent; 6] = [
        ReportEvent::Approve,
        ReportEvent::Discard,
        ReportEvent::Begin,
        ReportEvent::Receipt,
        ReportEvent::Refuse,
        ReportEvent::Replace,
    ];
}

impl ReportState {
    /// Every state.
    pub const ALL: [ReportState; 7] = [
        ReportState::Collected,
        ReportState::Approved,
        ReportState::Sending,
        ReportState::Sent,
        ReportState::Refused,
        ReportState::Discarded,
        ReportState::Replaced,
    ];

    /// As shown and stored.
    pub fn as_str(self) -> &'static str {
        match self {
            ReportState::Collected => "collected",
            ReportState::Approved => "approved",
            ReportState::Sending => "sending",
            ReportState::Sent => "sent",
            ReportState::Refused => "refused",
            ReportState::Discarded => "discarded",
            ReportState::Replaced => "replaced",
        }
    }

    /// The stored form back.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }

    /// Whether it is still to go out.
    pub fn is_open(self) -> bool {
        match self {
            ReportState::Collected | ReportState::Approved | ReportState::Sending => true,
            ReportState::Sent | ReportState::Refused | ReportState::Discarded | ReportState::Replaced => {
                false
            }
        }
    }

    /// The state after an event; nothing where the event makes no sense.
    pub fn next(self, event: ReportEvent) -> Option<ReportState> {
        use {ReportEvent as E, ReportState as S};
        match self {
            S::Collected => match event {
                E::Approve => Some(S::Approved),
                E::Discard => Some(S::Discarded),
                E::Begin => Some(S::Sending),
                // Carried by hand, and confirmed on the way back.
                E::Receipt => Some(S::Sent),
                E::Replace => Some(S::Replaced),
                E::Refuse => None,
            },
            S::Approved => match event {
                E::Discard => Some(S::Discarded),
                E::Begin => Some(S::Sending),
                E::Receipt => Some(S::Sent),
                E::Replace => Some(S::Replaced),
                E::Approve | E::Refuse => None,
            },
            S::Sending => match event {
                E::Begin => Some(S::Sending),
                E::Receipt => Some(S::Sent),
                E::Refuse => Some(S::Refused),
                E::Discard => Some(S::Discarded),
                // The service may have it: it is asked until it says so.
                E::Approve | E::Replace => None,
            },
            // A receipt that comes again changes nothing.
            S::Sent => match event {
                E::Receipt => Some(S::Sent),
                E::Approve | E::Discard | E::Begin | E::Refuse | E::Replace => None,
            },
            // It was sent once; a late receipt is the truth.
            S::Refused | S::Discarded | S::Replaced => match event {
                E::Receipt => Some(S::Sent),
                E::Approve | E::Discard | E::Begin | E::Refuse | E::Replace => None,
            },
        }
    }
}

/// What to do with a report that is still to go out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SendPlan {
    /// Send it.
    Send,
    /// It waits, and this is why.
    Wait(&'static str),
    /// It holds more than may be sent by now; collect a new one.
    Recollect,
}

/// Decides about one report.
pub fn plan(state: ReportState, level: Level, configured: Level, sending: Sending, mode: Mode) -> SendPlan {
    if !state.is_open() {
        return SendPlan::Wait("it is done");
    }
    if level > configured {
        return SendPlan::Recollect;
    }
    if !mode.may_connect() {
        return SendPlan::Wait("the service connection point is offline");
    }
    match (sending, state) {
        (Sending::Never, _) => SendPlan::Wait("the administrator turned sending off"),
        (Sending::Hold, ReportState::Collected) => SendPlan::Wait("an administrator has to approve it"),
        (Sending::Hold, _) | (Sending::Automatic, _) => SendPlan::Send,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_whole_table() {
        let mut table = String::new();
        for state in ReportState::ALL {
            assert_eq!(ReportState::parse(state.as_str()), Some(state));
            for event in ReportEvent::ALL {
                let next = state.next(event).map_or("-", ReportState::as_str);
                table.push_str(&format!("{} {event:?} {next}\n", state.as_str()));
            }
        }
        assert_eq!(table, include_str!("report_states.txt"));
    }

    proptest! {
        /// Whatever happens in whatever order: a report that was confirmed stays so, and a level is never exceeded.
        #[test]
        fn confirmed_stays_confirmed(events in proptest::collection::vec(0..ReportEvent::ALL.len(), 0..30)) {
            let mut state = ReportState::Collected;
            let mut confirmed = false;
            for event in events {
                let event = ReportEvent::ALL[event];
                if let Some(next) = state.next(event) {
                    confirmed |= event == ReportEvent::Receipt;
                    state = next;
                }
                prop_assert_eq!(confirmed, state == ReportState::Sent);
            }
        }

        #[test]
        fn nothing_leaves_that_may_not(state in 0..7_usize, level in 0..3_usize, configured in 0..3_usize, sending in 0..3_usize, online in any::<bool>()) {
            let (state, level, configured) = (ReportState::ALL[state], Level::ALL[level], Level::ALL[configured]);
            let (sending, mode) = (Sending::ALL[sending], if online { Mode::Online } else { Mode::Offline });
            if plan(state, level, configured, sending, mode) == SendPlan::Send {
                prop_assert!(online && level <= configured && sending != Sending::Never && state.is_open());
                prop_assert!(sending != Sending::Hold || state != ReportState::Collected);
            }
        }
    }
}
