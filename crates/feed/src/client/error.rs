//! Why a feed was not believed. One variant per thing a caller or an administrator could do differently; each attack
//! the specification names has its own.

use std::path::PathBuf;

use jiff::Timestamp;

use crate::transport::TransportError;

/// The class of a failure: what a status message or a test tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Reason {
    /// Something older than what is already trusted was offered.
    Rollback,
    /// Metadata is past its expiry: the feed is frozen, abandoned, or the clock here is ahead.
    Expired,
    /// Parts of different states of the feed were put together.
    MixAndMatch,
    /// Too few valid signatures of the keys that must sign.
    Threshold,
    /// More bytes than allowed or announced.
    Oversized,
    /// Content differs from what was signed.
    Tampered,
    /// What was asked for does not exist.
    NotFound,
    /// The feed could not be reached.
    Network,
    /// Metadata that does not follow the specification.
    Malformed,
    /// The local trust folder has no usable root.
    TrustStore,
    /// The local disk failed, is full or read-only.
    Storage,
}

impl Reason {
    /// A stable word for logs, JSON and tests.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rollback => "rollback",
            Self::Expired => "expired",
            Self::MixAndMatch => "mix-and-match",
            Self::Threshold => "threshold",
            Self::Oversized => "oversized",
            Self::Tampered => "tampered",
            Self::NotFound => "not-found",
            Self::Network => "network",
            Self::Malformed => "malformed",
            Self::TrustStore => "trust-store",
            Self::Storage => "storage",
        }
    }

    /// Whether the feed itself is at fault, and not the way to it or this machine.
    pub fn is_attack(self) -> bool {
        !matches!(
            self,
            Self::NotFound | Self::Network | Self::TrustStore | Self::Storage
        )
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Why reading a feed failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FeedError {
    /// The feed offered an older version of a role.
    #[error(
        "rollback refused: {role} version {offered} was offered, version {trusted} is already trusted; \
         the server or mirror serves an old state of the feed"
    )]
    Rollback {
        /// The role whose version went back.
        role: String,
        /// The version that is trusted.
        trusted: u64,
        /// The version that was offered.
        offered: u64,
    },
    /// A snapshot no longer lists a role that it listed before.
    #[error("rollback refused: the new snapshot no longer lists the role {role}")]
    RoleRemoved {
        /// The role that vanished.
        role: String,
    },
    /// The next root is not exactly one version newer.
    #[error("root refused: version {expected} was asked for and version {offered} was served")]
    RootVersion {
        /// The only acceptable version.
        expected: u64,
        /// The version that was served.
        offered: u64,
    },
    /// Metadata is past its expiry.
    #[error(
        "{role} metadata expired at {expires} (the time here is {now}); the vendor must renew the feed, \
         or a mirror is frozen, or the clock of this machine is ahead"
    )]
    Expired {
        /// The expired role.
        role: String,
        /// When it expired.
        expires: Timestamp,
        /// The time the check was made with.
        now: Timestamp,
    },
    /// A role is not the one its parent pins.
    #[error("mix-and-match refused: {role} is not what {pinned_by} pins: {detail}")]
    NotAsPinned {
        /// The role that was served.
        role: String,
        /// The role that says what it must be.
        pinned_by: &'static str,
        /// What differs.
        detail: String,
    },
    /// A role that is needed is not listed in the snapshot.
    #[error("mix-and-match refused: the snapshot does not list the role {role}, although it is delegated to")]
    NotInSnapshot {
        /// The missing role.
        role: String,
    },
    /// Too few signatures.
    #[error("{role} refused: {found} valid signature(s) by distinct authorised keys, {threshold} needed")]
    Threshold {
        /// The role that was served.
        role: String,
        /// How many distinct keys signed it validly.
        found: usize,
        /// How many must.
        threshold: usize,
    },
    /// One key id occurs twice among the signatures.
    #[error("{role} refused: the key id {key_id} occurs more than once among the signatures")]
    DuplicateSignature {
        /// The role that was served.
        role: String,
        /// The key id that is repeated.
        key_id: String,
    },
    /// Metadata longer than its limit.
    #[error("{name} refused: it is longer than {limit} bytes")]
    MetadataOversized {
        /// The file.
        name: String,
        /// The limit or the pinned length.
        limit: u64,
    },
    /// Metadata that does not follow the specification.
    #[error("{role} refused: {detail}")]
    Malformed {
        /// The role that was served.
        role: String,
        /// What is wrong with it.
        detail: String,
    },
    /// Metadata that could not be parsed or uses what is not supported.
    #[error("{role} refused: it is not TUF metadata this client understands")]
    Unreadable {
        /// The role that was served.
        role: String,
        /// The failure below.
        #[source]
        source: Box<sigstore_tuf::Error>,
    },
    /// No role lists the target.
    #[error("the feed has no target {path:?}")]
    NoSuchTarget {
        /// The target path.
        path: String,
    },
    /// The top-level targets role does not delegate to this role.
    #[error("the feed has no role {role:?}")]
    NoSuchRole {
        /// The role.
        role: String,
    },
    /// The search visited too many roles.
    #[error("the search for {path:?} gave up after {limit} delegated roles")]
    TooManyDelegations {
        /// The target that was looked for.
        path: String,
        /// How many roles may be visited.
        limit: usize,
    },
    /// The bytes of a target are not those that were signed.
    #[error("target {path:?} refused: {detail}")]
    TargetTampered {
        /// The target path.
        path: String,
        /// What differs.
        detail: String,
    },
    /// A target's body goes on after its signed length.
    #[error("target {path:?} refused: the server sends more than the signed {length} bytes")]
    TargetOversized {
        /// The target path.
        path: String,
        /// The signed length.
        length: u64,
    },
    /// A target is larger than the caller can hold in memory.
    #[error("target {path:?} has {length} bytes, more than the {limit} that may be held in memory")]
    TargetTooLarge {
        /// The target path.
        path: String,
        /// The signed length.
        length: u64,
        /// What the caller allows.
        limit: u64,
    },
    /// A body ended before its signed length.
    #[error("target {path:?}: the connection ended after {received} of {length} bytes")]
    Truncated {
        /// The target path.
        path: String,
        /// How many bytes are here.
        received: u64,
        /// The signed length.
        length: u64,
    },
    /// A file of the feed could not be fetched.
    #[error("could not fetch {what}")]
    Transport {
        /// The role or target.
        what: String,
        /// The failure below.
        #[source]
        source: TransportError,
    },
    /// There is no root to start from.
    #[error("no trusted root in {}; start with the vendor's root.json (`init`)", folder.display())]
    NoRoot {
        /// The trust folder.
        folder: PathBuf,
    },
    /// The stored root is damaged and there is no pinned copy to fall back on.
    #[error(
        "the trusted root in {} is damaged and no pinned copy is left; start again with the vendor's \
         root.json (`init`)", folder.display()
    )]
    DamagedRoot {
        /// The trust folder.
        folder: PathBuf,
        /// What is wrong with it.
        #[source]
        source: Box<FeedError>,
    },
    /// Targets were asked for before a refresh succeeded.
    #[error("no verified state of the feed yet: a refresh must succeed first")]
    NotRefreshed,
    /// The local disk failed.
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

