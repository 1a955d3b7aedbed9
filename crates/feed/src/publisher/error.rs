//! Why publishing failed. Nothing that failed has changed what readers see.

use std::path::PathBuf;

use crate::client::FeedError;

/// Why the publisher refused or could not do something.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The folder already holds a feed.
    #[error("{} already holds a feed; open it instead of creating another", folder.display())]
    AlreadyInitialised {
        /// The repository folder.
        folder: PathBuf,
    },
    /// The folder holds no feed.
    #[error("{} holds no feed; create one first", folder.display())]
    NotInitialised {
        /// The repository folder.
        folder: PathBuf,
    },
    /// Another publisher works on the same feed.
    #[error("another process is publishing to this feed ({} is locked); wait for it to finish", lock.display())]
    Busy {
        /// The lock file.
        lock: PathBuf,
    },
    /// The settings make no usable feed.
    #[error("these settings make no feed: {detail}")]
    Settings {
        /// What is wrong.
        detail: String,
    },
    /// A target path or description that no reader would take.
    #[error("target {path:?} refused: {detail}")]
    Target {
        /// The path.
        path: String,
        /// What is wrong with it.
        detail: String,
    },
    /// Too few private keys are at hand.
    #[error("{role} needs the signatures of {threshold} key(s), and only {found} of its private keys are in {}", folder.display())]
    MissingKeys {
        /// The role.
        role: String,
        /// How many were found.
        found: usize,
        /// How many are needed.
        threshold: usize,
        /// Where private keys were looked for.
        folder: PathBuf,
    },
    /// A private key file that is not an Ed25519 key in PKCS#8 PEM.
    #[error("{} is not an Ed25519 private key in PKCS#8 PEM form: {detail}", path.display())]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        detail: &'static str,
    },
    /// A root draft that cannot be published or signed.
    #[error("root draft refused: {detail}")]
    RootDraft {
        /// What is wrong with it.
        detail: String,
    },
    /// What lies in the repository folder does not verify.
    #[error("the feed on disk, or what was about to be written to it, does not verify")]
    Verify {
        /// What is wrong.
        #[source]
        source: FeedError,
    },
    /// A file could not be read or written.
    #[error("could not {action} {}", path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// The failure below.
        #[source]
        source: std::io::Error,
    },
}

impl From<FeedError> for PublishError {
    /// Verification says by itself which role failed and how.
    fn from(source: FeedError) -> Self {
        Self::Verify { source }
    }
}

pub(crate) fn io(
    action: &'static str,
    path: &std::path::Path,
) -> impl FnOnce(std::io::Error) -> PublishError {
    let path = path.to_owned();
    move |source| PublishError::Io { action, path, source }
}
