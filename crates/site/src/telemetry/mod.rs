//! `[telemetry]` of `tidegate.toml`, and what is exported over OpenTelemetry: the metrics of `/metrics`, and every status
//! message as a log record.

pub mod otlp;

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;
use url::Url;

use crate::alert_settings::{Refused, refused, secret_name};
use crate::single_sign_on::settings::is_private_way;

/// Shortest and longest time between two exports, in seconds.
const INTERVAL_S: std::ops::RangeInclusive<u64> = 5..=3_600;

/// Where telemetry goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TelemetrySettings {
    /// Base address of an OTLP/HTTP receiver; `v1/metrics` and `v1/logs` are below it.
    pub endpoint: Url,
    /// File of `secrets/` with a header that opens it, `Name: value`.
    pub header: Option<String>,
    /// Certificates (PEM) trusted for it beside the platform's.
    pub ca: Option<PathBuf>,
    /// Time between two exports.
    pub interval: Duration,
}

/// The table as it is written.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TelemetryTable {
    otlp_endpoint: String,
    otlp_header: Option<String>,
    ca: Option<PathBuf>,
    interval_s: Option<u64>,
}

impl TelemetryTable {
    /// Validates; relative names of certificates are those of files in `folder`.
    pub(crate) fn validated(self, folder: &std::path::Path) -> Result<TelemetrySettings, Refused> {
        let plain = |url: &Url| {
            is_private_way(url)
                && url.username().is_empty()
                && url.password().is_none()
                && url.query().is_none()
                && url.fragment().is_none()
        };
        let with_end = format!("{}/", self.otlp_endpoint.trim_end_matches('/'));
        let Some(endpoint) = Url::parse(&with_end).ok().filter(plain) else {
            // The value is not repeated: it may hold a password.
            return refused(
                "telemetry.otlp_endpoint",
                "(not shown)",
                "write the https:// address of an OTLP/HTTP receiver, without v1/metrics, user, query and fragment; http:// is for this machine only",
            );
        };
        if let Some(name) = &self.otlp_header {
            secret_name("telemetry.otlp_header", name)?;
        }
        let interval = self.interval_s.unwrap_or(60);
        if !INTERVAL_S.contains(&interval) {
            return refused(
                "telemetry.interval_s",
                &interval.to_string(),
                "write 5 to 3600 seconds",
            );
        }
        Ok(TelemetrySettings {
            endpoint,
            header: self.otlp_header,
            ca: self.ca.map(|ca| folder.join(ca)),
            interval: Duration::from_secs(interval),
        })
    }
}
