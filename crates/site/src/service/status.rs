//! Status messages, state messages and the health of components.

use domain::component::ComponentName;
use domain::servicing::state_message::StateMessage;
use domain::status_message::{Counts, MessageType, Severity, StatusMessageId, Thresholds};
use jiff::Timestamp;
use protocol::api::{
    ComponentStatusInfo, LIMIT_DEFAULT, LIMIT_MAX, StateMessageInfo, StatusMessageInfo, StatusMessageQuery,
    ThresholdInfo,
};
use store::{StatusFilter, StoreError};

use super::{Actor, ServiceError, SiteService, component_name};

/// The message that turns a component critical at once.
const CRITICAL_ID: u32 = 11488;
/// "Since 12:00 AM", the default tally interval.
pub(super) const SINCE_MIDNIGHT: &str = "0001128000100008";
/// "Since site installation".
const SINCE_INSTALLATION: &str = "0001128000080008";
/// "Since 4, 8, 12, 16, 20 o'clock".
const SINCE_HOUR: [(&str, i8); 5] = [
    ("0081128000100008", 4),
    ("0101128000100008", 8),
    ("0181128000100008", 12),
    ("0201128000100008", 16),
    ("0281128000100008", 20),
];
/// "Since Sunday" to "since Saturday".
const SINCE_WEEKDAY: [(&str, i8); 7] = [
    ("0001128000192000", 0),
    ("00011280001A2000", 1),
    ("00011280001B2000", 2),
    ("00011280001C2000", 3),
    ("00011280001D2000", 4),
    ("00011280001E2000", 5),
    ("00011280001F2000", 6),
];
/// "Since the 1st, the 15th of the month".
const SINCE_DAY: [(&str, i8); 2] = [("000A470000284400", 1), ("000A4700002BC400", 15)];

impl SiteService {
    /// `status messages`
    pub async fn status_messages(
        &self,
        query: StatusMessageQuery,
    ) -> Result<Vec<StatusMessageInfo>, ServiceError> {
        let severity = match query.severity.as_deref() {
            None => None,
            Some("informational") => Some(Severity::Informational.code()),
            Some("warning") => Some(Severity::Warning.code()),
            Some("error") => Some(Severity::Error.code()),
            Some(other) => {
                let message = format!("{other:?} is no severity; write informational, warning or error");
                return Err(ServiceError::Invalid { message, hint: None });
            }
        };
        let filter = StatusFilter {
            component: query
                .component
                .map(|name| component_name(&name).map(|name| name.to_string()))
                .transpose()?,
            severity,
            message_id: query.id,
            since: query.since,
            before: query.before,
        };
        let limit = query.limit.unwrap_or(LIMIT_DEFAULT).clamp(1, LIMIT_MAX);
        let rows = self
            .context
            .store
            .read::<_, StoreError, _>(move |tx| tx.status_messages(&filter, limit))
            .await?;
        Ok(rows
            .into_iter()
            .map(|row| StatusMessageInfo {
                record_id: row.record_id,
                message_id: row.message.message_id,
                severity: Severity::from_code(row.message.severity)
                    .map_or("unknown", Severity::as_str)
                    .to_owned(),
                severity_code: row.message.severity,
                message_type: MessageType::from_code(row.message.message_type)
                    .map_or("unknown", MessageType::as_str)
                    .to_owned(),
                component: row.message.component,
                machine: row.message.machine,
                site_code: row.message.site_code,
                process_id: row.message.process_id,
                time: row.message.recorded_at,
                text: row.message.text,
                insertion_strings: row.message.insertion_strings,
            })
            .collect())
    }

