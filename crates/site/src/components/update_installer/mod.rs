//! CONFIGURATION_MANAGER_UPDATE: extracts a package, checks its prerequisites and carries out its
//! install plan (updates-and-servicing, section 9).
//!
//! Every step is recorded before the next begins; after a crash the journal says where to go on.

mod install;
mod prerequisites;

use std::sync::Arc;
use std::time::Duration;

use content::extract::{ExtractError, Mismatch};
use content::index::PayloadIndex;
use domain::component::ComponentName;
use domain::servicing::install::{SubStage, SubStageState};
use domain::servicing::package::{PackageGuid, PackageRecord};
use domain::servicing::state::PackageState as S;
use domain::servicing::transition::{PackageEvent as E, PrereqOutcome};
use executive::{Activation, Component, ComponentError, Next, Report};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use protocol::catalogue;
use store::{PackageRow, StoreError};

use crate::context::{SiteContext, whole_story};
use crate::directory::remove_tree;

/// Missed wake-ups are caught by looking at least this often.
const INTERVAL: Duration = Duration::from_secs(10 * 60);

/// The states in which this component takes work (section 5, rule a).
const WORK: [S; 7] = [
    S::ContentReplicationSuccess,
    S::PrereqInProgress,
    S::PrereqSuccess,
    S::PrereqWarning,
    S::InstallInProgress,
    S::InstallWaitingServiceWindow,
    S::InstallWaitingParent,
];

/// The component.
pub struct UpdateInstaller {
    context: Arc<SiteContext>,
}

impl UpdateInstaller {
    /// Made once; activated for ever.
    pub fn new(context: Arc<SiteContext>) -> Self {
        UpdateInstaller { context }
    }

    async fn run(&self, cx: &Activation<'_>) -> Result<Report, ComponentError> {
        let mut moved = 0;
        // Each pass moves every package one stage; the end is reached when nothing moves any more.
        loop {
            let rows = self
                .context
                .store
                .read::<_, StoreError, _>(|tx| tx.packages_in(&WORK))
                .await?;
            if moved == 0 && !rows.is_empty() {
                crate::internet::before(&self.context, "an installation", cx.now()).await;
            }
            let mut progressed = false;
            for row in rows {
                if cx.cancelled().is_cancelled() {
                    return Ok(Report {
                        summary: "stopping".into(),
                        next: Next::WhenWoken,
                        waiting: None,
                    });
                }
                progressed |= self.advance(cx, &row).await?;
            }
            if !progressed {
                break;
            }
            moved += 1;
        }
        self.remove_unused_staging().await?;
        Ok(Report {
            summary: format!("{moved} stage(s) done"),
            next: Next::After(INTERVAL),
            waiting: None,
        })
    }

    /// Moves one package one stage; tells whether it moved.
    async fn advance(&self, cx: &Activation<'_>, row: &PackageRow) -> Result<bool, ComponentError> {
        let guid = row.guid;
        let work = match row.state {
            S::ContentReplicationSuccess | S::PrereqInProgress => Work::Check,
            S::PrereqSuccess | S::PrereqWarning if row.flag.installs_after(row.state) => Work::Begin,
            S::InstallWaitingServiceWindow | S::InstallWaitingParent => Work::Begin,
            S::InstallInProgress => Work::Install,
            _ => return Ok(false),
        };
        let line = self
            .context
            .store
            .read::<_, StoreError, _>(move |tx| tx.package_record(guid))
            .await?;
        let record = catalogue::parse_line(&line)?;
        match work {
            Work::Check => prerequisites::check(&self.context, cx, row, &record).await,
            Work::Begin => install::begin(&self.context, cx, row).await.map(|()| true),
            Work::Install => install::go_on(&self.context, cx, row, &record).await,
        }
    }

    /// Staging folders of packages that are neither being checked nor going to be installed.
    async fn remove_unused_staging(&self) -> Result<(), ComponentError> {
        let staging = self.context.directory.staging();
        for entry in std::fs::read_dir(&staging)? {
            let path = entry?.path();
            let guid = path
                .file_name()
                .and_then(|name| name.to_str())
                .and_then(|name| name.parse::<PackageGuid>().ok());
            let Some(guid) = guid else { continue };
            let row = self
                .context
                .store
                .read::<_, StoreError, _>(move |tx| tx.package(guid))
                .await;
            if row.is_ok_and(|row| {
                matches!(
                    row.state,
                    S::InstallSuccess | S::InstallFailed | S::ApplicabilityHide
                )
            }) {
                tokio::task::spawn_blocking(move || remove_tree(&path)).await??;
            }
        }
        Ok(())
    }
}

