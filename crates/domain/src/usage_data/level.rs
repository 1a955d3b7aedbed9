//! Basic, Enhanced, Full: each includes the ones before it.

use std::fmt;
use std::str::FromStr;

/// How much is collected and sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Level {
    /// What is needed for the right updates and for the quality of setup and upgrades.
    Basic,
    /// How the product is used; what a new site has.
    #[default]
    Enhanced,
    /// What helps to mend rare trouble; may hold traces of names inside crash reports.
    Full,
}

impl Level {
    /// Every level, smallest first.
    pub const ALL: [Level; 3] = [Level::Basic, Level::Enhanced, Level::Full];

    /// As shown, stored and sent.
    pub fn as_str(self) -> &'static str {
        match self {
            Level::Basic => "basic",
            Level::Enhanced => "enhanced",
            Level::Full => "full",
        }
    }

    /// What it is for, in one sentence.
    pub fn purpose(self) -> &'static str {
        match self {
            Level::Basic => "what is needed to offer the right updates, and how setup and upgrades went",
            Level::Enhanced => "also how the product is used: content, messages, internet access",
            Level::Full => "also reports of crashes, which may hold traces of names",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for Level {
    type Err = String;

    /// Also reads `standard`, an older word for Enhanced that is never written.
    fn from_str(text: &str) -> Result<Self, String> {
        let lower = text.to_ascii_lowercase();
        match lower.as_str() {
            "standard" => Ok(Level::Enhanced),
            _ => Self::ALL
                .into_iter()
                .find(|level| level.as_str() == lower)
                .ok_or_else(|| format!("{text:?} is no level; write basic, enhanced or full")),
        }
    }
}
