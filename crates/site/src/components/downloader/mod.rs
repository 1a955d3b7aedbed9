//! SMS_DMP_DOWNLOADER: keeps the catalogue in step with the feed and fetches packages
//! (updates-and-servicing, sections 7 and 8).
//!
//! It refuses to judge: what is offered is the hierarchy manager's decision, and what may be trusted is
//! the feed client's. A failure inside a cycle is tried again with back-off; each attempt continues
//! with what is durable already.

mod content;
mod import;
mod payload;
mod seed;
mod sync;

pub use sync::CATALOGUE_ROLE;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use domain::component::ComponentName;
use domain::schedule::{is_due, later};
use domain::servicing::download::{self, Candidate, DownloadPlan};
use executive::{Activation, Component, ComponentError, Next, Report, Waiting};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use store::PackageRow;

use crate::context::SiteContext;

/// No attempt is planned further ahead than this; a server that asks for more waits again.
const ATTEMPT_WAIT_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// The component.
pub struct Downloader {
    context: Arc<SiteContext>,
    /// A start of the component starts a cycle without waiting for the interval (acceptance fact 12).
    started: AtomicBool,
}

impl Downloader {
    /// Made once; activated for ever.
    pub fn new(context: Arc<SiteContext>) -> Self {
        Downloader {
            context,
            started: AtomicBool::new(false),
        }
    }

    async fn run(&self, cx: &mut Activation<'_>) -> Result<Report, ComponentError> {
        let just_started = !self.started.swap(true, Ordering::Relaxed);
        let observed = self
            .context
            .store
            .read::<_, store::StoreError, _>(|tx| tx.sync())
            .await?;
        if !self.context.internet.mode().may_connect() {
            return self.run_offline(cx, observed.requested).await;
        }
        let due = is_due(observed.next_at, cx.now(), self.context.settings.check_interval);
        let mut problem = None;
        if just_started || observed.requested || due {
            problem = sync::synchronise(&self.context, cx).await?;
        }
        loop {
            if cx.cancelled().is_cancelled() {
                return Ok(Report {
                    summary: "stopping".into(),
                    next: Next::WhenWoken,
                    waiting: None,
                });
            }
            let candidates = self
                .context
                .store
                .read::<_, store::StoreError, _>(|tx| tx.download_candidates())
                .await?;
            let plan = download::plan(&candidates.iter().map(candidate).collect::<Vec<_>>());
            let (fetch, blocked_by) = match plan {
                DownloadPlan::Nothing => (Vec::new(), None),
                DownloadPlan::BlockedBy(guid) => (Vec::new(), Some(guid)),
                DownloadPlan::Fetch(guids) => (guids, None),
            };
            let now = cx.now();
            let ready = candidates
                .iter()
                .filter(|row| fetch.contains(&row.guid) && is_due(row.next_attempt_at, now, ATTEMPT_WAIT_MAX))
                .min_by_key(|row| fetch.iter().position(|guid| *guid == row.guid));
            match ready {
                Some(row) => payload::fetch(&self.context, cx, row).await?,
                None => {
                    let delayed = candidates.iter().filter(|row| fetch.contains(&row.guid));
                    return self.report(cx, problem, blocked_by, delayed).await;
                }
            }
        }
    }

