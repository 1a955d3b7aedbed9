//! Free space as the site system status summarizer last saw it, and the thresholds for it.

use domain::component::ComponentName;
use domain::status_message::StatusMessageId;
use domain::status_message::systems::{SpaceThresholds, SystemObject};
use protocol::api::{SpaceRequest, SystemInfo};
use store::StoreError;

use super::{Actor, ServiceError, SiteService};

impl SiteService {
    /// `status systems`
    pub async fn systems(&self) -> Result<Vec<SystemInfo>, ServiceError> {
        let seen = self
            .context
            .store
            .read::<_, StoreError, _>(|tx| {
                SystemObject::ALL
                    .into_iter()
                    .map(|object| Ok((object, tx.system_status(object)?, tx.system_threshold(object)?)))
                    .collect::<Result<Vec<_>, _>>()
            })
            .await?;
        Ok(seen
            .into_iter()
            .map(|(object, row, set)| {
                let thresholds = set.unwrap_or_default();
                SystemInfo {
                    object: object.as_str().to_owned(),
                    place: row.as_ref().map(|row| row.place.clone()),
                    free_kib: row.as_ref().map(|row| row.free_kib),
                    total_kib: row.as_ref().map(|row| row.total_kib),
                    // By the thresholds as they are now, which may be younger than the last look.
                    status: row
                        .as_ref()
                        .map(|row| thresholds.health(row.free_kib).as_str().to_owned()),
                    warning_below_kib: thresholds.warning_kib,
                    critical_below_kib: thresholds.critical_kib,
                    set: set.is_some(),
                    checked_at: row.map(|row| row.checked_at),
                }
            })
            .collect())
    }

    /// `status systems set`, `reset`
    pub async fn set_system(
        &self,
        object: &str,
        request: Option<SpaceRequest>,
        actor: &Actor,
    ) -> Result<Vec<SystemInfo>, ServiceError> {
        let object = SystemObject::from_name(object).ok_or_else(|| ServiceError::NotFound {
            message: format!("there is no {object:?} here; there are file-system and database"),
            hint: None,
        })?;
        let thresholds = request.map(|request| SpaceThresholds {
            warning_kib: request.warning_below_kib,
            critical_kib: request.critical_below_kib,
        });
        if let Some(Err(message)) = thresholds.map(|thresholds| thresholds.check()) {
            return Err(ServiceError::Invalid { message, hint: None });
        }
        let now = self.clock.now();
        let (who, what) = (actor.as_str(), object.as_str());
        let message = match thresholds {
            Some(SpaceThresholds {
                warning_kib,
                critical_kib,
            }) => self.context.status_message(
                StatusMessageId::AdminSystemThreshold,
                &[who, what, &warning_kib.to_string(), &critical_kib.to_string()],
                now,
            ),
            None => {
                self.context
                    .status_message(StatusMessageId::AdminSystemThresholdReset, &[who, what], now)
            }
        };
        self.context
            .store
            .write::<_, StoreError, _>(move |tx| {
                tx.set_system_threshold(object, thresholds)?;
                tx.record_status_message(&message)
            })
            .await?;
        self.context.wake(ComponentName::SiteSystemStatusSummarizer);
        self.systems().await
    }
}
