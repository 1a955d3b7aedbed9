//! Carrying out an install plan, step by step along its journal.

use std::sync::Arc;
use std::time::Duration;

use domain::component::ComponentName;
use domain::servicing::install::{self as plan, Journal, Next, Step, SubStage, SubStageState};
use domain::servicing::package::{Hook, PackageRecord};
use domain::servicing::transition::{InstallOutcome, PackageEvent as E};
use domain::status_message::StatusMessageId;
use executive::{Activation, ComponentError};
use store::{InstallRun, PackageRow, StoreError};

use super::{Staged, stage, staged_tree, verify_staging};
use crate::context::{SiteContext, whole_story};
use crate::product::hooks::{self, HookContext, HookError};

/// Why a step failed.
enum StepFailure {
    /// The step itself: everything is rolled back.
    Failed(String),
    /// The site is stopping: the step runs again.
    Stopped,
    /// The machine (disk): tried again with back-off, nothing is rolled back.
    Machine(ComponentError),
}

/// State 196609 with a fresh journal. Nothing has to be waited for on a stand-alone site without windows.
pub(super) async fn begin(
    context: &Arc<SiteContext>,
    cx: &Activation<'_>,
    row: &PackageRow,
) -> Result<(), ComponentError> {
    let (guid, now) = (row.guid, cx.now());
    let previous = context.product.current()?;
    let message = context.status_message(
        StatusMessageId::InstallStarted,
        &[&row.name, &guid.to_string()],
        now,
    );
    context
        .store
        .write::<_, StoreError, _>(move |tx| {
            let asked = tx.install_run(guid)?;
            let run = InstallRun {
                attempt: asked.as_ref().map_or(1, |run| run.attempt),
                journal: Journal::default(),
                previous_version: previous,
                failure: None,
                features_on: asked.as_ref().map_or(Vec::new(), |run| run.features_on.clone()),
                features_off: asked.map_or(Vec::new(), |run| run.features_off),
                started_at: now,
            };
            tx.record_install_run(guid, &run)?;
            tx.record_sub_stage(guid, SubStage::WaitUntilReady, SubStageState::Success, "", now)?;
            tx.record_status_message(&message)?;
            tx.apply(guid, E::InstallStarted, "installing", now).map(drop)
        })
        .await?;
    Ok(())
}

/// Goes on where the journal stands; tells whether the installation ended.
pub(super) async fn go_on(
    context: &Arc<SiteContext>,
    cx: &Activation<'_>,
    row: &PackageRow,
    record: &PackageRecord,
) -> Result<bool, ComponentError> {
    let guid = row.guid;
    loop {
        let run = context
            .store
            .read::<_, StoreError, _>(move |tx| tx.install_run(guid))
            .await?
            .ok_or_else(|| {
                ComponentError::new(format!("package {guid} is being installed without a journal"))
            })?;
        if run.journal == Journal::default()
            && let Some(problem) = verify_again(context, cx, record).await?
        {
            let Problem::Content(problem) = problem else {
                return Ok(false);
            };
            fail(context, cx, row, run, SubStage::VerifyStaging, problem).await?;
            continue;
        }
        match plan::next(&record.install, &run.journal) {
            Next::Commit => {
                commit(context, cx, row, record).await?;
                return Ok(true);
            }
            Next::RolledBack => {
                give_up(context, cx, row, &run).await?;
                return Ok(true);
            }
            Next::Do(step) => {
                cx.progress(format!("installing {}: {step}", row.name));
                tracing::info!("{} ({guid}): {step}", row.name);
                let stage = SubStage::of(step);
                record_stage(
                    context,
                    cx,
                    row,
                    stage,
                    SubStageState::InProgress,
                    &step.to_string(),
                )
                .await?;
                match carry_out(context, cx, record, &run, step).await {
                    Ok(()) => done(context, cx, row, run, stage).await?,
                    Err(StepFailure::Stopped) => return Ok(false),
                    Err(StepFailure::Machine(failure)) => return Err(failure),
                    // A roll-back goes on whatever its own steps say: going back is the way out.
                    Err(StepFailure::Failed(problem)) if run.journal.rollback_done.is_some() => {
                        tracing::error!(
                            "{} ({guid}): {step} failed while rolling back: {problem}",
                            row.name
                        );
                        done(context, cx, row, run, stage).await?;
                    }
                    Err(StepFailure::Failed(problem)) => {
                        let told = [
                            row.name.clone(),
                            guid.to_string(),
                            step.to_string(),
                            problem.clone(),
                        ];
                        let strings: Vec<&str> = told.iter().map(String::as_str).collect();
                        context
                            .raise(StatusMessageId::InstallStepFailed, &strings, cx.now())
                            .await?;
                        fail(context, cx, row, run, stage, format!("{step}: {problem}")).await?;
                    }
                }
            }
        }
    }
}

