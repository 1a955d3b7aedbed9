//! Which role answers for a target: the pre-order, depth-first search of section 5.6.7, loading a delegated role only
//! when the search reaches it.
//!
//! A role is checked against every role that delegates to it, since two parents may authorise different keys. A
//! delegated role that cannot be verified ends the search: going on would let a less trusted role answer instead.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use sigstore_tuf::{Delegations, Key, RoleKeys, TargetFile, Targets};

use super::pattern::Wanted;
use super::{FeedClient, FeedError, verify};

/// A target as a verified role describes it.
#[derive(Debug, Clone, PartialEq)]
pub struct TargetInfo {
    /// The target path.
    pub path: String,
    /// Its exact length in bytes.
    pub length: u64,
    /// Its SHA-256 in lower-case hexadecimal, if the role gives it. At least one of the two hashes is there.
    pub sha256: Option<String>,
    /// Its SHA-512 in lower-case hexadecimal, if the role gives it.
    pub sha512: Option<String>,
    /// What the publisher attached to it.
    pub custom: Option<Value>,
    /// Where it may be served, in the order to try.
    pub(super) served_as: Vec<String>,
}

impl TargetInfo {
    /// The paths below the target base where a repository may keep this file: with consistent snapshots
    /// `folder/<hash>.file`, one for each hash, else the path itself.
    pub fn served_as(&self) -> &[String] {
        &self.served_as
    }

    /// What names exactly these bytes, for file names.
    pub(super) fn digest(&self) -> &str {
        self.sha256
            .as_deref()
            .or(self.sha512.as_deref())
            .unwrap_or_default()
    }

    fn new(path: &str, target: &TargetFile, consistent: bool) -> Result<Self, FeedError> {
        let sha256 = hash(path, target, "sha256", 64)?;
        let sha512 = hash(path, target, "sha512", 128)?;
        let mut served_as = Vec::new();
        if consistent {
            for algorithm in ["sha256", "sha512"] {
                // As written in the metadata: the file name follows its spelling, our comparison does not.
                let Some(written) = target.hashes.get(algorithm) else {
                    continue;
                };
                served_as.push(match path.rsplit_once('/') {
                    Some((folder, file)) => format!("{folder}/{written}.{file}"),
                    None => format!("{written}.{path}"),
                });
            }
        } else {
            served_as.push(path.to_owned());
        }
        if sha256.is_none() && sha512.is_none() {
            let detail = "it has no SHA-256 or SHA-512 hash to check it with".to_owned();
            return Err(FeedError::TargetTampered {
                path: path.to_owned(),
                detail,
            });
        }
        let custom = target.custom.clone();
        Ok(Self {
            path: path.to_owned(),
            length: target.length,
            sha256,
            sha512,
            custom,
            served_as,
        })
    }
}

fn hash(
    path: &str,
    target: &TargetFile,
    algorithm: &str,
    digits: usize,
) -> Result<Option<String>, FeedError> {
    let Some(written) = target.hashes.get(algorithm) else {
        return Ok(None);
    };
    if written.len() != digits || !written.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        let detail = format!("its {algorithm} hash in the metadata is not {digits} hexadecimal digits");
        return Err(FeedError::TargetTampered {
            path: path.to_owned(),
            detail,
        });
    }
    Ok(Some(written.to_ascii_lowercase()))
}

/// One delegation: the role and who may sign it, as its parent says.
struct Edge {
    role: String,
    keys: Arc<BTreeMap<String, Key>>,
    role_keys: RoleKeys,
    terminating: bool,
}

/// Succinct hash bins (TAP 15): one line that stands for `2^bit_length` delegations.
#[derive(Deserialize)]
struct SuccinctRoles {
    keyids: Vec<String>,
    threshold: usize,
    bit_length: u32,
    name_prefix: String,
}

