//! Reading a feed: the client workflow of the specification (version 1.0, section 5) on top of `sigstore-tuf`.
//!
//! Each step makes the requests the workflow needs and no other: an unchanged feed costs two, the next root (absent)
//! and the timestamp. What has been verified is stored at once, byte for byte, so that a version once trusted stays
//! the floor for ever; what has not been verified never touches the trust folder. `now` is an argument and no time is
//! stored: a clock that ran ahead refuses the feed while it is ahead, and not a second longer.
//!
//! Signatures, canonical form and the order of roles are checked by `sigstore-tuf`; `verify.rs` adds what it leaves
//! out. The top-level roles live in its state machine; delegated roles live here, because only here are they loaded
//! when a search needs them and checked again for every role that delegates to them.

mod delegations;
mod download;
mod error;
mod fetch;
pub(crate) mod pattern;
mod trust;
pub(crate) mod verify;

pub use delegations::TargetInfo;
pub use error::{FeedError, Reason};
pub use trust::FolderTrust;

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use sigstore_tuf::{Metadata, Role, Snapshot, Targets, TrustedMetadataSet};

use crate::transport::Transport;

/// How much a feed may ask of this machine.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Longest root.
    pub root_bytes_max: u64,
    /// Longest timestamp.
    pub timestamp_bytes_max: u64,
    /// Longest snapshot.
    pub snapshot_bytes_max: u64,
    /// Longest targets role, delegated or not.
    pub targets_bytes_max: u64,
    /// Most roots followed in one refresh; the next refresh goes on from there.
    pub root_rotations_max: u64,
    /// Most delegated roles visited in the search for one target.
    pub delegations_max: usize,
}

impl Default for Limits {
    /// Sized by what public repositories look like (a root of some tens of kilobytes, a snapshot of 50 bytes a role),
    /// times a generous factor; parsing costs about ten times these figures in memory.
    fn default() -> Self {
        Self {
            root_bytes_max: 1 << 20,
            timestamp_bytes_max: 64 << 10,
            snapshot_bytes_max: 8 << 20,
            targets_bytes_max: 16 << 20,
            root_rotations_max: 100_000,
            delegations_max: 1_000,
        }
    }
}

/// Version and expiry of one trusted role.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrustedRole {
    /// The trusted version.
    pub version: u64,
    /// When it expires.
    pub expires: Timestamp,
}

impl TrustedRole {
    fn of<T: Role>(role: &T) -> Self {
        Self {
            version: role.version(),
            expires: role.expires(),
        }
    }
}

/// What is trusted at the top level.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RoleStates {
    /// The trusted root.
    pub root: TrustedRole,
    /// The trusted timestamp, if there is one.
    pub timestamp: Option<TrustedRole>,
    /// The trusted snapshot, if there is one.
    pub snapshot: Option<TrustedRole>,
    /// The trusted top-level targets, if there are any.
    pub targets: Option<TrustedRole>,
}

/// What a refresh found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refreshed {
    /// What was trusted before.
    pub before: RoleStates,
    /// What is trusted now.
    pub after: RoleStates,
    /// Whether any target may have changed: the snapshot or a root is another one.
    pub changed: bool,
}

/// A verifying reader of one feed.
pub struct FeedClient {
    transport: Arc<dyn Transport>,
    trust: FolderTrust,
    limits: Limits,
    set: TrustedMetadataSet,
    /// The newest snapshot ever verified under the trusted root, expired or not, pinned by the timestamp or not.
    /// A new snapshot may not take any role back behind it.
    floor: Option<Metadata<Snapshot>>,
    /// Delegated roles verified against the trusted snapshot.
    delegated: BTreeMap<String, Metadata<Targets>>,
}

impl std::fmt::Debug for FeedClient {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FeedClient")
            .field("trust", &self.trust)
            .field("states", &self.states())
            .finish()
    }
}

