//! Usage data: settings, reports, the ledger, the inventory.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// `scp level`
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UsageLevel {
    /// `basic`, `enhanced` or `full`.
    pub level: String,
}

/// `usage sending`
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct UsageSending {
    /// `automatic`, `hold` (an administrator approves each report) or `never`.
    pub sending: String,
}

/// Which level of usage data.
#[derive(Debug, Clone, Default, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct UsageQuery {
    /// `basic`, `enhanced` or `full`; the configured one unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub level: Option<String>,
}

/// `usage show`
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct UsageShow {
    /// Configured level.
    pub level: String,
    /// `automatic`, `hold` or `never`.
    pub sending: String,
    /// Where reports go, as the feed says.
    pub intake: Option<String>,
    /// Why the feed's address cannot be used.
    pub intake_problem: Option<String>,
    /// When the next collection by schedule comes.
    #[schema(value_type = String, format = DateTime)]
    pub next_collection: Timestamp,
    /// Newest reports, newest first.
    pub reports: Vec<UsageReportInfo>,
}

/// A collected report.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct UsageReportInfo {
    /// Id.
    pub report: String,
    /// `collected`, `approved`, `sending`, `sent`, `refused`, `discarded` or `replaced`.
    pub state: String,
    /// Level.
    pub level: String,
    /// When it was collected.
    #[schema(value_type = String, format = DateTime)]
    pub collected: Timestamp,
    /// Milliseconds that took.
    pub took_ms: u64,
    /// Bytes.
    pub bytes: u64,
    /// SHA-256 of the bytes.
    pub sha256: String,
    /// Attempts to send it that failed.
    pub attempts: u32,
    /// When it is tried again.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_attempt: Option<Timestamp>,
    /// Why the last attempt failed, or why the service refused it.
    pub failure: Option<String>,
    /// The service's signed receipt.
    pub receipt: Option<String>,
}

/// Entries of the ledger.
#[derive(Debug, Clone, Default, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct LedgerQuery {
    /// Only entries with a higher number.
    #[serde(default)]
    pub after: u64,
    /// Most entries, 1 to 1000; 100 unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
    /// Only entries of this report.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub report: Option<String>,
}

/// An entry of the ledger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LedgerEntryInfo {
    /// Number, from 1 on, without gaps.
    pub number: u64,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    pub at: Timestamp,
    /// `approved`, `discarded`, `sending`, `carried`, `receipt` or `refused`.
    pub event: String,
    /// Id of the report.
    pub report: String,
    /// Level of the report.
    pub level: String,
    /// Bytes of the report.
    pub bytes: u64,
    /// SHA-256 of the report.
    pub sha256: String,
    /// Host it went to, who approved it, the receipt, or why it was refused.
    pub detail: String,
    /// Hash of the entry before.
    pub previous: String,
    /// Hash of this entry: SHA-256 over a JSON list of the fields above.
    pub hash: String,
}

/// Whether the ledger is whole.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct LedgerChecked {
    /// Entries that follow each other.
    pub entries: u64,
    /// Hash of the last of them.
    pub head: String,
    /// What is wrong, if anything is.
    pub broken: Option<String>,
}

/// A table of the inventory.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct InventoryInfo {
    /// Name.
    pub table: String,
    /// Rows; none if it was never imported.
    pub rows: Option<u64>,
    /// When it was imported.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub imported: Option<Timestamp>,
    /// `csv`, `jsonl` or `parquet`.
    pub format: Option<String>,
}

/// How an inventory file is written.
#[derive(Debug, Clone, Default, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct InventoryQuery {
    /// `csv`, `jsonl` or `parquet`.
    pub format: String,
}
