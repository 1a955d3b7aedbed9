//! The checks on one piece of metadata that come before, and beside, those of `sigstore-tuf`.
//!
//! The library parses, canonicalises and counts signatures. Added here is what the specification asks for and the
//! library does not: one key under two ids counts once, no key id signs twice, expiry at the very second counts as
//! expired, versions start at one, roots name all four roles, a delegation says what it covers in exactly one way,
//! hashes are there where they must be, and times are written as the specification writes them.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::Deserialize;
use sha2::{Digest, Sha256, Sha512};
use sigstore_tuf::{
    Delegations, Key, MetaFile, Metadata, Role, RoleKeys, Root, Snapshot, Targets, TrustedMetadataSet,
};

use super::FeedError;

/// The four roles that every root names and no delegation may take the name of.
pub(crate) const TOP_LEVEL: [&str; 4] = ["root", "timestamp", "snapshot", "targets"];

/// Only the field whose spelling matters and that the library turns into a time.
#[derive(Deserialize)]
struct Envelope {
    signed: Expiring,
}
#[derive(Deserialize)]
struct Expiring {
    expires: String,
}

/// Parses metadata and checks what holds for every role.
pub(crate) fn parse<T: Role>(role: &str, bytes: &[u8]) -> Result<Metadata<T>, FeedError> {
    let metadata =
        Metadata::<T>::from_slice(bytes).map_err(|error| FeedError::refused(role, error, Timestamp::MIN))?;
    let malformed = |detail: String| FeedError::Malformed {
        role: role.to_owned(),
        detail,
    };
    let mut ids = BTreeSet::new();
    for signature in metadata.signatures() {
        if !ids.insert(&signature.keyid) {
            return Err(FeedError::DuplicateSignature {
                role: role.to_owned(),
                key_id: signature.keyid.clone(),
            });
        }
    }
    if metadata.signed().version() == 0 {
        return Err(malformed("its version is 0".to_owned()));
    }
    let envelope: Envelope = serde_json::from_slice(bytes).map_err(|error| FeedError::Unreadable {
        role: role.to_owned(),
        source: Box::new(error.into()),
    })?;
    if !is_utc_time(&envelope.signed.expires) {
        return Err(malformed(format!(
            "its expiry {:?} is not written as YYYY-MM-DDTHH:MM:SSZ",
            envelope.signed.expires
        )));
    }
    Ok(metadata)
}

/// Whether a time is written as the specification says; fractions of a second occur in old repositories.
fn is_utc_time(text: &str) -> bool {
    let shape = b"dddd-dd-ddTdd:dd:dd";
    let bytes = text.as_bytes();
    let Some((head, tail)) = bytes.split_at_checked(shape.len()) else {
        return false;
    };
    let head_matches = head
        .iter()
        .zip(shape)
        .all(|(&b, &s)| if s == b'd' { b.is_ascii_digit() } else { b == s });
    let tail_matches = match tail {
        b"Z" => true,
        [b'.', digits @ .., b'Z'] => {
            !digits.is_empty() && digits.len() <= 9 && digits.iter().all(u8::is_ascii_digit)
        }
        _ => false,
    };
    head_matches && tail_matches
}

/// Parses a root and checks what a root must say.
pub(crate) fn parse_root(bytes: &[u8]) -> Result<Metadata<Root>, FeedError> {
    let root = parse::<Root>("root", bytes)?;
    for name in TOP_LEVEL {
        let Some(keys) = root.signed().role(name) else {
            return Err(malformed("root", format!("it does not name the role {name}")));
        };
        check_role_keys("root", name, &keys.keyids, keys.threshold)?;
    }
    Ok(root)
}

/// Accepts a root that a person handed to us: signed by a threshold of its own keys.
pub(crate) fn initial_root(bytes: &[u8]) -> Result<(), FeedError> {
    let root = parse_root(bytes)?;
    root_threshold(&root, root.signed(), "root")?;
    TrustedMetadataSet::from_root(bytes)
        .map_err(|error| FeedError::refused("root", error, Timestamp::MIN))?;
    Ok(())
}

/// Parses a targets role and checks its delegations and hashes.
pub(crate) fn parse_targets(role: &str, bytes: &[u8]) -> Result<Metadata<Targets>, FeedError> {
    let metadata = parse::<Targets>(role, bytes)?;
    if let Some(delegations) = &metadata.signed().delegations {
        check_delegations(role, delegations)?;
    }
    for (path, target) in &metadata.signed().targets {
        if target.hashes.is_empty() {
            return Err(malformed(role, format!("the target {path:?} has no hash")));
        }
    }
    Ok(metadata)
}

