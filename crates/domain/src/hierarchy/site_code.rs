//! The three-character name of a site, fixed for its life (hierarchy-and-replication, section 2).

use std::fmt;
use std::str::FromStr;

/// Device names and product words that a site code must not take.
const RESERVED: [&str; 6] = ["AUX", "CON", "NUL", "PRN", "SMS", "ENV"];

/// Exactly three characters out of `A-Z` and `0-9`, none of the reserved words.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SiteCode([u8; 3]);

/// Why a text is not a site code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SiteCodeError {
    /// Not three characters long.
    Length {
        /// How many characters there were.
        characters: usize,
    },
    /// A character outside `A-Z` and `0-9`.
    Character {
        /// The offending character.
        found: char,
    },
    /// One of AUX, CON, NUL, PRN, SMS, ENV.
    Reserved,
}

impl FromStr for SiteCode {
    type Err = SiteCodeError;

    fn from_str(text: &str) -> Result<Self, SiteCodeError> {
        let characters = text.chars().count();
        if characters != 3 {
            return Err(SiteCodeError::Length { characters });
        }
        if let Some(found) = text
            .chars()
            .find(|c| !(c.is_ascii_uppercase() || c.is_ascii_digit()))
        {
            return Err(SiteCodeError::Character { found });
        }
        if RESERVED.contains(&text) {
            return Err(SiteCodeError::Reserved);
        }
        let bytes = text.as_bytes();
        Ok(SiteCode([bytes[0], bytes[1], bytes[2]]))
    }
}

impl SiteCode {
    /// The three characters.
    pub fn as_str(&self) -> &str {
        // Constructed from ASCII only, so this cannot fail; an empty text would be visible at once.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for SiteCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for SiteCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for SiteCodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SiteCodeError::Length { characters } => {
                write!(
                    f,
                    "a site code has exactly 3 characters, this one has {characters}"
                )
            }
            SiteCodeError::Character { found } => {
                write!(f, "a site code has only A-Z and 0-9, this one has {found:?}")
            }
            SiteCodeError::Reserved => {
                write!(f, "the site codes {} are reserved", RESERVED.join(", "))
            }
        }
    }
}

impl std::error::Error for SiteCodeError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_and_refuses() {
        let check = |text: &str, expected: Result<&str, SiteCodeError>| {
            assert_eq!(
                text.parse::<SiteCode>().map(|c| c.to_string()),
                expected.map(str::to_owned),
                "{text}"
            );
        };
        check("CAS", Ok("CAS"));
        check("P01", Ok("P01"));
        check("000", Ok("000"));
        check("PR", Err(SiteCodeError::Length { characters: 2 }));
        check("PRIM", Err(SiteCodeError::Length { characters: 4 }));
        check("p01", Err(SiteCodeError::Character { found: 'p' }));
        check("ÄB1", Err(SiteCodeError::Character { found: 'Ä' }));
        for reserved in RESERVED {
            check(reserved, Err(SiteCodeError::Reserved));
        }
    }
}
