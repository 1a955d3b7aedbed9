//! Packs: new objects one after the other, cut into blocks, each block one zstd frame.

use std::collections::HashSet;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::error::{PublishError, io_error};
use super::places::Places;
use super::source::{Scanned, ScannedKind};
use super::{Progress, PublishOptions, hash_file};
use crate::index::{Block, Extent, Pack};
use crate::object::ObjectId;

/// What zstd's encoder takes for each byte of a block, up to level 19 and above (measured with blocks of 8 MiB).
const ENCODER: u64 = 10;
const ENCODER_STRONGEST: u64 = 16;

/// An object to be stored, and where its bytes are now.
pub(super) struct Fresh<'a> {
    pub object: ObjectId,
    pub size: u64,
    pub data: &'a Path,
}

/// The new objects, each once, in the order that compresses well: alike by extension, then by name,
/// so that versions and siblings of a file lie beside each other.
pub(super) fn order_of_new(scanned: &[Scanned], known: impl Fn(&ObjectId) -> bool) -> Vec<Fresh<'_>> {
    let mut seen = HashSet::new();
    let mut fresh: Vec<(&str, &str, &str, Fresh<'_>)> = scanned
        .iter()
        .filter_map(|entry| match &entry.kind {
            ScannedKind::File {
                object, size, data, ..
            } if *size > 0 && !known(object) && seen.insert(*object) => {
                let name = entry.path.file_name();
                let extension = name.rsplit_once('.').map_or("", |(_, extension)| extension);
                Some((
                    extension,
                    name,
                    entry.path.as_str(),
                    Fresh {
                        object: *object,
                        size: *size,
                        data,
                    },
                ))
            }
            _ => None,
        })
        .collect();
    fresh.sort_by_key(|(extension, name, path, _)| (*extension, *name, *path));
    fresh.into_iter().map(|(.., fresh)| fresh).collect()
}

/// Compresses and writes the objects; notes their places. Returns the packs that were made.
pub(super) fn write(
    fresh: &[Fresh<'_>],
    targets_dir: &Path,
    options: &PublishOptions,
    places: &mut Places,
    progress: &mut dyn FnMut(Progress),
) -> Result<Vec<Pack>, PublishError> {
    let total: u64 = fresh.iter().map(|object| object.size).sum();
    let mut reader = BlockReader {
        fresh,
        at: 0,
        open: None,
    };
    let mut packs = Vec::new();
    let mut done = 0;
    let mut writer: Option<PackWriter> = None;
    let threads = threads(options);
    loop {
        // A batch of blocks is read, compressed on all threads and written in order: memory is bounded
        // by the threads, and the result does not depend on how many there are.
        let mut batch = Vec::new();
        while batch.len() < threads {
            match reader.next_block(options.block_bytes)? {
                Some(block) => batch.push(block),
                None => break,
            }
        }
        if batch.is_empty() {
            break;
        }
        let compressed =
            compress(&batch, options.level).map_err(io_error("compress a block for", targets_dir))?;
        for (raw, bytes) in batch.into_iter().zip(compressed) {
            done += raw.bytes.len() as u64;
            let open = match &mut writer {
                Some(open) => open,
                None => writer.insert(PackWriter::create(targets_dir)?),
            };
            open.add(raw, &bytes)?;
            if open.file.length >= options.pack_bytes_max
                && let Some(full) = writer.take()
            {
                packs.push(full.finish(targets_dir, places)?);
            }
            progress(Progress::Compressing { done, total });
        }
    }
    if let Some(last) = writer {
        packs.push(last.finish(targets_dir, places)?);
    }
    Ok(packs)
}

/// How many threads compress: as many as there are, and as fit into the memory.
fn threads(options: &PublishOptions) -> usize {
    // Beside a block before and after, the encoder has its tables and window.
    let per_block_byte = 2 + match options.level {
        ..=19 => ENCODER,
        20.. => ENCODER_STRONGEST,
    };
    let each = options.block_bytes as u64 * per_block_byte;
    let fit = options.memory / each.max(1);
    options
        .threads
        .min(usize::try_from(fit).unwrap_or(usize::MAX))
        .max(1)
}

fn compress(batch: &[RawBlock], level: i32) -> io::Result<Vec<Vec<u8>>> {
    std::thread::scope(|scope| {
        let threads: Vec<_> = batch
            .iter()
            .map(|raw| scope.spawn(move || zstd::bulk::compress(&raw.bytes, level)))
            .collect();
        threads
            .into_iter()
            .map(|thread| {
                thread
                    .join()
                    .unwrap_or_else(|_| Err(io::Error::other("the compressor crashed")))
            })
            .collect()
    })
}

/// Object, its offset in the block, length.
type BlockPart = (ObjectId, u32, u32);

struct RawBlock {
    bytes: Vec<u8>,
    parts: Vec<BlockPart>,
}

/// Reads the objects one after the other and cuts them into blocks.
struct BlockReader<'a> {
    fresh: &'a [Fresh<'a>],
    at: usize,
    open: Option<OpenObject>,
}