impl FeedClient {
    /// Finds the role that answers for `path` and what it says. Requires a refresh that succeeded.
    pub async fn find_target(&mut self, path: &str, now: Timestamp) -> Result<TargetInfo, FeedError> {
        self.check_fresh(now)?;
        let wanted = Wanted::new(path);
        let consistent = self.set.root().consistent_snapshot;
        let mut visited = BTreeSet::new();
        let mut to_visit: Vec<Edge> = Vec::new();
        let top = self.set.targets_role("targets").ok_or(FeedError::NotRefreshed)?;
        if let Some(target) = top.target(path) {
            return TargetInfo::new(path, target, consistent);
        }
        push_children("targets", top, &wanted, &mut to_visit)?;
        while let Some(edge) = to_visit.pop() {
            if visited.contains(&edge.role) {
                continue;
            }
            if visited.len() >= self.limits.delegations_max {
                let limit = self.limits.delegations_max;
                return Err(FeedError::TooManyDelegations {
                    path: path.to_owned(),
                    limit,
                });
            }
            let role = self.delegated_role(&edge, now).await?;
            if let Some(target) = role.target(path) {
                return TargetInfo::new(path, target, consistent);
            }
            push_children(&edge.role, role, &wanted, &mut to_visit)?;
            visited.insert(edge.role);
        }
        Err(FeedError::NoSuchTarget {
            path: path.to_owned(),
        })
    }

