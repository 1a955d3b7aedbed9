//! Links: how fast content may come.

use domain::component::ComponentName;
use domain::status_message::StatusMessageId;
use domain::throttle::{Schedule, hour_name};
use protocol::api::{ThrottleHours, ThrottleInfo, ThrottleRequest};
use store::StoreError;

use super::{Actor, ServiceError, SiteService};
use crate::throttle;

impl SiteService {
    /// `hierarchy throttle`
    pub async fn throttle(&self) -> Result<ThrottleInfo, ServiceError> {
        let rules = self
            .context
            .store
            .read::<_, StoreError, _>(throttle::rules)
            .await?;
        let (throttle, now) = (&self.context.throttle, self.clock.now());
        Ok(ThrottleInfo {
            rules: rules.lines().map(str::to_owned).collect(),
            now: throttle.limit(now).to_string(),
            opens_at: throttle.opens_at(now),
            week: throttle
                .schedule()
                .runs()
                .into_iter()
                .map(|(from, hours, limit)| ThrottleHours {
                    from: hour_name(from),
                    hours: u32::try_from(hours).unwrap_or(u32::MAX),
                    limit: limit.to_string(),
                })
                .collect(),
        })
    }

    /// `hierarchy throttle RULE…`: in force at once, for transfers under way too.
    pub async fn set_throttle(
        &self,
        request: ThrottleRequest,
        actor: &Actor,
    ) -> Result<ThrottleInfo, ServiceError> {
        let rules = request.rules.join("\n");
        let schedule = Schedule::parse(&rules).map_err(|failure| ServiceError::Invalid {
            message: format!("the rule {failure}"),
            hint: None,
        })?;
        let shown = match request.rules.is_empty() {
            true => "unlimited".to_owned(),
            false => request.rules.join("; "),
        };
        let strings = [actor.as_str(), &shown];
        let message = self
            .context
            .status_message(StatusMessageId::AdminThrottle, &strings, self.clock.now());
        let alone = self.context.throttle.change().await;
        self.context
            .store
            .write::<_, StoreError, _>(move |tx| {
                throttle::store_rules(tx, &rules)?;
                tx.clear_waiting()?;
                tx.record_status_message(&message)
            })
            .await?;
        self.context.throttle.set(schedule);
        drop(alone);
        self.context.wake(ComponentName::DmpDownloader);
        self.throttle().await
    }
}
