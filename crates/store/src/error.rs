//! What can go wrong with the database.

use std::path::PathBuf;

use domain::servicing::transition::IllegalTransition;

/// Why a transaction did not happen. Nothing of it is stored.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The file system has no room; the caller waits and tries again.
    #[error(
        "the database {path} cannot grow: no space left on its file system; free some space, the site goes on by itself"
    )]
    Full {
        /// Database file.
        path: PathBuf,
    },
    /// The file or its folder cannot be written.
    #[error(
        "the database {path} cannot be written; give the user of this process write access to it and its folder"
    )]
    ReadOnly {
        /// Database file.
        path: PathBuf,
    },
    /// Another process holds the database.
    #[error(
        "the database {path} is in use by another process; stop the other `tidegate run` of this directory"
    )]
    Busy {
        /// Database file.
        path: PathBuf,
    },
    /// The file was written by a newer release.
    #[error(
        "the database {path} has schema {found}, this tidegate knows up to {known}; use the release that wrote it or a newer one"
    )]
    Newer {
        /// Database file.
        path: PathBuf,
        /// Schema number in the file.
        found: i64,
        /// Highest schema number known here.
        known: i64,
    },
    /// A migration that was applied has another text now.
    #[error(
        "the database {path} was migrated by another text of step {step}; restore the backup made before the change"
    )]
    ForeignMigration {
        /// Database file.
        path: PathBuf,
        /// Migration number.
        step: i64,
    },
    /// No row for a key that must exist.
    #[error("there is no {what} {key}")]
    NotFound {
        /// What was looked for.
        what: &'static str,
        /// Its key.
        key: String,
    },
    /// The state machine refuses.
    #[error("package {guid}")]
    Illegal {
        /// The package.
        guid: String,
        /// Why.
        #[source]
        source: IllegalTransition,
    },
    /// A value in the database that no release of ours writes.
    #[error("the database holds {value:?} as {what}, which is damaged; restore a backup")]
    Damaged {
        /// Column.
        what: &'static str,
        /// Value.
        value: String,
    },
    /// Anything else the engine says.
    #[error("the database {path} failed")]
    Engine {
        /// Database file.
        path: PathBuf,
        /// The engine's words.
        #[source]
        source: rusqlite::Error,
    },
}

impl StoreError {
    /// Names the causes that an administrator can do something about.
    pub(crate) fn from_engine(path: &std::path::Path, source: rusqlite::Error) -> Self {
        let path = path.to_owned();
        match source.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DiskFull) => StoreError::Full { path },
            Some(
                rusqlite::ErrorCode::ReadOnly
                | rusqlite::ErrorCode::PermissionDenied
                | rusqlite::ErrorCode::CannotOpen,
            ) => StoreError::ReadOnly { path },
            Some(rusqlite::ErrorCode::DatabaseBusy | rusqlite::ErrorCode::DatabaseLocked) => {
                StoreError::Busy { path }
            }
            _ => StoreError::Engine { path, source },
        }
    }
}
