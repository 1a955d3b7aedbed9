//! Walks become reports: redirects followed, faults with party and advice.

use std::time::Duration;

use domain::connectivity::{Address, Fault, Phase, Subject, Target};
use jiff::Timestamp;
use protocol::connectivity::{FaultReport, TargetReport};
use tokio::time::Instant;

use super::trace::Trace;
use super::walk::Walk;
use super::{Event, Prober, Watch, millis};
use crate::dial::Trouble;
use crate::proxy::Proxy;

/// Most hosts that one address may send on to.
const REDIRECTS_MAX: usize = 5;

impl Prober {
    /// One target from begin to end, with its redirects and, if asked for, the direct way beside it.
    pub(super) async fn one(
        &self,
        number: usize,
        target: &Target,
        now: Timestamp,
        watch: Watch<'_>,
    ) -> TargetReport {
        let start = Instant::now();
        let enter = |phase: Phase| watch(Event::Phase(number, phase));
        let proxy = self.way.proxy.as_deref();
        let (trace, advice_for) = self.follow(target, proxy, now, &enter).await;
        let mut report = self.report(target, trace, start.elapsed(), advice_for.as_ref());
        if self.compare && proxy.is_some_and(|proxy| !proxy.settings.bypasses(&target.address.host)) {
            report.direct = Some(self.compare(target, now, &report).await);
            report.took_ms = millis(start.elapsed());
        }
        report
    }

    /// Walks to the target and to wherever it sends on. Returns the fault's own address where that is
    /// another host.
    pub(super) async fn follow(
        &self,
        target: &Target,
        proxy: Option<&Proxy>,
        now: Timestamp,
        enter: &(dyn Fn(Phase) + Send + Sync),
    ) -> (Trace, Option<(Address, Fault)>) {
        let walk = Walk {
            address: &target.address,
            public: target.public,
            proxy,
            now,
            enter,
        };
        let (mut trace, mut head) = self.walk(&walk).await;
        let mut visited = vec![target.address.clone()];
        let quiet = |_: Phase| {};
        while let Some(last) = head.take() {
            let from = &visited[visited.len() - 1];
            let to = match super::http::location(&last, from) {
                Ok(Some(to)) => to,
                Ok(None) => break,
                Err(note) => {
                    trace.notes.push(note);
                    break;
                }
            };
            trace.redirects.push(to.shown());
            if visited.contains(&to) || visited.len() > REDIRECTS_MAX {
                let text = format!("it sends on and on: {}", trace.redirects.join(", "));
                fail_http(&mut trace, Trouble::new(Fault::HttpRedirectLoop, text));
                break;
            }
            let next = Walk {
                address: &to,
                public: false,
                proxy,
                now,
                enter: &quiet,
            };
            let (onward, answer) = Box::pin(self.walk(&next)).await;
            if let Some(trouble) = onward.trouble {
                let text = format!(
                    "it sends on to {}, which fails with {}: {}",
                    to.shown(),
                    trouble.fault.code(),
                    trouble.evidence
                );
                fail_http(&mut trace, Trouble::new(Fault::HttpRedirectTarget, text));
                return (trace, Some((to, trouble.fault)));
            }
            head = answer;
            visited.push(to);
        }
        (trace, None)
    }

    /// The subject of advice about an address.
    fn subject<'a>(&'a self, address: &'a Address, proxy: Option<&'a str>) -> Subject<'a> {
        Subject {
            host: &address.host,
            port: address.port,
            server: &self.server,
            proxy,
        }
    }

    fn report(
        &self,
        target: &Target,
        trace: Trace,
        took: Duration,
        advice_for: Option<&(Address, Fault)>,
    ) -> TargetReport {
        let proxy = self.way.proxy.as_ref().map(|proxy| proxy.settings.authority());
        let found = trace.trouble.as_ref().map(|trouble| {
            let mut found = fault(trouble, &self.subject(&target.address, proxy.as_deref()));
            if let Some((address, onward)) = advice_for {
                let advice = onward.advice(&self.subject(address, proxy.as_deref()));
                found.advice = format!("{} {advice}", found.advice);
                found.party = onward.party().as_str().into();
            }
            found
        });
        let mut notes = trace.notes;
        if let Some((theirs, ours)) = trace.clocks {
            let ahead = ours.as_second() - theirs.as_second();
            if ahead.abs() >= 300 {
                notes.push(super::secure::skew(ahead));
            }
        }
        TargetReport {
            url: target.address.shown(),
            host: target.address.host.clone(),
            port: target.address.port,
            features: target.features.clone(),
            endpoints: target.endpoints.clone(),
            stands_for: target.stands_for.clone(),
            critical: target.critical,
            retired: target.retired,
            result: if found.is_some() { "failed" } else { "passed" }.into(),
            took_ms: millis(took),
            phases: trace.phases,
            fault: found,
            notes,
            http_status: trace.status,
            addresses: trace.addresses,
            peer: trace.peer,
            tls: trace.tls,
            redirects: trace.redirects,
            clock_ahead_s: trace
                .clocks
                .map(|(theirs, ours)| ours.as_second() - theirs.as_second()),
            direct: None,
        }
    }

    /// The report of a target that the time of the run did not reach.
    pub(super) fn not_run(&self, target: &Target) -> TargetReport {
        let mut report = self.report(target, Trace::default(), Duration::ZERO, None);
        report.result = "not-run".into();
        report.notes.push(format!(
            "the run ended after {} s before this one was done",
            self.way.limits.whole.as_secs_f64()
        ));
        report
    }
}

/// The first address worked; what it leads to did not.
fn fail_http(trace: &mut Trace, trouble: Trouble) {
    if let Some(http) = trace
        .phases
        .iter_mut()
        .find(|phase| phase.phase == Phase::Http.as_str())
    {
        http.result = "failed".into();
        http.detail.clone_from(&trouble.evidence);
    }
    trace.trouble = Some(trouble);
}

/// A fault as reported.
pub(super) fn fault(trouble: &Trouble, subject: &Subject<'_>) -> FaultReport {
    FaultReport {
        code: trouble.fault.code().into(),
        phase: trouble.fault.phase().as_str().into(),
        party: trouble.fault.party().as_str().into(),
        evidence: trouble.evidence.clone(),
        advice: trouble.fault.advice(subject),
    }
}

/// One sentence on a run.
pub(super) fn summary(results: &[TargetReport], not_testable: usize) -> String {
    const NAMED: usize = 5;
    let counted: Vec<&TargetReport> = results.iter().filter(|one| !one.retired).collect();
    let passed = counted.iter().filter(|one| one.result == "passed").count();
    let failing: Vec<String> = counted
        .iter()
        .filter_map(|one| {
            one.fault
                .as_ref()
                .map(|fault| format!("{} ({})", one.host, fault.code))
        })
        .collect();
    let mut text = format!("{passed} of {} reached", counted.len());
    if !failing.is_empty() {
        text.push_str(&format!(
            "; failing: {}",
            failing[..failing.len().min(NAMED)].join(", ")
        ));
        if failing.len() > NAMED {
            text.push_str(&format!(" and {} more", failing.len() - NAMED));
        }
    }
    if not_testable > 0 {
        text.push_str(&format!("; {not_testable} not testable"));
    }
    text
}

/// The clock of this machine against the servers': the middle of what they say.
pub(super) fn clock_ahead(results: &[TargetReport]) -> Option<i64> {
    let mut all: Vec<i64> = results.iter().filter_map(|one| one.clock_ahead_s).collect();
    all.sort_unstable();
    all.get(all.len() / 2).copied()
}