    /// `status components`: counts since the begin of the tally interval, and what follows from them.
    pub async fn component_status(
        &self,
        tally: Option<&str>,
    ) -> Result<Vec<ComponentStatusInfo>, ServiceError> {
        let token = tally.unwrap_or(SINCE_MIDNIGHT).to_owned();
        let Some(since) = self.tally_begin(&token) else {
            // An unlisted token yields no data (components-status-logs, acceptance fact 7).
            return Ok(Vec::new());
        };
        let rows = self
            .context
            .store
            .read::<_, StoreError, _>(move |tx| {
                ComponentName::ALL
                    .into_iter()
                    .map(|name| {
                        let reset = tx.component(name.as_str())?.tally_reset_at;
                        let since = since.max(reset);
                        let mut counts = tx.severity_counts(name.as_str(), since, CRITICAL_ID)?;
                        if name == ComponentName::ServiceConnector {
                            // Critical as long as a cloud service cannot be reached, not for the rest of the day.
                            counts.critical = tx.endpoint_alarms()?.len() as u64;
                        }
                        Ok((name, since, counts))
                    })
                    .collect::<Result<Vec<_>, _>>()
            })
            .await?;
        Ok(rows
            .into_iter()
            .map(|(name, since, counts)| {
                let counted = Counts {
                    informational: counts.informational,
                    warning: counts.warning,
                    error: counts.error,
                    critical: counts.critical,
                };
                ComponentStatusInfo {
                    component: name.to_string(),
                    status: Thresholds::default().health(counted).as_str().to_owned(),
                    informational: counts.informational,
                    warning: counts.warning,
                    error: counts.error,
                    since,
                    tally_interval: token.clone(),
                }
            })
            .collect())
    }

    /// Begin of a tally interval in the site's time zone.
    pub(super) fn tally_begin(&self, token: &str) -> Option<Timestamp> {
        if token == SINCE_INSTALLATION {
            return Some(self.context.identity.created_at);
        }
        let now = self.clock.now().to_zoned(self.zone.clone());
        let midnight = now.start_of_day().ok()?;
        let find = |table: &[(&str, i8)]| {
            table
                .iter()
                .find(|(known, _)| *known == token)
                .map(|(_, value)| *value)
        };
        let begin = if token == SINCE_MIDNIGHT {
            midnight
        } else if let Some(hour) = find(&SINCE_HOUR) {
            let today = midnight.with().hour(hour).build().ok()?;
            if today <= now {
                today
            } else {
                today.yesterday().ok()?
            }
        } else if let Some(weekday) = find(&SINCE_WEEKDAY) {
            let back = (now.weekday().to_sunday_zero_offset() - weekday).rem_euclid(7);
            midnight.checked_sub(jiff::Span::new().days(back)).ok()?
        } else {
            let day = find(&SINCE_DAY)?;
            let this_month = midnight.with().day(day).build().ok()?;
            if this_month <= now {
                this_month
            } else {
                this_month.checked_sub(jiff::Span::new().months(1)).ok()?
            }
        };
        Some(begin.timestamp())
    }

    /// `status reset`
    pub async fn reset_component_status(&self, name: &str, actor: &Actor) -> Result<(), ServiceError> {
        let name = component_name(name)?;
        let now = self.clock.now();
        let strings = [actor.as_str(), name.as_str()];
        let message = self
            .context
            .status_message(StatusMessageId::AdminTally, &strings, now);
        self.context
            .store
            .write::<_, StoreError, _>(move |tx| {
                let mut row = tx.component(name.as_str())?;
                row.tally_reset_at = now;
                tx.record_component(&row)?;
                tx.record_status_message(&message)
            })
            .await?;
        Ok(())
    }

    /// `status thresholds`
    pub async fn thresholds(&self) -> Result<Vec<ThresholdInfo>, ServiceError> {
        let thresholds = Thresholds::default();
        let row = |severity: Severity, (warning_at, critical_at): (u64, u64)| ThresholdInfo {
            severity: severity.as_str().to_owned(),
            warning_at,
            critical_at,
        };
        Ok(vec![
            row(Severity::Informational, thresholds.informational),
            row(Severity::Warning, thresholds.warning),
            row(Severity::Error, thresholds.error),
        ])
    }

    /// `status state-messages`
    pub async fn state_messages(&self, limit: u32) -> Result<Vec<StateMessageInfo>, ServiceError> {
        let limit = limit.clamp(1, LIMIT_MAX);
        let rows = self
            .context
            .store
            .read::<_, StoreError, _>(move |tx| tx.state_messages(limit))
            .await?;
        Ok(rows
            .into_iter()
            .map(|row| StateMessageInfo {
                id: row.id,
                number: row.number,
                name: StateMessage::from_number(row.number)
                    .map_or("UNKNOWN", StateMessage::name)
                    .to_owned(),
                guid: row.guid.to_string(),
                time: row.recorded_at,
                detail: row.detail,
            })
            .collect())
    }
}
