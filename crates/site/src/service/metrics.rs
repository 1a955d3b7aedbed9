//! Metrics for Prometheus: how the last check of internet access went, endpoint by endpoint.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use protocol::connectivity::CheckReport;
use store::StoreError;

use super::{ServiceError, SiteService};

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

impl SiteService {
    /// The metrics of this site as text.
    pub async fn metrics(&self) -> Result<String, ServiceError> {
        let last = self
            .context
            .store
            .read::<_, StoreError, _>(|tx| Ok(tx.endpoint_runs(1)?.pop()))
            .await?;
        let report = last.and_then(|row| serde_json::from_str::<CheckReport>(&row.report).ok());
        let mut registry = Registry::with_prefix("tidegate");
        if let Some(report) = &report {
            register(&mut registry, report);
        }
        let mut text = String::new();
        encode(&mut text, &registry).map_err(|source| ServiceError::Internal {
            source: source.into(),
        })?;
        Ok(text)
    }
}

fn register(registry: &mut Registry, report: &CheckReport) {
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
