//! What an administrator does with update packages. Each action is one transaction with its audit
//! message; the components carry it out.

use domain::component::ComponentName;
use domain::servicing::install::Journal;
use domain::servicing::package::PackageGuid;
use domain::servicing::state::{PackageState as S, PrereqFlag};
use domain::servicing::transition::PackageEvent as E;
use domain::status_message::StatusMessageId;
use jiff::Timestamp;
use protocol::api::InstallRequest;
use store::{InstallRun, PackageRow, StoreError, Tx};

use super::{Actor, ServiceError, SiteService, package_guid};

impl SiteService {
    /// `updates check`
    pub async fn check_now(&self, actor: &Actor) -> Result<(), ServiceError> {
        let message =
            self.context
                .status_message(StatusMessageId::AdminChecked, &[actor.as_str()], self.clock.now());
        self.context
            .store
            .write::<_, StoreError, _>(move |tx| {
                tx.request_sync()?;
                tx.record_status_message(&message)
            })
            .await?;
        self.context.wake(ComponentName::DmpDownloader);
        Ok(())
    }

    /// `updates download`
    pub async fn download(&self, guid: &str, actor: &Actor) -> Result<(), ServiceError> {
        self.act(
            guid,
            StatusMessageId::AdminDownload,
            actor,
            ComponentName::DmpDownloader,
            |tx, row, _| {
                match row.state {
                    S::ApplicabilitySuccess | S::DownloadFailed | S::DownloadInProgress => {}
                    _ => return Err(not_possible(row, "downloaded")),
                }
                if let Some(busy) = busy_package(tx, row.guid)? {
                    return Err(blocked_by(row, &busy));
                }
                tx.set_requested(row.guid, true)?;
                Ok(tx.clear_attempts(Some(row.guid))?)
            },
        )
        .await
    }

    /// `updates prereq`
    pub async fn prereq(&self, guid: &str, actor: &Actor) -> Result<(), ServiceError> {
        self.act(
            guid,
            StatusMessageId::AdminPrereq,
            actor,
            ComponentName::HierarchyManager,
            |tx, row, now| {
                start(
                    tx,
                    row,
                    PrereqFlag::CheckOnly,
                    now,
                    "prerequisite check asked for",
                )
            },
        )
        .await
    }

    /// `updates install`
    pub async fn install(
        &self,
        guid: &str,
        request: InstallRequest,
        actor: &Actor,
    ) -> Result<(), ServiceError> {
        let features_on = guids(&request.features_on)?;
        let features_off = guids(&request.features_off)?;
        let flag = if request.ignore_warnings {
            PrereqFlag::ContinueOnWarning
        } else {
            PrereqFlag::StopOnWarning
        };
        self.act(
            guid,
            StatusMessageId::AdminInstall,
            actor,
            ComponentName::HierarchyManager,
            move |tx, row, now| {
                if row.state == S::InstallFailed {
                    return Err(ServiceError::Refused {
                        message: format!(
                            "package {} was rolled back and is not tried again by itself",
                            row.guid
                        ),
                        hint: Some(format!("`tidegate updates retry {}` tries again", row.guid)),
                    });
                }
                start(tx, row, flag, now, "installation asked for")?;
                let attempt = tx.install_run(row.guid)?.map_or(0, |run| run.attempt) + 1;
                let run = InstallRun {
                    attempt,
                    journal: Journal::default(),
                    previous_version: None,
                    failure: None,
                    features_on,
                    features_off,
                    started_at: now,
                };
                Ok(tx.record_install_run(row.guid, &run)?)
            },
        )
        .await
    }

    /// `updates retry`: of the hierarchy, which ignores warnings (section 9).
    pub async fn retry(&self, guid: &str, actor: &Actor) -> Result<(), ServiceError> {
        self.act(
            guid,
            StatusMessageId::AdminRetry,
            actor,
            ComponentName::HierarchyManager,
            |tx, row, now| {
                if let Some(busy) = busy_package(tx, row.guid)? {
                    return Err(blocked_by(row, &busy));
                }
                let flag = match row.flag {
                    PrereqFlag::CheckOnly => PrereqFlag::CheckOnly,
                    PrereqFlag::StopOnWarning | PrereqFlag::ContinueOnWarning => {
                        PrereqFlag::ContinueOnWarning
                    }
                };
                tx.set_flag(row.guid, flag)?;
                tx.clear_sub_stages(row.guid, false)?;
                tx.set_rolled_back(row.guid, false)?;
                if let Some(mut run) = tx.install_run(row.guid)? {
                    run.attempt += 1;
                    run.journal = Journal::default();
                    run.failure = None;
                    tx.record_install_run(row.guid, &run)?;
                }
                Ok(tx.apply(row.guid, E::Retried, "tried again", now).map(drop)?)
            },
        )
        .await
    }

    /// `updates ignore-warnings`
    pub async fn ignore_warnings(&self, guid: &str, actor: &Actor) -> Result<(), ServiceError> {
        let next = ComponentName::ConfigurationManagerUpdate;
        self.act(
            guid,
            StatusMessageId::AdminIgnoreWarnings,
            actor,
            next,
            |tx, row, now| {
                if row.flag == PrereqFlag::CheckOnly {
                    return Err(ServiceError::Refused {
                        message: format!(
                            "package {} was only checked, no installation waits for it",
                            row.guid
                        ),
                        hint: Some(format!(
                            "`tidegate updates install {} --ignore-warnings` installs it",
                            row.guid
                        )),
                    });
                }
                tx.set_flag(row.guid, PrereqFlag::ContinueOnWarning)?;
                Ok(tx
                    .apply(
                        row.guid,
                        E::WarningsIgnored,
                        "warnings are ignored, the installation continues",
                        now,
                    )
                    .map(drop)?)
            },
        )
        .await
    }

