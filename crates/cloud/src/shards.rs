//! The catalogue on the vendor's side: reads the signed shards back and rewrites one of them.
//!
//! It refuses a shard file that is not the one that was signed, and it keeps every other record's line exactly as it
//! was, fields of newer releases included.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::path::PathBuf;
use std::time::SystemTime;

use domain::servicing::package::{PackageGuid, PackageRecord};
use feed::publisher::{Publisher, TargetRecord, stored_path};
use jiff::Timestamp;
use protocol::catalogue::{self, SHARD_BYTES_MAX};
use sha2::{Digest, Sha256};

use crate::error::{CloudError, io};
use crate::files;

/// Shard files of earlier states that stay for readers in the middle of a refresh.
const OLD_KEPT: usize = 16;

/// A shard in memory: its lines by GUID.
pub(crate) struct Shard {
    target: String,
    lines: BTreeMap<PackageGuid, String>,
}

impl Shard {
    /// The shard that lists `guid`, and the record of it.
    pub(crate) fn of(
        feed: &Publisher,
        guid: PackageGuid,
    ) -> Result<(Self, Option<PackageRecord>), CloudError> {
        let target = catalogue::shard_name(guid);
        let mut lines = BTreeMap::new();
        let mut found = None;
        if let Some(record) = feed.target(&target)? {
            each_record(feed, &target, &record, |line, record| {
                lines.insert(record.guid, line);
                if record.guid == guid {
                    found = Some(record);
                }
            })?;
        }
        Ok((Self { target, lines }, found))
    }

    /// Puts `record` in and writes the shard's file; it is not signed yet.
    pub(crate) fn put(mut self, feed: &mut Publisher, record: &PackageRecord) -> Result<(), CloudError> {
        self.lines.insert(record.guid, catalogue::to_line(record));
        let unusable = |source| CloudError::Catalogue {
            target: self.target.clone(),
            source,
        };
        let mut by_name: Vec<(String, &str)> = self
            .lines
            .iter()
            .map(|(guid, line)| (guid.to_string(), line.as_str()))
            .collect();
        by_name.sort();
        let bytes = catalogue::write_shard(by_name.iter().map(|(_, line)| *line)).map_err(unusable)?;
        let sha256 = hex::encode(Sha256::digest(&bytes));
        files::place(&feed.target_file(&self.target, &sha256), &bytes)?;
        let record = TargetRecord {
            length: bytes.len() as u64,
            sha256,
            custom: None,
        };
        feed.set_target(&self.target, &record)?;
        Ok(())
    }
}

/// Removes shard files that no reader can still be on the way to. Call after a commit.
pub(crate) fn prune(feed: &Publisher, guid: PackageGuid) -> Result<(), CloudError> {
    let target = catalogue::shard_name(guid);
    let Some(record) = feed.target(&target)? else {
        return Ok(());
    };
    let current = feed.target_file(&target, &record.sha256);
    let (Some(folder), Some((_, name))) = (current.parent(), target.rsplit_once('/')) else {
        return Ok(());
    };
    let mut old: Vec<(SystemTime, PathBuf)> = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(io("read", folder))? {
        let entry = entry.map_err(io("read", folder))?;
        let of_this_shard = entry.file_name().to_string_lossy().ends_with(&format!(".{name}"));
        let path = entry.path();
        if of_this_shard && path != current {
            let modified = entry.metadata().and_then(|metadata| metadata.modified());
            old.push((modified.map_err(io("read", &path))?, path));
        }
    }
    old.sort();
    let surplus = old.len().saturating_sub(OLD_KEPT);
    for (_, path) in old.into_iter().take(surplus) {
        std::fs::remove_file(&path).map_err(io("remove", &path))?;
    }
    Ok(())
}

/// Every record of the feed, shard by shard.
pub(crate) fn for_each(feed: &Publisher, mut each: impl FnMut(PackageRecord)) -> Result<(), CloudError> {
    for (target, record) in feed.targets("catalogue/")? {
        each_record(feed, &target, &record, |_, record| each(record))?;
    }
    Ok(())
}

/// The payload indexes of the newest packages: what a new payload may share content with.
pub(crate) fn newest_indexes(feed: &Publisher, most: usize) -> Result<Vec<PathBuf>, CloudError> {
    let mut newest: Vec<(Timestamp, PackageGuid, PathBuf, String)> = Vec::new();
    for_each(feed, |record| {
        let payload = record.payload;
        let path = feed.target_file(&payload.index_target, &payload.index_sha256);
        newest.push((record.released, record.guid, path, payload.index_sha256));
        if newest.len() >= most * 2 {
            newest.sort();
            newest.drain(..newest.len() - most);
        }
    })?;
    newest.sort();
    let surplus = newest.len().saturating_sub(most);
    let mut paths = Vec::new();
    for (_, guid, path, sha256) in newest.into_iter().skip(surplus).rev() {
        // A damaged index must not make its way into a new one; the new payload is then only a little larger.
        match files::measure(&path) {
            Ok((_, found)) if found == sha256 => paths.push(path),
            _ => tracing::warn!(package = %guid, file = %path.display(), "payload index damaged or missing"),
        }
    }
    Ok(paths)
}

fn each_record(
    feed: &Publisher,
    target: &str,
    signed: &TargetRecord,
    mut each: impl FnMut(String, PackageRecord),
) -> Result<(), CloudError> {
    let path = feed.targets_folder().join(stored_path(target, &signed.sha256));
    let bytes = files::read_bounded(&path, SHARD_BYTES_MAX)?;
    if hex::encode(Sha256::digest(&bytes)) != signed.sha256 {
        return Err(CloudError::DamagedShard { path });
    }
    let unusable = |source| CloudError::Catalogue {
        target: target.to_owned(),
        source,
    };
    for entry in catalogue::read_shard(Cursor::new(bytes)).map_err(unusable)? {
        let (line, record) = entry.map_err(unusable)?;
        each(line, record);
    }
    Ok(())
}
