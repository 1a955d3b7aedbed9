//! The one catalogue of status messages: every id is declared here once, with severity, type,
//! component and text, and raised by its component only.
//!
//! Ids of the original are used where its documentation names them (components-status-logs, section 4).
//! Ours lie in the reserved range 60000 to 60999.

mod catalogue;
pub mod rule_list;
pub mod rules;
mod summary;
pub mod syslog;
pub mod systems;
mod tally;

pub use catalogue::StatusMessageId;
pub use summary::{ComponentHealth, Counts, THRESHOLD_MAX, ThresholdRefused, Thresholds, check_threshold};
pub use tally::TallyInterval;

/// Severity (Severity).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Severity {
    /// 0x40000000
    Informational,
    /// 0x80000000
    Warning,
    /// 0xC0000000
    Error,
}

impl Severity {
    /// Every severity, mildest first.
    pub const ALL: [Severity; 3] = [Severity::Informational, Severity::Warning, Severity::Error];

    /// The severity with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|severity| severity.as_str() == name)
    }

    /// The product's number.
    pub fn code(self) -> u32 {
        match self {
            Severity::Informational => 0x4000_0000,
            Severity::Warning => 0x8000_0000,
            Severity::Error => 0xC000_0000,
        }
    }

    /// The severity with this number.
    pub fn from_code(code: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|severity| severity.code() == code)
    }

    /// The word for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Severity::Informational => "informational",
            Severity::Warning => "warning",
            Severity::Error => "error",
        }
    }

    /// The letter of trace lines.
    pub fn letter(self) -> char {
        match self {
            Severity::Informational => 'I',
            Severity::Warning => 'W',
            Severity::Error => 'E',
        }
    }
}

/// What kind of event a message tells (MessageType).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MessageType {
    /// 256: the end of an operation.
    Milestone,
    /// 512: a step.
    Detail,
    /// 768: an administrator's action.
    Audit,
}

impl MessageType {
    /// Every kind.
    pub const ALL: [MessageType; 3] = [MessageType::Milestone, MessageType::Detail, MessageType::Audit];

    /// The kind with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == name)
    }

    /// The product's number.
    pub fn code(self) -> u32 {
        match self {
            MessageType::Milestone => 256,
            MessageType::Detail => 512,
            MessageType::Audit => 768,
        }
    }

    /// The kind with this number.
    pub fn from_code(code: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.code() == code)
    }

    /// The word for people.
    pub fn as_str(self) -> &'static str {
        match self {
            MessageType::Milestone => "milestone",
            MessageType::Detail => "detail",
            MessageType::Audit => "audit",
        }
    }

    /// The letter of trace lines.
    pub fn letter(self) -> char {
        match self {
            MessageType::Milestone => 'M',
            MessageType::Detail => 'D',
            MessageType::Audit => 'A',
        }
    }
}
