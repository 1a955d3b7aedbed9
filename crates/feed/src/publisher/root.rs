//! The root ceremony: draft a new root here, sign it wherever the root keys are, publish it here.
//!
//! A draft is the metadata file itself with the signatures made so far, so it can travel as a file. Publishing checks
//! that readers will follow: old and new threshold, the next version, and that everything already published stays
//! valid under it.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::{Value, json};

use super::error::PublishError;
use super::keys::{PublicKey, SigningKey};
use super::{Publisher, document, open};
use crate::client::{FeedError, verify};

/// What a new root changes.
#[derive(Debug, Clone, Default)]
pub struct RootChange {
    /// Root keys to add.
    pub add: Vec<PublicKey>,
    /// Key ids of root keys to remove.
    pub remove: Vec<String>,
    /// How many root keys must sign from now on, if that changes.
    pub threshold: Option<usize>,
    /// New keys, in place of the present ones, for `targets`, `snapshot` or `timestamp`.
    pub replace: BTreeMap<String, Vec<PublicKey>>,
}

/// A root that is waiting for signatures.
#[derive(Debug, Clone, PartialEq)]
pub struct RootDraft {
    signed: Value,
    signatures: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct DraftFile {
    signed: Value,
    signatures: Vec<DraftSignature>,
}
#[derive(Deserialize)]
struct DraftSignature {
    keyid: String,
    sig: String,
}

impl RootDraft {
    /// Reads a draft that was written by [`RootDraft::to_bytes`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, PublishError> {
        let refuse = |detail: String| PublishError::RootDraft { detail };
        let file: DraftFile =
            serde_json::from_slice(bytes).map_err(|error| refuse(format!("it is damaged: {error}")))?;
        if file.signed["_type"] != "root" {
            return Err(refuse("it is not a root".to_owned()));
        }
        let signatures = file
            .signatures
            .into_iter()
            .map(|entry| (entry.keyid, entry.sig))
            .collect();
        Ok(Self {
            signed: document::sorted(file.signed),
            signatures,
        })
    }

    /// The draft as a file: root metadata with the signatures made so far.
    pub fn to_bytes(&self) -> Vec<u8> {
        document::file(&self.signed, &self.signatures)
    }

    /// The bytes a signature covers, for signing with a device that keeps its key.
    pub fn message(&self) -> Vec<u8> {
        document::canonical(&self.signed)
    }

    /// Adds the signature of `key`.
    pub fn sign(&mut self, key: &SigningKey) {
        self.signatures
            .insert(key.public().key_id(), key.sign(&self.message()));
    }

    /// Adds a signature in hexadecimal that was made elsewhere.
    pub fn add_signature(&mut self, key_id: &str, signature: &str) {
        self.signatures.insert(key_id.to_owned(), signature.to_owned());
    }

    /// The version this draft will be.
    pub fn version(&self) -> u64 {
        self.signed["version"].as_u64().unwrap_or(0)
    }
}

