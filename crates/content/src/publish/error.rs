//! Why nothing was published.

use std::io;
use std::path::{Path, PathBuf};

use crate::index::IndexError;
use crate::tree::TreeError;

/// Why nothing was published.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// The payload cannot be read, or the feed not written.
    #[error("cannot {act} {path}")]
    Io {
        /// What was tried.
        act: &'static str,
        /// On which file.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// Neither a folder nor an archive of a known kind.
    #[error("{path} is neither a folder nor a .tar, .tar.gz, .tar.zst or .zip archive")]
    UnknownKind {
        /// The payload.
        path: PathBuf,
    },
    /// The tree breaks a rule.
    #[error("the payload {path} is refused")]
    Tree {
        /// The payload.
        path: PathBuf,
        /// Which entry and why.
        #[source]
        source: TreeError,
    },
    /// The payload is larger than allowed, or an archive unpacks to far more than its size.
    #[error("the payload {path} is refused: {problem}")]
    TooLarge {
        /// The payload.
        path: PathBuf,
        /// What is too large.
        problem: String,
    },
    /// An archive that readers could understand in several ways.
    #[error("the payload {path} is refused: it {problem}")]
    Archive {
        /// The payload.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// A file changed between hashing and compressing.
    #[error("{path} changed while it was being published; publish a tree that nobody writes to")]
    Changed {
        /// The file.
        path: PathBuf,
    },
    /// Content of the feed that is not what was published.
    #[error("{path} holds other bytes than were published; restore the feed from a backup")]
    Damaged {
        /// The pack, or the folder of packs.
        path: PathBuf,
    },
    /// The index of an earlier payload cannot be read.
    #[error("the earlier payload index {path} cannot be read")]
    Older {
        /// The index file.
        path: PathBuf,
        /// Cause.
        #[source]
        source: IndexError,
    },
}

pub(crate) fn io_error(act: &'static str, path: &Path) -> impl FnOnce(io::Error) -> PublishError {
    let path = path.to_owned();
    move |source| PublishError::Io { act, path, source }
}
