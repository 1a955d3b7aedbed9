//! What a walk through the phases leaves behind.

use std::time::Duration;

use domain::connectivity::Phase;
use jiff::Timestamp;
use protocol::connectivity::{PhaseReport, TlsReport};

use super::millis;
use crate::dial::Trouble;

/// The findings of one address.
#[derive(Debug, Default)]
pub(super) struct Trace {
    pub phases: Vec<PhaseReport>,
    pub trouble: Option<Trouble>,
    pub notes: Vec<String>,
    pub status: Option<u16>,
    pub addresses: Vec<String>,
    pub peer: Option<String>,
    pub tls: Option<TlsReport>,
    pub redirects: Vec<String>,
    /// The server's clock, and ours at that moment.
    pub clocks: Option<(Timestamp, Timestamp)>,
    /// What the host's addresses look like to somebody who suspects a filter.
    pub suspicion: Option<String>,
}

impl Trace {
    pub fn passed(&mut self, phase: Phase, took: Duration, detail: impl Into<String>) {
        self.push(phase, "passed", Some(took), detail);
    }

    pub fn not_needed(&mut self, phase: Phase, why: &str) {
        self.push(phase, "not-needed", None, why);
    }

    /// Ends the walk: the phase failed, what follows is skipped.
    pub fn failed(&mut self, phase: Phase, took: Duration, trouble: Trouble) {
        self.push(phase, "failed", Some(took), trouble.evidence.clone());
        self.trouble = Some(trouble);
        self.skip_rest();
    }

    fn push(&mut self, phase: Phase, result: &str, took: Option<Duration>, detail: impl Into<String>) {
        self.phases.push(PhaseReport {
            phase: phase.as_str().into(),
            result: result.into(),
            ms: took.map(millis),
            detail: detail.into(),
        });
    }

    fn skip_rest(&mut self) {
        for phase in Phase::ALL {
            if !self.phases.iter().any(|known| known.phase == phase.as_str()) {
                self.push(phase, "skipped", None, "");
            }
        }
    }
}
