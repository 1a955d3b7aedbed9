//! Taking what verifies out of blocks into the library, durable in batches.
//!
//! `fsync` per file would make ten thousand small files slow, so a batch is written under temporary
//! names, made durable by one `syncfs`, and renamed into place; the renames are durable with the next batch, or at the
//! end. A journal line for an extent of a large object is written only after its bytes are durable.
//!
//! Several threads take blocks at a time. While one of them makes a batch durable, the others fill the next.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::direct::{Aligned, PartialFile, protect, write_new};
use super::stored::copy_stored;
use super::{DiskError, Library, Writing, disk, remove_if_there};
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
    writing: Writing,
    blocks: Vec<Block>,
    parts: Mutex<HashMap<u32, Vec<Part>>>,
    batch: Mutex<Batch>,
    /// Offsets of the parts still to come, per large object. Held while a batch is made durable.
    left: Mutex<HashMap<ObjectId, HashSet<u64>>>,
}

/// What is written and not durable yet.
#[derive(Default)]
struct Batch {
    written: Vec<ObjectId>,
    journal: HashMap<ObjectId, Vec<(u64, usize)>>,
    open_partials: HashMap<ObjectId, Arc<PartialFile>>,
    bytes: u64,
}

/// Memory of one thread, kept from block to block.
#[derive(Default)]
pub(crate) struct Scratch {
    raw: Aligned,
    aligned: Aligned,
}

