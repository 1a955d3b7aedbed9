//! Product versions of the form `5.00.nnnn.mmmm`.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

/// A full version: major, minor, build and revision. Written with a two-digit minor and, as the
/// product does, four digits of build and revision.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FullVersion {
    /// `5` in `5.00.9106.1000`.
    pub major: u16,
    /// `0` in `5.00.9106.1000`.
    pub minor: u16,
    /// `9106` in `5.00.9106.1000`; identifies the release.
    pub build: u32,
    /// `1000` in `5.00.9106.1000`; hotfixes raise it.
    pub revision: u32,
}

impl FullVersion {
    /// Compares releases: the hotfix revision is ignored (updates-and-servicing, section 4).
    pub fn cmp_release(&self, other: &Self) -> Ordering {
        (self.major, self.minor, self.build).cmp(&(other.major, other.minor, other.build))
    }
}

impl FromStr for FullVersion {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no version; write it as 5.00.9106.1000");
        let parts: Vec<&str> = text.split('.').collect();
        let [major, minor, build, revision] = parts.as_slice() else {
            return Err(wrong());
        };
        let number = |part: &str, digits_max: usize| {
            let plain =
                !part.is_empty() && part.len() <= digits_max && part.bytes().all(|b| b.is_ascii_digit());
            if plain {
                part.parse::<u32>().map_err(|_| wrong())
            } else {
                Err(wrong())
            }
        };
        Ok(FullVersion {
            major: number(major, 4)? as u16,
            minor: number(minor, 4)? as u16,
            build: number(build, 9)?,
            revision: number(revision, 9)?,
        })
    }
}

impl fmt::Display for FullVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}.{:02}.{:04}.{:04}",
            self.major, self.minor, self.build, self.revision
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_and_writes() {
        let check = |text: &str, expected: Option<&str>| {
            assert_eq!(
                text.parse::<FullVersion>().ok().map(|v| v.to_string()).as_deref(),
                expected,
                "{text}"
            );
        };
        check("5.00.9106.1000", Some("5.00.9106.1000"));
        check("5.0.1.2", Some("5.00.0001.0002"));
        for wrong in [
            "",
            "5",
            "5.00.9106",
            "5.00.9106.1000.1",
            "5.00.-1.0",
            "5.00.9106.x",
            "5..1.1",
            "5.0.1.9999999999",
        ] {
            check(wrong, None);
        }
    }

    #[test]
    fn a_hotfix_revision_is_the_same_release() {
        let a: FullVersion = "5.00.9106.1000".parse().unwrap();
        let b: FullVersion = "5.00.9106.1022".parse().unwrap();
        assert_eq!(a.cmp_release(&b), Ordering::Equal);
        assert!(a < b);
    }
}
