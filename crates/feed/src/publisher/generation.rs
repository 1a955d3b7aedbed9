//! Writing one new state of the feed: delegated roles, targets, snapshot, and last of all the timestamp.
//!
//! Until the timestamp is replaced, in one atomic step, readers see the state before. Every file written earlier has
//! a version number that no file on disk had, so a crash leaves only files that nothing refers to, and no number is
//! ever used again for other bytes. What is about to be published is verified first, as a reader would.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::error::{PublishError, io};
use super::keys::SigningKey;
use super::{Publisher, document};
use crate::client::{FeedError, verify};
use crate::durable;

/// Older versions of a role that stay on disk, for readers in the middle of a refresh and for slow mirrors.
const VERSIONS_KEPT: u64 = 16;
/// From this many new files on, one flush of the whole file system is cheaper than one per file.
const FLUSH_TOGETHER: usize = 32;
/// Some readers refuse targets metadata above five million bytes.
const ROLE_BYTES_MAX: usize = 4_900_000;

/// What changes from one state of the feed to the next.
pub(super) struct Generation<'a> {
    /// New content of delegated roles.
    pub(super) delegated: BTreeMap<String, BTreeMap<String, Value>>,
    /// Who signs the delegated roles.
    pub(super) delegated_signers: Vec<&'a SigningKey>,
    /// New delegations, where the targets role changes.
    pub(super) delegations: Option<Value>,
    pub(super) targets_signers: Vec<&'a SigningKey>,
    pub(super) snapshot_signers: Vec<&'a SigningKey>,
    pub(super) timestamp_signers: Vec<&'a SigningKey>,
}

impl Publisher {
    /// Publishes `generation`. On an error readers still see the state before.
    pub(super) fn publish(
        &mut self,
        generation: &Generation<'_>,
        now: Timestamp,
    ) -> Result<(), PublishError> {
        let folder = self.metadata_folder();
        let expiries = self.settings.expiries;
        let mut set = self.set.clone();
        let mut pins: BTreeMap<String, Value> = match set.snapshot() {
            Some(snapshot) => snapshot
                .meta
                .iter()
                .map(|(name, pin)| (name.clone(), pin_of_file(pin)))
                .collect(),
            None => BTreeMap::new(),
        };
        let mut new_files = 0;
        let mut touched = Vec::new();

        let expires = document::after(now, expiries.delegated)?;
        for (role, targets) in &generation.delegated {
            let version = self.next_version(role)?;
            let targets: Map<String, Value> = targets.clone().into_iter().collect();
            let fields = Map::from_iter([("targets".to_owned(), Value::Object(targets))]);
            let signed = document::signed("targets", version, expires, fields);
            let bytes = document::envelope(&signed, generation.delegated_signers.iter().copied());
            if bytes.len() > ROLE_BYTES_MAX {
                let detail = format!("the role {role} would be too large for readers; use more bins");
                return Err(PublishError::Settings { detail });
            }
            verify::parse_targets(role, &bytes)?;
            pins.insert(format!("{role}.json"), self.pin(version, &bytes));
            self.write_new(&folder, role, version, &bytes)?;
            new_files += 1;
            touched.push((role.clone(), version));
        }

        let targets = match &generation.delegations {
            None => None,
            Some(delegations) => {
                let version = self.next_version("targets")?;
                let fields = Map::from_iter([
                    ("delegations".to_owned(), delegations.clone()),
                    ("targets".to_owned(), json!({})),
                ]);
                let expires = document::after(now, expiries.targets)?;
                let signed = document::signed("targets", version, expires, fields);
                let bytes = document::envelope(&signed, generation.targets_signers.iter().copied());
                pins.insert("targets.json".to_owned(), self.pin(version, &bytes));
                self.write_new(&folder, "targets", version, &bytes)?;
                new_files += 1;
                touched.push(("targets".to_owned(), version));
                Some(bytes)
            }
        };

        let snapshot_version = self.next_version("snapshot")?;
        let fields = Map::from_iter([("meta".to_owned(), Value::Object(pins.into_iter().collect()))]);
        let expires = document::after(now, expiries.snapshot)?;
        let signed = document::signed("snapshot", snapshot_version, expires, fields);
        let snapshot = document::envelope(&signed, generation.snapshot_signers.iter().copied());
        self.write_new(&folder, "snapshot", snapshot_version, &snapshot)?;
        touched.push(("snapshot".to_owned(), snapshot_version));
        new_files += 1;

        let timestamp_version = set.timestamp().map_or(0, |timestamp| timestamp.version) + 1;
        let meta = json!({"snapshot.json": {
            "hashes": {"sha256": document::sha256(&snapshot)},
            "length": snapshot.len(),
            "version": snapshot_version,
        }});
        let fields = Map::from_iter([("meta".to_owned(), meta)]);
        let expires = document::after(now, expiries.timestamp)?;
        let signed = document::signed("timestamp", timestamp_version, expires, fields);
        let timestamp = document::envelope(&signed, generation.timestamp_signers.iter().copied());

        // A reader of ours must accept it before any reader sees it.
        let targets = match targets {
            Some(targets) => targets,
            None => self.current_file("targets")?,
        };
        let refused = |role: &'static str| move |error| FeedError::refused(role, error, now);
        set.update_timestamp(&timestamp, now)
            .map_err(refused("timestamp"))?;
        set.update_snapshot(&snapshot, now).map_err(refused("snapshot"))?;
        set.update_targets(&targets, Timestamp::MIN)
            .map_err(refused("targets"))?;

        self.flush(&folder, new_files)?;
        let path = folder.join("timestamp.json");
        durable::write(&path, &timestamp, 0o644).map_err(io("write", &path))?;
        self.set = set;
        for (role, version) in touched {
            self.prune(&folder, &role, version)?;
        }
        Ok(())
    }