impl FeedClient {
    /// A client that starts from what the trust folder holds. No request is made.
    pub fn new(transport: Arc<dyn Transport>, trust: FolderTrust, limits: Limits) -> Result<Self, FeedError> {
        let root = trust.root()?;
        let set = TrustedMetadataSet::from_root(&root)
            .map_err(|error| FeedError::refused("root", error, Timestamp::MIN))?;
        let mut client = Self {
            transport,
            trust,
            limits,
            set,
            floor: None,
            delegated: BTreeMap::new(),
        };
        client.load_stored();
        Ok(client)
    }

    /// The transport this client reads through, for content that is checked by other means.
    pub fn transport(&self) -> &Arc<dyn Transport> {
        &self.transport
    }

    /// The trust folder.
    pub fn trust(&self) -> &FolderTrust {
        &self.trust
    }

    /// The trusted root, byte for byte.
    pub fn root_bytes(&self) -> &[u8] {
        self.set.root_bytes()
    }

    /// What is trusted now, without looking at expiry.
    pub fn states(&self) -> RoleStates {
        RoleStates {
            root: TrustedRole::of(self.set.root()),
            timestamp: self.set.timestamp().map(TrustedRole::of),
            // A stored snapshot that the timestamp has already moved past is still the floor.
            snapshot: self.floor.as_ref().map(|floor| TrustedRole::of(floor.signed())),
            targets: self.set.targets_role("targets").map(TrustedRole::of),
        }
    }

    /// Brings the top-level roles up to date. On an error everything verified before it stays trusted and stored.
    pub async fn refresh(&mut self, now: Timestamp) -> Result<Refreshed, FeedError> {
        let before = self.states();
        self.refresh_root().await?;
        verify::fresh("root", self.set.root(), now)?;
        self.refresh_timestamp(now).await?;
        self.refresh_snapshot(now).await?;
        self.refresh_targets(now).await?;
        let after = self.states();
        let changed = before.root.version != after.root.version
            || before.targets.is_none()
            || before.snapshot.map(|role| role.version) != after.snapshot.map(|role| role.version);
        Ok(Refreshed {
            before,
            after,
            changed,
        })
    }

    /// Whether everything that answers for a target is complete and has not expired at `now`.
    pub fn check_fresh(&self, now: Timestamp) -> Result<(), FeedError> {
        let (Some(timestamp), Some(snapshot), Some(targets)) = (
            self.set.timestamp(),
            self.set.snapshot(),
            self.set.targets_role("targets"),
        ) else {
            return Err(FeedError::NotRefreshed);
        };
        let current = timestamp.snapshot_meta().map(|pin| pin.version) == Some(snapshot.version)
            && snapshot.meta.get("targets.json").map(|pin| pin.version) == Some(targets.version);
        if !current {
            return Err(FeedError::NotRefreshed);
        }
        verify::fresh("root", self.set.root(), now)?;
        verify::fresh("timestamp", timestamp, now)?;
        verify::fresh("snapshot", snapshot, now)?;
        verify::fresh("targets", targets, now)
    }

    /// Takes over what the folder holds as far as it verifies under the trusted root. Expiry does not matter here:
    /// expired metadata is still a floor, and it is checked wherever it is used.
    fn load_stored(&mut self) {
        self.floor = None;
        self.delegated.clear();
        for role in ["timestamp", "snapshot", "targets"] {
            let Some(bytes) = self.trust.role(role) else {
                continue;
            };
            let taken = match role {
                "timestamp" => self.take_stored_timestamp(&bytes),
                "snapshot" => self.take_stored_snapshot(&bytes),
                _ => self.take_stored_targets(&bytes),
            };
            if let Err(error) = taken {
                tracing::debug!(role, %error, "stored metadata does not verify and counts as absent");
            }
        }
    }

    fn take_stored_timestamp(&mut self, bytes: &[u8]) -> Result<(), FeedError> {
        let timestamp = verify::parse::<sigstore_tuf::Timestamp>("timestamp", bytes)?;
        verify::root_threshold(&timestamp, self.set.root(), "timestamp")?;
        self.set
            .update_timestamp(bytes, Timestamp::MIN)
            .map_err(|error| FeedError::refused("timestamp", error, Timestamp::MIN))
    }