struct OpenObject {
    file: File,
    hasher: Sha256,
    left: u64,
}

impl BlockReader<'_> {
    fn next_block(&mut self, block_bytes: usize) -> Result<Option<RawBlock>, PublishError> {
        let mut block = RawBlock {
            bytes: Vec::with_capacity(block_bytes),
            parts: Vec::new(),
        };
        while block.bytes.len() < block_bytes {
            let Some(object) = self.fresh.get(self.at) else {
                break;
            };
            let changed = || PublishError::Changed {
                path: object.data.to_owned(),
            };
            let open = match &mut self.open {
                Some(open) => open,
                None => {
                    let file = File::open(object.data).map_err(io_error("open", object.data))?;
                    self.open.insert(OpenObject {
                        file,
                        hasher: Sha256::new(),
                        left: object.size,
                    })
                }
            };
            let start = block.bytes.len();
            let room = ((block_bytes - start) as u64).min(open.left);
            let read = (&mut open.file)
                .take(room)
                .read_to_end(&mut block.bytes)
                .map_err(io_error("read", object.data))?;
            if read as u64 != room {
                return Err(changed());
            }
            open.hasher.update(&block.bytes[start..]);
            open.left -= room;
            block.parts.push((object.object, start as u32, read as u32));
            if open.left == 0 {
                let finished = self
                    .open
                    .take()
                    .map(|open| ObjectId(open.hasher.finalize().into()));
                if finished != Some(object.object) {
                    return Err(changed());
                }
                self.at += 1;
            }
        }
        Ok(if block.bytes.is_empty() { None } else { Some(block) })
    }
}

/// A pack that is being written: bytes one after the other, durable under its name only when it is whole.
pub(crate) struct PackFile {
    path: PathBuf,
    file: File,
    hasher: Sha256,
    length: u64,
}

impl PackFile {
    pub(crate) fn create(targets_dir: &Path) -> Result<Self, PublishError> {
        let folder = targets_dir.join("packs");
        std::fs::create_dir_all(&folder).map_err(io_error("create", &folder))?;
        let path = folder.join(".pack.new");
        let file = File::create(&path).map_err(io_error("create", &path))?;
        Ok(PackFile {
            path,
            file,
            hasher: Sha256::new(),
            length: 0,
        })
    }

    /// Writes bytes and says at which offset they stand.
    pub(crate) fn append(&mut self, bytes: &[u8]) -> Result<u64, PublishError> {
        self.file
            .write_all(bytes)
            .map_err(io_error("write", &self.path))?;
        self.hasher.update(bytes);
        let offset = self.length;
        self.length += bytes.len() as u64;
        Ok(offset)
    }

    pub(crate) fn discard(self) -> Result<(), PublishError> {
        std::fs::remove_file(&self.path).map_err(io_error("remove", &self.path))
    }

    pub(crate) fn finish(self, targets_dir: &Path) -> Result<Pack, PublishError> {
        let sha256 = ObjectId(self.hasher.finalize().into());
        let pack = Pack {
            target: format!("packs/{sha256}.pack"),
            sha256,
            length: self.length,
        };
        let stored = targets_dir.join(pack.stored_path());
        let already = stored.exists() && hash_file(&stored).is_ok_and(|(found, _)| found == sha256);
        let folder = targets_dir.join("packs");
        let durable = || {
            self.file.sync_all()?;
            if already {
                std::fs::remove_file(&self.path)?
            } else {
                std::fs::rename(&self.path, &stored)?
            }
            File::open(&folder)?.sync_all()
        };
        durable().map_err(io_error("store", &stored))?;
        Ok(pack)
    }
}

/// A pack of blocks.
struct PackWriter {
    file: PackFile,
    blocks: Vec<(Block, Vec<BlockPart>)>,
}

impl PackWriter {
    fn create(targets_dir: &Path) -> Result<Self, PublishError> {
        Ok(PackWriter {
            file: PackFile::create(targets_dir)?,
            blocks: Vec::new(),
        })
    }

    fn add(&mut self, raw: RawBlock, compressed: &[u8]) -> Result<(), PublishError> {
        let block = Block {
            pack: 0,
            offset: self.file.append(compressed)?,
            length: compressed.len() as u32,
            raw_length: raw.bytes.len() as u32,
            sha256: ObjectId::of(compressed),
        };
        self.blocks.push((block, raw.parts));
        Ok(())
    }

    fn finish(self, targets_dir: &Path, places: &mut Places) -> Result<Pack, PublishError> {
        let pack = self.file.finish(targets_dir)?;
        let number = places.pack_number(&pack);
        for (block, parts) in self.blocks {
            let block = places.block_number(Block {
                pack: number,
                ..block
            });
            for (object, offset, length) in parts {
                places.extents.entry(object).or_default().push(Extent {
                    block,
                    offset,
                    length,
                });
            }
        }
        Ok(pack)
    }
}
