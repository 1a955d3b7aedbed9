//! Alerts: where they go, what waits and what failed.

use domain::status_message::rules::AlertTarget;
use protocol::api::{AlertInfo, AlertTargetInfo, AlertsInfo};
use store::{AlertRow, AlertState, StoreError};

use super::{ServiceError, SiteService};

impl SiteService {
    /// `status alerts`
    pub async fn alerts(&self, limit: u32) -> Result<AlertsInfo, ServiceError> {
        let (rows, left_out) = self
            .context
            .store
            .read::<_, StoreError, _>(move |tx| Ok((tx.alerts(limit)?, tx.alerts_left_out()?)))
            .await?;
        let settings = &self.context.settings.alerts;
        let place = |target| match target {
            AlertTarget::Syslog => settings.syslog.as_ref().map(ToString::to_string),
            AlertTarget::Webhook => settings.webhook.as_ref().map(|webhook| webhook.place()),
            AlertTarget::Email => settings
                .email
                .as_ref()
                .map(|email| format!("{} by {}:{}", email.to.join(", "), email.host, email.port)),
        };
        Ok(AlertsInfo {
            targets: AlertTarget::ALL
                .into_iter()
                .map(|target| AlertTargetInfo {
                    target: target.as_str().to_owned(),
                    place: place(target),
                })
                .collect(),
            left_out,
            alerts: rows.into_iter().map(shown).collect(),
        })
    }
}

fn shown(row: AlertRow) -> AlertInfo {
    let waits = row.state == AlertState::Waiting.as_str();
    AlertInfo {
        id: row.id,
        target: row.target.map_or("unknown", AlertTarget::as_str).to_owned(),
        rule: row.rule,
        message_id: row.message.message_id,
        component: row.message.component,
        text: row.message.text,
        time: row.message.recorded_at,
        state: row.state,
        failed_attempts: row.attempts,
        next_attempt: waits.then_some(row.next_attempt_at),
        failure: row.failure,
        changed: row.changed_at,
    }
}