    fn take_stored_snapshot(&mut self, bytes: &[u8]) -> Result<(), FeedError> {
        let snapshot = verify::parse_snapshot(bytes)?;
        verify::root_threshold(&snapshot, self.set.root(), "snapshot")?;
        self.floor = Some(snapshot);
        self.set
            .update_snapshot(bytes, Timestamp::MIN)
            .map_err(|error| FeedError::refused("snapshot", error, Timestamp::MIN))
    }

    fn take_stored_targets(&mut self, bytes: &[u8]) -> Result<(), FeedError> {
        let targets = verify::parse_targets("targets", bytes)?;
        verify::root_threshold(&targets, self.set.root(), "targets")?;
        self.set
            .update_targets(bytes, Timestamp::MIN)
            .map(|_| ())
            .map_err(|error| FeedError::refused("targets", error, Timestamp::MIN))
    }

    /// Section 5.3: follow the roots one by one, then keep the newest, however the walk ended.
    async fn refresh_root(&mut self) -> Result<(), FeedError> {
        let start = self.set.root().version;
        let mut rotated = false;
        let outcome = self.follow_roots(&mut rotated).await;
        if self.set.root().version != start {
            if rotated {
                // Before the root is stored, so that a crash between the two comes by here again.
                self.trust.forget_floors()?;
            }
            self.trust.store("root", self.set.root_bytes())?;
            self.load_stored();
        }
        outcome
    }

