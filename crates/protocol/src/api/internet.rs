//! The service connection point: mode, proxy, internet access.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `scp show`
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ScpShow {
    /// Mode as configured: `online` or `offline`.
    pub mode_configured: String,
    /// Mode in force; the configured one comes into force when SMS_DMP_DOWNLOADER restarts.
    pub mode_effective: String,
    /// The one proxy of this server.
    pub proxy: Option<ProxyInfo>,
    /// Features of the endpoint catalogue that are in use.
    pub features: Vec<String>,
    /// Outcome of the last check of internet access.
    pub internet: Option<EndpointRunInfo>,
}

/// The proxy, without its password.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProxyInfo {
    /// Name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Whether the proxy itself is spoken to over TLS.
    pub tls: bool,
    /// Account, if there is one; its password is never told.
    pub user: Option<String>,
    /// Whether the password may be sent readable.
    pub basic_over_clear_text: bool,
    /// Hosts that are reached directly.
    pub exceptions: Vec<String>,
}

/// `scp proxy set`: replaces everything that was set before.
#[derive(Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ProxyRequest {
    /// Name or address.
    pub host: String,
    /// Port; 80 unless given.
    #[serde(default = "default_port")]
    pub port: u16,
    /// Whether the proxy itself is spoken to over TLS.
    #[serde(default)]
    pub tls: bool,
    /// Account.
    #[serde(default)]
    pub user: Option<String>,
    /// Its password; stored encrypted.
    #[serde(default)]
    pub password: Option<String>,
    /// Whether the password may be sent readable.
    #[serde(default)]
    pub basic_over_clear_text: bool,
    /// Hosts that are reached directly.
    #[serde(default)]
    pub exceptions: Vec<String>,
}

fn default_port() -> u16 {
    80
}

impl std::fmt::Debug for ProxyRequest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ProxyRequest")
            .field("host", &self.host)
            .field("port", &self.port)
            .field("user", &self.user)
            .finish_non_exhaustive()
    }
}

/// `scp mode`
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ModeRequest {
    /// `online` or `offline`.
    pub mode: String,
    /// Restart SMS_DMP_DOWNLOADER now, so that the mode comes into force.
    #[serde(default)]
    pub restart: bool,
}

/// A run of checks in the history.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct EndpointRunInfo {
    /// Id of the run.
    pub run_id: String,
    /// Begin.
    #[schema(value_type = String, format = DateTime)]
    pub started_at: Timestamp,
    /// What caused it.
    pub cause: String,
    /// `passed`, `warning`, `critical` or `unknown`.
    pub outcome: String,
    /// One sentence.
    pub summary: String,
    /// Milliseconds it took.
    pub took_ms: u64,
}
