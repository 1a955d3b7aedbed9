//! Status filter rules on the wire, and the alerts that they raise.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A status filter rule.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StatusRule {
    /// Its name, unique in a site.
    pub name: String,
    /// It is looked at.
    #[serde(default = "yes")]
    pub enabled: bool,
    /// Which messages it is about.
    pub criteria: StatusRuleCriteria,
    /// What becomes of them.
    pub actions: StatusRuleActions,
}

/// What a message must be like; everything that is given has to hold, and something has to be given.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StatusRuleCriteria {
    /// `provider` (acts of administrators) or `site-server` (everything else).
    #[serde(default)]
    pub source: Option<String>,
    /// Site it belongs to.
    #[serde(default)]
    pub site_code: Option<String>,
    /// Machine it was raised on.
    #[serde(default)]
    pub system: Option<String>,
    /// Component that raised it.
    #[serde(default)]
    pub component: Option<String>,
    /// `milestone`, `detail` or `audit`.
    #[serde(default)]
    pub message_type: Option<String>,
    /// `informational`, `warning` or `error`.
    #[serde(default)]
    pub severity: Option<String>,
    /// Message id.
    #[serde(default)]
    pub message_id: Option<u32>,
    /// `package` (GUID of the package it is about) or `user` (whose act it tells).
    #[serde(default)]
    pub property: Option<String>,
    /// Value of that property; any value unless given.
    #[serde(default)]
    pub property_value: Option<String>,
}

/// What becomes of a message.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StatusRuleActions {
    /// Write it to the database.
    #[serde(default)]
    pub write: bool,
    /// Days it is kept there; `site.message_days` unless given.
    #[serde(default)]
    pub write_days: Option<u32>,
    /// Leave the counts of its component as they are.
    #[serde(default)]
    pub do_not_forward: bool,
    /// Who is told: `syslog`, `email`, `webhook`.
    #[serde(default)]
    pub alert: Vec<String>,
    /// Look at no lower rule. A rule that stops and does not write keeps messages out of the database.
    #[serde(default)]
    pub stop: bool,
}

/// A new rule.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StatusRuleAddRequest {
    /// The rule.
    pub rule: StatusRule,
    /// Its place, counted from 1; the last unless given.
    #[serde(default)]
    pub place: Option<u32>,
}

/// Another place, or whether the rule is looked at; what is not given stays.
#[derive(Debug, Clone, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StatusRuleChangeRequest {
    /// Its new place, counted from 1.
    #[serde(default)]
    pub place: Option<u32>,
    /// Whether it is looked at.
    #[serde(default)]
    pub enabled: Option<bool>,
}

/// A target of alerts.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct AlertTargetInfo {
    /// `syslog`, `email` or `webhook`.
    pub target: String,
    /// Where it is, without anything secret; `null` if `tidegate.toml` does not set it.
    pub place: Option<String>,
}

/// An alert.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct AlertInfo {
    /// Its number, never used again.
    pub id: i64,
    /// Who is told.
    pub target: String,
    /// Rule that selected the message.
    pub rule: String,
    /// Message id.
    pub message_id: u32,
    /// Component that raised the message.
    pub component: String,
    /// Text of the message.
    pub text: String,
    /// When the message was raised.
    #[schema(value_type = String, format = DateTime)]
    pub time: Timestamp,
    /// `waiting`, `delivered` or `given up`.
    pub state: String,
    /// Attempts that failed.
    pub failed_attempts: u32,
    /// When it is tried next, if it waits.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_attempt: Option<Timestamp>,
    /// Why the last attempt failed.
    pub failure: Option<String>,
    /// When any of this changed.
    #[schema(value_type = String, format = DateTime)]
    pub changed: Timestamp,
}

/// Targets and alerts.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct AlertsInfo {
    /// Every target.
    pub targets: Vec<AlertTargetInfo>,
    /// Alerts that were left out because 1000 waited for their target.
    pub left_out: u64,
    /// Alerts of the last seven days, newest first.
    pub alerts: Vec<AlertInfo>,
}

fn yes() -> bool {
    true
}