    /// One more than any version of the role that is or was on disk.
    fn next_version(&self, role: &str) -> Result<u64, PublishError> {
        let newest = self
            .on_disk
            .get(role)
            .and_then(|versions| versions.last())
            .copied()
            .unwrap_or(0);
        let pinned = self.pinned_version(role).unwrap_or(0);
        newest
            .max(pinned)
            .checked_add(1)
            .ok_or_else(|| PublishError::Settings {
                detail: format!("the version numbers of {role} are used up"),
            })
    }

    fn pin(&self, version: u64, bytes: &[u8]) -> Value {
        let mut pin = json!({"length": bytes.len(), "version": version});
        if self.settings.pins_hashes() {
            pin["hashes"] = json!({"sha256": document::sha256(bytes)});
        }
        document::sorted(pin)
    }

    fn write_new(
        &mut self,
        folder: &Path,
        role: &str,
        version: u64,
        bytes: &[u8],
    ) -> Result<(), PublishError> {
        let path = folder.join(format!("{version}.{role}.json"));
        std::fs::write(&path, bytes).map_err(io("write", &path))?;
        self.on_disk.entry(role.to_owned()).or_default().insert(version);
        self.unflushed.push(path);
        Ok(())
    }

    fn flush(&mut self, folder: &Path, files: usize) -> Result<(), PublishError> {
        let unflushed = std::mem::take(&mut self.unflushed);
        if files > FLUSH_TOGETHER {
            let handle = std::fs::File::open(folder).map_err(io("open", folder))?;
            rustix::fs::syncfs(&handle).map_err(|error| io("flush", folder)(error.into()))?;
        } else {
            for path in unflushed {
                let synced = std::fs::File::open(&path).and_then(|file| file.sync_all());
                synced.map_err(io("flush", &path))?;
            }
        }
        durable::sync_folder(folder).map_err(io("flush", folder))
    }

    /// Removes versions that no reader can still be on the way to.
    fn prune(&mut self, folder: &Path, role: &str, newest: u64) -> Result<(), PublishError> {
        let Some(versions) = self.on_disk.get_mut(role) else {
            return Ok(());
        };
        let keep = versions.split_off(&newest.saturating_sub(VERSIONS_KEPT));
        for version in std::mem::replace(versions, keep) {
            let path = folder.join(format!("{version}.{role}.json"));
            match std::fs::remove_file(&path) {
                Err(source) if source.kind() != std::io::ErrorKind::NotFound => {
                    return Err(io("remove", &path)(source));
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// A pin as it stands in a snapshot of ours.
fn pin_of_file(pin: &sigstore_tuf::MetaFile) -> Value {
    let mut value = Map::new();
    if let Some(hashes) = &pin.hashes {
        value.insert("hashes".to_owned(), json!(hashes));
    }
    if let Some(length) = pin.length {
        value.insert("length".to_owned(), json!(length));
    }
    value.insert("version".to_owned(), json!(pin.version));
    Value::Object(value)
}
