//! What moves an update package from one state to the next.
//!
//! [`PackageState::next`] is total: every state says for every event where it leads or that the
//! event has no place there. The whole table is a golden file (`state_table.txt`), which is the thing
//! to review.
//!
//! Evaluation may hide a package that waits for somebody's decision, but never one in motion:
//! replicating, checking and installing packages keep their state until that work has ended.

use std::fmt;

use super::state::PackageState;

/// The outcome of evaluating the conditions of a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Verdict {
    /// Every condition holds.
    Applicable,
    /// Older, superseded or withdrawn.
    Hide,
    /// A condition does not hold.
    NotApplicable,
    /// A condition could not be evaluated.
    Failed,
}

/// The outcome of a prerequisite check.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PrereqOutcome {
    /// Every rule passed.
    Passed,
    /// Only warnings.
    Warning,
    /// At least one error.
    Error,
}

/// What an installation waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Deferral {
    /// The next service window of the site.
    ServiceWindow,
    /// The parent site, which has to be first.
    ParentSite,
}

/// The outcome of an installation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum InstallOutcome {
    /// Committed.
    Success,
    /// Committed, effective after a restart of the host.
    PendingReboot,
    /// Rolled back, or never started.
    Failed,
}

/// What can happen to a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PackageEvent {
    /// The catalogue lists the package and its evaluation begins.
    Listed,
    /// Its conditions were evaluated.
    Evaluated(Verdict),
    /// The downloader took it from its work list.
    DownloadStarted,
    /// The complete file list was verified on disk.
    DownloadSucceeded,
    /// Given up after the attempts of one cycle, or the content is wrong.
    DownloadFailed,
    /// Verified content is damaged or gone.
    ContentLost,
    /// An administrator started a prerequisite check or an installation.
    Start,
    /// Content transfer to the sites began.
    ReplicationStarted,
    /// All sites have the content.
    ReplicationSucceeded,
    /// A site could not store it.
    ReplicationFailed,
    /// The prerequisite check began.
    PrereqStarted,
    /// The prerequisite check ended.
    PrereqFinished(PrereqOutcome),
    /// The installation has to wait.
    InstallDeferred(Deferral),
    /// The install plan began.
    InstallStarted,
    /// The install plan ended.
    InstallFinished(InstallOutcome),
    /// An administrator let the installation continue in spite of warnings.
    WarningsIgnored,
    /// An administrator asked to try again.
    Retried,
    /// An administrator reset the package.
    Reset,
}

/// An event that has no place in a state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IllegalTransition {
    /// The state the package is in.
    pub state: PackageState,
    /// The event that was refused.
    pub event: PackageEvent,
}

impl fmt::Display for IllegalTransition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "a package in state {} ({}) takes no {:?}",
            self.state.name(),
            self.state.code(),
            self.event
        )
    }
}

impl std::error::Error for IllegalTransition {}

