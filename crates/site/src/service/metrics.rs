//! Metrics in the OpenMetrics text form: components, notifications, status messages, and how the last check of internet
//! access went, endpoint by endpoint.

use std::sync::atomic::AtomicU64;

use domain::component::ComponentName;
use domain::notification::Severity as Notified;
use domain::status_message::Severity;
use domain::status_message::TallyInterval;
use executive::{ComponentSnapshot, ExecutiveHandle};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use protocol::connectivity::CheckReport;
use store::{SeverityCounts, StoreError};

use super::{ServiceError, SiteService};
use crate::context::SiteContext;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Component {
    component: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfSeverity {
    severity: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct MessageOf {
    component: String,
    severity: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Endpoint {
    url: String,
    critical: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct EndpointPhase {
    url: String,
    phase: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct EndpointFault {
    url: String,
    code: String,
    party: String,
}

type Seconds = Gauge<f64, AtomicU64>;

/// What is measured, all of one moment.
#[derive(Default)]
struct Measured {
    components: Vec<ComponentSnapshot>,
    notifications: Vec<Notified>,
    messages: Vec<(ComponentName, SeverityCounts)>,
    check: Option<CheckReport>,
}

impl SiteService {
    /// The metrics of this site as text.
    pub async fn metrics(&self) -> Result<String, ServiceError> {
        metrics_of(&self.context, &self.zone, self.clock.now()).await
    }
}

/// The metrics of a site as text, for whoever asks and whoever is told.
pub async fn metrics_of(
    context: &SiteContext,
    zone: &TimeZone,
    now: Timestamp,
) -> Result<String, ServiceError> {
    let now = now.to_zoned(zone.clone());
    let midnight = TallyInterval::DEFAULT.begin(&now, context.identity.created_at);
    let mut measured = context
        .store
        .read::<_, StoreError, _>(move |tx| {
            let notified = tx.notifications()?;
            let last = tx.endpoint_runs(1)?.pop();
            let mut messages = Vec::new();
            for name in ComponentName::ALL {
                messages.push((name, tx.severity_counts(name.as_str(), midnight)?));
            }
            Ok(Measured {
                components: Vec::new(),
                notifications: notified
                    .into_iter()
                    .map(|row| row.notification.severity)
                    .collect(),
                messages,
                check: last.and_then(|row| serde_json::from_str(&row.report).ok()),
            })
        })
        .await?;
    measured.components = context
        .executive
        .get()
        .map(ExecutiveHandle::query_all)
        .unwrap_or_default();
    exposition(&measured).map_err(|source| ServiceError::Internal {
        source: source.into(),
    })
}

fn exposition(measured: &Measured) -> Result<String, std::fmt::Error> {
    let mut registry = Registry::with_prefix("tidegate");
    register_components(&mut registry, &measured.components);
    register_told(&mut registry, measured);
    if let Some(report) = &measured.check {
        register_check(&mut registry, report);
    }
    let mut text = String::new();
    encode(&mut text, &registry)?;
    Ok(text)
}

fn register_components(registry: &mut Registry, components: &[ComponentSnapshot]) {
    let (state, in_row): (Family<Component, Gauge>, Family<Component, Gauge>) = Default::default();
    let (activations, failures, panics): (
        Family<Component, Counter>,
        Family<Component, Counter>,
        Family<Component, Counter>,
    ) = Default::default();
    for snapshot in components {
        let label = Component {
            component: snapshot.name.to_string(),
        };
        state.get_or_create(&label).set(i64::from(snapshot.state.code()));
        in_row
            .get_or_create(&label)
            .set(i64::from(snapshot.failures_in_row));
        activations.get_or_create(&label).inc_by(snapshot.activations);
        failures.get_or_create(&label).inc_by(snapshot.failures);
        panics.get_or_create(&label).inc_by(snapshot.panics);
    }
    registry.register(
        "component_state",
        "0 stopped by an administrator, 1 started, 2 failed and waiting for its next try",
        state,
    );
    registry.register(
        "component_failures_in_row",
        "Failed activations since the last good one",
        in_row,
    );
    registry.register(
        "component_activations",
        "Activations since the process began",
        activations,
    );
    registry.register(
        "component_failures",
        "Failed activations since the process began, panics among them",
        failures,
    );
    registry.register("component_panics", "Panics since the process began", panics);
}

fn register_told(registry: &mut Registry, measured: &Measured) {
    let in_force: Family<OfSeverity, Gauge> = Family::default();
    for severity in Notified::ALL {
        let count = measured
            .notifications
            .iter()
            .filter(|notified| **notified == severity);
        let label = OfSeverity {
            severity: severity.as_str().to_owned(),
        };
        in_force.get_or_create(&label).set(count.count() as i64);
    }
    registry.register(
        "notifications",
        "Notifications in force, whoever dismissed them",
        in_force,
    );
    let messages: Family<MessageOf, Gauge> = Family::default();
    for (component, counts) in &measured.messages {
        for (severity, count) in [
            (Severity::Informational, counts.informational),
            (Severity::Warning, counts.warning),
            (Severity::Error, counts.error),
        ] {
            let label = MessageOf {
                component: component.to_string(),
                severity: severity.as_str().to_owned(),
            };
            messages
                .get_or_create(&label)
                .set(i64::try_from(count).unwrap_or(i64::MAX));
        }
    }
    registry.register(
        "status_messages_since_midnight",
        "Status messages since midnight of the site",
        messages,
    );
}

fn register_check(registry: &mut Registry, report: &CheckReport) {
    let success: Family<Endpoint, Gauge> = Family::default();
    let phases: Family<EndpointPhase, Seconds> = Family::default();
    let expiry: Family<Endpoint, Gauge> = Family::default();
    let faults: Family<EndpointFault, Gauge> = Family::default();
    let (at, took): (Gauge, Seconds) = Default::default();
    at.set(report.started_at.as_second());
    took.set(report.took_ms / 1000.0);
    for target in &report.results {
        let endpoint = Endpoint {
            url: target.url.clone(),
            critical: target.critical.to_string(),
        };
        success
            .get_or_create(&endpoint)
            .set(i64::from(target.result == "passed"));
        for phase in &target.phases {
            if let Some(ms) = phase.ms {
                let labels = EndpointPhase {
                    url: target.url.clone(),
                    phase: phase.phase.clone(),
                };
                phases.get_or_create(&labels).set(ms / 1000.0);
            }
        }
        if let Some(tls) = &target.tls {
            expiry.get_or_create(&endpoint).set(tls.not_after.as_second());
        }
        if let Some(fault) = &target.fault {
            let labels = EndpointFault {
                url: target.url.clone(),
                code: fault.code.clone(),
                party: fault.party.clone(),
            };
            faults.get_or_create(&labels).set(1);
        }
    }
    registry.register(
        "endpoint_success",
        "1 if the endpoint answered in the last check",
        success,
    );
    registry.register_with_unit(
        "endpoint_phase",
        "Time of a phase of the last check",
        Unit::Seconds,
        phases,
    );
    registry.register(
        "endpoint_certificate_not_after",
        "End of the certificate's validity, Unix time",
        expiry,
    );
    registry.register(
        "endpoint_fault",
        "1 with the fault code of an endpoint that failed",
        faults,
    );
    registry.register("endpoint_check_started", "Begin of the last check, Unix time", at);
    registry.register_with_unit(
        "endpoint_check_duration",
        "Time of the last check",
        Unit::Seconds,
        took,
    );
}

#[cfg(test)]
#[path = "metrics_tests.rs"]
mod tests;
