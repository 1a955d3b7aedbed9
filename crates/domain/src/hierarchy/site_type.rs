//! Which kind of site this is and what it may own.

use std::fmt;
use std::str::FromStr;

/// The kinds of site (hierarchy-and-replication, section 1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SiteType {
    /// The top of a tree with several primaries.
    CentralAdministration,
    /// A primary site with nothing above it.
    StandAlonePrimary,
    /// A primary site below a central administration site.
    ChildPrimary,
    /// Below a primary site.
    Secondary,
}

impl SiteType {
    /// Only a top-tier site may own the service connection point and start updates
    /// (role-and-modes, section 2).
    pub fn is_top_tier(self) -> bool {
        match self {
            SiteType::CentralAdministration | SiteType::StandAlonePrimary => true,
            SiteType::ChildPrimary | SiteType::Secondary => false,
        }
    }

    /// The name used in configuration, in rules and on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            SiteType::CentralAdministration => "central-administration",
            SiteType::StandAlonePrimary => "stand-alone-primary",
            SiteType::ChildPrimary => "child-primary",
            SiteType::Secondary => "secondary",
        }
    }
}

impl fmt::Display for SiteType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for SiteType {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        [
            Self::CentralAdministration,
            Self::StandAlonePrimary,
            Self::ChildPrimary,
            Self::Secondary,
        ]
        .into_iter()
        .find(|kind| kind.as_str() == text)
        .ok_or_else(|| format!("{text:?} is no site type"))
    }
}
