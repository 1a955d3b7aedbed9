//! Creating a feed and opening one.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rand_core::CryptoRng;
use serde_json::{Map, Value, json};
use sigstore_tuf::TrustedMetadataSet;

use super::error::{PublishError, io};
use super::generation::Generation;
use super::keys::{self, PublicKey, SigningKey};
use super::layout::{Expiries, Settings};
use super::rotation::OnlineRole;
use super::{Publisher, create_folder, document};
use crate::client::{FeedError, verify};
use crate::durable;

/// What a new feed looks like.
#[derive(Debug, Clone)]
pub struct InitSpec {
    /// How many root keys to make.
    pub root_keys: usize,
    /// How many of them must sign a root.
    pub root_threshold: usize,
    /// How many keys to make for the targets role.
    pub targets_keys: usize,
    /// How many of them must sign it.
    pub targets_threshold: usize,
    /// How many hashed bins the targets are spread over: a power of two up to 16384.
    pub bins: u32,
    /// How long each role stays valid.
    pub expiries: Expiries,
}

impl Default for InitSpec {
    fn default() -> Self {
        Self {
            root_keys: 3,
            root_threshold: 2,
            targets_keys: 1,
            targets_threshold: 1,
            bins: 64,
            expiries: Expiries::default(),
        }
    }
}

impl InitSpec {
    fn check(&self) -> Result<Settings, PublishError> {
        let refuse = |detail: String| Err(PublishError::Settings { detail });
        for (role, keys, threshold) in [
            ("root", self.root_keys, self.root_threshold),
            ("targets", self.targets_keys, self.targets_threshold),
        ] {
            if threshold == 0 || threshold > keys || keys > 100 {
                return refuse(format!(
                    "{threshold} of {keys} {role} keys cannot sign (at most 100 keys)"
                ));
            }
        }
        let settings = Settings {
            bins: self.bins,
            expiries: self.expiries,
        };
        settings.check()?;
        Ok(settings)
    }
}

impl Publisher {
    /// Creates a feed below `repository` (`metadata/` and `targets/`). The online keys go to a folder per role below
    /// `keys`, the root keys to `root_keys`, which should be a place that is taken away afterwards.
    pub fn init(
        repository: &Path,
        keys: &Path,
        root_keys: &Path,
        spec: &InitSpec,
        rng: &mut dyn CryptoRng,
        now: Timestamp,
    ) -> Result<Self, PublishError> {
        let settings = spec.check()?;
        let metadata = repository.join("metadata");
        create_folder(&metadata)?;
        create_folder(&repository.join("targets"))?;
        keys::create_private_folder(keys)?;
        let lock = lock(keys)?;
        if metadata.join("timestamp.json").exists() {
            return Err(PublishError::AlreadyInitialised {
                folder: repository.to_owned(),
            });
        }
        let mut make = |folder: &Path, count: usize| -> Result<Vec<SigningKey>, PublishError> {
            (0..count)
                .map(|_| {
                    let key = SigningKey::generate(rng);
                    key.write(folder)?;
                    Ok(key)
                })
                .collect()
        };
        let root = make(root_keys, spec.root_keys)?;
        let targets = make(&keys.join(OnlineRole::Targets.folder()), spec.targets_keys)?;
        let publisher = make(&keys.join(OnlineRole::Publisher.folder()), 1)?;
        let snapshot = make(&keys.join(OnlineRole::Snapshot.folder()), 1)?;
        let timestamp = make(&keys.join(OnlineRole::Timestamp.folder()), 1)?;

        let roles = [
            ("root", &root, spec.root_threshold),
            ("snapshot", &snapshot, 1),
            ("targets", &targets, spec.targets_threshold),
            ("timestamp", &timestamp, 1),
        ];
        let root_bytes = first_root(&roles, &root, document::after(now, spec.expiries.root)?);
        verify::initial_root(&root_bytes)?;
        let settings_text = serde_json::to_vec_pretty(&settings).map_err(|error| PublishError::Settings {
            detail: error.to_string(),
        })?;
        write(&keys.join("publisher.json"), &settings_text, 0o600)?;
        write(&keys.join("root.json"), &root_bytes, 0o644)?;
        write(&metadata.join("1.root.json"), &root_bytes, 0o644)?;

        let set = TrustedMetadataSet::from_root(&root_bytes)
            .map_err(|error| FeedError::refused("root", error, now))?;
        let mut feed = Self {
            repository: repository.to_owned(),
            keys: keys.to_owned(),
            settings,
            set,
            on_disk: versions_on_disk(&metadata)?,
            edits: BTreeMap::new(),
            unflushed: Vec::new(),
            _lock: lock,
        };
        let public: Vec<PublicKey> = publisher.iter().map(|key| key.public().clone()).collect();
        let generation = Generation {
            delegated: settings
                .roles()
                .into_iter()
                .map(|role| (role, BTreeMap::new()))
                .collect(),
            delegated_signers: publisher.iter().collect(),
            delegations: Some(settings.delegations(&public, 1)),
            targets_signers: targets.iter().collect(),
            snapshot_signers: snapshot.iter().collect(),
            timestamp_signers: timestamp.iter().collect(),
        };
        feed.publish(&generation, now)?;
        Ok(feed)
    }