impl BlockWriter {
    pub(crate) fn new(library: Arc<Library>, index: &PayloadIndex) -> Result<Self, DiskError> {
        let mut parts: HashMap<u32, Vec<Part>> = HashMap::new();
        let mut left: HashMap<ObjectId, HashSet<u64>> = HashMap::new();
        for (object, _, extents) in index.objects() {
            if library.has(&object) {
                continue;
            }
            let done = if extents.len() > 1 {
                library.forget_lost_parts(&object);
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
        Ok(BlockWriter {
            writing: library.writers.begin()?,
            library,
            blocks: index.blocks.clone(),
            parts: Mutex::new(parts),
            batch: Mutex::default(),
            left: Mutex::new(left),
        })
    }

    /// Large objects of which every extent was durable before a crash could rename them.
    pub(crate) fn finish_leftovers(&self) -> Result<(), WriteError> {
        let mut left = held(&self.left);
        let complete: Vec<ObjectId> = left
            .iter()
            .filter(|(_, left)| left.is_empty())
            .map(|(object, _)| *object)
            .collect();
        for object in complete {
            let _changing = self.library.lock();
            self.finish_partial(object, &mut left)?;
        }
        Ok(())
    }

    /// Writes what is missing from a compressed block; nothing of it is decoded, and no object kept, that was not verified.
    pub(crate) fn take(
        &self,
        number: u32,
        compressed: &[u8],
        scratch: &mut Scratch,
    ) -> Result<(), WriteError> {
        let block = self.blocks[number as usize];
        let parts = held(&self.parts).remove(&number).unwrap_or_default();
        let Scratch { raw, aligned } = scratch;
        let raw = raw.bytes(block.raw_length as usize);
        // What nothing has to be decoded for and only whole objects are taken from is verified by these: once is enough.
        let is_stored = parts.iter().all(|part| part.whole) && copy_stored(compressed, raw);
        if !is_stored {
            verify(&block, compressed)?;
            unpack(&block, compressed, raw)?;
        }
        self.library
            .room_for(&self.library.root, u64::from(block.raw_length))?;
        let mut full = false;
        for part in parts {
            let bytes = &raw[part.block_offset..part.block_offset + part.length];
            if part.whole {
                let found = ObjectId::of(bytes);
                if found != part.object {
                    // Whose fault it is: what came is not what was signed, or that does not fit together.
                    verify(&block, compressed)?;
                    return Err(WriteError::WrongObject {
                        expected: part.object,
                        found,
                    });
                }
                let path = self.library.new_path(&self.writing, &found);
                if let Err(failure) = write_new(&path, bytes, aligned) {
                    self.library.remove_new(&self.writing, &[found]);
                    return Err(disk("write", &path)(failure).into());
                }
            } else {
                let path = self.library.root.join("partial").join(part.object.to_string());
                let file = match held(&self.batch).open_partials.entry(part.object) {
                    Entry::Occupied(open) => open.get().clone(),
                    Entry::Vacant(vacant) => {
                        let opened = PartialFile::open(&path).map_err(disk("open", &path))?;
                        vacant.insert(Arc::new(opened)).clone()
                    }
                };
                file.write_at(bytes, part.object_offset, aligned)
                    .map_err(disk("write", &path))?;
            }
            // Only what is written whole is entered: another thread may make the batch durable at any time.
            let mut batch = held(&self.batch);
            batch.bytes += part.length as u64;
            match part.whole {
                true => batch.written.push(part.object),
                false => batch
                    .journal
                    .entry(part.object)
                    .or_default()
                    .push((part.object_offset, part.length)),
            }
            full = batch.bytes >= BATCH_BYTES;
        }
        match full {
            true => self.move_batch(),
            false => Ok(()),
        }
    }

    /// Makes everything taken so far durable and visible.
    pub(crate) fn flush(&self) -> Result<(), WriteError> {
        self.move_batch()?;
        Ok(self.library.sync_file_system()?)
    }

    /// Makes the bytes of a batch durable, and then visible.
    fn move_batch(&self) -> Result<(), WriteError> {
        let mut left = held(&self.left);
        let mut batch = std::mem::take(&mut *held(&self.batch));
        if batch.written.is_empty() && batch.journal.is_empty() {
            return Ok(());
        }
        let library = &self.library;
        let _changing = library.lock();
        let synced = library.sync_file_system();
        if let Err(failure) = synced.and_then(|()| library.move_into_place(&self.writing, &mut batch.written))
        {
            library.remove_new(&self.writing, &batch.written);
            return Err(failure.into());
        }
        for (object, parts) in batch.journal {
            if library.has(&object) {
                // A journal would vouch for parts of a file that is not there any more.
                self.finish_partial(object, &mut left)?;
                continue;
            }
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
            if let Some(coming) = left.get_mut(&object) {
                parts.iter().for_each(|(offset, _)| {
                    coming.remove(offset);
                });
                if coming.is_empty() {
                    self.finish_partial(object, &mut left)?;
                }
            }
        }
        Ok(())
    }

    /// Gives back the room of what is not in place yet.
    pub(crate) fn discard(&self) {
        let batch = std::mem::take(&mut *held(&self.batch));
        self.library.remove_new(&self.writing, &batch.written);
    }

    /// Verifies a large object as a whole and moves it into place; a wrong one is thrown away.
    fn finish_partial(
        &self,
        object: ObjectId,
        left: &mut HashMap<ObjectId, HashSet<u64>>,
    ) -> Result<(), WriteError> {
        let path = self.library.root.join("partial").join(object.to_string());
        let journal = path.with_extension("done");
        left.remove(&object);
        if self.library.has(&object) {
            // Another writer was faster, and took the partial file along: there is none, or one that is of no use.
            remove_if_there(&journal)?;
            return Ok(remove_if_there(&path)?);
        }
        let (found, _) = hash_file(&path).map_err(disk("read", &path))?;
        if found != object {
            // The journal goes first: without the partial file it would vouch for bytes that are not there, for ever.
            remove_if_there(&journal)?;
            remove_if_there(&path)?;
            return Err(WriteError::WrongObject {
                expected: object,
                found,
            });
        }
        protect(&File::open(&path).map_err(disk("open", &path))?).map_err(disk("protect", &path))?;
        self.library.move_partial(&path, &object)?;
        // Left behind by a crash here, it is thrown away with what else belongs to no partial file.
        Ok(remove_if_there(&journal)?)
    }
}

/// Whether a compressed block is the one that was signed.
fn verify(block: &Block, compressed: &[u8]) -> Result<(), WriteError> {
    let found = ObjectId::of(compressed);
    if found == block.sha256 {
        return Ok(());
    }
    Err(WriteError::Tampered {
        offset: block.offset,
        expected: block.sha256,
        found,
    })
}

fn unpack(block: &Block, compressed: &[u8], raw: &mut [u8]) -> Result<(), WriteError> {
    match zstd::bulk::decompress_to_buffer(compressed, raw) {
        Ok(length) if length == block.raw_length as usize => Ok(()),
        _ => Err(WriteError::Malformed {
            offset: block.offset,
            raw_length: block.raw_length,
        }),
    }
}

fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
