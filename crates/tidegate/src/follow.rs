//! Following work of the site to its end (`--wait`): the site does it whether somebody looks or not,
//! so following is only asking again and again, and can be left at any time.

use std::collections::HashMap;
use std::time::Duration;

use domain::component::{ComponentName, ComponentState};
use domain::servicing::state::PackageState;
use protocol::api::{
    ComponentInfo, SiteUpdateStatus, SubStageInfo, SyncStatus, UpdateStatusQuery, UpdateSummary, UpdatesQuery,
};

use crate::client::Client;
use crate::failure::Failure;
use crate::output::{Output, Style};
use crate::progress::{Bytes, Progress};

/// Time between two looks.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    /// The package is ready to install.
    Downloaded,
    /// The prerequisite check is over.
    Checked,
    /// The package is installed; prerequisite warnings stop it.
    Installed,
    /// The package is installed in spite of prerequisite warnings.
    InstalledDespiteWarnings,
}

/// What a state means for a goal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Waiting,
    Reached,
    Missed(&'static str),
}

/// What a package's state means for a goal.
fn verdict(goal: Goal, state: PackageState) -> Verdict {
    use PackageState as S;
    const RETRY: &str = "mend it, then run `tidegate updates retry` for this package";
    match (goal, state) {
        (_, S::ApplicabilityHide | S::ApplicabilityNa) => {
            Verdict::Missed("the package is not offered any more; `tidegate updates why` says why")
        }
        (_, S::Unknown | S::ApplicabilityChecking | S::ApplicabilityFailed | S::ApplicabilitySuccess)
        | (_, S::DownloadInProgress) => Verdict::Waiting,
        (_, S::DownloadFailed) => {
            Verdict::Missed("try again with `tidegate updates download` for this package")
        }
        (Goal::Downloaded, _) => Verdict::Reached,
        (_, S::DownloadSuccess | S::Enabled | S::ContentReplicating | S::ContentReplicationSuccess)
        | (_, S::PrereqInProgress) => Verdict::Waiting,
        (_, S::ContentReplicationFailed | S::PrereqError) => Verdict::Missed(RETRY),
        (Goal::Checked, _) => Verdict::Reached,
        (Goal::Installed, S::PrereqWarning) => Verdict::Missed(
            "read them with `tidegate updates status`, then run `tidegate updates ignore-warnings` or `retry` for this package",
        ),
        (_, S::InstallSuccess | S::InstallPendingReboot) => Verdict::Reached,
        (_, S::InstallFailed) => Verdict::Missed(RETRY),
        (
            _,
            S::PrereqSuccess
            | S::PrereqWarning
            | S::InstallInProgress
            | S::InstallWaitingServiceWindow
            | S::InstallWaitingParent,
        ) => Verdict::Waiting,
    }
}

/// The component that takes a package on from a state, if one does.
fn mover(state: PackageState) -> Option<ComponentName> {
    use PackageState as S;
    match state {
        S::ApplicabilitySuccess | S::DownloadInProgress | S::DownloadFailed => {
            Some(ComponentName::DmpDownloader)
        }
        S::Unknown | S::ApplicabilityChecking | S::ApplicabilityFailed | S::DownloadSuccess | S::Enabled => {
            Some(ComponentName::HierarchyManager)
        }
        S::ContentReplicating | S::ContentReplicationFailed => Some(ComponentName::DistributionManager),
        S::ContentReplicationSuccess
        | S::PrereqInProgress
        | S::PrereqSuccess
        | S::PrereqWarning
        | S::PrereqError
        | S::InstallInProgress
        | S::InstallWaitingServiceWindow
        | S::InstallFailed => Some(ComponentName::ConfigurationManagerUpdate),
        S::InstallWaitingParent
        | S::InstallSuccess
        | S::InstallPendingReboot
        | S::ApplicabilityHide
        | S::ApplicabilityNa => None,
    }
}

