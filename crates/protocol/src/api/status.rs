//! Status and state messages, and the health of components that follows from them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// A stored status message.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct StatusMessageInfo {
    /// Key, ascending in time.
    pub record_id: i64,
    /// Id in the catalogue of messages.
    pub message_id: u32,
    /// `informational`, `warning` or `error`.
    pub severity: String,
    /// The product's number for the severity.
    pub severity_code: u32,
    /// `milestone`, `detail` or `audit`.
    pub message_type: String,
    /// Component that raised it.
    pub component: String,
    /// Machine it was raised on.
    pub machine: String,
    /// Site it belongs to.
    pub site_code: String,
    /// Process that raised it.
    pub process_id: u32,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub time: Timestamp,
    /// Its text.
    pub text: String,
    /// Its insertion strings.
    pub insertion_strings: Vec<String>,
}

/// Which status messages to list.
#[derive(Debug, Clone, Default, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct StatusMessageQuery {
    /// Only of this component.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub component: Option<String>,
    /// Only `informational`, `warning` or `error`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<String>,
    /// Only with this message id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u32>,
    /// Only at or after this time (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(value_type = Option<String>, format = DateTime)]
    pub since: Option<Timestamp>,
    /// Only records before this key, for the next page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<i64>,
    /// Most messages, 1 to 1000; 100 unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

/// The health of a component by its messages.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ComponentStatusInfo {
    /// Component.
    pub component: String,
    /// `OK`, `Warning` or `Critical`.
    pub status: String,
    /// Informational messages since `since`.
    pub informational: u64,
    /// Warnings since `since`.
    pub warning: u64,
    /// Errors since `since`.
    pub error: u64,
    /// Begin of the tally: local midnight, or the last reset if that is later.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// Token of the tally interval.
    pub tally_interval: String,
}

/// The counts at which a component changes colour.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ThresholdInfo {
    /// Component; `all` for those that have none of their own.
    pub component: String,
    /// Severity it is about.
    pub severity: String,
    /// Count that makes it a warning.
    pub warning_at: u64,
    /// Count that makes it critical.
    pub critical_at: u64,
    /// An administrator set it; otherwise it is what holds for all, or the product's own.
    pub set: bool,
}

/// New thresholds for one severity.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ThresholdRequest {
    /// `informational`, `warning` or `error`.
    pub severity: String,
    /// Count that makes it a warning, at least 1.
    pub warning_at: u64,
    /// Count that makes it critical, not below `warning_at`.
    pub critical_at: u64,
}

/// A state message: progress by number.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct StateMessageInfo {
    /// Key, ascending in time.
    pub id: i64,
    /// Number.
    pub number: u32,
    /// Name.
    pub name: String,
    /// Package; all zeros for the whole sync.
    pub guid: String,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub time: Timestamp,
    /// One line.
    pub detail: String,
}

/// Most records that one request may name for deletion.
pub const DELETE_GROUP_MAX: usize = 256;

/// Which status messages to delete: named records, or whatever matches everything else that is given.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StatusDeleteRequest {
    /// Records, 256 at most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub record_ids: Vec<i64>,
    /// Of this component.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub component: Option<String>,
    /// `informational`, `warning` or `error`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<String>,
    /// With this message id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<u32>,
    /// Raised before this time (RFC 3339).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>, format = DateTime)]
    pub before: Option<Timestamp>,
}

/// What was deleted.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct StatusDeleted {
    /// How many messages.
    pub deleted: u64,
    /// There are more that match; ask again.
    pub more: bool,
}

/// Room where the site keeps things.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct SystemInfo {
    /// `file-system` or `database`.
    pub object: String,
    /// Where it is; nothing here and below before the first look.
    pub place: Option<String>,
    /// Free room in KB of 1024 bytes.
    pub free_kib: Option<u64>,
    /// All room in KB.
    pub total_kib: Option<u64>,
    /// `OK`, `Warning` or `Critical`.
    pub status: Option<String>,
    /// Warning below this many KB.
    pub warning_below_kib: u64,
    /// Critical below this many KB.
    pub critical_below_kib: u64,
    /// An administrator set these.
    pub set: bool,
    /// When it was looked at.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub checked_at: Option<Timestamp>,
}

/// Room below which an object is shown in another colour; 0 switches a threshold off.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SpaceRequest {
    /// Warning below this many KB.
    pub warning_below_kib: u64,
    /// Critical below this many KB, not above the other.
    pub critical_below_kib: u64,
}
