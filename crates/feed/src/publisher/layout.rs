//! How a feed of ours is divided: a `catalogue` role for `catalogue/*`, hashed bins for everything else.
//!
//! The bins are a power of two, so that each owns the same number of digest prefixes and a target's bin is known
//! from its path alone. Their number is fixed when the feed is created.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use super::document;
use super::error::PublishError;
use super::keys::PublicKey;
use crate::client::pattern::{self, Wanted};
use crate::transport;

/// The role that lists the catalogue shards.
pub const CATALOGUE: &str = "catalogue";
const CATALOGUE_PATHS: &str = "catalogue/*";
/// Four hexadecimal digits of prefix; more bins than this and `targets.json` outgrows what readers accept.
pub(crate) const BINS_MAX: u32 = 16_384;
/// Up to here the snapshot pins a hash of every bin; beyond, it would outgrow the two megabytes some readers allow.
const HASHED_BINS_MAX: u32 = 4_096;
/// Longest target path: it becomes a file name and part of a URL.
const PATH_BYTES_MAX: usize = 1_024;
const SEGMENT_BYTES_MAX: usize = 180;

/// How long each role stays valid, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Expiries {
    /// The root.
    pub root: u64,
    /// The top-level targets.
    pub targets: u64,
    /// The catalogue and the bins.
    pub delegated: u64,
    /// The snapshot.
    pub snapshot: u64,
    /// The timestamp: how long a frozen mirror stays unnoticed.
    pub timestamp: u64,
}

const DAY: u64 = 24 * 60 * 60;

impl Default for Expiries {
    fn default() -> Self {
        Self {
            root: 365 * DAY,
            targets: 365 * DAY,
            delegated: 180 * DAY,
            snapshot: 30 * DAY,
            timestamp: 7 * DAY,
        }
    }
}

/// What the publisher remembers beside its keys.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    pub(crate) bins: u32,
    pub(crate) expiries: Expiries,
}

impl Settings {
    pub(crate) fn check(&self) -> Result<(), PublishError> {
        let refuse = |detail: String| Err(PublishError::Settings { detail });
        if !self.bins.is_power_of_two() || self.bins > BINS_MAX {
            return refuse(format!(
                "{} bins: it must be a power of two up to {BINS_MAX}",
                self.bins
            ));
        }
        let Expiries {
            root,
            targets,
            delegated,
            snapshot,
            timestamp,
        } = self.expiries;
        if [root, targets, delegated, snapshot, timestamp].contains(&0) {
            return refuse("a role that expires at once can never be read".to_owned());
        }
        Ok(())
    }

    fn bits(&self) -> u32 {
        self.bins.trailing_zeros()
    }

    /// How many hexadecimal digits a prefix has.
    fn prefix_digits(&self) -> u32 {
        self.bits().div_ceil(4).max(1)
    }

    fn bin_name(&self, bin: u32) -> String {
        let digits = format!("{:x}", self.bins - 1).len();
        format!("bin-{bin:0digits$x}")
    }

    /// The roles below targets, in the order they are searched.
    pub(crate) fn roles(&self) -> Vec<String> {
        let mut roles = vec![CATALOGUE.to_owned()];
        roles.extend((0..self.bins).map(|bin| self.bin_name(bin)));
        roles
    }

    /// The role that answers for a target.
    pub(crate) fn role_of(&self, path: &str) -> String {
        if pattern::matches(CATALOGUE_PATHS, path) {
            return CATALOGUE.to_owned();
        }
        match self.bits() {
            0 => self.bin_name(0),
            bits => self.bin_name(Wanted::new(path).bin(bits)),
        }
    }

    pub(crate) fn pins_hashes(&self) -> bool {
        self.bins <= HASHED_BINS_MAX
    }

    /// The `delegations` of the top-level targets.
    pub(crate) fn delegations(&self, keys: &[PublicKey], threshold: u64) -> Value {
        let keyids: Vec<String> = keys.iter().map(PublicKey::key_id).collect();
        let by_id: Map<String, Value> = keys.iter().map(|key| (key.key_id(), key.to_value())).collect();
        let digits = self.prefix_digits() as usize;
        let prefixes_per_bin = 16_u32.pow(self.prefix_digits()) / self.bins;
        let mut roles = vec![json!({
            "name": CATALOGUE, "keyids": keyids, "threshold": threshold,
            "terminating": true, "paths": [CATALOGUE_PATHS],
        })];
        for bin in 0..self.bins {
            let prefixes: Vec<String> = (bin * prefixes_per_bin..(bin + 1) * prefixes_per_bin)
                .map(|prefix| format!("{prefix:0digits$x}"))
                .collect();
            roles.push(json!({
                "name": self.bin_name(bin), "keyids": keyids, "threshold": threshold,
                "terminating": false, "path_hash_prefixes": prefixes,
            }));
        }
        document::sorted(json!({"keys": by_id, "roles": roles}))
    }
}

/// A target as the publisher describes it.
#[derive(Debug, Clone, PartialEq)]
pub struct TargetRecord {
    /// Its length in bytes.
    pub length: u64,
    /// Its SHA-256 in lower-case hexadecimal.
    pub sha256: String,
    /// Anything readers may want to know before they fetch it.
    pub custom: Option<Value>,
}

impl TargetRecord {
    pub(crate) fn to_value(&self) -> Value {
        let mut value = json!({"hashes": {"sha256": self.sha256}, "length": self.length});
        if let (Some(custom), Value::Object(map)) = (&self.custom, &mut value) {
            map.insert("custom".to_owned(), custom.clone());
        }
        document::sorted(value)
    }