enum Problem {
    Content(String),
    Stopped,
}

/// Before the first step the staging folder is compared with the signed list once more, and made right.
async fn verify_again(
    context: &Arc<SiteContext>,
    cx: &Activation<'_>,
    record: &PackageRecord,
) -> Result<Option<Problem>, ComponentError> {
    let placed = record.install.switch
        && !staged_tree(context, record.guid).exists()
        && context
            .product
            .version_directory(&record.full_version.to_string())
            .is_dir();
    if placed {
        // A crash between the rename and its record: the rename moved a tree that was verified.
        return Ok(None);
    }
    if staged_tree(context, record.guid).exists() && verify_staging(context, record.guid).await?.is_empty() {
        return Ok(None);
    }
    tracing::warn!("the staging folder differs from the signed list and is extracted again");
    match stage(context, cx, record).await? {
        Staged::Ready => Ok(None),
        Staged::Stopped => Ok(Some(Problem::Stopped)),
        Staged::Lost(problem) => Ok(Some(Problem::Content(problem))),
    }
}

async fn carry_out(
    context: &Arc<SiteContext>,
    cx: &Activation<'_>,
    record: &PackageRecord,
    run: &InstallRun,
    step: Step,
) -> Result<(), StepFailure> {
    let version = record.full_version.to_string();
    let product = context.product.clone();
    let plan = &record.install;
    match step {
        Step::Place => {
            let staged = staged_tree(context, record.guid);
            on_disk(move || product.place(&staged, &version)).await
        }
        Step::Switch => on_disk(move || product.switch(Some(&version))).await,
        Step::SwitchBack => {
            let previous = run.previous_version.clone();
            on_disk(move || product.switch(previous.as_deref())).await
        }
        Step::Remove => on_disk(move || product.remove(&version)).await,
        Step::Before(index) => run_hook(context, cx, record, run, &plan.before[index], step).await,
        Step::After(index) => run_hook(context, cx, record, run, &plan.after[index], step).await,
        Step::RollbackHook(index) => run_hook(context, cx, record, run, &plan.rollback[index], step).await,
        Step::Health => {
            let Some(health) = &plan.health else { return Ok(()) };
            let mut tries = 0;
            loop {
                tries += 1;
                match run_hook(context, cx, record, run, &health.hook, step).await {
                    Err(StepFailure::Failed(problem)) if tries < health.attempts => {
                        tracing::warn!("health check {tries} of {} failed: {problem}", health.attempts);
                        cx.pause(Duration::from_secs(u64::from(health.interval_s))).await;
                        if cx.cancelled().is_cancelled() {
                            return Err(StepFailure::Stopped);
                        }
                    }
                    other => return other,
                }
            }
        }
    }
}

async fn run_hook(
    context: &Arc<SiteContext>,
    cx: &Activation<'_>,
    record: &PackageRecord,
    run: &InstallRun,
    hook: &Hook,
    step: Step,
) -> Result<(), StepFailure> {
    let version = record.full_version.to_string();
    let tree = if record.install.switch {
        context.product.version_directory(&version)
    } else {
        staged_tree(context, record.guid)
    };
    let product = context.directory.product().display().to_string();
    let variables = [
        ("TIDEGATE_PACKAGE_GUID", record.guid.to_string()),
        ("TIDEGATE_VERSION", version),
        (
            "TIDEGATE_PREVIOUS_VERSION",
            run.previous_version.clone().unwrap_or_default(),
        ),
        ("TIDEGATE_SITE_CODE", context.identity.code.to_string()),
        ("TIDEGATE_PRODUCT_DIR", product),
        // The same after a crash: lets a hook see that it has begun before.
        (
            "TIDEGATE_STEP_KEY",
            format!("{}/{}/{step}", record.guid, run.attempt),
        ),
    ];
    let variables = variables.map(|(name, value)| (name.to_owned(), value)).to_vec();
    match hooks::run(hook, &HookContext { tree, variables }, cx.cancelled()).await {
        Ok(()) => Ok(()),
        Err(HookError::Stopped { .. }) => Err(StepFailure::Stopped),
        Err(failure) => Err(StepFailure::Failed(whole_story(&failure))),
    }
}

