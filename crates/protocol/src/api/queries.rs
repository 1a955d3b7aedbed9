//! Parameters of lists. Every list has a limit.

use serde::{Deserialize, Serialize};
use utoipa::IntoParams;

/// Entries in a list unless the request says otherwise.
pub const LIMIT_DEFAULT: u32 = 100;
/// Most entries in one list.
pub const LIMIT_MAX: u32 = 1_000;

/// How many entries to list.
#[derive(Debug, Clone, Default, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct LimitQuery {
    /// Most entries, 1 to 1000; 100 unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

impl LimitQuery {
    /// The limit in force.
    pub fn bounded(&self) -> u32 {
        self.limit.unwrap_or(LIMIT_DEFAULT).clamp(1, LIMIT_MAX)
    }
}

/// What to look at as it changes.
#[derive(Debug, Clone, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct EventsQuery {
    /// Path of this API without `/v1`, with its query, such as `/updates?all=true`.
    pub path: String,
}

/// Which update packages to list.
#[derive(Debug, Clone, Default, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct UpdatesQuery {
    /// Hidden packages too.
    #[serde(default)]
    pub all: bool,
    /// Only those after the package with this GUID, for the next page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<String>,
    /// Most packages; all of them if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub limit: Option<u32>,
}

impl UpdatesQuery {
    /// The whole list.
    pub fn listing(all: bool) -> Self {
        UpdatesQuery {
            all,
            ..UpdatesQuery::default()
        }
    }
}

/// Of which package to show the status.
#[derive(Debug, Clone, Default, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct UpdateStatusQuery {
    /// Only of this package.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub guid: Option<String>,
}

/// Over which interval to count status messages.
#[derive(Debug, Clone, Default, Serialize, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct TallyQuery {
    /// Token of a tally interval; since midnight, `0001128000100008`, unless given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tally: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_always_in_force() {
        let check = |limit, expected| assert_eq!(LimitQuery { limit }.bounded(), expected);
        check(None, 100);
        check(Some(0), 1);
        check(Some(5), 5);
        check(Some(u32::MAX), 1000);
    }
}
