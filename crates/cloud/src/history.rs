//! Who changed what in a feed and when: `history.jsonl` of the service folder, one line each.
//!
//! A change is entered before the feed is signed and marked as done after it, so that a crash in between leaves an
//! entry without its mark instead of a change that nobody made. Nothing here decides what sites see.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};

use domain::servicing::package::{PackageGuid, PackageRecord};
use feed::publisher::Publisher;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::{CloudError, io};
use crate::files::{ServiceDir, sync_folder_of};

/// Longest name of who did something, in characters.
const AUTHOR_CHARACTERS_MAX: usize = 80;
/// Longest detail of an entry, in characters.
const DETAIL_CHARACTERS_MAX: usize = 1_000;
/// How much of the end of the history is read, in bytes: some 10,000 entries.
const READ_MAX: u64 = 4 * 1024 * 1024;

/// When something is done, and by whom.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stamp {
    /// When.
    pub at: Timestamp,
    /// The name that the history shows.
    pub by: String,
}

impl Stamp {
    /// A stamp; what a name should not have is left out of it.
    pub fn new(at: Timestamp, by: &str) -> Self {
        Stamp {
            at,
            by: tame(by, AUTHOR_CHARACTERS_MAX),
        }
    }
}

impl From<Timestamp> for Stamp {
    /// Nobody in particular: a program that works by itself.
    fn from(at: Timestamp) -> Self {
        Stamp::new(at, "tidegate")
    }
}

/// Kinds of changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Did {
    /// A package was published.
    Published,
    /// A package was taken back.
    Withdrew,
    /// A package is offered to others than before.
    RolledOut,
    /// The feed tells sites something else beside packages.
    Configured,
    /// A message to administrators was published, changed or taken back.
    Noticed,
    /// Keys of a role were replaced.
    RotatedKeys,
    /// An update outside the catalogue was made.
    MadeHotfix,
}

impl Did {
    /// The words for people.
    pub fn as_str(self) -> &'static str {
        match self {
            Did::Published => "published",
            Did::Withdrew => "withdrew",
            Did::RolledOut => "rolled out",
            Did::Configured => "configured",
            Did::Noticed => "messages",
            Did::RotatedKeys => "rotated keys",
            Did::MadeHotfix => "made a hotfix",
        }
    }
}

/// What came of a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It is signed.
    Done,
    /// It is not, for this reason.
    Failed(String),
    /// The process ended in between; what is in force is what the catalogue says.
    Unknown,
}

/// An entry of the history.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// When.
    pub at: Timestamp,
    /// By whom.
    pub by: String,
    /// What.
    pub did: Did,
    /// The package it is about.
    pub package: Option<PackageGuid>,
    /// Name and version of it.
    pub name: String,
    /// More words.
    pub detail: String,
    /// Shares of hierarchies in percent, before and after, of a roll-out.
    pub share: Option<(u8, u8)>,
    /// What came of it.
    pub outcome: Outcome,
}

/// What is about to change.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    did: Did,
    package: Option<PackageGuid>,
    name: String,
    detail: String,
    share: Option<(u8, u8)>,
}

impl Change {
    /// Of the feed as a whole.
    pub(crate) fn new(did: Did, detail: impl Into<String>) -> Self {
        Change {
            did,
            package: None,
            name: String::new(),
            detail: detail.into(),
            share: None,
        }
    }

    /// Of a package.
    pub(crate) fn of(did: Did, record: &PackageRecord, detail: impl Into<String>) -> Self {
        Change {
            package: Some(record.guid),
            name: format!("{} {}", record.name(), record.full_version),
            ..Change::new(did, detail)
        }
    }

    /// The same with the shares of a roll-out, before and after.
    pub(crate) fn with_share(self, before: u8, after: u8) -> Self {
        Change {
            share: (self.did == Did::RolledOut).then_some((before, after)),
            ..self
        }
    }
}

/// A line of the file: the begin of a change, or its end.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Line {
    Begun {
        id: String,
        at: Timestamp,
        by: String,
        did: Did,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        package: Option<String>,
        #[serde(default, skip_serializing_if = "String::is_empty")]
        name: String,
        #[serde(default, skip_serializing_if = "String::is_empty")]
        detail: String,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        share: Option<(u8, u8)>,
    },
    Ended {
        id: String,
        outcome: Outcome,
    },
}

/// Signs the edits of `feed`, with an entry before and its mark after.
pub(crate) fn commit(
    feed: &mut Publisher,
    dir: &ServiceDir,
    stamp: &Stamp,
    change: Change,
) -> Result<(), CloudError> {
    entered(dir, stamp, change, || feed.commit(stamp.at).map(drop))
}

/// Carries out a change, with an entry before and its mark after.
pub(crate) fn entered<T, E: Into<CloudError>>(
    dir: &ServiceDir,
    stamp: &Stamp,
    change: Change,
    carry_out: impl FnOnce() -> Result<T, E>,
) -> Result<T, CloudError> {
    let mut random = [0; 8];
    getrandom::fill(&mut random).map_err(|failure| CloudError::Randomness {
        detail: failure.to_string(),
    })?;
    let id = hex::encode(random);
    let begun = Line::Begun {
        id: id.clone(),
        at: stamp.at,
        by: stamp.by.clone(),
        did: change.did,
        package: change.package.map(|guid| guid.to_string()),
        name: tame(&change.name, DETAIL_CHARACTERS_MAX),
        detail: tame(&change.detail, DETAIL_CHARACTERS_MAX),
        share: change.share,
    };
    append(dir, &begun)?;
    let result = carry_out().map_err(Into::into);
    let outcome = match &result {
        Ok(_) => Outcome::Done,
        Err(failure) => Outcome::Failed(tame(&failure.to_string(), DETAIL_CHARACTERS_MAX)),
    };
    if let Err(failure) = append(dir, &Line::Ended { id, outcome }) {
        // The change is made, or refused, all the same; its entry shows that nobody wrote down which.
        tracing::warn!(
            error = &failure as &dyn std::error::Error,
            "the history lacks the end of a change"
        );
    }
    result
}