impl PackageState {
    /// Where `event` leads, or that it has no place here.
    pub fn next(self, event: PackageEvent) -> Result<PackageState, IllegalTransition> {
        use Deferral as D;
        use InstallOutcome as O;
        use PackageEvent as E;
        use PackageState as S;
        use PrereqOutcome as P;
        use Verdict as V;
        let refused = Err(IllegalTransition { state: self, event });
        match self {
            S::Unknown | S::ApplicabilityHide | S::ApplicabilityNa | S::ApplicabilityFailed => match event {
                E::Listed => Ok(S::ApplicabilityChecking),
                E::Evaluated(_)
                | E::DownloadStarted
                | E::DownloadSucceeded
                | E::DownloadFailed
                | E::ContentLost
                | E::Start
                | E::ReplicationStarted
                | E::ReplicationSucceeded
                | E::ReplicationFailed
                | E::PrereqStarted
                | E::PrereqFinished(_)
                | E::InstallDeferred(_)
                | E::InstallStarted
                | E::InstallFinished(_)
                | E::WarningsIgnored
                | E::Retried
                | E::Reset => refused,
            },
            S::Enabled => match event {
                E::Listed | E::Evaluated(_) => Ok(self),
                E::ReplicationStarted => Ok(S::ContentReplicating),
                E::DownloadStarted
                | E::DownloadSucceeded
                | E::DownloadFailed
                | E::ContentLost
                | E::Start
                | E::ReplicationSucceeded
                | E::ReplicationFailed
                | E::PrereqStarted
                | E::PrereqFinished(_)
                | E::InstallDeferred(_)
                | E::InstallStarted
                | E::InstallFinished(_)
                | E::WarningsIgnored
                | E::Retried
                | E::Reset => refused,
            },
            S::ApplicabilityChecking => match event {
                E::Listed => Ok(self),
                E::Evaluated(V::Applicable) => Ok(S::ApplicabilitySuccess),
                E::Evaluated(V::Hide) => Ok(S::ApplicabilityHide),
                E::Evaluated(V::NotApplicable) => Ok(S::ApplicabilityNa),
                E::Evaluated(V::Failed) => Ok(S::ApplicabilityFailed),
                E::DownloadStarted
                | E::DownloadSucceeded
                | E::DownloadFailed
                | E::ContentLost
                | E::Start
                | E::ReplicationStarted
                | E::ReplicationSucceeded
                | E::ReplicationFailed
                | E::PrereqStarted
                | E::PrereqFinished(_)
                | E::InstallDeferred(_)
                | E::InstallStarted
                | E::InstallFinished(_)
                | E::WarningsIgnored
                | E::Retried
                | E::Reset => refused,
            },
            S::ApplicabilitySuccess => match event {
                E::Listed => Ok(S::ApplicabilityChecking),
                E::DownloadStarted => Ok(S::DownloadInProgress),
                E::Reset => Ok(S::Unknown),
                E::Evaluated(_)
                | E::DownloadSucceeded
                | E::DownloadFailed
                | E::ContentLost
                | E::Start
                | E::ReplicationStarted
                | E::ReplicationSucceeded
                | E::ReplicationFailed
                | E::PrereqStarted
                | E::PrereqFinished(_)
                | E::InstallDeferred(_)
                | E::InstallStarted
                | E::InstallFinished(_)
                | E::WarningsIgnored
                | E::Retried => refused,
            },
            S::DownloadInProgress => match event {
                E::Listed | E::Evaluated(V::Applicable) | E::Evaluated(V::Failed) | E::DownloadStarted => {
                    Ok(self)
                }
                E::Evaluated(V::Hide) => Ok(S::ApplicabilityHide),
                E::Evaluated(V::NotApplicable) => Ok(S::ApplicabilityNa),
                E::DownloadSucceeded => Ok(S::DownloadSuccess),
                E::DownloadFailed => Ok(S::DownloadFailed),
                E::Reset => Ok(S::Unknown),
                E::ContentLost
                | E::Start
                | E::ReplicationStarted
                | E::ReplicationSucceeded
                | E::ReplicationFailed
                | E::PrereqStarted
                | E::PrereqFinished(_)
                | E::InstallDeferred(_)
                | E::InstallStarted
                | E::InstallFinished(_)
                | E::WarningsIgnored
                | E::Retried => refused,
            },
            S::DownloadSuccess => match event {
                E::Listed | E::Evaluated(V::Applicable) | E::Evaluated(V::Failed) | E::Reset => Ok(self),
                E::Evaluated(V::Hide) => Ok(S::ApplicabilityHide),
                E::Evaluated(V::NotApplicable) => Ok(S::ApplicabilityNa),
                E::ContentLost => Ok(S::DownloadFailed),
                E::Start => Ok(S::Enabled),
                E::DownloadStarted
                | E::DownloadSucceeded
                | E::DownloadFailed
                | E::ReplicationStarted
                | E::ReplicationSucceeded
                | E::ReplicationFailed
                | E::PrereqStarted
                | E::PrereqFinished(_)
                | E::InstallDeferred(_)
                | E::InstallStarted
                | E::InstallFinished(_)
                | E::WarningsIgnored
                | E::Retried => refused,
            },
            S::DownloadFailed => match event {
                E::Listed | E::Evaluated(V::Applicable) | E::Evaluated(V::Failed) => Ok(self),
                E::Evaluated(V::Hide) => Ok(S::ApplicabilityHide),
                E::Evaluated(V::NotApplicable) => Ok(S::ApplicabilityNa),
                E::DownloadStarted => Ok(S::DownloadInProgress),
                E::Reset => Ok(S::Unknown),
                E::DownloadSucceeded
                | E::DownloadFailed
                | E::ContentLost
                | E::Start
                | E::ReplicationStarted
                | E::ReplicationSucceeded
                | E::ReplicationFailed
                | E::PrereqStarted
                | E::PrereqFinished(_)
                | E::InstallDeferred(_)
                | E::InstallStarted
                | E::InstallFinished(_)
                | E::WarningsIgnored
                | E::Retried => refused,
            },
            S::ContentReplicating => match event {
                E::Listed | E::Evaluated(_) | E::ReplicationStarted => Ok(self),
                E::ReplicationSucceeded => Ok(S::ContentReplicationSuccess),
                E::ReplicationFailed => Ok(S::ContentReplicationFailed),
                E::DownloadStarted
                | E::DownloadSucceeded
                | E::DownloadFailed
                | E::ContentLost
                | E::Start
                | E::PrereqStarted
                | E::PrereqFinished(_)
                | E::InstallDeferred(_)
                | E::InstallStarted
                | E::InstallFinished(_)
                | E::WarningsIgnored
                | E::Retried
                | E::Reset => refused,
            },
            S::ContentReplicationSuccess => match event {
                E::Listed | E::Evaluated(_) => Ok(self),
                E::PrereqStarted => Ok(S::PrereqInProgress),
                E::DownloadStarted
                | E::DownloadSucceeded
                | E::DownloadFailed
                | E::ContentLost
                | E::Start
                | E::ReplicationStarted
                | E::ReplicationSucceeded
                | E::ReplicationFailed
                | E::PrereqFinished(_)
                | E::InstallDeferred(_)
                | E::InstallStarted
                | E::InstallFinished(_)
                | E::WarningsIgnored
                | E::Retried
                | E::Reset => refused,
            },
            S::ContentReplicationFailed | S::PrereqError | S::InstallFailed => match event {
                E::Listed | E::Evaluated(V::Applicable) | E::Evaluated(V::Failed) => Ok(self),
                E::Evaluated(V::Hide) => Ok(S::ApplicabilityHide),
                E::Evaluated(V::NotApplicable) => Ok(S::ApplicabilityNa),
                E::ContentLost => Ok(S::DownloadFailed),
                E::Retried => Ok(S::Enabled),
                E::Reset => Ok(S::DownloadSuccess),
                E::DownloadStarted
                | E::DownloadSucceeded
                | E::DownloadFailed
                | E::Start
                | E::ReplicationStarted
                | E::ReplicationSucceeded
                | E::ReplicationFailed
                | E::PrereqStarted
                | E::PrereqFinished(_)
                | E::InstallDeferred(_)
                | E::InstallStarted
                | E::InstallFinished(_)
                | E::WarningsIgnored => refused,
            },
            S::PrereqInProgress => match event {
                E::Listed | E::Evaluated(_) | E::PrereqStarted => Ok(self),
                E::PrereqFinished(P::Passed) => Ok(S::PrereqSuccess),
                E::PrereqFinished(P::Warning) => Ok(S::PrereqWarning),
                E::PrereqFinished(P::Error) => Ok(S::PrereqError),
                E::DownloadStarted
                | E::DownloadSucceeded
                | E::DownloadFailed
                | E::ContentLost
                | E::Start
                | E::ReplicationStarted
                | E::ReplicationSucceeded
                | E::ReplicationFailed
                | E::InstallDeferred(_)
                | E::InstallStarted
                | E::InstallFinished(_)
                | E::WarningsIgnored
                | E::Retried
                | E::Reset => refused,
            },
            S::PrereqSuccess => match event {
                E::Listed | E::Evaluated(V::Applicable) | E::Evaluated(V::Failed) => Ok(self),
                E::Evaluated(V::Hide) => Ok(S::ApplicabilityHide),
                E::Evaluated(V::NotApplicable) => Ok(S::ApplicabilityNa),
                E::ContentLost => Ok(S::DownloadFailed),
                E::Start => Ok(S::Enabled),
                E::InstallDeferred(D::ServiceWindow) => Ok(S::InstallWaitingServiceWindow),
                E::InstallDeferred(D::ParentSite) => Ok(S::InstallWaitingParent),
                E::InstallStarted => Ok(S::InstallInProgress),
                E::Reset => Ok(S::DownloadSuccess),
                E::DownloadStarted
                | E::DownloadSucceeded
                | E::DownloadFailed
                | E::ReplicationStarted
                | E::ReplicationSucceeded
                | E::ReplicationFailed
                | E::PrereqStarted
                | E::PrereqFinished(_)
                | E::InstallFinished(_)
                | E::WarningsIgnored
                | E::Retried => refused,
            },
            S::PrereqWarning => match event {
                E::Listed | E::Evaluated(V::Applicable) | E::Evaluated(V::Failed) | E::WarningsIgnored => {
                    Ok(self)
                }
                E::Evaluated(V::Hide) => Ok(S::ApplicabilityHide),
                E::Evaluated(V::NotApplicable) => Ok(S::ApplicabilityNa),
                E::ContentLost => Ok(S::DownloadFailed),
                E::Start | E::Retried => Ok(S::Enabled),
                E::InstallDeferred(D::ServiceWindow) => Ok(S::InstallWaitingServiceWindow),
                E::InstallDeferred(D::ParentSite) => Ok(S::InstallWaitingParent),
                E::InstallStarted => Ok(S::InstallInProgress),
                E::Reset => Ok(S::DownloadSuccess),
                E::DownloadStarted
                | E::DownloadSucceeded
                | E::DownloadFailed
                | E::ReplicationStarted
                | E::ReplicationSucceeded
                | E::ReplicationFailed
                | E::PrereqStarted
                | E::PrereqFinished(_)
                | E::InstallFinished(_) => refused,
            },
            S::InstallInProgress => match event {
                E::Listed | E::Evaluated(_) | E::InstallStarted => Ok(self),
                E::InstallFinished(O::Success) => Ok(S::InstallSuccess),
                E::InstallFinished(O::PendingReboot) => Ok(S::InstallPendingReboot),
                E::InstallFinished(O::Failed) => Ok(S::InstallFailed),
                E::DownloadStarted
                | E::DownloadSucceeded
                | E::DownloadFailed
                | E::ContentLost
                | E::Start
                | E::ReplicationStarted
                | E::ReplicationSucceeded
                | E::ReplicationFailed
                | E::PrereqStarted
                | E::PrereqFinished(_)
                | E::InstallDeferred(_)
                | E::WarningsIgnored
                | E::Retried
                | E::Reset => refused,
            },
            S::InstallWaitingServiceWindow => match event {
                E::Listed | E::Evaluated(_) | E::InstallDeferred(D::ServiceWindow) => Ok(self),
                E::InstallDeferred(D::ParentSite) => Ok(S::InstallWaitingParent),
                E::InstallStarted => Ok(S::InstallInProgress),
                E::DownloadStarted
                | E::DownloadSucceeded
                | E::DownloadFailed
                | E::ContentLost
                | E::Start
                | E::ReplicationStarted
                | E::ReplicationSucceeded
                | E::ReplicationFailed
                | E::PrereqStarted
                | E::PrereqFinished(_)
                | E::InstallFinished(_)
                | E::WarningsIgnored
                | E::Retried
                | E::Reset => refused,
            },
            S::InstallWaitingParent => match event {
                E::Listed | E::Evaluated(_) | E::InstallDeferred(D::ParentSite) => Ok(self),
                E::InstallDeferred(D::ServiceWindow) => Ok(S::InstallWaitingServiceWindow),
                E::InstallStarted => Ok(S::InstallInProgress),
                E::DownloadStarted
                | E::DownloadSucceeded
                | E::DownloadFailed
                | E::ContentLost
                | E::Start
                | E::ReplicationStarted
                | E::ReplicationSucceeded
                | E::ReplicationFailed
                | E::PrereqStarted
                | E::PrereqFinished(_)
                | E::InstallFinished(_)
                | E::WarningsIgnored
                | E::Retried
                | E::Reset => refused,
            },
            S::InstallSuccess => match event {
                E::Listed | E::Evaluated(V::Applicable) | E::Evaluated(V::Failed) => Ok(self),
                E::Evaluated(V::Hide) | E::Evaluated(V::NotApplicable) => Ok(S::ApplicabilityHide),
                E::DownloadStarted
                | E::DownloadSucceeded
                | E::DownloadFailed
                | E::ContentLost
                | E::Start
                | E::ReplicationStarted
                | E::ReplicationSucceeded
                | E::ReplicationFailed
                | E::PrereqStarted
                | E::PrereqFinished(_)
                | E::InstallDeferred(_)
                | E::InstallStarted
                | E::InstallFinished(_)
                | E::WarningsIgnored
                | E::Retried
                | E::Reset => refused,
            },
            S::InstallPendingReboot => match event {
                E::Listed | E::Evaluated(_) => Ok(self),
                E::InstallFinished(O::Success) => Ok(S::InstallSuccess),
                E::InstallFinished(O::Failed) => Ok(S::InstallFailed),
                E::DownloadStarted
                | E::DownloadSucceeded
                | E::DownloadFailed
                | E::ContentLost
                | E::Start
                | E::ReplicationStarted
                | E::ReplicationSucceeded
                | E::ReplicationFailed
                | E::PrereqStarted
                | E::PrereqFinished(_)
                | E::InstallDeferred(_)
                | E::InstallStarted
                | E::InstallFinished(O::PendingReboot)
                | E::WarningsIgnored
                | E::Retried
                | E::Reset => refused,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EVENTS: [PackageEvent; 26] = [
        PackageEvent::Listed,
        PackageEvent::Evaluated(Verdict::Applicable),
        PackageEvent::Evaluated(Verdict::Hide),
        PackageEvent::Evaluated(Verdict::NotApplicable),
        PackageEvent::Evaluated(Verdict::Failed),
        PackageEvent::DownloadStarted,
        PackageEvent::DownloadSucceeded,
        PackageEvent::DownloadFailed,
        PackageEvent::ContentLost,
        PackageEvent::Start,
        PackageEvent::ReplicationStarted,
        PackageEvent::ReplicationSucceeded,
        PackageEvent::ReplicationFailed,
        PackageEvent::PrereqStarted,
        PackageEvent::PrereqFinished(PrereqOutcome::Passed),
        PackageEvent::PrereqFinished(PrereqOutcome::Warning),
        PackageEvent::PrereqFinished(PrereqOutcome::Error),
        PackageEvent::InstallDeferred(Deferral::ServiceWindow),
        PackageEvent::InstallDeferred(Deferral::ParentSite),
        PackageEvent::InstallStarted,
        PackageEvent::InstallFinished(InstallOutcome::Success),
        PackageEvent::InstallFinished(InstallOutcome::PendingReboot),
        PackageEvent::InstallFinished(InstallOutcome::Failed),
        PackageEvent::WarningsIgnored,
        PackageEvent::Retried,
        PackageEvent::Reset,
    ];

    #[test]
    fn the_whole_table() {
        let mut table = String::new();
        for state in PackageState::ALL {
            table.push_str(&format!(
                "{} {} 0x{:x} ({})\n",
                state.name(),
                state.code(),
                state.code(),
                state.label()
            ));
            for event in EVENTS {
                if let Ok(next) = state.next(event) {
                    let next = if next == state { "(stays)" } else { next.name() };
                    table.push_str(&format!("    {:<32} {next}\n", format!("{event:?}")));
                }
            }
            let refused: Vec<String> = EVENTS
                .into_iter()
                .filter(|event| state.next(*event).is_err())
                .map(|e| format!("{e:?}"))
                .collect();
            table.push_str(&format!("    refused: {}\n", refused.join(", ")));
        }
        let golden = concat!(env!("CARGO_MANIFEST_DIR"), "/src/servicing/state_table.txt");
        let written = std::fs::read_to_string(golden).unwrap_or_default();
        if written != table {
            let fresh = std::env::temp_dir().join("state_table.txt");
            std::fs::write(&fresh, &table).unwrap();
            panic!(
                "the state table changed; review {} and copy it to {golden}",
                fresh.display()
            );
        }
    }

    #[test]
    fn codes_are_unique_and_read_back() {
        for state in PackageState::ALL {
            assert_eq!(PackageState::from_code(state.code()), Some(state));
        }
        assert_eq!(PackageState::from_code(1), None);
    }

    proptest! {
        /// Whatever happens in whatever order: evaluation always ends outside "checking", and only
        /// a download that succeeded leads to an installation.
        #[test]
        fn nothing_is_installed_that_was_not_downloaded(choices in proptest::collection::vec(0..EVENTS.len(), 0..60)) {
            let mut state = PackageState::Unknown;
            let mut downloaded = false;
            for choice in choices {
                let event = EVENTS[choice];
                if let Ok(next) = state.next(event) {
                    downloaded |= event == PackageEvent::DownloadSucceeded;
                    if next.is_busy() || next == PackageState::InstallSuccess {
                        prop_assert!(downloaded, "{event:?} led to {}", next.name());
                    }
                    state = next;
                }
            }
        }
    }
}