impl FeedError {
    /// The class of this failure.
    pub fn reason(&self) -> Reason {
        match self {
            Self::Rollback { .. } | Self::RoleRemoved { .. } | Self::RootVersion { .. } => Reason::Rollback,
            Self::Expired { .. } => Reason::Expired,
            Self::NotAsPinned { .. } | Self::NotInSnapshot { .. } => Reason::MixAndMatch,
            Self::Threshold { .. } | Self::DuplicateSignature { .. } => Reason::Threshold,
            Self::MetadataOversized { .. } | Self::TargetOversized { .. } | Self::TargetTooLarge { .. } => {
                Reason::Oversized
            }
            Self::TargetTampered { .. } => Reason::Tampered,
            Self::Malformed { .. } | Self::Unreadable { .. } | Self::TooManyDelegations { .. } => {
                Reason::Malformed
            }
            Self::NoSuchTarget { .. } | Self::NoSuchRole { .. } => Reason::NotFound,
            Self::Transport { source, .. } => match source {
                _ if source.is_absent() => Reason::NotFound,
                TransportError::InvalidPath { .. } => Reason::Malformed,
                _ => Reason::Network,
            },
            Self::Truncated { .. } => Reason::Network,
            Self::NoRoot { .. } | Self::DamagedRoot { .. } | Self::NotRefreshed => Reason::TrustStore,
            Self::Io { .. } => Reason::Storage,
        }
    }

    /// The role this failure is about, if it is about one.
    pub fn role(&self) -> Option<&str> {
        match self {
            Self::Rollback { role, .. }
            | Self::RoleRemoved { role }
            | Self::Expired { role, .. }
            | Self::NotAsPinned { role, .. }
            | Self::NotInSnapshot { role }
            | Self::Threshold { role, .. }
            | Self::DuplicateSignature { role, .. }
            | Self::Malformed { role, .. }
            | Self::Unreadable { role, .. }
            | Self::NoSuchRole { role } => Some(role),
            Self::RootVersion { .. } => Some("root"),
            _ => None,
        }
    }

    /// Whether trying again soon may help without anybody doing anything.
    pub fn is_transient(&self) -> bool {
        matches!(self.reason(), Reason::Network)
    }

    /// What `sigstore-tuf` refused, in our terms.
    pub(crate) fn refused(role: &str, error: sigstore_tuf::Error, now: Timestamp) -> Self {
        let role = role.to_owned();
        match error {
            sigstore_tuf::Error::DuplicateSignature { key_id, .. } => {
                Self::DuplicateSignature { role, key_id }
            }
            sigstore_tuf::Error::ThresholdNotMet { found, threshold, .. } => Self::Threshold {
                role,
                found,
                threshold,
            },
            sigstore_tuf::Error::Rollback { role, trusted, new } => Self::Rollback {
                role,
                trusted,
                offered: new,
            },
            sigstore_tuf::Error::BadRootVersion { trusted, new } => Self::RootVersion {
                expected: trusted.saturating_add(1),
                offered: new,
            },
            sigstore_tuf::Error::Expired { role, expires } => Self::Expired { role, expires, now },
            sigstore_tuf::Error::IntegrityMismatch(detail) => Self::NotAsPinned {
                role,
                pinned_by: "its parent",
                detail,
            },
            sigstore_tuf::Error::Malformed(detail) => Self::Malformed { role, detail },
            other => Self::Unreadable {
                role,
                source: Box::new(other),
            },
        }
    }
}
