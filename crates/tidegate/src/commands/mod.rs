//! The commands, one file each. A command reads its arguments, calls the site's API or a library, and
//! prints; it decides nothing that the site decides.

pub mod backup;
pub mod check;
pub mod cloud;
pub mod component;
pub mod config;
pub mod content;
pub mod generate;
pub mod hierarchy;
pub mod logs;
pub mod notifications;
pub mod run;
pub mod scp;
pub mod site;
pub mod status;
pub mod tool;
pub mod tuf;
pub mod up;
pub mod updates;
pub mod usage;
pub mod user;

use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::client::Client;
use crate::failure::Failure;
use crate::output::Output;
use crate::service_manager::ServiceManager;

/// What every command is given.
#[derive(Debug, Clone)]
pub struct Context {
    /// Directory of the site or service.
    pub directory: PathBuf,
    /// It is the one that is used when none is named.
    pub usual_directory: bool,
    /// Where to print.
    pub output: Output,
    /// Who started this program and wants to know how it stands.
    pub service_manager: ServiceManager,
}

impl Context {
    /// A client of the running site.
    pub fn client(&self) -> Result<Client, Failure> {
        Client::open(&self.directory)
    }

    /// ` --dir DIR` for commands that are suggested, where it is needed to find this directory again.
    pub fn dir_option(&self) -> String {
        if self.usual_directory {
            String::new()
        } else {
            self.dir_option_of(&self.directory)
        }
    }

    /// The same for another directory.
    pub fn dir_option_of(&self, directory: &Path) -> String {
        format!(" --dir {}", directory.display())
    }
}

/// A point in time as people give it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// This instant.
    At(Timestamp),
    /// So long ago.
    Ago(Duration),
}

impl Since {
    /// The instant meant.
    pub fn resolve(self, now: Timestamp) -> Timestamp {
        match self {
            Since::At(at) => at,
            Since::Ago(age) => SignedDuration::try_from(age)
                .ok()
                .and_then(|age| now.checked_sub(age).ok())
                .unwrap_or(Timestamp::MIN),
        }
    }
}

/// Reads RFC 3339 or an age such as `90m`.
pub fn since(text: &str) -> Result<Since, String> {
    if let Ok(at) = text.parse() {
        return Ok(Since::At(at));
    }
    duration(text).map(Since::Ago).map_err(|_| {
        format!("{text:?} is no time; write 2026-11-21T14:00:00Z, or an age such as 90s, 15m, 24h, 7d")
    })
}

/// Reads a length of time such as `90m`.
pub fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("{text:?} is no length of time; write one such as 90s, 15m, 24h, 7d");
    let (number, unit) = text
        .split_at_checked(text.len().saturating_sub(1))
        .ok_or_else(wrong)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(wrong()),
    };
    let number: u64 = number
        .parse()
        .ok()
        .filter(|number| *number <= 1_000_000)
        .ok_or_else(wrong)?;
    Ok(Duration::from_secs(number * seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_as_people_give_them() {
        let now: Timestamp = "2026-11-21T12:00:00Z".parse().unwrap();
        let check = |text: &str, expected: Option<&str>| {
            let read = since(text).ok().map(|since| since.resolve(now).to_string());
            assert_eq!(read.as_deref(), expected, "{text}");
        };
        check("2026-11-20T00:00:00Z", Some("2026-11-20T00:00:00Z"));
        check("90m", Some("2026-11-21T10:30:00Z"));
        check("7d", Some("2026-11-14T12:00:00Z"));
        for wrong in ["", "h", "5", "-5m", "5 m", "yesterday", "99999999999d", "ä"] {
            check(wrong, None);
        }
    }
}