fn append(dir: &ServiceDir, line: &Line) -> Result<(), CloudError> {
    let path = dir.history();
    let mut bytes = serde_json::to_vec(line).map_err(|failure| CloudError::Invalid {
        what: "history",
        detail: failure.to_string(),
    })?;
    bytes.push(b'\n');
    let mut write = || {
        let fresh = !path.exists();
        let mut file = File::options().read(true).append(true).create(true).open(&path)?;
        if !ends_with_line(&mut file)? {
            // A crash in the middle of a line: that one is lost, this one is not.
            bytes.insert(0, b'\n');
        }
        file.write_all(&bytes)?;
        file.sync_all()?;
        if fresh { sync_folder_of(&path) } else { Ok(()) }
    };
    write().map_err(io("write", &dir.history()))
}

fn ends_with_line(file: &mut File) -> std::io::Result<bool> {
    if file.seek(SeekFrom::End(0))? == 0 {
        return Ok(true);
    }
    file.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    file.read_exact(&mut last)?;
    Ok(last == *b"\n")
}

/// The newest entries first; those of one package, or all.
pub fn history(dir: &ServiceDir, package: Option<PackageGuid>) -> Result<Vec<Entry>, CloudError> {
    let path = dir.history();
    let read = || {
        let mut file = File::open(&path)?;
        let length = file.metadata()?.len();
        let from = length.saturating_sub(READ_MAX);
        file.seek(SeekFrom::Start(from))?;
        let mut bytes = Vec::new();
        file.take(READ_MAX).read_to_end(&mut bytes)?;
        Ok::<_, std::io::Error>((bytes, from > 0))
    };
    let (bytes, cut) = match read() {
        Err(failure) if failure.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(io("read", &path))?,
    };
    let mut entries: Vec<(String, Entry)> = Vec::new();
    let mut at = std::collections::HashMap::new();
    for line in bytes.split(|byte| *byte == b'\n').skip(usize::from(cut)) {
        match serde_json::from_slice(line) {
            Ok(Line::Begun {
                id,
                at: when,
                by,
                did,
                package,
                name,
                detail,
                share,
            }) => {
                at.insert(id.clone(), entries.len());
                let entry = Entry {
                    at: when,
                    by,
                    did,
                    package: package.and_then(|guid| guid.parse().ok()),
                    name,
                    detail,
                    share,
                    outcome: Outcome::Unknown,
                };
                entries.push((id, entry));
            }
            Ok(Line::Ended { id, outcome }) => {
                if let Some((_, entry)) = at.get(&id).and_then(|at| entries.get_mut(*at)) {
                    entry.outcome = outcome;
                }
            }
            // Half a line that a crash left, or one of a later release.
            Err(_) => {}
        }
    }
    Ok(entries
        .into_iter()
        .rev()
        .map(|(_, entry)| entry)
        .filter(|entry| package.is_none() || entry.package == package)
        .collect())
}

fn tame(text: &str, characters_max: usize) -> String {
    let plain = |c: char| if c.is_control() { ' ' } else { c };
    text.trim().chars().take(characters_max).map(plain).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_their_ends_and_what_a_crash_leaves() {
        let folder = tempfile::tempdir().unwrap();
        let dir = ServiceDir::new(folder.path());
        assert_eq!(history(&dir, None).unwrap(), []);
        let now: Timestamp = "2026-11-21T10:00:00Z".parse().unwrap();
        let stamp = Stamp::new(now, "ada\u{1b}[31m");
        let change = || Change::new(Did::Configured, "endpoints\nof another release");
        entered(&dir, &stamp, change(), || Ok::<_, CloudError>(())).unwrap();
        let refused = entered(&dir, &now.into(), change(), || {
            Err::<(), _>(CloudError::Busy {
                folder: folder.path().to_owned(),
            })
        });
        assert!(refused.is_err());
        // A process that ended between begin and end, and one that ended in the middle of a line.
        let begun = Line::Begun {
            id: "x".into(),
            at: now,
            by: "eva".into(),
            did: Did::Withdrew,
            package: Some("8576527E-DDE7-4E3C-A0E1-6FB0F0A3B1C4".into()),
            name: String::new(),
            detail: String::new(),
            share: None,
        };
        append(&dir, &begun).unwrap();
        let mut file = File::options().append(true).open(dir.history()).unwrap();
        file.write_all(b"{\"id\":\"y\",\"at\":").unwrap();
        entered(&dir, &stamp, change(), || Ok::<_, CloudError>(())).unwrap();

        let all = history(&dir, None).unwrap();
        let shown: Vec<(&str, &str)> = all
            .iter()
            .map(|entry| {
                let outcome = match &entry.outcome {
                    Outcome::Done => "done",
                    Outcome::Failed(_) => "failed",
                    Outcome::Unknown => "unknown",
                };
                (entry.by.as_str(), outcome)
            })
            .collect();
        assert_eq!(
            shown,
            [
                ("ada [31m", "done"),
                ("eva", "unknown"),
                ("tidegate", "failed"),
                ("ada [31m", "done")
            ]
        );
        assert_eq!(all[0].detail, "endpoints of another release");
        let package = "8576527E-DDE7-4E3C-A0E1-6FB0F0A3B1C4".parse().unwrap();
        assert_eq!(history(&dir, Some(package)).unwrap().len(), 1);
    }
}
