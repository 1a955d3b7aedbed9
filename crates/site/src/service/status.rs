//! Status messages, state messages and the health of components.

use domain::component::ComponentName;
use domain::servicing::state_message::StateMessage;
use domain::status_message::{
    Counts, MessageType, Severity, StatusMessageId, TallyInterval, Thresholds, check_threshold,
};
use protocol::api::{
    ComponentStatusInfo, LIMIT_DEFAULT, LIMIT_MAX, StateMessageInfo, StatusMessageInfo, StatusMessageQuery,
    ThresholdInfo, ThresholdRequest,
};
use store::{StatusFilter, StoreError, ThresholdRow, Tx, thresholds_of};

use super::{Actor, ServiceError, SiteService, component_name};

/// What stands for all components where one is named.
const ALL_COMPONENTS: &str = "all";

impl SiteService {
    /// `status messages`
    pub async fn status_messages(
        &self,
        query: StatusMessageQuery,
    ) -> Result<Vec<StatusMessageInfo>, ServiceError> {
        let severity = query.severity.as_deref().map(severity_named).transpose()?;
        let filter = StatusFilter {
            component: query
                .component
                .map(|name| component_name(&name).map(|name| name.to_string()))
                .transpose()?,
            severity: severity.map(Severity::code),
            message_id: query.id,
            since: query.since,
            until: None,
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
        let Some(interval) = tally.map_or(Some(TallyInterval::DEFAULT), TallyInterval::from_token) else {
            // An unlisted token yields no data (components-status-logs, acceptance fact 7).
            return Ok(Vec::new());
        };
        let now = self.clock.now().to_zoned(self.zone.clone());
        let since = interval.begin(&now, self.context.identity.created_at);
        let work = move |tx: &Tx<'_>| {
            let (thresholds, alarms) = (tx.set_thresholds()?, tx.endpoint_alarms()?.len());
            let mut rows = Vec::new();
            for name in ComponentName::ALL {
                let since = since.max(tx.component(name.as_str())?.tally_reset_at);
                let counts = tx.severity_counts(name.as_str(), since)?;
                let counts = Counts {
                    informational: counts.informational,
                    warning: counts.warning,
                    error: counts.error,
                    // 11488: critical as long as a cloud service cannot be reached, not for the rest of the day; no
                    // threshold changes that.
                    critical: match name == ComponentName::ServiceConnector {
                        true => alarms as u64,
                        false => 0,
                    },
                };
                let health = thresholds_of(&thresholds, name.as_str()).health(counts);
                rows.push((name, since, counts, health));
            }
            Ok(rows)
        };
        let rows = self.context.store.read::<_, StoreError, _>(work).await?;
        Ok(rows
            .into_iter()
            .map(|(name, since, counts, health)| ComponentStatusInfo {
                component: name.to_string(),
                status: health.as_str().to_owned(),
                informational: counts.informational,
                warning: counts.warning,
                error: counts.error,
                since,
                tally_interval: interval.token().to_owned(),
            })
            .collect())
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
                tx.reset_tally(name.as_str())?;
                tx.record_status_message(&message)
            })
            .await?;
        Ok(())
    }

    /// `status thresholds`: those for all components, then those of components that differ.
    pub async fn thresholds(&self) -> Result<Vec<ThresholdInfo>, ServiceError> {
        let set = self
            .context
            .store
            .read::<_, StoreError, _>(|tx| tx.set_thresholds())
            .await?;
        let is_set = |component: Option<&str>, severity| {
            set.iter()
                .any(|row| row.component.as_deref() == component && row.severity == severity)
        };
        let rows = |shown: &str, component: Option<&str>, thresholds: Thresholds| {
            Severity::ALL.map(|severity| {
                let (warning_at, critical_at) = thresholds.of(severity);
                ThresholdInfo {
                    component: shown.to_owned(),
                    severity: severity.as_str().to_owned(),
                    warning_at,
                    critical_at,
                    set: is_set(component, severity),
                }
            })
        };
        // No component has an empty name: these are the thresholds of one that has none of its own.
        let mut all = rows(ALL_COMPONENTS, None, thresholds_of(&set, "")).to_vec();
        for name in ComponentName::ALL.map(ComponentName::as_str) {
            if set.iter().any(|row| row.component.as_deref() == Some(name)) {
                all.extend(rows(name, Some(name), thresholds_of(&set, name)));
            }
        }
        Ok(all)
    }

    /// `status thresholds set`
    pub async fn set_threshold(
        &self,
        name: &str,
        request: &ThresholdRequest,
        actor: &Actor,
    ) -> Result<Vec<ThresholdInfo>, ServiceError> {
        let component = component_or_all(name)?;
        let severity = severity_named(&request.severity)?;
        let (warning_at, critical_at) = (request.warning_at, request.critical_at);
        check_threshold(warning_at, critical_at).map_err(|refused| ServiceError::Invalid {
            message: refused.message(warning_at, critical_at),
            hint: Some("`tidegate status thresholds` shows those in force".into()),
        })?;
        let message = self.context.status_message(
            StatusMessageId::AdminThreshold,
            &[
                actor.as_str(),
                component.map_or(ALL_COMPONENTS, ComponentName::as_str),
                severity.as_str(),
                &warning_at.to_string(),
                &critical_at.to_string(),
            ],
            self.clock.now(),
        );
        let row = ThresholdRow {
            component: component.map(|name| name.to_string()),
            severity,
            warning_at,
            critical_at,
        };
        self.context
            .store
            .write::<_, StoreError, _>(move |tx| {
                tx.set_threshold(&row)?;
                tx.record_status_message(&message)
            })
            .await?;
        self.thresholds().await
    }

    /// `status thresholds reset`
    pub async fn reset_thresholds(
        &self,
        name: &str,
        actor: &Actor,
    ) -> Result<Vec<ThresholdInfo>, ServiceError> {
        let component = component_or_all(name)?.map(ComponentName::as_str);
        let strings = [actor.as_str(), component.unwrap_or(ALL_COMPONENTS)];
        let message =
            self.context
                .status_message(StatusMessageId::AdminThresholdReset, &strings, self.clock.now());
        self.context
            .store
            .write::<_, StoreError, _>(move |tx| {
                tx.reset_thresholds(component)?;
                tx.record_status_message(&message)
            })
            .await?;
        self.thresholds().await
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

/// A severity by its name.
pub(super) fn severity_named(name: &str) -> Result<Severity, ServiceError> {
    Severity::from_name(name).ok_or_else(|| ServiceError::Invalid {
        message: format!("{name:?} is no severity; write informational, warning or error"),
        hint: None,
    })
}

/// A component, or none for all of them.
fn component_or_all(name: &str) -> Result<Option<ComponentName>, ServiceError> {
    match name.eq_ignore_ascii_case(ALL_COMPONENTS) {
        true => Ok(None),
        false => component_name(name).map(Some),
    }
}
