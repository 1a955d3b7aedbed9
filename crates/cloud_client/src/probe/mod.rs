//! Checks of internet access: every address of a plan, phase by phase, many at a time.
//!
//! A check sends nothing that tells who asks: a neutral user agent, no id, no credential to anyone but
//! the proxy. Sockets and memory are bounded by [`Limits::at_once`](crate::Limits::at_once), not by the number of addresses.

mod compare;
mod http;
mod report;
mod revocation;
mod secure;
mod standing;
mod trace;
mod walk;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use domain::connectivity::{Contribution, Fault, Outcome, Phase, Plan, Subject, Target};
use futures_util::{StreamExt, stream};
use jiff::Timestamp;
use protocol::connectivity::{CatalogueStamp, CheckReport, NotTestableReport, SCHEMA, TargetReport};
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::dial::{Seen, Trouble};
use crate::way::WayOut;

pub use standing::STANDING;

/// A revocation list, or why it could not be had.
type List = Result<Arc<Vec<u8>>, Trouble>;

/// What checks.
#[derive(Debug)]
pub struct Prober {
    /// Roots, proxy, name servers, limits.
    pub way: WayOut,
    /// Name of this machine, for advice.
    pub server: String,
    /// Whether to ask if certificates were revoked.
    pub revocation: bool,
    /// Whether to try the direct way beside the proxy. It sends packets that a strict network forbids.
    pub compare: bool,
    seen: Seen,
    /// Revocation lists of this run by address.
    lists: Mutex<HashMap<String, List>>,
}

/// What happens in a run, for those who watch.
#[derive(Debug, Clone, Copy)]
pub enum Event<'a> {
    /// A target, by its number in the plan, comes to a phase.
    Phase(usize, Phase),
    /// It is done.
    Done(usize, &'a TargetReport),
}

/// Who watches a run.
pub type Watch<'a> = &'a (dyn Fn(Event<'_>) + Send + Sync);

/// What a run is told beside its plan.
#[derive(Debug, Clone)]
pub struct RunInfo {
    /// Random id.
    pub run_id: String,
    /// Wall clock at its begin; certificates are judged as of it.
    pub now: Timestamp,
    /// Which catalogue the plan is from.
    pub catalogue: Option<CatalogueStamp>,
}

impl Prober {
    /// A prober that neither asks for revocations nor tries a way beside the proxy.
    pub fn new(way: WayOut, server: String) -> Self {
        Prober {
            way,
            server,
            revocation: false,
            compare: false,
            seen: Seen::default(),
            lists: Mutex::default(),
        }
    }

    /// Runs a plan. Never fails: what cannot be tried says so in the report.
    pub async fn run(&self, plan: &Plan, info: &RunInfo, watch: Watch<'_>) -> CheckReport {
        let start = Instant::now();
        let deadline = start + self.way.limits.whole;
        let mut results: Vec<Option<TargetReport>> = Vec::new();
        results.resize_with(plan.targets.len(), || None);
        let mut running = stream::iter(0..plan.targets.len())
            .map(|number| async move {
                let target = &plan.targets[number];
                let one = self.one(number, target, info.now, watch);
                // Boxed: a walk is large, and a thousand of them are waiting or under way.
                let report = match tokio::time::timeout_at(deadline, Box::pin(one)).await {
                    Ok(report) => report,
                    Err(_) => self.not_run(target),
                };
                watch(Event::Done(number, &report));
                (number, report)
            })
            .buffer_unordered(self.way.limits.at_once.max(1));
        while let Some((number, report)) = running.next().await {
            results[number] = Some(report);
        }
        let results: Vec<TargetReport> = results.into_iter().flatten().collect();
        let outcome = outcome_of(&results, plan);
        CheckReport {
            schema: SCHEMA,
            run_id: info.run_id.clone(),
            started_at: info.now,
            took_ms: millis(start.elapsed()),
            server: self.server.clone(),
            mode: "online".into(),
            catalogue: info.catalogue.clone(),
            proxy: self.way.proxy.as_ref().map(|proxy| proxy.settings.to_string()),
            outcome: outcome.as_str().into(),
            summary: report::summary(&results, plan.not_testable.len()),
            fault: None,
            clock_ahead_s: report::clock_ahead(&results),
            not_testable: not_testable(plan),
            results,
        }
    }
}

/// The report of a run that opens no socket: offline mode, or settings that cannot be used.
pub fn refused(
    plan: &Plan,
    info: &RunInfo,
    server: &str,
    mode: &str,
    fault: Fault,
    evidence: &str,
) -> CheckReport {
    let subject = Subject {
        host: "",
        port: 0,
        server,
        proxy: None,
    };
    CheckReport {
        schema: SCHEMA,
        run_id: info.run_id.clone(),
        started_at: info.now,
        took_ms: 0.0,
        server: server.to_owned(),
        mode: mode.to_owned(),
        catalogue: info.catalogue.clone(),
        proxy: None,
        outcome: Outcome::Unknown.as_str().into(),
        summary: format!("nothing was checked: {evidence}"),
        fault: Some(report::fault(&Trouble::new(fault, evidence), &subject)),
        results: Vec::new(),
        not_testable: not_testable(plan),
        clock_ahead_s: None,
    }
}

fn not_testable(plan: &Plan) -> Vec<NotTestableReport> {
    let entries = plan.not_testable.iter().map(|entry| NotTestableReport {
        endpoint: entry.id.clone(),
        feature: entry.feature.clone(),
        pattern: entry.pattern.clone(),
        why: entry.why.clone(),
    });
    entries.collect()
}

fn outcome_of(results: &[TargetReport], plan: &Plan) -> Outcome {
    let contribution = |(report, target): (&TargetReport, &Target)| match report.result.as_str() {
        _ if target.retired => Contribution::Retired,
        "passed" => Contribution::Passed,
        "failed" => Contribution::Failed {
            critical: target.critical,
        },
        _ => Contribution::NotRun,
    };
    Outcome::of(results.iter().zip(&plan.targets).map(contribution))
}

/// Milliseconds with a microsecond's precision.
fn millis(span: Duration) -> f64 {
    (span.as_secs_f64() * 1_000_000.0).round() / 1_000.0
}
