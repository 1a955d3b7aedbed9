//! New keys for old: each online role, and the root.
//!
//! A rotation never leaves a moment in which readers are refused. Roles that root authorises are first published with
//! the signatures of the old and the new keys, valid under either root; then the new root follows. The publisher's key
//! is authorised by targets, so its rotation is one commit.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::Timestamp;
use rand_core::CryptoRng;

use super::error::PublishError;
use super::generation::Generation;
use super::keys::{self, PublicKey, SigningKey};
use super::root::{self, RootChange};
use super::{Publisher, values_of};
use crate::client::FeedError;

/// The roles whose keys the publisher keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum OnlineRole {
    /// The top-level targets: who may publish.
    Targets,
    /// The catalogue and the bins.
    Publisher,
    /// The snapshot.
    Snapshot,
    /// The timestamp.
    Timestamp,
}

impl OnlineRole {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Targets, Self::Publisher, Self::Snapshot, Self::Timestamp];

    /// Its folder below the key folder, and its name on screen.
    pub fn folder(self) -> &'static str {
        match self {
            Self::Targets => "targets",
            Self::Publisher => "publisher",
            Self::Snapshot => "snapshot",
            Self::Timestamp => "timestamp",
        }
    }
}

/// What a rotation of the root keys changes.
#[derive(Debug, Clone, Default)]
pub struct RootRotation {
    /// How many new keys to make.
    pub add: usize,
    /// Key ids to remove.
    pub remove: Vec<String>,
    /// How many keys must sign from now on, if that changes.
    pub threshold: Option<usize>,
}

impl Publisher {
    /// Makes new root keys and publishes a root that says so, signed with the root keys in `root_keys`. With an empty
    /// change this renews the root. Returns the ids of the new keys.
    pub fn rotate_root(
        &mut self,
        root_keys: &Path,
        rotation: &RootRotation,
        rng: &mut dyn CryptoRng,
        now: Timestamp,
    ) -> Result<Vec<String>, PublishError> {
        let new: Vec<SigningKey> = (0..rotation.add).map(|_| SigningKey::generate(rng)).collect();
        let change = RootChange {
            add: publics(&new),
            remove: rotation.remove.clone(),
            threshold: rotation.threshold,
            replace: BTreeMap::new(),
        };
        let mut draft = self.draft_root(&change, now)?;
        for key in &new {
            key.write(root_keys)?;
        }
        root::sign_with_folder(&mut draft, self.set.root(), root_keys)?;
        self.publish_root(&draft)?;
        for id in &rotation.remove {
            keys::retire(root_keys, id)?;
        }
        Ok(new.iter().map(|key| key.public().key_id()).collect())
    }

    /// Replaces all keys of an online role by new ones. `root_keys` is needed for every role but the publisher's,
    /// whose rotation needs the targets keys instead. Returns the ids of the new keys.
    pub fn rotate_key(
        &mut self,
        role: OnlineRole,
        root_keys: Option<&Path>,
        rng: &mut dyn CryptoRng,
        now: Timestamp,
    ) -> Result<Vec<String>, PublishError> {
        if role == OnlineRole::Publisher {
            return self.rotate_publisher(rng, now);
        }
        let Some(root_keys) = root_keys else {
            let detail = format!(
                "the keys of {} can only be replaced with the root keys",
                role.folder()
            );
            return Err(PublishError::Settings { detail });
        };
        let old = self.signers(role)?;
        let authorised = self
            .set
            .root()
            .role(role.folder())
            .map_or(1, |keys| keys.keyids.len());
        let new: Vec<SigningKey> = (0..authorised).map(|_| SigningKey::generate(rng)).collect();
        let replace = BTreeMap::from([(role.folder().to_owned(), publics(&new))]);
        let mut draft = self.draft_root(
            &RootChange {
                replace,
                ..RootChange::default()
            },
            now,
        )?;
        // Before anything is published: are the root keys really here?
        root::sign_with_folder(&mut draft, self.set.root(), root_keys)?;
        let folder = self.keys_of(role.folder());
        for key in &new {
            key.write(&folder)?;
        }
        self.publish_with_both(role, &old, &new, now)?;
        self.publish_root(&draft)?;
        for key in &old {
            keys::retire(&folder, &key.public().key_id())?;
        }
        Ok(new.iter().map(|key| key.public().key_id()).collect())
    }

