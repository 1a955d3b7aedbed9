//! Publishing: from a folder or archive to an index and packs.
//!
//! The same tree gives the same bytes, whether it comes from a folder or an archive, on however many
//! cores. Content that stands in packs of earlier payloads is referred to, not stored again.

mod error;
mod folder;
mod known;
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
use known::Known;
pub use known::KnownFiles;
pub(crate) use pack::PackFile;
use places::Places;
use source::ScannedKind;

/// Memory that publishing takes unless another bound is given, in bytes.
pub const MEMORY: u64 = 512 * 1024 * 1024;

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
    /// About how much memory compressing may take, in bytes; fewer threads work where it is little. What a tree's list of
    /// files takes comes on top: up to about 500 bytes for each.
    pub memory: u64,
    /// Where it is kept which files of a folder need not be read again; nowhere unless given.
    pub known_files: Option<KnownFiles>,
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
            memory: MEMORY,
            known_files: None,
        }
    }
}

/// How far publishing is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Reading and hashing.
    Scanning {
        /// Files that were read so far.
        files: u64,
        /// Their bytes.
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
    /// Files whose bytes were read to hash them; the others were known.
    pub read_files: u64,
    /// How many bytes that were.
    pub read_bytes: u64,
    /// Why what was known could not be used or not be kept, in one sentence.
    pub note: Option<String>,
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
    let mut known = match &options.known_files {
        Some(kept) if source.is_dir() => Known::load(kept, source),
        Some(_) | None => Known::nothing(),
    };
    let scanning = source::scan(source, scratch, options, &known, progress)?;
    let scanned = scanning.entries;
    // Kept before anything is compressed: whoever is interrupted there does not hash again.
    known.keep(&scanned);
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
    let new_packs =
        pack::write(&fresh, targets_dir, options, &mut places, progress).inspect_err(|failure| {
            if matches!(failure, PublishError::Changed { .. }) {
                known.forget();
            }
        })?;
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
        read_files: scanning.read_files,
        read_bytes: scanning.read_bytes,
        note: known.note,
    })
}

/// SHA-256 and length of a file.
pub fn hash_file(path: &Path) -> io::Result<(ObjectId, u64)> {
    hash_of(&mut std::fs::File::open(path)?)
}

/// The same of what is left of a file.
pub(crate) fn hash_of(file: &mut std::fs::File) -> io::Result<(ObjectId, u64)> {
    use sha2::{Digest, Sha256};
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
mod known_tests;
#[cfg(test)]
mod tests;
