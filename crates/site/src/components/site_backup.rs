//! SMS_SITE_BACKUP: backs the site up when its schedule or an administrator says so (components-status-logs, section 3).
//!
//! The site goes on meanwhile. After a good one a mode that was configured comes into force, as the original's restart
//! brings it about.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use domain::component::ComponentName;
use domain::schedule::{is_due, later};
use domain::servicing::state::PackageState as S;
use domain::status_message::StatusMessageId;
use executive::{Activation, Component, ComponentError, Next, Report, Waiting};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use protocol::api::BackupOutcome;
use store::StoreError;

use crate::backup::{self, plan};
use crate::context::{SiteContext, whole_story};
use crate::internet::configured_mode;

/// Longest sleep: a schedule or a clock may change meanwhile.
const LOOK_EVERY: Duration = Duration::from_secs(60 * 60);
/// Wait while something is being installed.
const INSTALLING: Duration = Duration::from_secs(60);
/// Wait after a failed attempt.
const AGAIN: Duration = Duration::from_secs(60 * 60);

/// The component.
pub struct SiteBackup {
    context: Arc<SiteContext>,
}

impl SiteBackup {
    /// Made once; activated for ever.
    pub fn new(context: Arc<SiteContext>) -> Self {
        SiteBackup { context }
    }

    async fn run(&self, cx: &mut Activation<'_>) -> Result<Report, ComponentError> {
        let plan = self.context.store.read::<_, StoreError, _>(plan::plan).await?;
        let now = cx.now();
        let due = plan
            .schedule
            .as_ref()
            .map(|(_, schedule)| schedule.due(plan.last_good, now, &self.context.zone));
        let failed_at = plan
            .last
            .as_ref()
            .filter(|last| last.failure.is_some())
            .map(|last| later(last.at, AGAIN));
        let scheduled =
            due.is_some_and(|due| due <= now) && (failed_at.is_none() || is_due(failed_at, now, AGAIN));
        let (folder, keep) = match (&plan.requested, &plan.schedule) {
            (Some(folder), schedule) => {
                let same = schedule.as_ref().filter(|(info, _)| info.folder == *folder);
                (folder.clone(), same.map(|(_, schedule)| schedule.keep))
            }
            (None, Some((info, schedule))) if scheduled => (info.folder.clone(), Some(schedule.keep)),
            (None, _) => {
                let next = [due, failed_at].into_iter().flatten().max();
                let longest = later(now, LOOK_EVERY);
                return Ok(Report {
                    summary: match due {
                        Some(due) => format!("the next backup is due at {due}"),
                        None => "no schedule".to_owned(),
                    },
                    next: Next::At(
                        next.filter(|next| *next > now)
                            .map_or(longest, |next| next.min(longest)),
                    ),
                    waiting: waiting(&plan, failed_at),
                });
            }
        };
        let installing = self
            .context
            .store
            .read::<_, StoreError, _>(|tx| tx.packages_in(&[S::InstallInProgress]))
            .await?;
        if !installing.is_empty() {
            return Ok(until_installed(cx.now()));
        }
        self.back_up(cx, folder, keep, plan.requested).await
    }

    async fn back_up(
        &self,
        cx: &mut Activation<'_>,
        folder: String,
        keep: Option<u32>,
        served: Option<String>,
    ) -> Result<Report, ComponentError> {
        cx.progress(format!("backing up to {folder}"));
        let now = cx.now();
        let (context, stop, path) = (
            self.context.clone(),
            cx.cancelled().clone(),
            PathBuf::from(&folder),
        );
        let span = tracing::Span::current();
        let work =
            move || span.in_scope(|| backup::make(&context, &path, keep, now, &|_| !stop.is_cancelled()));
        let result = tokio::task::spawn_blocking(work).await?;
        if matches!(result, Err(backup::BackupError::Stopped)) {
            return Ok(Report {
                summary: "stopping".into(),
                next: Next::WhenWoken,
                waiting: None,
            });
        }
        if matches!(result, Err(backup::BackupError::Installing)) {
            return Ok(until_installed(cx.now()));
        }
        let again = later(now, AGAIN);
        let (outcome, message) = match &result {
            Ok(manifest) => {
                let bytes = manifest.bytes();
                let strings = [folder.as_str(), &bytes.to_string()];
                let outcome = BackupOutcome {
                    at: now,
                    folder: folder.clone(),
                    bytes: Some(bytes),
                    failure: None,
                };
                let message = self
                    .context
                    .status_message(StatusMessageId::BackupDone, &strings, now);
                (outcome, message)
            }
            Err(failure) => {
                let why = whole_story(failure);
                let strings = [folder.as_str(), &why, &again.to_string()];
                let message = self
                    .context
                    .status_message(StatusMessageId::BackupFailed, &strings, now);
                let outcome = BackupOutcome {
                    at: now,
                    folder: folder.clone(),
                    bytes: None,
                    failure: Some(why),
                };
                (outcome, message)
            }
        };
        let summary = match &outcome.failure {
            None => format!("backed up to {folder}"),
            Some(why) => format!("the backup to {folder} failed: {why}"),
        };
        let mode = self
            .context
            .store
            .write::<_, StoreError, _>(move |tx| {
                plan::ended(tx, &outcome, served.as_deref())?;
                tx.record_status_message(&message)?;
                configured_mode(tx)
            })
            .await?;
        if result.is_ok() && mode != self.context.internet.mode() {
            self.context.internet.apply_mode(mode);
            if let Some(executive) = self.context.executive.get() {
                executive.restart(ComponentName::DmpDownloader)?;
            }
        }
        self.context.wake(ComponentName::SiteComponentManager);
        Ok(Report {
            summary,
            // Looks at the plan again, which says when the next one is due.
            next: Next::After(Duration::from_millis(10)),
            waiting: None,
        })
    }
}

/// Halfway through an installation neither version is whole.
fn until_installed(now: jiff::Timestamp) -> Report {
    let next = later(now, INSTALLING);
    Report {
        summary: "waiting for an installation to end".into(),
        next: Next::At(next),
        waiting: Some(Waiting {
            what: "an installation is under way; a backup of half of it would be of no use".into(),
            since: now,
            next_try: Some(next),
            action: "nothing: the backup is made when the installation has ended".into(),
        }),
    }
}

fn waiting(plan: &plan::BackupPlan, failed_at: Option<jiff::Timestamp>) -> Option<Waiting> {
    let last = plan.last.as_ref()?;
    Some(Waiting {
        what: format!("the last backup failed: {}", last.failure.as_ref()?),
        since: last.at,
        next_try: failed_at.filter(|_| plan.schedule.is_some()),
        action: "mend that, then `tidegate backup run`".into(),
    })
}

impl Component for SiteBackup {
    fn name(&self) -> ComponentName {
        ComponentName::SiteBackup
    }

    fn activate<'a>(&'a self, mut cx: Activation<'a>) -> BoxFuture<'a, Result<Report, ComponentError>> {
        async move { self.run(&mut cx).await }.boxed()
    }
}
