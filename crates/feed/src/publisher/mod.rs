//! The vendor's side: an editor of one feed in a folder of static files.
//!
//! It holds the online keys, edits targets in memory, and publishes a new state with one atomic step. It reads its
//! own repository as suspiciously as any client: whatever does not verify from the root it remembers is never signed
//! again, so a break-in at the web server cannot launder a target through the next commit. Root keys live in a folder
//! that the caller names only when a root is made; a root can also be drafted here and signed elsewhere.

mod document;
mod error;
mod generation;
mod keys;
mod layout;
mod open;
mod root;
mod rotation;
mod status;

pub use error::PublishError;
pub use keys::{PublicKey, SigningKey, read_folder};
pub use layout::{CATALOGUE, Expiries, TargetRecord, stored_path};
pub use open::InitSpec;
pub use root::{RootChange, RootDraft};
pub use rotation::{OnlineRole, RootRotation};
pub use status::{KeyState, RoleKeyStatus, RoleState};

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde_json::Value;
use sigstore_tuf::{Targets, TrustedMetadataSet};

use crate::client::{FeedError, verify};
use error::io;
use generation::Generation;
use layout::Settings;

/// An open feed. Only one process can have it open at a time.
pub struct Publisher {
    repository: PathBuf,
    keys: PathBuf,
    settings: Settings,
    set: TrustedMetadataSet,
    /// Every version number that has a file, by role.
    on_disk: BTreeMap<String, BTreeSet<u64>>,
    /// Delegated roles with changes that are not published yet: before and after.
    edits: BTreeMap<String, RoleEdit>,
    unflushed: Vec<PathBuf>,
    _lock: File,
}

struct RoleEdit {
    published: BTreeMap<String, Value>,
    edited: BTreeMap<String, Value>,
}

/// What a commit or a renewal published.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Committed {
    /// Whether anything was published.
    pub changed: bool,
    /// The roles below snapshot that have a new version.
    pub roles: Vec<String>,
    /// The version of the snapshot that is published now.
    pub snapshot: u64,
    /// The version of the timestamp that is published now.
    pub timestamp: u64,
}

/// What a renewal published and what it could not renew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renewed {
    /// What was published.
    pub committed: Committed,
    /// Roles in the last third of their life whose keys are not here: root, or targets with its key kept elsewhere.
    pub due: Vec<(String, Timestamp)>,
}

impl Publisher {
    /// Where the metadata files lie.
    pub fn metadata_folder(&self) -> PathBuf {
        self.repository.join("metadata")
    }

    /// Where the target files lie.
    pub fn targets_folder(&self) -> PathBuf {
        self.repository.join("targets")
    }

    /// Where the file of a target lies.
    pub fn target_file(&self, path: &str, sha256: &str) -> PathBuf {
        self.targets_folder().join(stored_path(path, sha256))
    }

    /// The current root, byte for byte: what a reader pins.
    pub fn root_bytes(&self) -> &[u8] {
        self.set.root_bytes()
    }

    /// Adds or replaces a target. Its file must be in place before the commit.
    pub fn set_target(&mut self, path: &str, record: &TargetRecord) -> Result<(), PublishError> {
        layout::check_target(path, record)?;
        let role = self.settings.role_of(path);
        self.edit(&role)?
            .edited
            .insert(path.to_owned(), record.to_value());
        Ok(())
    }

    /// Removes a target and says whether it was there.
    pub fn remove_target(&mut self, path: &str) -> Result<bool, PublishError> {
        let role = self.settings.role_of(path);
        Ok(self.edit(&role)?.edited.remove(path).is_some())
    }

    /// What a target is now, unpublished changes included.
    pub fn target(&self, path: &str) -> Result<Option<TargetRecord>, PublishError> {
        let role = self.settings.role_of(path);
        if let Some(edit) = self.edits.get(&role) {
            return Ok(edit.edited.get(path).and_then(record_of));
        }
        Ok(self
            .delegated(&role)?
            .targets
            .get(path)
            .map(TargetRecord::from_file))
    }