enum Work {
    Check,
    Begin,
    Install,
}

/// The staged tree of a package.
fn staged_tree(context: &SiteContext, guid: PackageGuid) -> std::path::PathBuf {
    context.directory.package_staging(guid).join("tree")
}

/// How extraction ended.
enum Staged {
    Ready,
    Stopped,
    /// Content has to be fetched again.
    Lost(String),
}

/// Brings the staging folder to exactly the signed tree, whatever was there before.
async fn stage(
    context: &Arc<SiteContext>,
    cx: &Activation<'_>,
    record: &PackageRecord,
) -> Result<Staged, ComponentError> {
    let (shared, guid, cancelled) = (context.clone(), record.guid, cx.cancelled().clone());
    let span = tracing::Span::current();
    let work = move || {
        let index = match PayloadIndex::read_file(&shared.directory.payload_index(guid)) {
            Ok(index) => index,
            Err(failure) => return Ok(Staged::Lost(whole_story(&failure))),
        };
        if let Some(problem) =
            super::distribution_manager::damaged_redistributable(&shared, &index_record(&shared, guid)?)
        {
            return Ok(Staged::Lost(problem));
        }
        let tree = staged_tree(&shared, guid);
        match content::extract::extract(&index, &shared.library, &tree, &|| cancelled.is_cancelled()) {
            Ok(()) => Ok(Staged::Ready),
            Err(ExtractError::Cancelled) => Ok(Staged::Stopped),
            Err(failure) if failure.is_content_lost() => Ok(Staged::Lost(whole_story(&failure))),
            Err(failure) => Err(ComponentError::from(failure)),
        }
    };
    tokio::task::spawn_blocking(move || span.in_scope(work)).await?
}

fn index_record(context: &SiteContext, guid: PackageGuid) -> Result<PackageRecord, ComponentError> {
    let line = context
        .store
        .read_blocking::<_, StoreError>(|tx| tx.package_record(guid))?;
    Ok(catalogue::parse_line(&line)?)
}

/// Compares the staging folder with the signed list.
async fn verify_staging(
    context: &Arc<SiteContext>,
    guid: PackageGuid,
) -> Result<Vec<Mismatch>, ComponentError> {
    let shared = context.clone();
    let work = move || -> Result<Vec<Mismatch>, ComponentError> {
        let index = PayloadIndex::read_file(&shared.directory.payload_index(guid))?;
        Ok(content::extract::verify_tree(
            &index,
            &staged_tree(&shared, guid),
        )?)
    };
    tokio::task::spawn_blocking(work).await?
}

/// Content that was ready is lost: the package goes back to "Download failed", where it can be fetched again.
async fn give_back(
    context: &Arc<SiteContext>,
    cx: &Activation<'_>,
    row: &PackageRow,
    stage: SubStage,
    problem: String,
) -> Result<(), ComponentError> {
    let (guid, now) = (row.guid, cx.now());
    tracing::warn!("content of {} ({guid}) is lost: {problem}", row.name);
    context
        .store
        .write::<_, StoreError, _>(move |tx| {
            let row = tx.package(guid)?;
            let events = [E::PrereqFinished(PrereqOutcome::Error), E::ContentLost];
            tx.record_sub_stage(guid, stage, SubStageState::Failed, &problem, now)?;
            tx.apply_all(
                &row,
                &events,
                &format!("{problem}; download the package again"),
                now,
            )
            .map(drop)
        })
        .await?;
    Ok(())
}

impl Component for UpdateInstaller {
    fn name(&self) -> ComponentName {
        ComponentName::ConfigurationManagerUpdate
    }

    fn activate<'a>(&'a self, cx: Activation<'a>) -> BoxFuture<'a, Result<Report, ComponentError>> {
        async move { self.run(&cx).await }.boxed()
    }
}