    /// Opens the feed below `repository` with the online keys below `keys`, and verifies what lies there.
    pub fn open(repository: &Path, keys: &Path) -> Result<Self, PublishError> {
        let metadata = repository.join("metadata");
        let settings_path = keys.join("publisher.json");
        if !metadata.join("timestamp.json").exists() || !settings_path.exists() {
            return Err(PublishError::NotInitialised {
                folder: repository.to_owned(),
            });
        }
        let lock = lock(keys)?;
        durable::sweep(&metadata).map_err(io("tidy", &metadata))?;
        let settings: Settings =
            serde_json::from_slice(&read(&settings_path)?).map_err(|error| PublishError::Settings {
                detail: format!("{} is damaged: {error}", settings_path.display()),
            })?;
        settings.check()?;
        let set = load(&metadata, &read(&keys.join("root.json"))?)?;
        Ok(Self {
            repository: repository.to_owned(),
            keys: keys.to_owned(),
            settings,
            set,
            on_disk: versions_on_disk(&metadata)?,
            edits: BTreeMap::new(),
            unflushed: Vec::new(),
            _lock: lock,
        })
    }

    /// The published state as it is under the newest root.
    pub(super) fn reload(&mut self) -> Result<(), PublishError> {
        self.set = load(&self.metadata_folder(), &read(&self.keys.join("root.json"))?)?;
        Ok(())
    }
}

/// Follows the roots from the one that is remembered, then reads the rest as a reader does who cares for everything
/// but expiry.
fn load(metadata: &Path, remembered_root: &[u8]) -> Result<TrustedMetadataSet, PublishError> {
    verify::initial_root(remembered_root)?;
    let refused = |role: &'static str| move |error| FeedError::refused(role, error, Timestamp::MIN);
    let mut set = TrustedMetadataSet::from_root(remembered_root).map_err(refused("root"))?;
    loop {
        let path = metadata.join(format!("{}.root.json", set.root().version + 1));
        if !path.exists() {
            break;
        }
        set.update_root(&read(&path)?).map_err(refused("root"))?;
    }
    take_online(metadata, &mut set)?;
    Ok(set)
}

/// Reads timestamp, snapshot and targets into `set`.
pub(super) fn take_online(metadata: &Path, set: &mut TrustedMetadataSet) -> Result<(), PublishError> {
    let refused = |role: &'static str| move |error| FeedError::refused(role, error, Timestamp::MIN);
    set.update_timestamp(&read(&metadata.join("timestamp.json"))?, Timestamp::MIN)
        .map_err(refused("timestamp"))?;
    let version = set
        .timestamp()
        .and_then(|timestamp| timestamp.snapshot_meta())
        .map_or(0, |pin| pin.version);
    let snapshot = read(&metadata.join(format!("{version}.snapshot.json")))?;
    set.update_snapshot(&snapshot, Timestamp::MIN)
        .map_err(refused("snapshot"))?;
    let version = set
        .snapshot()
        .and_then(|snapshot| snapshot.meta.get("targets.json"))
        .map_or(0, |pin| pin.version);
    let targets = read(&metadata.join(format!("{version}.targets.json")))?;
    set.update_targets(&targets, Timestamp::MIN)
        .map_err(refused("targets"))?;
    Ok(())
}

fn first_root(
    roles: &[(&str, &Vec<SigningKey>, usize)],
    signers: &[SigningKey],
    expires: Timestamp,
) -> Vec<u8> {
    let mut keys = BTreeMap::new();
    let mut by_role = BTreeMap::new();
    for (role, members, threshold) in roles {
        let mut ids: Vec<String> = members.iter().map(|key| key.public().key_id()).collect();
        ids.sort();
        keys.extend(
            members
                .iter()
                .map(|key| (key.public().key_id(), key.public().to_value())),
        );
        by_role.insert((*role).to_owned(), json!({"keyids": ids, "threshold": threshold}));
    }
    let fields = Map::from_iter([
        ("consistent_snapshot".to_owned(), json!(true)),
        ("keys".to_owned(), Value::Object(keys.into_iter().collect())),
        ("roles".to_owned(), Value::Object(by_role.into_iter().collect())),
    ]);
    document::envelope(&document::signed("root", 1, expires, fields), signers)
}

/// Which versions of which roles have a file.
fn versions_on_disk(metadata: &Path) -> Result<BTreeMap<String, BTreeSet<u64>>, PublishError> {
    let mut found: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
    for entry in std::fs::read_dir(metadata).map_err(io("read", metadata))? {
        let name = entry.map_err(io("read", metadata))?.file_name();
        let name = name.to_string_lossy();
        let Some((version, role)) = name.strip_suffix(".json").and_then(|name| name.split_once('.')) else {
            continue;
        };
        if let Ok(version) = version.parse() {
            found.entry(role.to_owned()).or_default().insert(version);
        }
    }
    Ok(found)
}

/// One publisher at a time; the lock ends with the process.
fn lock(keys: &Path) -> Result<File, PublishError> {
    let path: PathBuf = keys.join("publisher.lock");
    let file = File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(io("open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(PublishError::Busy { lock: path }),
        Err(TryLockError::Error(source)) => Err(io("lock", &path)(source)),
    }
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, PublishError> {
    std::fs::read(path).map_err(io("read", path))
}

pub(super) fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), PublishError> {
    durable::write(path, bytes, mode).map_err(io("write", path))
}