/// Parses a snapshot and checks its list.
pub(crate) fn parse_snapshot(bytes: &[u8]) -> Result<Metadata<Snapshot>, FeedError> {
    let metadata = parse::<Snapshot>("snapshot", bytes)?;
    for (name, pin) in &metadata.signed().meta {
        check_pin("snapshot", name, pin)?;
    }
    Ok(metadata)
}

pub(crate) fn check_pin(role: &str, name: &str, pin: &MetaFile) -> Result<(), FeedError> {
    if pin.version == 0 {
        return Err(malformed(role, format!("it pins version 0 of {name}")));
    }
    if pin.hashes.as_ref().is_some_and(BTreeMap::is_empty) {
        return Err(malformed(
            role,
            format!("it pins {name} with an empty list of hashes"),
        ));
    }
    Ok(())
}

fn check_delegations(role: &str, delegations: &Delegations) -> Result<(), FeedError> {
    let mut names = BTreeSet::new();
    if !delegations.roles.is_empty() && delegations.extra.contains_key("succinct_roles") {
        return Err(malformed(
            role,
            "it delegates both to named roles and to succinct roles".to_owned(),
        ));
    }
    for child in &delegations.roles {
        if child.name.is_empty() || TOP_LEVEL.contains(&child.name.as_str()) {
            return Err(malformed(
                role,
                format!("it delegates to a role named {:?}", child.name),
            ));
        }
        if !names.insert(&child.name) {
            return Err(malformed(role, format!("it delegates to {:?} twice", child.name)));
        }
        if child.paths.is_some() == child.path_hash_prefixes.is_some() {
            return Err(malformed(
                role,
                format!(
                    "its delegation to {:?} needs either paths or path_hash_prefixes",
                    child.name
                ),
            ));
        }
        check_role_keys(role, &child.name, &child.keyids, child.threshold)?;
    }
    Ok(())
}

pub(crate) fn check_role_keys(
    role: &str,
    name: &str,
    keyids: &[String],
    threshold: usize,
) -> Result<(), FeedError> {
    if threshold == 0 {
        return Err(malformed(role, format!("the threshold of {name} is 0")));
    }
    let distinct: BTreeSet<&String> = keyids.iter().collect();
    if distinct.len() != keyids.len() {
        return Err(malformed(role, format!("it lists a key id of {name} twice")));
    }
    Ok(())
}

/// Checks the signatures of `metadata` against what `root` says about `role`.
pub(crate) fn root_threshold<T: Role>(
    metadata: &Metadata<T>,
    root: &Root,
    role: &str,
) -> Result<(), FeedError> {
    let Some(role_keys) = root.role(role) else {
        return Err(malformed(
            role,
            "the trusted root does not name this role".to_owned(),
        ));
    };
    threshold(metadata, &root.keys, role_keys, role)
}

/// Whether `role` had a key under `old` that it no longer has under `new`. Ids do not matter, only keys.
pub(crate) fn lost_a_key(role: &str, old: &Root, new: &Root) -> bool {
    let keys = |root: &Root| -> BTreeSet<(String, String)> {
        let ids = root
            .role(role)
            .map(|role| role.keyids.as_slice())
            .unwrap_or_default();
        ids.iter()
            .filter_map(|id| root.keys.get(id))
            .map(|key| (key.scheme.clone(), key.keyval.public.trim().to_owned()))
            .collect()
    };
    !keys(old).is_subset(&keys(new))
}

/// Checks that enough distinct keys signed.
pub(crate) fn threshold<T: Role>(
    metadata: &Metadata<T>,
    keys: &BTreeMap<String, Key>,
    role_keys: &RoleKeys,
    role: &str,
) -> Result<(), FeedError> {
    metadata
        .verify_threshold(keys, role_keys, role)
        .map_err(|error| FeedError::refused(role, error, Timestamp::MIN))?;
    // The library counts key ids. An id is an arbitrary label, so one key may hide behind several of them.
    let mut ids_of: BTreeMap<Vec<u8>, Vec<&String>> = BTreeMap::new();
    for id in &role_keys.keyids {
        if let Some(material) = keys.get(id).and_then(|key| key.verification_key().ok()) {
            ids_of.entry(material.as_bytes().to_vec()).or_default().push(id);
        }
    }
    if ids_of.values().all(|ids| ids.len() == 1) {
        return Ok(());
    }
    let found = ids_of
        .values()
        .filter(|ids| ids.iter().any(|id| signed_by(metadata, keys, id)))
        .count();
    if found < role_keys.threshold {
        return Err(FeedError::Threshold {
            role: role.to_owned(),
            found,
            threshold: role_keys.threshold,
        });
    }
    Ok(())
}