    /// Every target that the role `name`, delegated to by the top-level targets, answers for: what it lists, as far
    /// as the search for that path comes to an answer at all.
    pub async fn delegated_targets(
        &mut self,
        name: &str,
        now: Timestamp,
    ) -> Result<Vec<TargetInfo>, FeedError> {
        self.check_fresh(now)?;
        let top = self.set.targets_role("targets").ok_or(FeedError::NotRefreshed)?;
        let edge = top
            .delegations
            .as_ref()
            .and_then(|delegations| {
                let child = delegations.roles.iter().find(|child| child.name == name)?;
                Some(Edge {
                    role: child.name.clone(),
                    keys: Arc::new(delegations.keys.clone()),
                    role_keys: child.role_keys(),
                    terminating: child.terminating,
                })
            })
            .ok_or_else(|| FeedError::NoSuchRole {
                role: name.to_owned(),
            })?;
        let paths: Vec<String> = self
            .delegated_role(&edge, now)
            .await?
            .targets
            .keys()
            .cloned()
            .collect();
        let mut found = Vec::with_capacity(paths.len());
        for path in paths {
            match self.find_target(&path, now).await {
                Ok(target) => found.push(target),
                // Listed by a role that may not speak for it.
                Err(FeedError::NoSuchTarget { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    /// The targets listed by the top-level role itself, and the names it delegates to.
    pub fn top_level_targets(&self, now: Timestamp) -> Result<Vec<TargetInfo>, FeedError> {
        self.check_fresh(now)?;
        let consistent = self.set.root().consistent_snapshot;
        let top = self.set.targets_role("targets").ok_or(FeedError::NotRefreshed)?;
        top.targets
            .iter()
            .map(|(path, target)| TargetInfo::new(path, target, consistent))
            .collect()
    }

    /// The delegated role at the end of `edge`, verified: from memory, from the trust folder, or fetched.
    async fn delegated_role(&mut self, edge: &Edge, now: Timestamp) -> Result<&Targets, FeedError> {
        let role = edge.role.as_str();
        if !self.delegated.contains_key(role) {
            let pin = self.pin_of(role)?;
            let stored = self.trust.role(role).and_then(|bytes| {
                let verified = self.verify_delegated(edge, &pin, &bytes, now);
                verified
                    .inspect_err(|error| tracing::debug!(role, %error, "the stored role is not used"))
                    .ok()
            });
            let metadata = match stored {
                Some(metadata) => metadata,
                None => {
                    let name = self.versioned(role, pin.version);
                    let limit = pin.length.unwrap_or(u64::MAX).min(self.limits.targets_bytes_max);
                    let bytes = self.fetch_metadata(&name, limit).await?;
                    let metadata = self.verify_delegated(edge, &pin, &bytes, now)?;
                    self.trust.store(role, &bytes)?;
                    metadata
                }
            };
            self.delegated.insert(role.to_owned(), metadata);
        }
        let metadata = self.delegated.get(role).ok_or(FeedError::NotRefreshed)?;
        verify::threshold(metadata, &edge.keys, &edge.role_keys, role)?;
        verify::fresh(role, metadata.signed(), now)?;
        Ok(metadata.signed())
    }

    fn verify_delegated(
        &self,
        edge: &Edge,
        pin: &sigstore_tuf::MetaFile,
        bytes: &[u8],
        now: Timestamp,
    ) -> Result<sigstore_tuf::Metadata<Targets>, FeedError> {
        let role = edge.role.as_str();
        verify::pinned(role, "the snapshot", pin, bytes)?;
        let metadata = verify::parse_targets(role, bytes)?;
        verify::threshold(&metadata, &edge.keys, &edge.role_keys, role)?;
        verify::pinned_version(role, "the snapshot", pin, metadata.signed().version)?;
        verify::fresh(role, metadata.signed(), now)?;
        Ok(metadata)
    }
}

/// Puts the delegations of `role` that cover the target on top of the stack, first one uppermost. After a terminating
/// one nothing else is ever visited.
fn push_children(
    role: &str,
    targets: &Targets,
    wanted: &Wanted<'_>,
    to_visit: &mut Vec<Edge>,
) -> Result<(), FeedError> {
    let Some(delegations) = &targets.delegations else {
        return Ok(());
    };
    let mut children = Vec::new();
    let keys = Arc::new(delegations.keys.clone());
    for child in &delegations.roles {
        if !wanted.is_delegated_to(child) {
            continue;
        }
        children.push(Edge {
            role: child.name.clone(),
            keys: Arc::clone(&keys),
            role_keys: child.role_keys(),
            terminating: child.terminating,
        });
        if child.terminating {
            break;
        }
    }
    if let Some(edge) = succinct_child(role, delegations, wanted, &keys)? {
        children.push(edge);
    }
    if children.iter().any(|child| child.terminating) {
        to_visit.clear();
    }
    to_visit.extend(children.into_iter().rev());
    Ok(())
}

fn succinct_child(
    role: &str,
    delegations: &Delegations,
    wanted: &Wanted<'_>,
    keys: &Arc<BTreeMap<String, Key>>,
) -> Result<Option<Edge>, FeedError> {
    let Some(value) = delegations.extra.get("succinct_roles") else {
        return Ok(None);
    };
    let malformed = |detail: String| FeedError::Malformed {
        role: role.to_owned(),
        detail,
    };
    let succinct = SuccinctRoles::deserialize(value)
        .map_err(|error| malformed(format!("its succinct_roles are not as TAP 15 describes: {error}")))?;
    if !(1..=32).contains(&succinct.bit_length) || succinct.name_prefix.is_empty() {
        return Err(malformed(
            "its succinct_roles need 1 to 32 bits and a name prefix".to_owned(),
        ));
    }
    verify::check_role_keys(role, &succinct.name_prefix, &succinct.keyids, succinct.threshold)?;
    let last_bin = (1_u64 << succinct.bit_length) - 1;
    let digits = format!("{last_bin:x}").len();
    let bin = wanted.bin(succinct.bit_length);
    let role_keys = RoleKeys::deserialize(value)
        .map_err(|error| malformed(format!("its succinct_roles are not as TAP 15 describes: {error}")))?;
    Ok(Some(Edge {
        role: format!("{}-{bin:0digits$x}", succinct.name_prefix),
        keys: Arc::clone(keys),
        role_keys,
        terminating: true,
    }))
}
