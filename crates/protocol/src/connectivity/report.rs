//! What a run of checks found; `tidegate check --json`, the API, and the history of a site.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Version of this form. New fields may come within one version; nothing goes or changes its meaning.
pub const SCHEMA: u32 = 1;

/// A run of checks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CheckReport {
    /// Version of this form.
    pub schema: u32,
    /// Random id of the run.
    pub run_id: String,
    /// Begin.
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
    /// Milliseconds that the run took.
    pub took_ms: f64,
    /// Name of the machine that checked.
    pub server: String,
    /// `online` or `offline`.
    pub mode: String,
    /// Which catalogue the endpoints are from.
    pub catalogue: Option<CatalogueStamp>,
    /// The proxy, without account; none for a direct way.
    pub proxy: Option<String>,
    /// `passed`, `warning`, `critical` or `unknown`.
    pub outcome: String,
    /// One sentence on the outcome.
    pub summary: String,
    /// Why nothing was tried, in offline mode or with settings that cannot be used.
    pub fault: Option<FaultReport>,
    /// Every address that was tried, in the order of the catalogue.
    pub results: Vec<TargetReport>,
    /// Patterns that nothing can stand for; they count neither way.
    pub not_testable: Vec<NotTestableReport>,
    /// Seconds by which this machine's clock is ahead of the servers', from their `Date`; none if no
    /// server told.
    pub clock_ahead_s: Option<i64>,
}

/// Which catalogue.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CatalogueStamp {
    /// Name.
    pub name: String,
    /// Date of its newest source.
    pub version: String,
}

/// What an address gave.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TargetReport {
    /// The address that was asked for, without query.
    pub url: String,
    /// Its host.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// Features that need it.
    pub features: Vec<String>,
    /// Entries of the catalogue.
    pub endpoints: Vec<String>,
    /// Wildcard patterns it stands in for: they are verified through it, no more.
    pub stands_for: Vec<String>,
    /// Whether a feature in use stops without it.
    pub critical: bool,
    /// No longer listed; decides nothing.
    pub retired: bool,
    /// `passed`, `failed` or `not-run`.
    pub result: String,
    /// Milliseconds in all.
    pub took_ms: f64,
    /// The phases in order: config, dns, tcp, proxy, tls, certificate, http.
    pub phases: Vec<PhaseReport>,
    /// What is wrong.
    pub fault: Option<FaultReport>,
    /// What is worth knowing though nothing is wrong.
    pub notes: Vec<String>,
    /// Status code of the endpoint.
    pub http_status: Option<u16>,
    /// Addresses of the host, as this machine sees them.
    pub addresses: Vec<String>,
    /// The address that answered: the endpoint's, or the proxy's.
    pub peer: Option<String>,
    /// The TLS connection.
    pub tls: Option<TlsReport>,
    /// Hosts that it sent on to, in order.
    pub redirects: Vec<String>,
    /// Seconds by which this machine's clock is ahead of this server's.
    pub clock_ahead_s: Option<i64>,
    /// The same without the proxy, where that was asked for.
    pub direct: Option<DirectReport>,
}

/// One phase.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PhaseReport {
    /// `config`, `dns`, `tcp`, `proxy`, `tls`, `certificate` or `http`.
    pub phase: String,
    /// `passed`, `failed`, `skipped` (an earlier one failed) or `not-needed`.
    pub result: String,
    /// Milliseconds, by a clock that only goes forward.
    pub ms: Option<f64>,
    /// What was found.
    pub detail: String,
}

/// A fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FaultReport {
    /// Stable code, such as `tcp.timeout`.
    pub code: String,
    /// The phase it was found in.
    pub phase: String,
    /// Who has to act: `this server`, `DNS`, `firewall`, `proxy`, `inspection device` or `service`.
    pub party: String,
    /// What was seen.
    pub evidence: String,
    /// What to do.
    pub advice: String,
}

/// A TLS connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct TlsReport {
    /// Protocol version.
    pub version: String,
    /// Cipher suite.
    pub cipher: String,
    /// Subject of the certificate.
    pub subject: String,
    /// Who issued it.
    pub issuer: String,
    /// The first names it is for.
    pub names: Vec<String>,
    /// How many names it is for.
    pub names_count: usize,
    /// End of its validity.
    #[schema(value_type = String, format = DateTime)]
    pub not_after: Timestamp,
    /// SHA-256 of the certificate.
    pub fingerprint: String,
}

/// The direct way, beside the one through the proxy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DirectReport {
    /// `passed` or `failed`.
    pub result: String,
    /// What is wrong there.
    pub fault: Option<FaultReport>,
    /// Who issued the certificate there; another than through the proxy is a sign of inspection.
    pub issuer: Option<String>,
    /// What the comparison says.
    pub verdict: String,
}

/// A pattern that nothing can stand for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NotTestableReport {
    /// Entry of the catalogue.
    pub endpoint: String,
    /// Its feature.
    pub feature: String,
    /// The pattern.
    pub pattern: String,
    /// Why.
    pub why: String,
}