    /// Publishes the role, and what must follow it, signed by the old keys and the new ones.
    fn publish_with_both(
        &mut self,
        role: OnlineRole,
        old: &[SigningKey],
        new: &[SigningKey],
        now: Timestamp,
    ) -> Result<(), PublishError> {
        let snapshot = self.signers(OnlineRole::Snapshot)?;
        let timestamp = self.signers(OnlineRole::Timestamp)?;
        let both = || old.iter().chain(new).collect::<Vec<_>>();
        let mut generation = Generation {
            delegated: BTreeMap::new(),
            delegated_signers: Vec::new(),
            delegations: None,
            targets_signers: Vec::new(),
            snapshot_signers: snapshot.iter().collect(),
            timestamp_signers: timestamp.iter().collect(),
        };
        match role {
            OnlineRole::Targets => {
                let (keys, threshold) = self.publisher_keys()?;
                generation.delegations = Some(self.settings.delegations(&keys, threshold));
                generation.targets_signers = both();
            }
            OnlineRole::Snapshot => generation.snapshot_signers = both(),
            OnlineRole::Timestamp => generation.timestamp_signers = both(),
            // The publisher's key is not root's business.
            OnlineRole::Publisher => {}
        }
        self.publish(&generation, now)
    }

    fn rotate_publisher(
        &mut self,
        rng: &mut dyn CryptoRng,
        now: Timestamp,
    ) -> Result<Vec<String>, PublishError> {
        let old = self.publisher_keys()?.0;
        let targets = self.signers(OnlineRole::Targets)?;
        let snapshot = self.signers(OnlineRole::Snapshot)?;
        let timestamp = self.signers(OnlineRole::Timestamp)?;
        let new = SigningKey::generate(rng);
        let folder = self.keys_of(OnlineRole::Publisher.folder());
        let mut delegated = BTreeMap::new();
        for role in self.settings.roles() {
            delegated.insert(role.clone(), values_of(&self.delegated(&role)?));
        }
        new.write(&folder)?;
        let generation = Generation {
            delegated,
            delegated_signers: vec![&new],
            delegations: Some(self.settings.delegations(&[new.public().clone()], 1)),
            targets_signers: targets.iter().collect(),
            snapshot_signers: snapshot.iter().collect(),
            timestamp_signers: timestamp.iter().collect(),
        };
        self.publish(&generation, now)?;
        for key in &old {
            keys::retire(&folder, &key.key_id())?;
        }
        Ok(vec![new.public().key_id()])
    }

    /// The private keys of a role that are here and authorised, or an error where they are too few.
    pub(super) fn signers(&self, role: OnlineRole) -> Result<Vec<SigningKey>, PublishError> {
        let (authorised, threshold) = match role {
            OnlineRole::Publisher => {
                let (keys, threshold) = self.publisher_keys()?;
                (
                    keys.iter().map(PublicKey::key_id).collect(),
                    usize::try_from(threshold).unwrap_or(1),
                )
            }
            _ => match self.set.root().role(role.folder()) {
                Some(keys) => (keys.keyids.clone(), keys.threshold),
                None => (Vec::new(), 1),
            },
        };
        let folder = self.keys_of(role.folder());
        let keys: Vec<SigningKey> = keys::read_folder(&folder)?
            .into_iter()
            .filter(|(id, _)| authorised.contains(id))
            .map(|(_, key)| key)
            .collect();
        if keys.len() < threshold {
            let (role, found) = (role.folder().to_owned(), keys.len());
            return Err(PublishError::MissingKeys {
                role,
                found,
                threshold,
                folder,
            });
        }
        Ok(keys)
    }

    /// The keys that the top-level targets authorise for the delegated roles, and their threshold.
    pub(super) fn publisher_keys(&self) -> Result<(Vec<PublicKey>, u64), PublishError> {
        let no_role = || FeedError::NoSuchRole {
            role: super::CATALOGUE.to_owned(),
        };
        let delegations = self.top_targets()?.delegations.as_ref().ok_or_else(no_role)?;
        let role = delegations.roles.first().ok_or_else(no_role)?;
        let keys = role
            .keyids
            .iter()
            .filter_map(|id| PublicKey::from_hex(&delegations.keys.get(id)?.keyval.public))
            .collect();
        Ok((keys, role.threshold as u64))
    }
}

fn publics(keys: &[SigningKey]) -> Vec<PublicKey> {
    keys.iter().map(|key| key.public().clone()).collect()
}
