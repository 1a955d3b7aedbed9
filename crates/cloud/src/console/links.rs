//! Links into the console: each opens it once, for a few minutes.
//!
//! Whoever can read the service folder can make one (`tidegate cloud console`): the console has no passwords of its own, and
//! nobody else gets in. A link that waits is a file named after the hash of its word; taking it is removing that file,
//! which succeeds once.

use std::path::Path;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::door::Right;
use crate::error::{CloudError, io};
use crate::files::{self, ServiceDir};
use crate::settings::Settings;

/// How long a link opens the console.
const LIFE: SignedDuration = SignedDuration::from_mins(10);
/// Links that wait at a time; old ones are removed when another is made.
const WAITING_MAX: usize = 100;
const NAME_CHARACTERS_MAX: usize = 64;
const FILE_BYTES_MAX: u64 = 4 * 1024;

/// Who comes in by a link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Guest {
    pub(super) name: String,
    pub(super) right: Right,
    expires: Timestamp,
}

/// A link that was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsoleLink {
    /// Path and query of the address.
    pub path: String,
    /// When it opens nothing any more.
    pub expires: Timestamp,
}

/// Makes a link for somebody of this name, who may look, and steer unless `read_only`.
pub fn make_link(dir: &Path, name: &str, read_only: bool, now: Timestamp) -> Result<ConsoleLink, CloudError> {
    let dir = ServiceDir::new(dir);
    Settings::load(&dir)?;
    let plain = |c: char| !c.is_control();
    if name.trim().is_empty() || name.chars().count() > NAME_CHARACTERS_MAX || !name.chars().all(plain) {
        return Err(CloudError::Invalid {
            what: "name",
            detail: format!("write 1 to {NAME_CHARACTERS_MAX} characters; the history shows it"),
        });
    }
    let mut random = [0; 32];
    getrandom::fill(&mut random).map_err(|failure| CloudError::Randomness {
        detail: failure.to_string(),
    })?;
    let word = hex::encode(random);
    let expires = now.checked_add(LIFE).unwrap_or(now);
    let guest = Guest {
        name: name.trim().to_owned(),
        right: if read_only { Right::Look } else { Right::Steer },
        expires,
    };
    let folder = dir.console_links();
    files::create_private_folder(&folder)?;
    remove_old(&folder, now)?;
    let path = folder.join(hash_of(&word));
    let bytes = serde_json::to_vec(&guest).map_err(|failure| CloudError::Invalid {
        what: "link",
        detail: failure.to_string(),
    })?;
    files::write(&path, &bytes, 0o600).map_err(io("write", &path))?;
    Ok(ConsoleLink {
        path: format!("/enter?link={word}"),
        expires,
    })
}

/// Who this link is for, if it opens the console now.
pub(super) fn look_at(dir: &ServiceDir, word: &str, now: Timestamp) -> Option<Guest> {
    let bytes = files::read_bounded(&dir.console_links().join(hash_of(word)), FILE_BYTES_MAX).ok()?;
    let guest: Guest = serde_json::from_slice(&bytes).ok()?;
    (guest.expires > now).then_some(guest)
}

/// The same, and from now on the link opens nothing any more: of several who try at once, one gets in.
pub(super) fn take(dir: &ServiceDir, word: &str, now: Timestamp) -> Option<Guest> {
    let guest = look_at(dir, word, now)?;
    let removed = std::fs::remove_file(dir.console_links().join(hash_of(word)));
    removed.is_ok().then_some(guest)
}

fn remove_old(folder: &Path, now: Timestamp) -> Result<(), CloudError> {
    let mut waiting = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(io("read", folder))? {
        let path = entry.map_err(io("read", folder))?.path();
        let guest = files::read_bounded(&path, FILE_BYTES_MAX)
            .ok()
            .and_then(|bytes| serde_json::from_slice::<Guest>(&bytes).ok());
        match guest {
            Some(guest) if guest.expires > now => waiting.push((guest.expires, path)),
            _ => std::fs::remove_file(&path).map_err(io("remove", &path))?,
        }
    }
    waiting.sort();
    let surplus = (waiting.len() + 1).saturating_sub(WAITING_MAX);
    for (_, path) in waiting.into_iter().take(surplus) {
        std::fs::remove_file(&path).map_err(io("remove", &path))?;
    }
    Ok(())
}

fn hash_of(word: &str) -> String {
    hex::encode(Sha256::digest(word))
}
