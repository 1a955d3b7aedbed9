//! Notifications of an administrator.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

/// `notifications list`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct NotificationInfo {
    /// Names it in other requests; the same as long as it speaks of the same thing.
    pub key: String,
    /// What it is about, such as `disk-space-low`.
    pub kind: String,
    /// `informational`, `warning` or `critical`.
    pub severity: String,
    /// One line.
    pub title: String,
    /// What is the matter and what follows from it.
    pub body: String,
    /// The command that shows more or mends it.
    pub command: String,
    /// Where in the console that is.
    pub console_path: String,
    /// When it is looked at: `at console start`, `every 5 minutes` or `hourly`.
    pub evaluated: String,
    /// When it came into force with its present cause.
    #[schema(value_type = String, format = DateTime)]
    pub first_seen: Timestamp,
    /// When its severity, cause or text last changed.
    #[schema(value_type = String, format = DateTime)]
    pub changed: Timestamp,
    /// Whether it can be dismissed and snoozed; critical ones cannot.
    pub dismissible: bool,
    /// How it stands with the user who asks.
    pub standing: NotificationStanding,
    /// End of the snooze.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub snoozed_until: Option<Timestamp>,
}

/// How a notification stands with a user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum NotificationStanding {
    /// It is shown.
    Shown,
    /// It is shown again later.
    Snoozed,
    /// It is shown again when it gets worse or has another cause.
    Dismissed,
}

/// Which notifications to list.
#[derive(Debug, Clone, Default, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct NotificationsQuery {
    /// Dismissed and snoozed ones too.
    #[serde(default)]
    pub all: bool,
}

/// Snoozes a notification.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SnoozeRequest {
    /// `hour`, `day`, `week` or `month`.
    #[serde(rename = "for")]
    pub length: String,
}

/// `notifications snooze`
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SnoozedInfo {
    /// The notification.
    pub key: String,
    /// When it is shown again.
    #[schema(value_type = String, format = DateTime)]
    pub until: Timestamp,
}