    pub(crate) fn from_file(file: &sigstore_tuf::TargetFile) -> Self {
        Self {
            length: file.length,
            sha256: file.hashes.get("sha256").cloned().unwrap_or_default(),
            custom: file.custom.clone(),
        }
    }
}

/// Where a target's file lies below the targets folder: `folder/<sha256>.file`.
pub fn stored_path(path: &str, sha256: &str) -> PathBuf {
    match path.rsplit_once('/') {
        Some((folder, file)) => PathBuf::from(folder).join(format!("{sha256}.{file}")),
        None => PathBuf::from(format!("{sha256}.{path}")),
    }
}

/// Refuses what some reader, web server or file system would not take.
pub(crate) fn check_target(path: &str, record: &TargetRecord) -> Result<(), PublishError> {
    check_path(path)?;
    let refuse = |detail: String| {
        Err(PublishError::Target {
            path: path.to_owned(),
            detail,
        })
    };
    let is_hex = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    if record.sha256.len() != 64 || !record.sha256.bytes().all(is_hex) {
        return refuse("its SHA-256 is not 64 lower-case hexadecimal digits".to_owned());
    }
    if i64::try_from(record.length).is_err() {
        return refuse("its length does not fit into 63 bits".to_owned());
    }
    let whole = json!({path: record.to_value()});
    document::check_portable(&whole).or_else(refuse)
}

pub(crate) fn check_path(path: &str) -> Result<(), PublishError> {
    let refuse = |detail: &str| {
        Err(PublishError::Target {
            path: path.to_owned(),
            detail: detail.to_owned(),
        })
    };
    if path.len() > PATH_BYTES_MAX {
        return refuse("its path is longer than 1024 bytes");
    }
    if path
        .split('/')
        .any(|segment| segment.is_empty() || segment.len() > SEGMENT_BYTES_MAX)
    {
        return refuse("a part of its path is empty or longer than 180 bytes");
    }
    if path.chars().any(|c| c.is_control() || c == '\\') {
        return refuse("its path has a control character or a backslash");
    }
    match transport::encode_path(path) {
        Ok(_) => Ok(()),
        Err(_) => refuse("its path climbs out of its folder"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn settings(bins: u32) -> Settings {
        Settings {
            bins,
            expiries: Expiries::default(),
        }
    }

    #[test]
    fn bins_cover_every_digest_once() {
        for (bins, digits, first, last) in [
            (1, 1, "bin-0", "bin-0"),
            (2, 1, "bin-0", "bin-1"),
            (16, 1, "bin-0", "bin-f"),
            (64, 2, "bin-00", "bin-3f"),
            (16_384, 4, "bin-0000", "bin-3fff"),
        ] {
            let settings = settings(bins);
            settings.check().unwrap();
            let roles = settings.roles();
            assert_eq!((roles[1].as_str(), roles.last().unwrap().as_str()), (first, last));
            let delegations = settings.delegations(&[], 1);
            let prefixes: Vec<&str> = delegations["roles"].as_array().unwrap()[1..]
                .iter()
                .flat_map(|role| role["path_hash_prefixes"].as_array().unwrap())
                .map(|prefix| prefix.as_str().unwrap())
                .collect();
            let distinct: BTreeSet<_> = prefixes.iter().collect();
            assert_eq!(distinct.len(), prefixes.len());
            assert_eq!(prefixes.len(), 16_usize.pow(digits));
            assert!(prefixes.iter().all(|prefix| prefix.len() == digits as usize));
        }
        for bins in [0, 3, 32_768] {
            assert!(settings(bins).check().is_err());
        }
    }

    #[test]
    fn a_target_goes_where_its_prefix_says() {
        let settings = settings(64);
        let delegations = settings.delegations(&[], 1);
        for path in [
            "a",
            "payloads/x/index",
            "packs/y.pack",
            "catalogue/a/b",
            "catalogue",
        ] {
            let name = settings.role_of(path);
            let digest = document::sha256(path.as_bytes());
            let role = delegations["roles"]
                .as_array()
                .unwrap()
                .iter()
                .find(|role| role["name"] == name.as_str());
            let prefixes = role.unwrap()["path_hash_prefixes"].as_array().unwrap();
            assert!(
                prefixes
                    .iter()
                    .any(|prefix| digest.starts_with(prefix.as_str().unwrap())),
                "{path}"
            );
        }
        assert_eq!(settings.role_of("catalogue/0.jsonl.zst"), CATALOGUE);
    }

    #[test]
    fn odd_targets_are_refused() {
        let record = TargetRecord {
            length: 1,
            sha256: "a".repeat(64),
            custom: None,
        };
        for path in [
            "", "/a", "a/", "a//b", "../a", "a/./b", "a\\b", "a\nb", "e\u{301}",
        ] {
            assert!(check_target(path, &record).is_err(), "{path:?}");
        }
        for path in ["a", "a/b c/ü.txt", "50%/x?#"] {
            check_target(path, &record).unwrap();
        }
        assert!(
            check_target(
                "a",
                &TargetRecord {
                    sha256: "A".repeat(64),
                    ..record.clone()
                }
            )
            .is_err()
        );
        assert!(
            check_target(
                "a",
                &TargetRecord {
                    custom: Some(json!(0.5)),
                    ..record
                }
            )
            .is_err()
        );
    }
}
