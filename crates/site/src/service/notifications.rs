//! Notifications as one user sees them, and what the user does with them.

use std::collections::BTreeMap;

use domain::notification::{Evaluated, Reaction, Severity, Snooze, Standing, standing};
use domain::status_message::StatusMessageId;
use jiff::Timestamp;
use protocol::api::{NotificationInfo, NotificationStanding};
use store::{NotificationRow, StoreError};

use super::{Actor, ServiceError, SiteService};
use crate::notifications::evaluate;

impl SiteService {
    /// `notifications list`: what is in force, worst first; with `all`, also what this user does not want to see now.
    pub async fn notifications(
        &self,
        actor: &Actor,
        all: bool,
    ) -> Result<Vec<NotificationInfo>, ServiceError> {
        let now = self.clock.now();
        evaluate(&self.context, &[Evaluated::AtConsoleStart], now).await?;
        let user = actor.as_str().to_owned();
        let (rows, reactions) = self
            .context
            .store
            .read::<_, StoreError, _>(move |tx| Ok((tx.notifications()?, tx.notification_reactions(&user)?)))
            .await?;
        let reactions: BTreeMap<String, Reaction> = reactions.into_iter().collect();
        let only_critical = !self.context.settings.non_critical_notifications;
        let mut shown: Vec<NotificationInfo> = rows
            .into_iter()
            .filter(|row| !only_critical || row.notification.severity == Severity::Critical)
            .map(|row| {
                let notification = &row.notification;
                let reaction = reactions.get(&notification.key);
                let standing = standing(notification.severity, &notification.cause, reaction, now);
                info(row, standing)
            })
            .filter(|info| all || info.standing == NotificationStanding::Shown)
            .collect();
        shown.sort_by_key(|info| {
            let severity = Severity::from_word(&info.severity);
            (std::cmp::Reverse(severity), std::cmp::Reverse(info.first_seen))
        });
        Ok(shown)
    }

    /// `notifications dismiss`
    pub async fn dismiss_notification(&self, key: &str, actor: &Actor) -> Result<(), ServiceError> {
        let message = StatusMessageId::AdminDismissed;
        self.react(key, actor, None, message, &[actor.as_str(), key])
            .await
    }

    /// `notifications snooze`; returns until when.
    pub async fn snooze_notification(
        &self,
        key: &str,
        length: &str,
        actor: &Actor,
    ) -> Result<Timestamp, ServiceError> {
        let length: Snooze = length
            .parse()
            .map_err(|message| ServiceError::Invalid { message, hint: None })?;
        let until = length.until(self.clock.now());
        let message = StatusMessageId::AdminSnoozed;
        let strings = [actor.as_str(), key, &until.to_string()];
        self.react(key, actor, Some(until), message, &strings).await?;
        Ok(until)
    }

    async fn react(
        &self,
        key: &str,
        actor: &Actor,
        until: Option<Timestamp>,
        id: StatusMessageId,
        strings: &[&str],
    ) -> Result<(), ServiceError> {
        let now = self.clock.now();
        let message = self.context.status_message(id, strings, now);
        let (key, user) = (key.to_owned(), actor.as_str().to_owned());
        self.context
            .store
            .write(move |tx| {
                let Some(NotificationRow { notification, .. }) = tx.notification(&key)? else {
                    return Err(ServiceError::NotFound {
                        message: format!("no notification {key:?} is in force"),
                        hint: Some("`tidegate notifications list --all` shows what is".into()),
                    });
                };
                if notification.severity == Severity::Critical {
                    return Err(ServiceError::Refused {
                        message: format!(
                            "{:?} is critical; it can be neither dismissed nor snoozed",
                            notification.title
                        ),
                        hint: Some(format!("mend its cause and it goes: {}", notification.command)),
                    });
                }
                let reaction = Reaction {
                    severity: notification.severity,
                    cause: notification.cause,
                    until,
                };
                tx.record_notification_reaction(&key, &user, &reaction, now)?;
                Ok(tx.record_status_message(&message)?)
            })
            .await
    }
}

fn info(row: NotificationRow, standing: Standing) -> NotificationInfo {
    let notification = row.notification;
    let (standing, snoozed_until) = match standing {
        Standing::Shown => (NotificationStanding::Shown, None),
        Standing::Snoozed(until) => (NotificationStanding::Snoozed, Some(until)),
        Standing::Dismissed => (NotificationStanding::Dismissed, None),
    };
    NotificationInfo {
        key: notification.key,
        kind: notification.kind.as_str().to_owned(),
        severity: notification.severity.as_str().to_owned(),
        title: notification.title,
        body: notification.body,
        command: notification.command,
        console_path: notification.kind.console_path().to_owned(),
        evaluated: notification.kind.evaluated().as_str().to_owned(),
        first_seen: row.first_seen_at,
        changed: row.changed_at,
        dismissible: notification.severity != Severity::Critical,
        standing,
        snoozed_until,
    }
}
