//! Publishing: from a folder or archive to an index and packs.
//!
//! The same tree gives the same bytes, whether it comes from a folder or an archive, on however many
//! cores. Content that stands in packs of earlier payloads is referred to, not stored again.

mod error;
mod pack;
mod places;
mod source;

use std::collections::{BTreeSet, HashMap};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::index::{EntryKind, Pack, PayloadIndex};
use crate::object::ObjectId;
use crate::tree;

pub use error::PublishError;
pub(crate) use error::io_error;
pub(crate) use pack::PackFile;
use places::Places;
use source::ScannedKind;

/// How to publish.
#[derive(Debug, Clone)]
pub struct PublishOptions {
    /// zstd level, 1 to 22.
    pub level: i32,
    /// Uncompressed bytes per block.
    pub block_bytes: usize,
    /// A pack is closed when it has this many bytes.
    pub pack_bytes_max: u64,
    /// Threads that compress; the result does not depend on it.
    pub threads: usize,
    /// Most entries of the tree.
    pub entries_max: usize,
    /// Most bytes of all files together.
    pub bytes_max: u64,
}

impl Default for PublishOptions {
    fn default() -> Self {
        PublishOptions {
            level: 19,
            block_bytes: 8 * 1024 * 1024,
            pack_bytes_max: 512 * 1024 * 1024,
            threads: std::thread::available_parallelism().map_or(1, |cores| cores.get().min(16)),
            entries_max: tree::ENTRIES_MAX,
            bytes_max: 1 << 40,
        }
    }
}

/// How far publishing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Reading and hashing.
    Scanning {
        /// Files so far.
        files: u64,
        /// Bytes so far.
        bytes: u64,
    },
    /// Compressing what is new.
    Compressing {
        /// Bytes so far.
        done: u64,
        /// Bytes in total.
        total: u64,
    },
}

/// What was published.
#[derive(Debug, Clone)]
pub struct Published {
    /// The index file, in the scratch folder.
    pub index_bytes_path: PathBuf,
    /// SHA-256 of the index file.
    pub index_sha256: ObjectId,
    /// Length of the index file.
    pub index_length: u64,
    /// Packs made by this call.
    pub packs: Vec<Pack>,
    /// Every pack the index refers to.
    pub all_packs: Vec<Pack>,
    /// Files of the tree.
    pub files: u64,
    /// Sum of their sizes.
    pub bytes: u64,
    /// Compressed bytes that somebody with nothing has to fetch.
    pub download_bytes: u64,
    /// Compressed bytes stored by this call.
    pub new_bytes: u64,
    /// Paths of executable files.
    pub executables: BTreeSet<String>,
}

/// Publishes a payload. New packs are written durably below `targets_dir` under their consistent-snapshot
/// names; the index stays in `scratch`, which has to exist and be empty.
pub fn publish(
    source: &Path,
    scratch: &Path,
    targets_dir: &Path,
    older_indexes: &[PathBuf],
    options: &PublishOptions,
    progress: &mut dyn FnMut(Progress),
) -> Result<Published, PublishError> {
    let scanned = source::scan(source, scratch, options, progress)?;
    let wanted: HashMap<ObjectId, u64> = scanned
        .iter()
        .filter_map(|entry| match &entry.kind {
            ScannedKind::File { object, size, .. } if *size > 0 => Some((*object, *size)),
            ScannedKind::File { .. } | ScannedKind::Directory | ScannedKind::Symlink(_) => None,
        })
        .collect();
    let mut places = Places::default();
    for path in older_indexes {
        let older = PayloadIndex::read_file(path).map_err(|source| PublishError::Older {
            path: path.clone(),
            source,
        })?;
        places.take_from(&older, &wanted);
    }
    let fresh = pack::order_of_new(&scanned, |object| places.extents.contains_key(object));
    let new_packs = pack::write(&fresh, targets_dir, options, &mut places, progress)?;
    let index = places.index_of(scanned);
    let executables = index
        .entries
        .iter()
        .filter(|entry| matches!(entry.kind, EntryKind::File { executable: true, .. }))
        .map(|entry| entry.path.to_string())
        .collect();
    let index_path = scratch.join("index");
    let file = std::fs::File::create(&index_path).map_err(io_error("write", &index_path))?;
    index
        .write(&file)
        .and_then(|()| file.sync_all())
        .map_err(io_error("write", &index_path))?;
    let (index_sha256, index_length) = hash_file(&index_path).map_err(io_error("read", &index_path))?;
    Ok(Published {
        index_bytes_path: index_path,
        index_sha256,
        index_length,
        new_bytes: new_packs.iter().map(|pack| pack.length).sum(),
        packs: new_packs,
        all_packs: index.packs.clone(),
        files: index.files,
        bytes: index.bytes,
        download_bytes: index.download_bytes(),
        executables,
    })
}

/// SHA-256 and length of a file.
pub fn hash_file(path: &Path) -> io::Result<(ObjectId, u64)> {
    use sha2::{Digest, Sha256};
    let mut file = std::fs::File::open(path)?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0; 256 * 1024];
    let mut length = 0;
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            return Ok((ObjectId(hasher.finalize().into()), length));
        }
        hasher.update(&buffer[..read]);
        length += read as u64;
    }
}

#[cfg(test)]
mod tests;
