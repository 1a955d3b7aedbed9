//! Taking verified blocks into the library, durable in batches.
//!
//! `fsync` per file would make ten thousand small files slow, so a batch is written under temporary
//! names, made durable by one `syncfs`, renamed into place, and made durable again. A journal line for
//! an extent of a large object is written only after its bytes are durable.

use std::collections::{HashMap, HashSet};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;

use super::{DiskError, Library, disk};
use crate::index::{Block, PayloadIndex};
use crate::object::ObjectId;
use crate::publish::hash_file;

/// Uncompressed bytes after which a batch is made durable.
const BATCH_BYTES: u64 = 64 * 1024 * 1024;

/// Why a block was not taken.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteError {
    #[error(transparent)]
    Disk(#[from] DiskError),
    #[error("block at {offset}: expected SHA-256 {expected}, found {found}")]
    Tampered {
        offset: u64,
        expected: ObjectId,
        found: ObjectId,
    },
    #[error("block at {offset} does not unpack to the {raw_length} bytes that were signed")]
    Malformed { offset: u64, raw_length: u32 },
    #[error("an object put together from signed blocks is {found}, not {expected}")]
    WrongObject { expected: ObjectId, found: ObjectId },
}

/// A part of a missing object in some block.
struct Part {
    object: ObjectId,
    /// The part is the whole object.
    whole: bool,
    object_offset: u64,
    block_offset: usize,
    length: usize,
}

/// Writes the missing objects of one payload from its blocks, in any order.
pub(crate) struct BlockWriter {
    library: Arc<Library>,
    blocks: Vec<Block>,
    parts: HashMap<u32, Vec<Part>>,
    /// Offsets of the parts still to come, per large object.
    left: HashMap<ObjectId, HashSet<u64>>,
    raw: Vec<u8>,
    written: Vec<ObjectId>,
    journal: HashMap<ObjectId, Vec<(u64, usize)>>,
    open_partials: HashMap<ObjectId, File>,
    batch_bytes: u64,
}

impl BlockWriter {
    pub(crate) fn new(library: Arc<Library>, index: &PayloadIndex) -> Self {
        let mut parts: HashMap<u32, Vec<Part>> = HashMap::new();
        let mut left: HashMap<ObjectId, HashSet<u64>> = HashMap::new();
        for (object, _, extents) in index.objects() {
            if library.has(&object) {
                continue;
            }
            let done = if extents.len() > 1 {
                library.parts_done(&object)
            } else {
                HashSet::new()
            };
            let mut object_offset = 0;
            let mut coming = HashSet::new();
            for extent in extents {
                if !done.contains(&(object_offset, extent.length)) {
                    coming.insert(object_offset);
                    parts.entry(extent.block).or_default().push(Part {
                        object,
                        whole: extents.len() == 1,
                        object_offset,
                        block_offset: extent.offset as usize,
                        length: extent.length as usize,
                    });
                }
                object_offset += u64::from(extent.length);
            }
            if extents.len() > 1 {
                left.insert(object, coming);
            }
        }
        BlockWriter {
            library,
            blocks: index.blocks.clone(),
            parts,
            left,
            raw: Vec::new(),
            written: Vec::new(),
            journal: HashMap::new(),
            open_partials: HashMap::new(),
            batch_bytes: 0,
        }
    }

    /// Large objects of which every extent was durable before a crash could rename them.
    pub(crate) fn finish_leftovers(&mut self) -> Result<(), WriteError> {
        let complete: Vec<ObjectId> = self
            .left
            .iter()
            .filter(|(_, left)| left.is_empty())
            .map(|(object, _)| *object)
            .collect();
        for object in complete {
            self.finish_partial(object)?;
        }
        Ok(())
    }

