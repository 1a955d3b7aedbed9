//! Components as the service manager shows them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A component, as it is now.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct ComponentInfo {
    /// Name, such as `SMS_DMP_DOWNLOADER`.
    pub name: String,
    /// What it does.
    pub description: String,
    /// `stopped`, `started` or `waiting to restart`.
    pub state: String,
    /// The product's number for the state.
    pub state_code: u32,
    /// Whether it works at this moment.
    pub active: bool,
    /// What it is doing, while active.
    pub activity: String,
    /// What it waits for.
    pub waiting: Option<WaitingInfo>,
    /// Begin of the last activation.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_started: Option<Timestamp>,
    /// End of the last activation.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub last_finished: Option<Timestamp>,
    /// How the last activation ended.
    pub last_result: String,
    /// Next activation by timer.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_activation: Option<Timestamp>,
    /// Failures in a row.
    pub failures_in_row: u32,
    /// Failures since the process began.
    pub failures: u64,
    /// Crashes since the process began.
    pub panics: u64,
    /// Activations since the process began.
    pub activations: u64,
    /// File name of its log.
    pub log_file: String,
    /// `verbose`, `default`, `warnings` or `errors`.
    pub log_level: String,
}

/// "Waiting for X since T, next try at N, do Y."
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub struct WaitingInfo {
    /// What it waits for.
    pub what: String,
    /// Since when.
    #[schema(value_type = String, format = DateTime)]
    pub since: Timestamp,
    /// Next try.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub next_try: Option<Timestamp>,
    /// What a person can do.
    pub action: String,
}

/// What to do with a component.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ComponentAction {
    /// Stop it until it is started.
    Stop,
    /// Start it.
    Start,
    /// Stop and start it.
    Restart,
}

/// Asks a component to stop, start or restart.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ActionRequest {
    /// What to do.
    pub action: ComponentAction,
}

/// Sets how much a component logs.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LogLevelRequest {
    /// `verbose`, `default`, `warnings`, `errors` or 0 to 3.
    pub level: String,
}