fn signed_by<T: Role>(metadata: &Metadata<T>, keys: &BTreeMap<String, Key>, id: &str) -> bool {
    let signature = metadata
        .signatures()
        .iter()
        .find(|signature| signature.keyid == id);
    let (Some(signature), Some(key)) = (signature, keys.get(id)) else {
        return false;
    };
    match hex::decode(&signature.sig) {
        Ok(raw) => key.verify(metadata.signed_canonical(), &raw.into()).is_ok(),
        Err(_) => false,
    }
}

/// Refuses metadata from the very second of its expiry on.
pub(crate) fn fresh<T: Role>(role: &str, signed: &T, now: Timestamp) -> Result<(), FeedError> {
    if signed.expires() <= now {
        return Err(FeedError::Expired {
            role: role.to_owned(),
            expires: signed.expires(),
            now,
        });
    }
    Ok(())
}

/// Checks the bytes of a role against the length and hashes its parent pins.
pub(crate) fn pinned(
    role: &str,
    pinned_by: &'static str,
    pin: &MetaFile,
    bytes: &[u8],
) -> Result<(), FeedError> {
    let differs = |detail: String| FeedError::NotAsPinned {
        role: role.to_owned(),
        pinned_by,
        detail,
    };
    if let Some(length) = pin.length
        && length != bytes.len() as u64
    {
        return Err(differs(format!(
            "it has {} bytes instead of {length}",
            bytes.len()
        )));
    }
    let Some(hashes) = &pin.hashes else { return Ok(()) };
    let mut compared = false;
    for (algorithm, expected) in hashes {
        let actual = match algorithm.as_str() {
            "sha256" => hex::encode(Sha256::digest(bytes)),
            "sha512" => hex::encode(Sha512::digest(bytes)),
            _ => continue,
        };
        if !actual.eq_ignore_ascii_case(expected) {
            return Err(differs(format!("its {algorithm} is {actual}")));
        }
        compared = true;
    }
    if !compared {
        return Err(differs("no hash of a known algorithm is pinned".to_owned()));
    }
    Ok(())
}

/// Checks the version of a role against the one its parent pins.
pub(crate) fn pinned_version(
    role: &str,
    pinned_by: &'static str,
    pin: &MetaFile,
    version: u64,
) -> Result<(), FeedError> {
    if version != pin.version {
        let detail = format!("it is version {version} instead of {}", pin.version);
        return Err(FeedError::NotAsPinned {
            role: role.to_owned(),
            pinned_by,
            detail,
        });
    }
    Ok(())
}

/// Refuses a snapshot that takes a role back or drops one, compared with the newest snapshot ever trusted here.
pub(crate) fn no_role_goes_back(trusted: &Snapshot, offered: &Snapshot) -> Result<(), FeedError> {
    for (name, before) in &trusted.meta {
        let role = name.strip_suffix(".json").unwrap_or(name);
        match offered.meta.get(name) {
            None => {
                return Err(FeedError::RoleRemoved {
                    role: role.to_owned(),
                });
            }
            Some(after) if after.version < before.version => {
                return Err(FeedError::Rollback {
                    role: role.to_owned(),
                    trusted: before.version,
                    offered: after.version,
                });
            }
            Some(_) => {}
        }
    }
    Ok(())
}

fn malformed(role: &str, detail: String) -> FeedError {
    FeedError::Malformed {
        role: role.to_owned(),
        detail,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_in_utc() {
        for (text, expected) in [
            ("2030-01-01T00:00:00Z", true),
            ("2030-01-01T00:00:00.5Z", true),
            ("2030-01-01T00:00:00.Z", false),
            ("2030-01-01T00:00:00+00:00", false),
            ("2030-01-01 00:00:00Z", false),
            ("2030-01-01T00:00:00", false),
            ("2030-01-01", false),
            ("", false),
        ] {
            assert_eq!(is_utc_time(text), expected, "{text:?}");
        }
    }
}