    /// Every target whose path begins with `prefix`, unpublished changes included, in order of the path.
    pub fn targets(&self, prefix: &str) -> Result<BTreeMap<String, TargetRecord>, PublishError> {
        let mut found = BTreeMap::new();
        for role in self.settings.roles() {
            match self.edits.get(&role) {
                Some(edit) => found.extend(
                    edit.edited
                        .iter()
                        .filter(|(path, _)| path.starts_with(prefix))
                        .filter_map(|(path, value)| Some((path.clone(), record_of(value)?))),
                ),
                None => found.extend(
                    self.delegated(&role)?
                        .targets
                        .iter()
                        .filter(|(path, _)| path.starts_with(prefix))
                        .map(|(path, file)| (path.clone(), TargetRecord::from_file(file))),
                ),
            }
        }
        Ok(found)
    }

    /// Forgets changes that were not committed.
    pub fn discard(&mut self) {
        self.edits.clear();
    }

    /// Publishes all changes at once. Only roles that changed get a new version; without a change nothing happens.
    pub fn commit(&mut self, now: Timestamp) -> Result<Committed, PublishError> {
        let changed: BTreeMap<String, BTreeMap<String, Value>> = self
            .edits
            .iter()
            .filter(|(_, edit)| edit.published != edit.edited)
            .map(|(role, edit)| (role.clone(), edit.edited.clone()))
            .collect();
        if changed.is_empty() {
            self.edits.clear();
            return Ok(self.committed(Vec::new()));
        }
        self.check_files()?;
        let roles = changed.keys().cloned().collect();
        self.publish_online(changed, None, now)?;
        self.edits.clear();
        Ok(self.committed(roles))
    }

    /// Refuses to publish a target that readers could not fetch.
    fn check_files(&self) -> Result<(), PublishError> {
        for edit in self.edits.values() {
            let new = edit
                .edited
                .iter()
                .filter(|(path, value)| edit.published.get(*path) != Some(*value));
            for (path, record) in new.filter_map(|(path, value)| Some((path, record_of(value)?))) {
                let file = self.target_file(path, &record.sha256);
                let detail = match std::fs::metadata(&file) {
                    Ok(found) if found.is_file() && found.len() == record.length => continue,
                    Ok(_) => format!("{} is not a file of {} bytes", file.display(), record.length),
                    Err(_) => format!("its file {} is not there", file.display()),
                };
                return Err(PublishError::Target {
                    path: path.clone(),
                    detail,
                });
            }
        }
        Ok(())
    }

    /// Publishes a new timestamp and snapshot, and anew every role in the last third of its life whose keys are here.
    pub fn renew(&mut self, now: Timestamp) -> Result<Renewed, PublishError> {
        let mut due = Vec::new();
        let expiries = self.settings.expiries;
        let mut renewed = Vec::new();
        let mut delegated = BTreeMap::new();
        for role in self.settings.roles() {
            let targets = self.delegated(&role)?;
            if is_due(targets.expires, expiries.delegated, now) {
                renewed.push(role.clone());
                delegated.insert(role, values_of(&targets));
            }
        }
        let targets = self.top_targets()?;
        let mut delegations = None;
        if is_due(targets.expires, expiries.targets, now) {
            let expires = targets.expires;
            if self.signers(OnlineRole::Targets).is_ok() {
                let (keys, threshold) = self.publisher_keys()?;
                delegations = Some(self.settings.delegations(&keys, threshold));
                renewed.push("targets".to_owned());
            } else {
                due.push(("targets".to_owned(), expires));
            }
        }
        let root = self.set.root();
        if is_due(root.expires, expiries.root, now) {
            due.push(("root".to_owned(), root.expires));
        }
        self.publish_online(delegated, delegations, now)?;
        Ok(Renewed {
            committed: Committed {
                changed: true,
                ..self.committed(renewed)
            },
            due,
        })
    }

    /// Publishes with the keys that are authorised now.
    fn publish_online(
        &mut self,
        delegated: BTreeMap<String, BTreeMap<String, Value>>,
        delegations: Option<Value>,
        now: Timestamp,
    ) -> Result<(), PublishError> {
        let publisher = match delegated.is_empty() {
            true => Vec::new(),
            false => self.signers(OnlineRole::Publisher)?,
        };
        let targets = match delegations {
            Some(_) => self.signers(OnlineRole::Targets)?,
            None => Vec::new(),
        };
        let snapshot = self.signers(OnlineRole::Snapshot)?;
        let timestamp = self.signers(OnlineRole::Timestamp)?;
        let generation = Generation {
            delegated,
            delegated_signers: publisher.iter().collect(),
            delegations,
            targets_signers: targets.iter().collect(),
            snapshot_signers: snapshot.iter().collect(),
            timestamp_signers: timestamp.iter().collect(),
        };
        self.publish(&generation, now)
    }

