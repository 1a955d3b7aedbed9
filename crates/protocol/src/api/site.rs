//! The site as a whole and its relation to the feed.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Why a request was not carried out, as `application/problem+json` (RFC 9457).
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ApiProblem {
    /// What the status means.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What failed, in one sentence.
    pub detail: String,
    /// What to do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// `site show`
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct SiteShow {
    /// Three characters.
    pub site_code: String,
    /// Display name.
    pub name: String,
    /// `stand-alone-primary` and so on.
    pub site_type: String,
    /// Version of the installed product.
    pub version: String,
    /// Directory of the site.
    pub directory: String,
    /// Name of the machine.
    pub machine: String,
    /// Release of this program.
    pub tidegate_version: String,
    /// Begin of the running process.
    #[schema(value_type = String, format = DateTime)]
    pub running_since: Timestamp,
    /// Base address of the feed.
    pub feed_url: String,
    /// Mode of the service connection point as configured: `online` or `offline`.
    pub mode_configured: String,
    /// Mode in effect until SMS_DMP_DOWNLOADER restarts.
    pub mode_effective: String,
    /// Rings the hierarchy takes part in.
    pub rings: Vec<String>,
    /// Update packages known, hidden ones too.
    pub packages: u64,
    /// Bytes free for the site.
    pub free_bytes: u64,
    /// Synchronisation with the feed.
    pub sync: SyncStatus,
}

/// How synchronisation with the feed stands.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct SyncStatus {
    /// A check was asked for and has not begun.
    pub requested: bool,
    /// A check is under way.
    pub running: bool,
    /// Begin of the last check.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub started_at: Option<Timestamp>,
    /// End of the last good check.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub succeeded_at: Option<Timestamp>,
    /// End of the last failed check.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub failed_at: Option<Timestamp>,
    /// Why the last check failed; none after a good one.
    pub failure: Option<String>,
    /// One word for the failure: `rollback`, `expired`, `network` and so on.
    pub failure_reason: Option<String>,
    /// Next check by itself.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_at: Option<Timestamp>,
    /// Trusted metadata.
    pub trusted: Vec<TrustedRoleInfo>,
}

/// Version and expiry of trusted metadata.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct TrustedRoleInfo {
    /// `root`, `timestamp`, `snapshot` or `targets`.
    pub role: String,
    /// Version number.
    pub version: u64,
    /// When it expires.
    #[schema(value_type = String, format = DateTime)]
    pub expires: Timestamp,
}

/// `content stats`
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ContentStats {
    /// Packages that need objects.
    pub packages: u64,
    /// Objects stored.
    pub objects: u64,
    /// Bytes of all files of all packages.
    pub logical_bytes: u64,
    /// Bytes stored.
    pub stored_bytes: u64,
    /// Bytes saved because each content is stored once.
    pub shared_bytes: u64,
    /// Bytes of objects that no package needs; `content gc` frees them.
    pub unreferenced_bytes: u64,
    /// Large objects on their way.
    pub partial_objects: u64,
}

/// `content verify`
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ContentVerified {
    /// Objects read.
    pub objects: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Objects whose content was not what their name says; they are set aside.
    pub damaged: Vec<String>,
    /// Packages that lack objects now, with how many.
    pub incomplete: std::collections::BTreeMap<String, u64>,
    /// Those among them that are fetched again.
    #[serde(default)]
    pub repairing: Vec<String>,
}

/// `content gc`
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ContentCollected {
    /// Objects removed.
    pub objects: u64,
    /// Bytes that are free again.
    pub bytes: u64,
}
