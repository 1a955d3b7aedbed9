//! Links between sites, and to the feed.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// `hierarchy throttle`: how fast content may come from the feed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ThrottleInfo {
    /// The rules, as they were written; a later one overrides earlier ones for its hours.
    pub rules: Vec<String>,
    /// The limit of this hour.
    pub now: String,
    /// When something may come again, if this hour is closed.
    #[schema(value_type = Option<String>, format = DateTime)]
    pub opens_at: Option<Timestamp>,
    /// The week in runs of equal limits, from Monday at midnight, by the site's own clock.
    pub week: Vec<ThrottleHours>,
}

/// Hours of the week with the same limit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ThrottleHours {
    /// First hour, such as `mon 08:00`.
    pub from: String,
    /// How many hours.
    pub hours: u32,
    /// The limit.
    pub limit: String,
}

/// Replaces the rules.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ThrottleRequest {
    /// Rules; none means that nothing is throttled.
    pub rules: Vec<String>,
}
