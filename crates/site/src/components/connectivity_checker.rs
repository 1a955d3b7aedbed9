//! EndpointConnectivityCheckWorker under SMS_SERVICE_CONNECTOR: checks internet access when it starts,
//! when mode, proxy or features change, and every 24 hours (internet-access, section 6).

use std::sync::Arc;

use domain::component::ComponentName;
use domain::connectivity::Outcome;
use domain::connectivity::run::{EVERY, interval};
use domain::schedule::{is_due, later};
use executive::{Activation, Component, ComponentError, Next, Report, Waiting};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::context::SiteContext;
use crate::internet::{self, LastRun};

/// The component.
pub struct ConnectivityChecker {
    context: Arc<SiteContext>,
}

impl ConnectivityChecker {
    /// Made once; activated for ever.
    pub fn new(context: Arc<SiteContext>) -> Self {
        ConnectivityChecker { context }
    }

    async fn run(&self, cx: &mut Activation<'_>) -> Result<Report, ComponentError> {
        let now = cx.now();
        let (plan, _) = internet::plan(&self.context).await?;
        if plan.targets.is_empty() && self.context.internet.mode().may_connect() {
            return Ok(Report {
                summary: "nothing on the internet is in use: the feed is a folder".into(),
                next: Next::After(EVERY),
                waiting: None,
            });
        }
        cx.progress(format!("checking {} endpoints", plan.targets.len()));
        let began = self.context.started_at;
        let mut known = None;
        let needed = |last: &LastRun| {
            known = last.run.clone();
            let Some(run) = &last.run else {
                return Some("start".to_owned());
            };
            let interval = interval(Outcome::parse(&run.outcome).unwrap_or(Outcome::Unknown));
            if run.started_at < began {
                Some("start".to_owned())
            } else if last.changed {
                Some("changed settings".to_owned())
            } else {
                is_due(Some(later(run.started_at, interval)), now, EVERY).then(|| "timer".to_owned())
            }
        };
        let report = tokio::select! {
            report = internet::run_if(&self.context, now, needed) => report?,
            () = cx.cancelled().cancelled() => return Ok(Report {
                summary: "stopping".into(),
                next: Next::WhenWoken,
                waiting: None,
            }),
        };
        let (outcome, summary, at) = match (&report, &known) {
            (Some(report), _) => (report.outcome.as_str(), report.summary.clone(), now),
            (None, Some(run)) => (run.outcome.as_str(), run.summary.clone(), run.started_at),
            (None, None) => ("unknown", "not checked yet".to_owned(), now),
        };
        let outcome = Outcome::parse(outcome).unwrap_or(Outcome::Unknown);
        let next = cx.jittered_next(interval(outcome));
        let failing = outcome != Outcome::Passed && self.context.internet.mode().may_connect();
        let waiting = failing.then(|| Waiting {
            what: format!("internet access: {summary}"),
            since: at,
            next_try: Some(next),
            action: "`tidegate check --site` shows what fails, and whose fault it is".into(),
        });
        Ok(Report {
            summary,
            next: Next::At(next),
            waiting,
        })
    }
}

impl Component for ConnectivityChecker {
    fn name(&self) -> ComponentName {
        ComponentName::ServiceConnector
    }

    fn activate<'a>(&'a self, mut cx: Activation<'a>) -> BoxFuture<'a, Result<Report, ComponentError>> {
        async move { self.run(&mut cx).await }.boxed()
    }
}