    /// `updates reset`: before an installation was triggered, and after one was rolled back (section 12).
    pub async fn reset(&self, guid: &str, force: bool, actor: &Actor) -> Result<(), ServiceError> {
        let parsed = package_guid(guid)?;
        let library = self.context.library.clone();
        let downloaded = self.context.directory.package_payload(parsed);
        self.act(
            guid,
            StatusMessageId::AdminReset,
            actor,
            ComponentName::DmpDownloader,
            move |tx, row, now| {
                let state = tx.apply(row.guid, E::Reset, "reset", now)?;
                tx.clear_sub_stages(row.guid, state != S::DownloadSuccess)?;
                tx.set_requested(row.guid, false)?;
                tx.set_rolled_back(row.guid, false)?;
                tx.record_prereqs(row.guid, &[])?;
                if force && state == S::DownloadSuccess {
                    tx.apply(row.guid, E::ContentLost, "reset, its content was deleted", now)?;
                    tx.clear_sub_stages(row.guid, true)?;
                }
                // Its row goes through evaluation again with the next check.
                tx.request_sync()?;
                Ok(tx.record_evaluated(-1)?)
            },
        )
        .await?;
        let row = self
            .context
            .store
            .read::<_, StoreError, _>(move |tx| tx.package(parsed))
            .await?;
        if row.state != S::DownloadSuccess {
            let removal = tokio::task::spawn_blocking(move || {
                library.remove_reference(&parsed.to_string())?;
                crate::directory::remove_tree(&downloaded).map_err(|source| {
                    content::LibraryError::Disk(content::DiskError {
                        act: "remove",
                        path: downloaded.clone(),
                        source,
                    })
                })
            });
            removal.await??;
        }
        self.context.wake(ComponentName::HierarchyManager);
        Ok(())
    }

    /// `updates features --on`
    pub async fn set_feature(&self, guid: &str, on: bool, actor: &Actor) -> Result<(), ServiceError> {
        if !on {
            return Err(ServiceError::Refused {
                message: "a feature that is on cannot be turned off".into(),
                hint: Some("leave it out with --feature-off when a package is installed".into()),
            });
        }
        let guid = package_guid(guid)?;
        let now = self.clock.now();
        let strings = [actor.as_str(), &guid.to_string()];
        let message = self
            .context
            .status_message(StatusMessageId::AdminFeature, &strings, now);
        self.context
            .store
            .write::<_, StoreError, _>(move |tx| {
                tx.turn_feature_on(guid, now)?;
                tx.record_status_message(&message)
            })
            .await?;
        self.context.wake(ComponentName::HierarchyManager);
        Ok(())
    }

    /// One transaction: the change, and the audit message that says who made it.
    async fn act(
        &self,
        guid: &str,
        audit: StatusMessageId,
        actor: &Actor,
        next: ComponentName,
        change: impl FnOnce(&Tx<'_>, &PackageRow, Timestamp) -> Result<(), ServiceError> + Send + 'static,
    ) -> Result<(), ServiceError> {
        let guid = package_guid(guid)?;
        let now = self.clock.now();
        let message = self
            .context
            .status_message(audit, &[actor.as_str(), &guid.to_string()], now);
        self.context
            .store
            .write::<_, ServiceError, _>(move |tx| {
                let row = tx.package(guid)?;
                change(tx, &row, now)?;
                Ok(tx.record_status_message(&message)?)
            })
            .await?;
        self.context.wake(next);
        Ok(())
    }
}

/// Starts a check or an installation; one that failed before is started again by it.
fn start(
    tx: &Tx<'_>,
    row: &PackageRow,
    flag: PrereqFlag,
    now: Timestamp,
    reason: &str,
) -> Result<(), ServiceError> {
    if let Some(busy) = busy_package(tx, row.guid)? {
        return Err(blocked_by(row, &busy));
    }
    let event = match row.state {
        S::PrereqError | S::ContentReplicationFailed => E::Retried,
        S::ApplicabilitySuccess | S::DownloadInProgress | S::DownloadFailed => {
            return Err(not_possible(row, "started"));
        }
        _ => E::Start,
    };
    tx.set_flag(row.guid, flag)?;
    tx.clear_sub_stages(row.guid, false)?;
    tx.record_prereqs(row.guid, &[])?;
    tx.apply(row.guid, event, reason, now)?;
    Ok(())
}

/// Another package in motion.
fn busy_package(tx: &Tx<'_>, guid: PackageGuid) -> Result<Option<PackageRow>, StoreError> {
    let states: Vec<S> = S::ALL.into_iter().filter(|state| state.is_busy()).collect();
    Ok(tx.packages_in(&states)?.into_iter().find(|row| row.guid != guid))
}

fn blocked_by(row: &PackageRow, busy: &PackageRow) -> ServiceError {
    ServiceError::Refused {
        message: format!(
            "{} has to wait for {} ({}), which is {}",
            row.name,
            busy.name,
            busy.guid,
            busy.state.label().to_lowercase()
        ),
        hint: Some("`tidegate updates status` shows how far it is".into()),
    }
}

fn not_possible(row: &PackageRow, what: &str) -> ServiceError {
    let hint = match row.state {
        S::ApplicabilitySuccess | S::DownloadFailed => {
            format!("`tidegate updates download {}` downloads it first", row.guid)
        }
        _ => format!("`tidegate updates show {}` shows where it stands", row.guid),
    };
    let label = row.state.label().to_lowercase();
    ServiceError::Refused {
        message: format!("{} is \"{label}\" and cannot be {what}", row.name),
        hint: Some(hint),
    }
}

fn guids(texts: &[String]) -> Result<Vec<PackageGuid>, ServiceError> {
    texts.iter().map(|text| package_guid(text)).collect()
}
