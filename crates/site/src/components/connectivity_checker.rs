//! EndpointConnectivityCheckWorker under SMS_SERVICE_CONNECTOR: checks internet access when it starts,
//! when mode, proxy or features change, and every 24 hours (internet-access, section 6).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use domain::component::ComponentName;
use domain::connectivity::run::EVERY;
use domain::schedule::{is_due, later};
use executive::{Activation, Component, ComponentError, Next, Report, Waiting};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use store::StoreError;

use crate::context::SiteContext;
use crate::internet;

/// The component.
pub struct ConnectivityChecker {
    context: Arc<SiteContext>,
    started: AtomicBool,
}

impl ConnectivityChecker {
    /// Made once; activated for ever.
    pub fn new(context: Arc<SiteContext>) -> Self {
        ConnectivityChecker {
            context,
            started: AtomicBool::new(false),
        }
    }

    async fn run(&self, cx: &mut Activation<'_>) -> Result<Report, ComponentError> {
        let just_started = !self.started.swap(true, Ordering::Relaxed);
        let now = cx.now();
        let (last, checked) = self
            .context
            .store
            .read::<_, StoreError, _>(|tx| Ok((tx.endpoint_runs(1)?.pop(), internet::checked_with(tx)?)))
            .await?;
        let changed = checked.as_deref() != Some(internet::fingerprint(&self.context).as_str());
        let due = last
            .as_ref()
            .is_none_or(|run| is_due(Some(later(run.started_at, EVERY)), now, EVERY));
        let (plan, _) = internet::plan(&self.context).await?;
        if plan.targets.is_empty() && self.context.internet.mode().may_connect() {
            return Ok(Report {
                summary: "nothing on the internet is in use: the feed is a folder".into(),
                next: Next::After(EVERY),
                waiting: None,
            });
        }
        let report = if just_started || changed || due {
            cx.progress(format!("checking {} endpoints", plan.targets.len()));
            let cause = match (just_started, changed) {
                (true, _) => "start",
                (false, true) => "changed settings",
                (false, false) => "every 24 hours",
            };
            let run = internet::run(&self.context, cause, now);
            let report = tokio::select! {
                report = run => report?,
                () = cx.cancelled().cancelled() => return Ok(Report {
                    summary: "stopping".into(),
                    next: Next::WhenWoken,
                    waiting: None,
                }),
            };
            Some(report)
        } else {
            None
        };
        let next = cx.jittered_next(EVERY);
        let waiting = report
            .as_ref()
            .filter(|report| report.outcome == "critical")
            .map(|report| Waiting {
                what: format!("internet access: {}", report.summary),
                since: now,
                next_try: Some(next),
                action: "`tidegate check --site` shows what fails, and whose fault it is".into(),
            });
        Ok(Report {
            summary: report.map_or_else(|| "nothing is due".into(), |report| report.summary),
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
