//! Who signs what, and until when: the figures behind `cloud keys list`.

use std::collections::BTreeSet;
use std::path::Path;

use jiff::Timestamp;

use super::error::PublishError;
use super::keys::{self, PublicKey};
use super::rotation::OnlineRole;
use super::{Publisher, is_due};

/// One key of a role.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyState {
    /// Its id.
    pub key_id: String,
    /// Whether the role accepts its signatures.
    pub authorised: bool,
    /// Whether its private half is here.
    pub present: bool,
}

/// How much longer a role lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RoleState {
    /// More than a third of its life is left.
    Valid,
    /// Less than a third of its life is left.
    RenewSoon,
    /// Readers refuse it.
    Expired,
}

/// One role and its keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleKeyStatus {
    /// `root`, `targets`, `publisher`, `snapshot` or `timestamp`.
    pub role: String,
    /// How many of the authorised keys must sign.
    pub threshold: usize,
    /// Its keys: authorised ones, and private ones in its folder that are not authorised.
    pub keys: Vec<KeyState>,
    /// Its version; for the publisher, that of the catalogue.
    pub version: u64,
    /// When it expires; for the publisher, the first of its roles to do so.
    pub expires: Timestamp,
    /// What that means at the time asked about.
    pub state: RoleState,
}

impl Publisher {
    /// Lists the keys of every role. `root_keys` is where root keys are looked for, if they are at hand at all.
    pub fn key_status(
        &self,
        root_keys: Option<&Path>,
        now: Timestamp,
    ) -> Result<Vec<RoleKeyStatus>, PublishError> {
        let root = self.set.root();
        let expiries = self.settings.expiries;
        let mut rows = Vec::new();
        let authorised = |role: &str| root.role(role).map(|keys| (keys.keyids.clone(), keys.threshold));
        let mut add =
            |role: &str, keys: (Vec<String>, usize), folder: Option<&Path>, version, expires, life| {
                let present: BTreeSet<String> = match folder {
                    Some(folder) => keys::read_folder(folder)?.into_keys().collect(),
                    None => BTreeSet::new(),
                };
                let all: BTreeSet<&String> = keys.0.iter().chain(&present).collect();
                let keys_of_role = all
                    .into_iter()
                    .map(|id| KeyState {
                        key_id: id.clone(),
                        authorised: keys.0.contains(id),
                        present: present.contains(id),
                    })
                    .collect();
                let state = match () {
                    () if expires <= now => RoleState::Expired,
                    () if is_due(expires, life, now) => RoleState::RenewSoon,
                    () => RoleState::Valid,
                };
                let (role, threshold) = (role.to_owned(), keys.1);
                rows.push(RoleKeyStatus {
                    role,
                    threshold,
                    keys: keys_of_role,
                    version,
                    expires,
                    state,
                });
                Ok::<_, PublishError>(())
            };
        let none = || (Vec::new(), 0);
        let keys = authorised("root").unwrap_or_else(none);
        add("root", keys, root_keys, root.version, root.expires, expiries.root)?;

        let targets = self.top_targets()?;
        let folder = self.keys_of(OnlineRole::Targets.folder());
        let keys = authorised("targets").unwrap_or_else(none);
        add(
            "targets",
            keys,
            Some(&folder),
            targets.version,
            targets.expires,
            expiries.targets,
        )?;

        let (publishers, threshold) = self.publisher_keys()?;
        let ids = publishers.iter().map(PublicKey::key_id).collect();
        let mut first_expiry = Timestamp::MAX;
        for role in self.settings.roles() {
            first_expiry = first_expiry.min(self.delegated(&role)?.expires);
        }
        let folder = self.keys_of(OnlineRole::Publisher.folder());
        let version = self.pinned_version(super::CATALOGUE).unwrap_or(0);
        let keys = (ids, usize::try_from(threshold).unwrap_or(1));
        add(
            "publisher",
            keys,
            Some(&folder),
            version,
            first_expiry,
            expiries.delegated,
        )?;

        if let Some(snapshot) = self.set.snapshot() {
            let folder = self.keys_of(OnlineRole::Snapshot.folder());
            let keys = authorised("snapshot").unwrap_or_else(none);
            add(
                "snapshot",
                keys,
                Some(&folder),
                snapshot.version,
                snapshot.expires,
                expiries.snapshot,
            )?;
        }
        if let Some(timestamp) = self.set.timestamp() {
            let folder = self.keys_of(OnlineRole::Timestamp.folder());
            let keys = authorised("timestamp").unwrap_or_else(none);
            add(
                "timestamp",
                keys,
                Some(&folder),
                timestamp.version,
                timestamp.expires,
                expiries.timestamp,
            )?;
        }
        Ok(rows)
    }
}
