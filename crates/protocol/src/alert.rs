//! What others are told of a status message: the body that a web address gets. Fields may be added, none go away.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// Version of the form.
pub const VERSION: u32 = 1;

/// An alert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// [`VERSION`].
    pub version: u32,
    /// The same whenever this alert is sent again, and never that of another: whoever has it already can drop it.
    pub key: String,
    /// Rule that selected the message.
    pub rule: String,
    /// Site it belongs to.
    pub site_code: String,
    /// Machine it was raised on.
    pub machine: String,
    /// Component that raised it.
    pub component: String,
    /// Message id.
    pub message_id: u32,
    /// `informational`, `warning` or `error`.
    pub severity: String,
    /// `milestone`, `detail` or `audit`.
    pub message_type: String,
    /// When it was raised.
    pub time: Timestamp,
    /// Its text.
    pub text: String,
    /// Its insertion strings.
    pub insertion_strings: Vec<String>,
}
