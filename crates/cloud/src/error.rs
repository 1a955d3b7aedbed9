//! Why something on the vendor's side failed. What failed has not changed what sites see.

use std::path::{Path, PathBuf};

use domain::servicing::package::PackageGuid;

use crate::package_toml::PackageTomlError;

/// Why the vendor's side refused or could not do something.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CloudError {
    /// The folder holds no service.
    #[error("{} holds no service; create one with `tidegate cloud init`", folder.display())]
    NotInitialised {
        /// The service folder.
        folder: PathBuf,
    },
    /// The folder holds a service that is set up differently.
    #[error("{} already holds the service {name:?}; use another folder", folder.display())]
    AlreadyInitialised {
        /// The service folder.
        folder: PathBuf,
        /// The service that lives there.
        name: String,
    },
    /// An argument or setting that makes no sense.
    #[error("{what}: {detail}")]
    Invalid {
        /// The argument or setting.
        what: &'static str,
        /// What is wrong and what to write.
        detail: String,
    },
    /// Another publisher works in the same folder.
    #[error("another process is publishing in {}; wait for it to finish", folder.display())]
    Busy {
        /// The service folder.
        folder: PathBuf,
    },
    /// `package.toml` is wrong; the text lists every problem with its place.
    #[error(transparent)]
    PackageToml(#[from] PackageTomlError),
    /// The payload cannot be published.
    #[error("the payload {} cannot be published", payload.display())]
    Payload {
        /// The payload as named.
        payload: PathBuf,
        /// Which entry, and why.
        #[source]
        source: content::publish::PublishError,
    },
    /// The GUID belongs to another package.
    #[error(
        "package {guid} is already published with other content; a published package never changes: \
         give the new one a new GUID, or withdraw this one"
    )]
    DifferentContent {
        /// The GUID.
        guid: PackageGuid,
    },
    /// There is no such package.
    #[error("this feed has no package {guid}")]
    NoSuchPackage {
        /// The GUID.
        guid: PackageGuid,
    },
    /// The package was taken back.
    #[error("package {guid} is withdrawn and cannot be offered again; publish a new package")]
    Withdrawn {
        /// The GUID.
        guid: PackageGuid,
    },
    /// The metadata of the feed.
    #[error("the feed's metadata could not be changed")]
    Feed(#[from] feed::publisher::PublishError),
    /// A shard of the catalogue on disk is not what was signed.
    #[error("{} is not the file that was signed; restore it from a mirror or a backup", path.display())]
    DamagedShard {
        /// The file.
        path: PathBuf,
    },
    /// A shard of the catalogue cannot be read or written.
    #[error("the catalogue shard {target} is unusable")]
    Catalogue {
        /// Its target path.
        target: String,
        /// What is wrong.
        #[source]
        source: protocol::catalogue::CatalogueError,
    },
    /// A certificate could not be made.
    #[error("could not make the server's certificate")]
    Certificate {
        /// The failure below.
        #[source]
        source: rcgen::Error,
    },
    /// The database of usage data.
    #[error("the database of usage data cannot be used")]
    Intake(#[from] store::intake::IntakeStoreError),
    /// The machine has no randomness.
    #[error("this machine gives no random numbers, and keys need them: {detail}")]
    Randomness {
        /// The system's words.
        detail: String,
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

pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> CloudError {
    let path = path.to_owned();
    move |source| CloudError::Io { action, path, source }
}