async fn on_disk<E: Into<ComponentError> + Send + 'static>(
    work: impl FnOnce() -> Result<(), E> + Send + 'static,
) -> Result<(), StepFailure> {
    match tokio::task::spawn_blocking(work).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(failure)) => Err(StepFailure::Machine(failure.into())),
        Err(crash) => Err(StepFailure::Machine(crash.into())),
    }
}

async fn record_stage(
    context: &Arc<SiteContext>,
    cx: &Activation<'_>,
    row: &PackageRow,
    stage: SubStage,
    state: SubStageState,
    detail: &str,
) -> Result<(), ComponentError> {
    let (guid, now, detail) = (row.guid, cx.now(), detail.to_owned());
    context
        .store
        .write::<_, StoreError, _>(move |tx| tx.record_sub_stage(guid, stage, state, &detail, now))
        .await?;
    Ok(())
}

/// Records a step as done, forwards or backwards.
async fn done(
    context: &Arc<SiteContext>,
    cx: &Activation<'_>,
    row: &PackageRow,
    mut run: InstallRun,
    stage: SubStage,
) -> Result<(), ComponentError> {
    let (guid, now) = (row.guid, cx.now());
    match &mut run.journal.rollback_done {
        Some(done) => *done += 1,
        None => run.journal.steps_done += 1,
    }
    context
        .store
        .write::<_, StoreError, _>(move |tx| {
            tx.record_sub_stage(guid, stage, SubStageState::Success, "", now)?;
            tx.record_install_run(guid, &run)
        })
        .await?;
    Ok(())
}

/// A step failed: from here on everything is undone.
async fn fail(
    context: &Arc<SiteContext>,
    cx: &Activation<'_>,
    row: &PackageRow,
    mut run: InstallRun,
    stage: SubStage,
    problem: String,
) -> Result<(), ComponentError> {
    let (guid, now) = (row.guid, cx.now());
    tracing::error!("{} ({guid}) failed: {problem}; rolling back", row.name);
    run.journal.rollback_done = Some(0);
    run.failure = Some(problem.clone());
    context
        .store
        .write::<_, StoreError, _>(move |tx| {
            tx.record_sub_stage(guid, stage, SubStageState::Failed, &problem, now)?;
            tx.set_reason(guid, &format!("rolling back: {problem}"))?;
            tx.record_install_run(guid, &run)
        })
        .await?;
    Ok(())
}

/// State 196612: the package is installed and stays so.
async fn commit(
    context: &Arc<SiteContext>,
    cx: &Activation<'_>,
    row: &PackageRow,
    record: &PackageRecord,
) -> Result<(), ComponentError> {
    let (guid, now, version) = (row.guid, cx.now(), record.full_version);
    let message = context.status_message(
        StatusMessageId::InstallSucceeded,
        &[&row.name, &guid.to_string()],
        now,
    );
    context
        .store
        .write::<_, StoreError, _>(move |tx| {
            tx.record_installed(guid, version, now)?;
            tx.set_rolled_back(guid, false)?;
            tx.record_sub_stage(
                guid,
                SubStage::RecordVersion,
                SubStageState::Success,
                &version.to_string(),
                now,
            )?;
            tx.record_status_message(&message)?;
            tx.apply(
                guid,
                E::InstallFinished(InstallOutcome::Success),
                "installed",
                now,
            )
            .map(drop)
        })
        .await?;
    tracing::info!("{} ({guid}) is installed", row.name);
    context.wake(ComponentName::HierarchyManager);
    Ok(())
}

/// State 262143: everything is as it was before; nobody tries again by itself.
async fn give_up(
    context: &Arc<SiteContext>,
    cx: &Activation<'_>,
    row: &PackageRow,
    run: &InstallRun,
) -> Result<(), ComponentError> {
    let (guid, now) = (row.guid, cx.now());
    let failure = run.failure.clone().unwrap_or_default();
    let message = context.status_message(
        StatusMessageId::InstallFailed,
        &[&row.name, &guid.to_string(), &failure],
        now,
    );
    let reason = format!("rolled back: {failure}; `tidegate updates retry` tries again");
    tracing::error!("{} ({guid}) was rolled back: {failure}", row.name);
    context
        .store
        .write::<_, StoreError, _>(move |tx| {
            tx.set_rolled_back(guid, true)?;
            tx.record_status_message(&message)?;
            tx.apply(guid, E::InstallFinished(InstallOutcome::Failed), &reason, now)
                .map(drop)
        })
        .await?;
    context.wake(ComponentName::HierarchyManager);
    Ok(())
}