    /// Offline: what a medium brought is taken in, and what is complete by then goes its usual way.
    async fn run_offline(&self, cx: &mut Activation<'_>, requested: bool) -> Result<Report, ComponentError> {
        import::run(&self.context, cx).await?;
        let mut elsewhere = None;
        while !cx.cancelled().is_cancelled() {
            let candidates = self
                .context
                .store
                .read::<_, store::StoreError, _>(|tx| tx.download_candidates())
                .await?;
            let DownloadPlan::Fetch(guids) =
                download::plan(&candidates.iter().map(candidate).collect::<Vec<_>>())
            else {
                break;
            };
            let complete = self.context.library.references()?;
            let here = |row: &&PackageRow| {
                guids.contains(&row.guid)
                    && complete.contains(&row.guid.to_string())
                    && is_due(row.next_attempt_at, cx.now(), ATTEMPT_WAIT_MAX)
            };
            match candidates.iter().find(here) {
                Some(row) => payload::fetch(&self.context, cx, row).await?,
                None => {
                    elsewhere = candidates.into_iter().find(|row| guids.contains(&row.guid));
                    break;
                }
            }
        }
        let what = match (&elsewhere, requested) {
            (Some(row), _) => Some(format!(
                "{} ({}), which no medium has brought yet",
                row.name, row.guid
            )),
            (None, true) => Some(
                "a check for updates was asked for, and the service connection point is offline".to_owned(),
            ),
            (None, false) => None,
        };
        Ok(Report {
            summary: "offline mode: nothing is fetched".into(),
            next: Next::WhenWoken,
            waiting: what.map(|what| Waiting {
                what,
                since: elsewhere.map_or(cx.now(), |row| row.changed_at),
                next_try: None,
                action: "bring a medium: `tidegate tool prepare`, `connect`, `import`; or `tidegate scp mode online`".into(),
            }),
        })
    }

    async fn report<'a>(
        &self,
        cx: &mut Activation<'_>,
        problem: Option<String>,
        blocked_by: Option<domain::servicing::package::PackageGuid>,
        delayed: impl Iterator<Item = &'a PackageRow>,
    ) -> Result<Report, ComponentError> {
        let sync = self
            .context
            .store
            .read::<_, store::StoreError, _>(|tx| tx.sync())
            .await?;
        let next_sync = sync
            .next_at
            .unwrap_or(cx.now())
            .min(later(cx.now(), self.context.settings.check_interval));
        let retry = delayed
            .filter_map(|row| row.next_attempt_at.map(|at| (at, row)))
            .min_by_key(|(at, _)| *at);
        if let Some((at, row)) = retry {
            let waiting = Waiting {
                what: format!(
                    "the next attempt at {}: {}",
                    row.name,
                    row.failure.clone().unwrap_or_default()
                ),
                since: row.changed_at,
                next_try: Some(at),
                action: "see Dmpdownloader.log; `tidegate updates download GUID` tries at once".into(),
            };
            return Ok(Report {
                summary: "waiting".into(),
                next: Next::At(at.min(next_sync)),
                waiting: Some(waiting),
            });
        }
        let waiting = match (problem.or(sync.failure), blocked_by) {
            (Some(failure), _) => Some(Waiting {
                what: format!("the feed: {failure}"),
                since: sync.failed_at.unwrap_or(cx.now()),
                next_try: Some(next_sync),
                action: "`tidegate updates check` tries at once".into(),
            }),
            (None, Some(guid)) => Some(Waiting {
                what: format!("package {guid} to finish; nothing else downloads meanwhile"),
                since: cx.now(),
                next_try: None,
                action: "`tidegate updates status` shows how far it is".into(),
            }),
            (None, None) => None,
        };
        Ok(Report {
            summary: "up to date with the feed".into(),
            next: Next::At(next_sync),
            waiting,
        })
    }
}

fn candidate(row: &PackageRow) -> Candidate {
    Candidate {
        guid: row.guid,
        state: row.state,
        requested: row.requested,
        newest_applicable: row.newest,
        attempts: row.attempts,
    }
}

impl Component for Downloader {
    fn name(&self) -> ComponentName {
        ComponentName::DmpDownloader
    }

    fn activate<'a>(&'a self, mut cx: Activation<'a>) -> BoxFuture<'a, Result<Report, ComponentError>> {
        async move { self.run(&mut cx).await }.boxed()
    }
}

/// Seconds between two looks at the clock for progress reports.
const PROGRESS_MS: i64 = 200;

/// Whether progress should be told now.
fn progress_is_due(last: Timestamp, now: Timestamp) -> bool {
    now.as_millisecond() - last.as_millisecond() >= PROGRESS_MS
}