/// A package's state on this site.
pub async fn status_of(client: &Client, guid: &str) -> Result<SiteUpdateStatus, Failure> {
    let query = UpdateStatusQuery {
        guid: Some(guid.to_owned()),
    };
    let statuses: Vec<SiteUpdateStatus> = client.get_with("/update-status", &query).await?;
    statuses
        .into_iter()
        .next()
        .ok_or_else(|| Failure::new(format!("the site does not know the package {guid} any more")))
}

/// Follows a package until `goal`. `before` is how it stood before the work was asked for: a failure or a
/// sub-step that is as old as that does not belong to this work.
pub async fn package(
    client: &Client,
    output: &Output,
    guid: &str,
    goal: Goal,
    before: &SiteUpdateStatus,
) -> Result<SiteUpdateStatus, Failure> {
    let mut progress = Progress::new(output);
    let mut told: HashMap<u32, String> = before
        .sub_stages
        .iter()
        .map(|stage| (stage.id, mark(stage)))
        .collect();
    loop {
        let status = status_of(client, guid).await?;
        tell_sub_stages(&mut progress, &mut told, &status.sub_stages);
        let update = &status.update;
        let moved = update.state != before.update.state || update.since != before.update.since;
        let state = PackageState::from_code(update.state.code).unwrap_or(PackageState::Unknown);
        match verdict(goal, state) {
            Verdict::Reached if moved || goal == Goal::Downloaded => {
                progress.end();
                return Ok(status);
            }
            Verdict::Missed(hint) if moved => {
                progress.end();
                let reason = update
                    .failure
                    .as_deref()
                    .filter(|text| !text.is_empty())
                    .unwrap_or(&status.reason);
                return Err(Failure::new(format!(
                    "{} is in state \"{}\": {reason}",
                    update.name, update.state.label
                ))
                .hint(hint));
            }
            _ => progress.show(now_doing(&status), bytes_of(update)),
        }
        if let Some(name) = mover(state) {
            refuse_if_stopped(client, name).await?;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

/// One line: what is under way or waited for.
fn now_doing(status: &SiteUpdateStatus) -> String {
    let update = &status.update;
    if let Some(transfer) = &update.transfer {
        let from = if transfer.host.is_empty() {
            String::new()
        } else {
            format!(" from {}", transfer.host)
        };
        return format!("{}{from}", transfer.what);
    }
    match status
        .sub_stages
        .iter()
        .rev()
        .find(|stage| stage.state == "in progress")
    {
        Some(stage) => format!("{}: {}", stage.phase, stage.name),
        None if status.reason.is_empty() => update.state.label.clone(),
        None => format!("{}: {}", update.state.label, status.reason),
    }
}

fn bytes_of(update: &UpdateSummary) -> Option<Bytes> {
    update.transfer.as_ref().map(|transfer| Bytes {
        done: transfer.done,
        total: transfer.total,
        rate: transfer.rate,
    })
}

/// Tells one end of a sub-step from the next.
fn mark(stage: &SubStageInfo) -> String {
    format!("{} {}", stage.state, stage.time)
}

/// Prints each sub-step once it is over.
fn tell_sub_stages(progress: &mut Progress, told: &mut HashMap<u32, String>, stages: &[SubStageInfo]) {
    for stage in stages {
        let (style, outcome) = match stage.state.as_str() {
            "success" => (Style::Good, "done"),
            "success with warning" => (Style::Warning, "warning"),
            "failed" => (Style::Bad, "failed"),
            _ => continue,
        };
        let mark = mark(stage);
        if told.insert(stage.id, mark.clone()).as_ref() != Some(&mark) {
            let detail = if stage.detail.is_empty() {
                String::new()
            } else {
                format!(": {}", stage.detail)
            };
            progress.step(
                style,
                outcome,
                format_args!("{}: {}{detail}", stage.phase, stage.name),
            );
        }
    }
}

/// Follows a check for updates until it is over and every package is evaluated.
pub async fn check(client: &Client, output: &Output, before: &SyncStatus) -> Result<SyncStatus, Failure> {
    let mut progress = Progress::new(output);
    let sync = loop {
        let sync: SyncStatus = client.get("/sync").await?;
        let ended = sync.succeeded_at != before.succeeded_at || sync.failed_at != before.failed_at;
        if ended && !sync.requested && !sync.running {
            break sync;
        }
        let doing = if sync.running {
            "synchronising with the feed"
        } else {
            "waiting for SMS_DMP_DOWNLOADER"
        };
        progress.show(doing, None);
        if !sync.running {
            refuse_if_stopped(client, ComponentName::DmpDownloader).await?;
        }
        tokio::time::sleep(LOOK_AGAIN).await;
    };
    if let (Some(failure), true) = (&sync.failure, sync.failed_at > sync.succeeded_at) {
        progress.end();
        return Err(
            Failure::new(format!("the check for updates failed: {failure}")).hint(match sync.next_at {
                Some(at) => format!(
                    "the site tries again {}; details: tidegate logs SMS_DMP_DOWNLOADER",
                    output.when(at)
                ),
                None => "details: tidegate logs SMS_DMP_DOWNLOADER".to_owned(),
            }),
        );
    }
    progress.step(Style::Good, "done", "the feed is verified and up to date");
    evaluated(client, &mut progress).await?;
    progress.end();
    Ok(sync)
}

/// A component that was stopped would be waited for without end.
async fn refuse_if_stopped(client: &Client, name: ComponentName) -> Result<(), Failure> {
    let component: ComponentInfo = client.get(&format!("/components/{name}")).await?;
    if component.state_code != ComponentState::Stopped.code() {
        return Ok(());
    }
    Err(
        Failure::new(format!("{name} is stopped, so nothing is going to happen")).hint(format!(
            "what was asked for is done once it is started: tidegate component start {name}"
        )),
    )
}

/// Waits until no package is being evaluated any more.
async fn evaluated(client: &Client, progress: &mut Progress) -> Result<(), Failure> {
    loop {
        let updates: Vec<UpdateSummary> = client.get_with("/updates", &UpdatesQuery::listing(true)).await?;
        let checking = updates
            .iter()
            .filter(|update| update.state.code == PackageState::ApplicabilityChecking.code())
            .count();
        if checking == 0 {
            return Ok(());
        }
        progress.show(
            format_args!("evaluating {checking} of {} packages", updates.len()),
            None,
        );
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_states_mean_for_goals() {
        use PackageState as S;
        let check = |state, downloaded: &str, checked: &str, installed: &str, despite: &str| {
            let word = |goal| match verdict(goal, state) {
                Verdict::Waiting => "waiting",
                Verdict::Reached => "reached",
                Verdict::Missed(_) => "missed",
            };
            assert_eq!(
                [
                    Goal::Downloaded,
                    Goal::Checked,
                    Goal::Installed,
                    Goal::InstalledDespiteWarnings
                ]
                .map(word),
                [downloaded, checked, installed, despite],
                "{state:?}"
            );
        };
        check(
            S::ApplicabilitySuccess,
            "waiting",
            "waiting",
            "waiting",
            "waiting",
        );
        check(S::DownloadInProgress, "waiting", "waiting", "waiting", "waiting");
        check(S::DownloadFailed, "missed", "missed", "missed", "missed");
        check(S::DownloadSuccess, "reached", "waiting", "waiting", "waiting");
        check(S::ContentReplicating, "reached", "waiting", "waiting", "waiting");
        check(S::PrereqSuccess, "reached", "reached", "waiting", "waiting");
        check(S::PrereqWarning, "reached", "reached", "missed", "waiting");
        check(S::PrereqError, "reached", "missed", "missed", "missed");
        check(S::InstallInProgress, "reached", "reached", "waiting", "waiting");
        check(S::InstallSuccess, "reached", "reached", "reached", "reached");
        check(S::InstallFailed, "reached", "reached", "missed", "missed");
        check(S::ApplicabilityNa, "missed", "missed", "missed", "missed");
    }
}