impl Publisher {
    /// Drafts the next root.
    pub fn draft_root(&self, change: &RootChange, now: Timestamp) -> Result<RootDraft, PublishError> {
        let refuse = |detail: String| PublishError::RootDraft { detail };
        let current = self.set.root();
        let mut signed = serde_json::to_value(current).map_err(|error| refuse(error.to_string()))?;
        signed["version"] = json!(current.version + 1);
        signed["expires"] = json!(document::time(document::after(now, self.settings.expiries.root)?));

        for id in &change.remove {
            if !signed["roles"]["root"]["keyids"]
                .as_array()
                .is_some_and(|ids| ids.contains(&json!(id)))
            {
                return Err(refuse(format!("{id} is not a root key")));
            }
        }
        let mut root_ids: Vec<String> = current
            .role("root")
            .map(|role| role.keyids.clone())
            .unwrap_or_default();
        root_ids.retain(|id| !change.remove.contains(id));
        root_ids.extend(change.add.iter().map(PublicKey::key_id));
        root_ids.sort();
        root_ids.dedup();
        if let Some(threshold) = change.threshold {
            signed["roles"]["root"]["threshold"] = json!(threshold);
        }
        let threshold = signed["roles"]["root"]["threshold"].as_u64().unwrap_or(0);
        if threshold == 0 || threshold > root_ids.len() as u64 {
            return Err(refuse(format!(
                "{threshold} of {} root keys could never sign",
                root_ids.len()
            )));
        }
        signed["roles"]["root"]["keyids"] = json!(root_ids);
        for key in &change.add {
            signed["keys"][key.key_id()] = key.to_value();
        }
        for (role, keys) in &change.replace {
            if !["targets", "snapshot", "timestamp"].contains(&role.as_str()) || keys.is_empty() {
                return Err(refuse(format!(
                    "the keys of {role} cannot be replaced by a root in this way"
                )));
            }
            let mut ids: Vec<String> = keys.iter().map(PublicKey::key_id).collect();
            ids.sort();
            signed["roles"][role]["keyids"] = json!(ids);
            for key in keys {
                signed["keys"][key.key_id()] = key.to_value();
            }
        }
        drop_unused_keys(&mut signed);
        Ok(RootDraft {
            signed: document::sorted(signed),
            signatures: BTreeMap::new(),
        })
    }

    /// Publishes a signed draft. Readers follow it from the moment its file is there.
    pub fn publish_root(&mut self, draft: &RootDraft) -> Result<(), PublishError> {
        let bytes = draft.to_bytes();
        let root = verify::parse_root(&bytes)?;
        verify::root_threshold(&root, self.set.root(), "root")?;
        verify::root_threshold(&root, root.signed(), "root")?;
        let mut set = self.set.clone();
        set.update_root(&bytes)
            .map_err(|error| FeedError::refused("root", error, Timestamp::MIN))?;
        let metadata = self.metadata_folder();
        open::take_online(&metadata, &mut set)?;
        open::write(
            &metadata.join(format!("{}.root.json", root.signed().version)),
            &bytes,
            0o644,
        )?;
        open::write(&self.keys.join("root.json"), &bytes, 0o644)?;
        self.reload()
    }
}

/// Signs a draft with every key of a folder that the present or the next root knows.
pub(super) fn sign_with_folder(
    draft: &mut RootDraft,
    current: &sigstore_tuf::Root,
    folder: &Path,
) -> Result<(), PublishError> {
    let keys = super::read_folder(folder)?;
    let next: Vec<String> = draft.signed["roles"]["root"]["keyids"]
        .as_array()
        .map(|ids| {
            ids.iter()
                .filter_map(|id| id.as_str().map(str::to_owned))
                .collect()
        })
        .unwrap_or_default();
    let now: &[String] = current
        .role("root")
        .map(|role| role.keyids.as_slice())
        .unwrap_or_default();
    let threshold = current.role("root").map_or(1, |role| role.threshold);
    let found = now.iter().filter(|id| keys.contains_key(*id)).count();
    if found < threshold {
        let (role, folder) = ("root".to_owned(), folder.to_owned());
        return Err(PublishError::MissingKeys {
            role,
            found,
            threshold,
            folder,
        });
    }
    for (id, key) in &keys {
        if now.contains(id) || next.contains(id) {
            draft.sign(key);
        }
    }
    Ok(())
}

fn drop_unused_keys(signed: &mut Value) {
    let used: Vec<String> = signed["roles"]
        .as_object()
        .into_iter()
        .flat_map(|roles| roles.values())
        .filter_map(|role| role["keyids"].as_array())
        .flatten()
        .filter_map(|id| id.as_str().map(str::to_owned))
        .collect();
    if let Some(keys) = signed["keys"].as_object_mut() {
        keys.retain(|id, _| used.contains(id));
    }
}
