//! What is trusted, kept in a folder: the trusted roles byte for byte as they were served.
//!
//! `root.json`, `timestamp.json`, `snapshot.json`, `targets.json` and one `<percent-encoded name>.json` per delegated
//! role, nothing else that ends in `.json`. `root.pinned` keeps the root that trust began with, so that a damaged
//! `root.json` does not need a person. Nothing read from here is believed: every file is verified again from the root,
//! and no time is stored, so a clock that once ran ahead leaves no trace.

use std::path::{Path, PathBuf};

use super::FeedError;
use super::verify;
use crate::durable;
use crate::transport::encode_name;

/// Longest file name that common file systems take.
const NAME_BYTES_MAX: usize = 255;
/// A local file larger than this was not written by us.
const FILE_BYTES_MAX: u64 = 256 * 1024 * 1024;

/// A folder of trusted metadata.
#[derive(Debug, Clone)]
pub struct FolderTrust {
    folder: PathBuf,
}

impl FolderTrust {
    /// Starts trust in `folder` with this root, which must be signed by its own threshold of keys. Whatever root was
    /// there before is replaced; roles that the new root does not authorise are ignored from then on.
    pub fn init(folder: impl Into<PathBuf>, root: &[u8]) -> Result<Self, FeedError> {
        verify::initial_root(root)?;
        let trust = Self::open(folder)?;
        trust.write("root.pinned", root)?;
        trust.write("root.json", root)?;
        Ok(trust)
    }

    /// The folder as it is. It is created if it does not exist; leftovers of a crash are removed.
    pub fn open(folder: impl Into<PathBuf>) -> Result<Self, FeedError> {
        let folder = folder.into();
        std::fs::create_dir_all(&folder)
            .and_then(|()| durable::sweep(&folder))
            .map_err(|source| FeedError::Io {
                action: "prepare the trust folder",
                path: folder.clone(),
                source,
            })?;
        Ok(Self { folder })
    }

    /// Opens `folder` for a feed whose pinned root is `pinned`. The first time, and whenever the administrator has
    /// pinned another root since, trust starts anew with it; otherwise what was learned since then stays.
    pub fn open_pinned(folder: impl Into<PathBuf>, pinned: &[u8]) -> Result<Self, FeedError> {
        let trust = Self::open(folder)?;
        if trust.read("root.pinned")?.as_deref() == Some(pinned) && trust.read("root.json")?.is_some() {
            return Ok(trust);
        }
        for role in ["timestamp", "snapshot", "targets"] {
            trust.remove(&format!("{role}.json"))?;
        }
        Self::init(trust.folder, pinned)
    }

    /// Where the folder is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The root to start from: the newest stored one, or the pinned one where that is damaged.
    pub(crate) fn root(&self) -> Result<Vec<u8>, FeedError> {
        let stored = self.read("root.json")?;
        let pinned = self.read("root.pinned")?;
        let damage = match stored {
            Some(bytes) => match verify::initial_root(&bytes) {
                Ok(()) => return Ok(bytes),
                Err(error) => Some(error),
            },
            None => None,
        };
        if let Some(pinned) = pinned.filter(|bytes| verify::initial_root(bytes).is_ok()) {
            tracing::warn!(
                folder = %self.folder.display(),
                "root.json is missing or damaged; starting again from the pinned root"
            );
            return Ok(pinned);
        }
        match damage {
            None => Err(FeedError::NoRoot {
                folder: self.folder.clone(),
            }),
            Some(error) => Err(FeedError::DamagedRoot {
                folder: self.folder.clone(),
                source: Box::new(error),
            }),
        }
    }

    /// The stored bytes of a role. A file that cannot be read counts as absent, since it can be fetched again.
    pub(crate) fn role(&self, role: &str) -> Option<Vec<u8>> {
        let name = file_name(role)?;
        match self.read(&name) {
            Ok(bytes) => bytes,
            Err(error) => {
                tracing::warn!(role, %error, "a trusted role could not be read and counts as absent");
                None
            }
        }
    }

    /// Stores a role that has been verified.
    pub(crate) fn store(&self, role: &str, bytes: &[u8]) -> Result<(), FeedError> {
        match file_name(role) {
            Some(name) => self.write(&name, bytes),
            None => {
                // It is verified and used, only not remembered: it will be fetched again next time.
                tracing::debug!(role, "the role's name is too long for a file");
                Ok(())
            }
        }
    }

    /// Drops the timestamp and the snapshot, as the specification asks when their keys were replaced.
    pub(crate) fn forget_floors(&self) -> Result<(), FeedError> {
        self.remove("timestamp.json")?;
        self.remove("snapshot.json")
    }

    fn read(&self, name: &str) -> Result<Option<Vec<u8>>, FeedError> {
        let path = self.folder.join(name);
        let bytes = std::fs::metadata(&path).and_then(|metadata| {
            if metadata.len() > FILE_BYTES_MAX {
                return Err(std::io::Error::from(std::io::ErrorKind::FileTooLarge));
            }
            std::fs::read(&path)
        });
        match bytes {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(FeedError::Io {
                action: "read",
                path,
                source,
            }),
        }
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), FeedError> {
        let path = self.folder.join(name);
        durable::write(&path, bytes, 0o644).map_err(|source| FeedError::Io {
            action: "write",
            path,
            source,
        })
    }

    fn remove(&self, name: &str) -> Result<(), FeedError> {
        let path = self.folder.join(name);
        match std::fs::remove_file(&path) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => Err(FeedError::Io {
                action: "remove",
                path,
                source,
            }),
            _ => Ok(()),
        }
    }
}

/// The file a role is kept in, or nothing where no file system could hold the name (with our temporary prefix).
fn file_name(role: &str) -> Option<String> {
    let name = format!("{}.json", encode_name(role));
    (name.len() + durable::TEMPORARY.len() + 4 <= NAME_BYTES_MAX).then_some(name)
}