    /// Verifies a compressed block and writes what is missing from it.
    pub(crate) fn take(&mut self, number: u32, compressed: &[u8]) -> Result<(), WriteError> {
        let block = self.blocks[number as usize];
        let found = ObjectId::of(compressed);
        if found != block.sha256 {
            return Err(WriteError::Tampered {
                offset: block.offset,
                expected: block.sha256,
                found,
            });
        }
        let malformed = || WriteError::Malformed {
            offset: block.offset,
            raw_length: block.raw_length,
        };
        self.raw.resize(block.raw_length as usize, 0);
        let length =
            zstd::bulk::decompress_to_buffer(compressed, &mut self.raw[..]).map_err(|_| malformed())?;
        if length != block.raw_length as usize {
            return Err(malformed());
        }
        self.library
            .room_for(&self.library.root, u64::from(block.raw_length))?;
        for part in self.parts.remove(&number).unwrap_or_default() {
            let bytes = &self.raw[part.block_offset..part.block_offset + part.length];
            self.batch_bytes += part.length as u64;
            if part.whole {
                let found = ObjectId::of(bytes);
                if found != part.object {
                    return Err(WriteError::WrongObject {
                        expected: part.object,
                        found,
                    });
                }
                let path = self.library.root.join("incoming").join(found.to_string());
                write_new(&path, bytes).map_err(disk("write", &path))?;
                self.written.push(part.object);
            } else {
                let path = self.library.root.join("partial").join(part.object.to_string());
                let file = match self.open_partials.entry(part.object) {
                    std::collections::hash_map::Entry::Occupied(open) => open.into_mut(),
                    std::collections::hash_map::Entry::Vacant(vacant) => {
                        let mut options = OpenOptions::new();
                        options.write(true).create(true).truncate(false).mode(0o600);
                        vacant.insert(options.open(&path).map_err(disk("open", &path))?)
                    }
                };
                file.write_all_at(bytes, part.object_offset)
                    .map_err(disk("write", &path))?;
                self.journal
                    .entry(part.object)
                    .or_default()
                    .push((part.object_offset, part.length));
            }
        }
        if self.batch_bytes >= BATCH_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    /// Makes everything taken so far durable and visible.
    pub(crate) fn flush(&mut self) -> Result<(), WriteError> {
        if self.written.is_empty() && self.journal.is_empty() {
            return Ok(());
        }
        let library = self.library.clone();
        let _changing = library.lock();
        self.open_partials.clear();
        self.library.sync_file_system()?;
        for object in std::mem::take(&mut self.written) {
            let incoming = library.root.join("incoming").join(object.to_string());
            self.library.move_into_place(&incoming, &object)?;
        }
        for (object, parts) in std::mem::take(&mut self.journal) {
            let path = library.root.join("partial").join(format!("{object}.done"));
            let lines: String = parts
                .iter()
                .map(|(offset, length)| format!("{offset} {length}\n"))
                .collect();
            let mut journal = OpenOptions::new()
                .append(true)
                .create(true)
                .open(&path)
                .map_err(disk("open", &path))?;
            journal
                .write_all(lines.as_bytes())
                .map_err(disk("write", &path))?;
            if let Some(left) = self.left.get_mut(&object) {
                parts.iter().for_each(|(offset, _)| {
                    left.remove(offset);
                });
                if left.is_empty() {
                    self.finish_partial(object)?;
                }
            }
        }
        self.batch_bytes = 0;
        self.library.sync_file_system()?;
        Ok(())
    }

    /// Gives back the room of what is not in place yet.
    pub(crate) fn discard(&mut self) {
        self.open_partials.clear();
        self.journal.clear();
        self.written.clear();
        if let Err(failure) = self.library.clear_incoming() {
            tracing::debug!("{failure}");
        }
    }

    /// Verifies a large object as a whole and moves it into place; a wrong one is thrown away.
    fn finish_partial(&mut self, object: ObjectId) -> Result<(), WriteError> {
        let path = self.library.root.join("partial").join(object.to_string());
        let journal = path.with_extension("done");
        let (found, _) = hash_file(&path).map_err(disk("read", &path))?;
        let result = if found == object {
            self.library
                .move_into_place(&path, &object)
                .map_err(WriteError::from)
        } else {
            std::fs::remove_file(&path).map_err(disk("remove", &path))?;
            Err(WriteError::WrongObject {
                expected: object,
                found,
            })
        };
        // The journal goes last: without the partial file it would vouch for bytes that are not there.
        if journal.exists() && (result.is_ok() || !path.exists()) {
            std::fs::remove_file(&journal).map_err(disk("remove", &journal))?;
        }
        self.left.remove(&object);
        result
    }
}

fn write_new(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(path)?.write_all(bytes)
}