    fn committed(&self, roles: Vec<String>) -> Committed {
        Committed {
            changed: !roles.is_empty(),
            roles,
            snapshot: self.set.snapshot().map_or(0, |snapshot| snapshot.version),
            timestamp: self.set.timestamp().map_or(0, |timestamp| timestamp.version),
        }
    }

    fn edit(&mut self, role: &str) -> Result<&mut RoleEdit, PublishError> {
        if !self.edits.contains_key(role) {
            let published = values_of(&self.delegated(role)?);
            let edited = published.clone();
            self.edits.insert(role.to_owned(), RoleEdit { published, edited });
        }
        // Inserted just above where it was missing.
        Ok(self.edits.get_mut(role).expect("the edit is there"))
    }

    fn top_targets(&self) -> Result<&Targets, PublishError> {
        Ok(self.set.targets_role("targets").ok_or(FeedError::NotRefreshed)?)
    }

    /// A delegated role as it is published, verified as a reader would.
    fn delegated(&self, role: &str) -> Result<Targets, PublishError> {
        let bytes = self.current_file(role)?;
        let snapshot = self.set.snapshot().ok_or(FeedError::NotRefreshed)?;
        let pin = snapshot
            .meta
            .get(&format!("{role}.json"))
            .ok_or_else(|| FeedError::NotInSnapshot {
                role: role.to_owned(),
            })?;
        verify::pinned(role, "the snapshot", pin, &bytes)?;
        let metadata = verify::parse_targets(role, &bytes)?;
        let delegations = self.top_targets()?.delegations.as_ref();
        let child = delegations
            .and_then(|delegations| delegations.roles.iter().find(|child| child.name == role))
            .zip(delegations)
            .ok_or_else(|| FeedError::NoSuchRole {
                role: role.to_owned(),
            })?;
        verify::threshold(&metadata, &child.1.keys, &child.0.role_keys(), role)?;
        verify::pinned_version(role, "the snapshot", pin, metadata.signed().version)?;
        Ok(metadata.into_signed())
    }

    /// The version of a role that the published state refers to.
    fn pinned_version(&self, role: &str) -> Option<u64> {
        match role {
            "snapshot" => self.set.timestamp()?.snapshot_meta().map(|pin| pin.version),
            _ => self
                .set
                .snapshot()?
                .meta
                .get(&format!("{role}.json"))
                .map(|pin| pin.version),
        }
    }

    fn current_file(&self, role: &str) -> Result<Vec<u8>, PublishError> {
        let version = self
            .pinned_version(role)
            .ok_or_else(|| FeedError::NotInSnapshot {
                role: role.to_owned(),
            })?;
        let path = self.metadata_folder().join(format!("{version}.{role}.json"));
        std::fs::read(&path).map_err(io("read", &path))
    }

    fn keys_of(&self, folder: &str) -> PathBuf {
        self.keys.join(folder)
    }
}

/// Whether less than a third of a role's life is left.
fn is_due(expires: Timestamp, lifetime: u64, now: Timestamp) -> bool {
    let left = expires.as_second().saturating_sub(now.as_second());
    u64::try_from(left).unwrap_or(0) < lifetime / 3
}

fn values_of(targets: &Targets) -> BTreeMap<String, Value> {
    let value = |file| TargetRecord::from_file(file).to_value();
    targets
        .targets
        .iter()
        .map(|(path, file)| (path.clone(), value(file)))
        .collect()
}

fn record_of(value: &Value) -> Option<TargetRecord> {
    Some(TargetRecord {
        length: value["length"].as_u64()?,
        sha256: value["hashes"]["sha256"].as_str()?.to_owned(),
        custom: value.get("custom").cloned(),
    })
}

/// The folder that must exist for `path` to be written.
fn create_folder(path: &Path) -> Result<(), PublishError> {
    std::fs::create_dir_all(path).map_err(io("create", path))
}