    /// Sets `rotated` when a key of timestamp or snapshot was taken away on the way: then what those roles said
    /// before no longer binds, which is how a vendor recovers from versions that an attacker pushed up.
    async fn follow_roots(&mut self, rotated: &mut bool) -> Result<(), FeedError> {
        for _ in 0..self.limits.root_rotations_max {
            let Some(next) = self.set.root().version.checked_add(1) else {
                return Ok(());
            };
            let name = format!("{next}.root.json");
            match self.fetch_metadata(&name, self.limits.root_bytes_max).await {
                Ok(bytes) => *rotated |= self.accept_root(next, &bytes)?,
                Err(FeedError::Transport { source, .. }) if source.is_absent() => return Ok(()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn accept_root(&mut self, expected: u64, bytes: &[u8]) -> Result<bool, FeedError> {
        let root = verify::parse_root(bytes)?;
        verify::root_threshold(&root, self.set.root(), "root")?;
        verify::root_threshold(&root, root.signed(), "root")?;
        if root.signed().version != expected {
            return Err(FeedError::RootVersion {
                expected,
                offered: root.signed().version,
            });
        }
        let rotated = ["timestamp", "snapshot"]
            .iter()
            .any(|role| verify::lost_a_key(role, self.set.root(), root.signed()));
        self.set
            .update_root(bytes)
            .map_err(|error| FeedError::refused("root", error, Timestamp::MIN))?;
        Ok(rotated)
    }

    /// Section 5.4.
    async fn refresh_timestamp(&mut self, now: Timestamp) -> Result<(), FeedError> {
        let bytes = self
            .fetch_metadata("timestamp.json", self.limits.timestamp_bytes_max)
            .await?;
        let offered = verify::parse::<sigstore_tuf::Timestamp>("timestamp", &bytes)?;
        verify::root_threshold(&offered, self.set.root(), "timestamp")?;
        let Some(pin) = offered.signed().snapshot_meta() else {
            return Err(FeedError::Malformed {
                role: "timestamp".to_owned(),
                detail: "it does not pin a snapshot".to_owned(),
            });
        };
        verify::check_pin("timestamp", "snapshot.json", pin)?;
        if let Some(trusted) = self.set.timestamp() {
            let (trusted_version, version) = (trusted.version, offered.signed().version);
            if version == trusted_version {
                // Nothing new, whatever else it says: what is trusted stays, if it still holds.
                return verify::fresh("timestamp", trusted, now);
            }
            let rollback = |role: &str, trusted: u64, offered: u64| FeedError::Rollback {
                role: role.to_owned(),
                trusted,
                offered,
            };
            if version < trusted_version {
                return Err(rollback("timestamp", trusted_version, version));
            }
            if let Some(before) = trusted.snapshot_meta()
                && pin.version < before.version
            {
                return Err(rollback("snapshot", before.version, pin.version));
            }
        }
        verify::fresh("timestamp", offered.signed(), now)?;
        self.set
            .update_timestamp(&bytes, now)
            .map_err(|error| FeedError::refused("timestamp", error, now))?;
        self.trust.store("timestamp", &bytes)
    }

    /// Section 5.5.
    async fn refresh_snapshot(&mut self, now: Timestamp) -> Result<(), FeedError> {
        let Some(pin) = self
            .set
            .timestamp()
            .and_then(|timestamp| timestamp.snapshot_meta())
            .cloned()
        else {
            return Err(FeedError::NotRefreshed);
        };
        if let Some(snapshot) = self.set.snapshot()
            && snapshot.version == pin.version
            && snapshot.expires > now
        {
            return Ok(());
        }
        let name = self.versioned("snapshot", pin.version);
        let limit = pin.length.unwrap_or(u64::MAX).min(self.limits.snapshot_bytes_max);
        let bytes = self.fetch_metadata(&name, limit).await?;
        verify::pinned("snapshot", "the timestamp", &pin, &bytes)?;
        let offered = verify::parse_snapshot(&bytes)?;
        verify::root_threshold(&offered, self.set.root(), "snapshot")?;
        verify::pinned_version("snapshot", "the timestamp", &pin, offered.signed().version)?;
        if let Some(floor) = &self.floor {
            verify::no_role_goes_back(floor.signed(), offered.signed())?;
        }
        verify::fresh("snapshot", offered.signed(), now)?;
        self.set
            .update_snapshot(&bytes, now)
            .map_err(|error| FeedError::refused("snapshot", error, now))?;
        self.floor = Some(offered);
        self.delegated.clear();
        self.trust.store("snapshot", &bytes)?;
        // What is stored may be exactly what the new snapshot pins; then it need not be fetched again.
        if let Some(targets) = self.trust.role("targets")
            && let Err(error) = self.take_stored_targets(&targets)
        {
            tracing::debug!(%error, "the stored targets are not those of the new snapshot");
        }
        Ok(())
    }

    /// Section 5.6 for the top-level role.
    async fn refresh_targets(&mut self, now: Timestamp) -> Result<(), FeedError> {
        let pin = self.pin_of("targets")?;
        if let Some(targets) = self.set.targets_role("targets")
            && targets.version == pin.version
            && targets.expires > now
        {
            return Ok(());
        }
        let name = self.versioned("targets", pin.version);
        let limit = pin.length.unwrap_or(u64::MAX).min(self.limits.targets_bytes_max);
        let bytes = self.fetch_metadata(&name, limit).await?;
        verify::pinned("targets", "the snapshot", &pin, &bytes)?;
        let offered = verify::parse_targets("targets", &bytes)?;
        verify::root_threshold(&offered, self.set.root(), "targets")?;
        verify::pinned_version("targets", "the snapshot", &pin, offered.signed().version)?;
        verify::fresh("targets", offered.signed(), now)?;
        self.set
            .update_targets(&bytes, now)
            .map_err(|error| FeedError::refused("targets", error, now))?;
        self.trust.store("targets", &bytes)
    }

    /// What the trusted snapshot says about a role.
    fn pin_of(&self, role: &str) -> Result<sigstore_tuf::MetaFile, FeedError> {
        let snapshot = self.set.snapshot().ok_or(FeedError::NotRefreshed)?;
        snapshot
            .meta
            .get(&format!("{role}.json"))
            .cloned()
            .ok_or_else(|| FeedError::NotInSnapshot {
                role: role.to_owned(),
            })
    }

    /// The file name of a role: with its version where the repository keeps consistent snapshots.
    fn versioned(&self, role: &str, version: u64) -> String {
        if self.set.root().consistent_snapshot {
            format!("{version}.{role}.json")
        } else {
            format!("{role}.json")
        }
    }
}
