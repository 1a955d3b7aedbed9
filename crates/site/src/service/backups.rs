//! Backups: what is scheduled, what is there, one more now.

use std::path::Path;

use domain::component::ComponentName;
use domain::status_message::StatusMessageId;
use protocol::api::{BackupInfo, BackupRequest, BackupScheduleInfo, BackupsInfo};
use store::StoreError;

use super::{Actor, ServiceError, SiteService};
use crate::backup::{self, plan};
use crate::context::whole_story;

impl SiteService {
    /// `backup list`
    pub async fn backups(&self) -> Result<BackupsInfo, ServiceError> {
        let plan = self.context.store.read::<_, StoreError, _>(plan::plan).await?;
        let now = self.clock.now();
        let next = plan
            .schedule
            .as_ref()
            .map(|(_, schedule)| schedule.due(plan.last_good, now, &self.zone));
        let schedule = plan.schedule.map(|(info, _)| info);
        let backups = match &schedule {
            None => Vec::new(),
            Some(info) => {
                let (folder, site) = (info.folder.clone(), self.context.identity.code.to_string());
                let listed = tokio::task::spawn_blocking(move || backup::list(Path::new(&folder), &site));
                // A folder that is not mounted at the moment is no reason to show nothing at all.
                listed.await?.unwrap_or_else(|failure| {
                    tracing::warn!("{}", whole_story(&failure));
                    Vec::new()
                })
            }
        };
        Ok(BackupsInfo {
            schedule,
            next,
            requested: plan.requested,
            last: plan.last,
            last_good: plan.last_good,
            backups: backups
                .into_iter()
                .rev()
                .map(|backup| BackupInfo {
                    path: backup.path.display().to_string(),
                    made: backup.made,
                })
                .collect(),
        })
    }

    /// `backup run`
    pub async fn request_backup(&self, request: BackupRequest, actor: &Actor) -> Result<(), ServiceError> {
        let scheduled = self.context.store.read::<_, StoreError, _>(plan::plan).await?;
        let folder = request
            .folder
            .or_else(|| scheduled.schedule.map(|(info, _)| info.folder))
            .ok_or_else(|| ServiceError::Invalid {
                message: "no folder is named, and no schedule names one".into(),
                hint: Some("tidegate backup run --folder /srv/backups".into()),
            })?;
        let asked = BackupScheduleInfo {
            folder: folder.clone(),
            every_days: 1,
            at: "00:00".into(),
            keep: 1,
        };
        let now = self.clock.now();
        plan::understood(&asked, now).map_err(|message| ServiceError::Invalid { message, hint: None })?;
        let strings = [actor.as_str(), &folder];
        let message = self
            .context
            .status_message(StatusMessageId::AdminBackup, &strings, now);
        self.context
            .store
            .write::<_, StoreError, _>(move |tx| {
                plan::request(tx, &folder)?;
                tx.record_status_message(&message)
            })
            .await?;
        self.context.wake(ComponentName::SiteBackup);
        Ok(())
    }

    /// `backup schedule`; without a schedule, backups are made on request only.
    pub async fn set_backup_schedule(
        &self,
        schedule: Option<BackupScheduleInfo>,
        actor: &Actor,
    ) -> Result<BackupsInfo, ServiceError> {
        let now = self.clock.now();
        if let Some(info) = &schedule {
            plan::understood(info, now).map_err(|message| ServiceError::Invalid { message, hint: None })?;
        }
        let shown = match &schedule {
            None => "none".to_owned(),
            Some(info) => format!(
                "every {} day(s) at {} to {}, {} are kept",
                info.every_days, info.at, info.folder, info.keep
            ),
        };
        let strings = [actor.as_str(), &shown];
        let message = self
            .context
            .status_message(StatusMessageId::AdminBackupSchedule, &strings, now);
        self.context
            .store
            .write::<_, StoreError, _>(move |tx| {
                plan::set_schedule(tx, schedule.as_ref(), now)?;
                tx.record_status_message(&message)
            })
            .await?;
        self.context.wake(ComponentName::SiteBackup);
        self.backups().await
    }
}
