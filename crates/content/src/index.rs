//! The payload index: what a payload consists of and where in the packs its content lies.
//!
//! JSON lines inside one zstd frame: a header with the counts, then packs, blocks and entries. Unknown
//! fields are ignored; an unknown format or block encoding is refused, because a reader that skipped it
//! would rebuild wrong files. Later formats may add encodings (deltas) without changing the rest.

use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::object::ObjectId;
use crate::tree::{self, TreeError, TreePath};
pub use crate::tree::{Entry, EntryKind, Extent};

/// The format written by this release.
const FORMAT: u32 = 1;
/// Largest uncompressed block.
pub const BLOCK_RAW_BYTES_MAX: u32 = 64 * 1024 * 1024;
/// Largest compressed block: incompressible data grows by less than this.
const BLOCK_BYTES_MAX: u32 = BLOCK_RAW_BYTES_MAX + 1024 * 1024;
/// Longest line: a 1 TiB file in 8 MiB blocks has 131,072 extents of some 25 bytes.
const LINE_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// Most bytes of an index, uncompressed.
const TEXT_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// Most packs.
const PACKS_MAX: usize = 65_536;
/// Most blocks.
const BLOCKS_MAX: usize = 4_000_000;

/// A payload.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PayloadIndex {
    /// Number of files.
    pub files: u64,
    /// Sum of their sizes.
    pub bytes: u64,
    /// Packs that hold content of this payload.
    pub packs: Vec<Pack>,
    /// Blocks that hold content of this payload.
    pub blocks: Vec<Block>,
    /// The tree, sorted by path.
    pub entries: Vec<Entry>,
}

/// A file of the feed with blocks one after the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pack {
    /// TUF target path.
    pub target: String,
    /// SHA-256 of the whole pack.
    pub sha256: ObjectId,
    /// Length in bytes.
    pub length: u64,
}

impl Pack {
    /// Path below the targets under its consistent-snapshot name: its hash before its file name (TUF 6.2).
    pub fn stored_path(&self) -> String {
        let (folder, name) = self.target.rsplit_once('/').unwrap_or(("", self.target.as_str()));
        format!("{folder}/{}.{name}", self.sha256)
    }
}

/// A compressed block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block {
    /// Number of the pack.
    pub pack: u32,
    /// Offset in the pack.
    pub offset: u64,
    /// Compressed length.
    pub length: u32,
    /// Uncompressed length.
    pub raw_length: u32,
    /// SHA-256 of the compressed bytes.
    pub sha256: ObjectId,
}

/// Why an index could not be read.
#[derive(Debug, thiserror::Error)]
pub enum IndexError {
    /// The file cannot be read or is no zstd frame.
    #[error("the payload index cannot be read")]
    Io(#[source] io::Error),
    /// Written by a newer release.
    #[error("the payload index uses {what}, which a newer tidegate is needed for")]
    Newer {
        /// What is not known here.
        what: String,
    },
    /// A line is not what it should be.
    #[error("line {line} of the payload index: {problem}")]
    Line {
        /// Line number, from 1.
        line: u64,
        /// What is wrong.
        problem: String,
    },
    /// The tree breaks a rule.
    #[error("the payload index lists a tree that is not allowed")]
    Tree(#[from] TreeError),
    /// Numbers that do not fit together.
    #[error("the payload index is inconsistent: {0}")]
    Inconsistent(String),
}

#[derive(Serialize, Deserialize)]
struct HeaderLine {
    format: u32,
    files: u64,
    bytes: u64,
    packs: usize,
    blocks: usize,
    entries: usize,
}

#[derive(Serialize, Deserialize)]
struct BlockLine {
    pack: u32,
    offset: u64,
    length: u32,
    raw: u32,
    sha256: ObjectId,
    encoding: String,
}

#[derive(Serialize, Deserialize)]
struct EntryLine {
    path: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    file: Option<FileLine>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    link: Option<String>,
}

#[derive(Serialize, Deserialize)]
struct FileLine {
    sha256: ObjectId,
    size: u64,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    x: bool,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    at: Vec<(u32, u32, u32)>,
}

impl PayloadIndex {
    /// Reads and checks an index.
    pub fn read(reader: impl Read) -> Result<Self, IndexError> {
        let mut lines = Lines::new(reader)?;
        let header: HeaderLine = lines.next()?;
        if header.format != FORMAT {
            return Err(IndexError::Newer {
                what: format!("format {}", header.format),
            });
        }
        if header.packs > PACKS_MAX || header.blocks > BLOCKS_MAX || header.entries > tree::ENTRIES_MAX {
            return Err(IndexError::Inconsistent(
                "it announces more packs, blocks or entries than there may be".into(),
            ));
        }
        let mut index = PayloadIndex {
            files: header.files,
            bytes: header.bytes,
            ..PayloadIndex::default()
        };
        for _ in 0..header.packs {
            index.packs.push(lines.next()?);
        }
        for _ in 0..header.blocks {
            let line: BlockLine = lines.next()?;
            if line.encoding != "zstd" {
                let encoding: String = line.encoding.chars().take(32).collect();
                return Err(IndexError::Newer {
                    what: format!("block encoding {encoding:?}"),
                });
            }
            let BlockLine {
                pack,
                offset,
                length,
                raw,
                sha256,
                ..
            } = line;
            index.blocks.push(Block {
                pack,
                offset,
                length,
                raw_length: raw,
                sha256,
            });
        }
        for _ in 0..header.entries {
            let line: EntryLine = lines.next()?;
            index.entries.push(entry_of(line)?);
        }
        lines.end()?;
        index.check()?;
        Ok(index)
    }

    /// Reads and checks the index in a file.
    pub fn read_file(path: &Path) -> Result<Self, IndexError> {
        Self::read(std::fs::File::open(path).map_err(IndexError::Io)?)
    }

    /// Writes the index; the same index gives the same bytes.
    pub fn write(&self, writer: impl Write) -> io::Result<()> {
        let mut out = io::BufWriter::new(zstd::stream::write::Encoder::new(writer, 12)?.auto_finish());
        write_line(
            &mut out,
            &HeaderLine {
                format: FORMAT,
                files: self.files,
                bytes: self.bytes,
                packs: self.packs.len(),
                blocks: self.blocks.len(),
                entries: self.entries.len(),
            },
        )?;
        for pack in &self.packs {
            write_line(&mut out, pack)?;
        }
        for block in &self.blocks {
            write_line(
                &mut out,
                &BlockLine {
                    pack: block.pack,
                    offset: block.offset,
                    length: block.length,
                    raw: block.raw_length,
                    sha256: block.sha256,
                    encoding: "zstd".into(),
                },
            )?;
        }
        for entry in &self.entries {
            write_line(&mut out, &line_of(entry))?;
        }
        out.flush()
    }

    /// Every file with its object, once per object, as (object, size, extents).
    pub fn objects(&self) -> impl Iterator<Item = (ObjectId, u64, &[Extent])> {
        let mut seen = std::collections::HashSet::new();
        self.entries.iter().filter_map(move |entry| match &entry.kind {
            EntryKind::File {
                object,
                size,
                extents,
                ..
            } => (*size > 0 && seen.insert(*object)).then_some((*object, *size, extents.as_slice())),
            EntryKind::Directory | EntryKind::Symlink { .. } => None,
        })
    }

    /// Compressed bytes that somebody with nothing has to fetch.
    pub fn download_bytes(&self) -> u64 {
        self.blocks.iter().map(|block| u64::from(block.length)).sum()
    }

    fn check(&self) -> Result<(), IndexError> {
        let wrong = |problem: String| Err(IndexError::Inconsistent(problem));
        for pack in &self.packs {
            TreePath::new(pack.target.clone())?;
        }
        for (number, block) in self.blocks.iter().enumerate() {
            let Some(pack) = self.packs.get(block.pack as usize) else {
                return wrong(format!(
                    "block {number} is in pack {}, which is not listed",
                    block.pack
                ));
            };
            let end = block.offset.checked_add(u64::from(block.length));
            if end.is_none_or(|end| end > pack.length) || block.length == 0 {
                return wrong(format!("block {number} lies outside its pack"));
            }
            if block.raw_length > BLOCK_RAW_BYTES_MAX || block.length > BLOCK_BYTES_MAX {
                return wrong(format!("block {number} is larger than a block may be"));
            }
        }
        tree::check(&self.entries, tree::ENTRIES_MAX)?;
        let (mut files, mut bytes) = (0_u64, 0_u64);
        let mut sizes: HashMap<ObjectId, u64> = HashMap::new();
        for entry in &self.entries {
            let EntryKind::File {
                object,
                size,
                extents,
                ..
            } = &entry.kind
            else {
                continue;
            };
            files += 1;
            bytes = bytes.saturating_add(*size);
            if *sizes.entry(*object).or_insert(*size) != *size {
                return wrong(format!(
                    "{} has another size than a file of the same content",
                    entry.path
                ));
            }
            let mut sum = 0_u64;
            for extent in extents {
                let end = extent.offset.checked_add(extent.length);
                let inside = self
                    .blocks
                    .get(extent.block as usize)
                    .is_some_and(|block| end.is_some_and(|end| end <= block.raw_length));
                if !inside || extent.length == 0 {
                    return wrong(format!("{} has content outside its block", entry.path));
                }
                sum += u64::from(extent.length);
            }
            if sum != *size {
                return wrong(format!("{} has {size} bytes but places for {sum}", entry.path));
            }
        }
        if (files, bytes) != (self.files, self.bytes) {
            return wrong("its totals are not those of its entries".into());
        }
        Ok(())
    }
}

/// One line of JSON.
pub(crate) fn write_line(out: &mut impl Write, value: &impl Serialize) -> io::Result<()> {
    serde_json::to_writer(&mut *out, value)?;
    out.write_all(b"\n")
}

/// Lines of JSON inside a zstd frame, each of a type of its own.
pub(crate) struct Lines<R: Read> {
    text: BufReader<io::Take<zstd::stream::read::Decoder<'static, BufReader<R>>>>,
    number: u64,
    buffer: Vec<u8>,
}

impl<R: Read> Lines<R> {
    pub(crate) fn new(reader: R) -> Result<Self, IndexError> {
        let decoder = zstd::stream::read::Decoder::new(reader).map_err(IndexError::Io)?;
        Ok(Lines {
            text: BufReader::new(decoder.take(TEXT_BYTES_MAX)),
            number: 0,
            buffer: Vec::new(),
        })
    }

    pub(crate) fn next<T: for<'a> Deserialize<'a>>(&mut self) -> Result<T, IndexError> {
        self.number += 1;
        self.buffer.clear();
        let length = (&mut self.text)
            .take(LINE_BYTES_MAX)
            .read_until(b'\n', &mut self.buffer)
            .map_err(IndexError::Io)?;
        let wrong = |problem: String| IndexError::Line {
            line: self.number,
            problem,
        };
        if length == 0 {
            return Err(wrong("is missing, the index is cut off or too large".into()));
        }
        if self.buffer.last() != Some(&b'\n') {
            return Err(wrong("is too long or cut off".into()));
        }
        serde_json::from_slice(&self.buffer).map_err(|e| wrong(e.to_string()))
    }

    pub(crate) fn end(&mut self) -> Result<(), IndexError> {
        let more = self.text.fill_buf().map_err(IndexError::Io)?;
        if more.is_empty() {
            Ok(())
        } else {
            Err(IndexError::Inconsistent("it goes on after its last entry".into()))
        }
    }
}

fn entry_of(line: EntryLine) -> Result<Entry, IndexError> {
    let path = TreePath::new(line.path)?;
    let kind = match (line.file, line.link) {
        (Some(file), None) => EntryKind::File {
            object: file.sha256,
            size: file.size,
            executable: file.x,
            extents: file
                .at
                .into_iter()
                .map(|(block, offset, length)| Extent {
                    block,
                    offset,
                    length,
                })
                .collect(),
        },
        (None, Some(target)) => EntryKind::Symlink { target },
        (None, None) => EntryKind::Directory,
        (Some(_), Some(_)) => return Err(TreeError::new(path.as_str(), "is both a file and a link").into()),
    };
    Ok(Entry { path, kind })
}

fn line_of(entry: &Entry) -> EntryLine {
    let (file, link) = match &entry.kind {
        EntryKind::Directory => (None, None),
        EntryKind::Symlink { target } => (None, Some(target.clone())),
        EntryKind::File {
            object,
            size,
            executable,
            extents,
        } => {
            let at = extents
                .iter()
                .map(|extent| (extent.block, extent.offset, extent.length))
                .collect();
            (
                Some(FileLine {
                    sha256: *object,
                    size: *size,
                    x: *executable,
                    at,
                }),
                None,
            )
        }
    };
    EntryLine {
        path: entry.path.to_string(),
        file,
        link,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> PayloadIndex {
        let file = |path: &str, size: u64, extents: Vec<Extent>| Entry {
            path: TreePath::new(path).unwrap(),
            kind: EntryKind::File {
                object: ObjectId::of(path.as_bytes()),
                size,
                executable: size > 5,
                extents,
            },
        };
        PayloadIndex {
            files: 2,
            bytes: 14,
            packs: vec![Pack {
                target: "packs/a.pack".into(),
                sha256: ObjectId([1; 32]),
                length: 20,
            }],
            blocks: vec![
                Block {
                    pack: 0,
                    offset: 0,
                    length: 9,
                    raw_length: 10,
                    sha256: ObjectId([2; 32]),
                },
                Block {
                    pack: 0,
                    offset: 9,
                    length: 11,
                    raw_length: 4,
                    sha256: ObjectId([3; 32]),
                },
            ],
            entries: vec![
                Entry {
                    path: TreePath::new("bin").unwrap(),
                    kind: EntryKind::Directory,
                },
                file(
                    "bin/run",
                    10,
                    vec![
                        Extent {
                            block: 0,
                            offset: 4,
                            length: 6,
                        },
                        Extent {
                            block: 1,
                            offset: 0,
                            length: 4,
                        },
                    ],
                ),
                Entry {
                    path: TreePath::new("link").unwrap(),
                    kind: EntryKind::Symlink {
                        target: "bin/run".into(),
                    },
                },
                file(
                    "z",
                    4,
                    vec![Extent {
                        block: 0,
                        offset: 0,
                        length: 4,
                    }],
                ),
            ],
        }
    }

    fn bytes(index: &PayloadIndex) -> Vec<u8> {
        let mut bytes = Vec::new();
        index.write(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn is_read_back() {
        let index = example();
        assert_eq!(PayloadIndex::read(bytes(&index).as_slice()).unwrap(), index);
        assert_eq!(bytes(&index), bytes(&index));
    }

    #[test]
    fn what_does_not_fit_together_is_refused() {
        let check = |change: &dyn Fn(&mut PayloadIndex), part: &str| {
            let mut index = example();
            change(&mut index);
            let error = PayloadIndex::read(bytes(&index).as_slice()).unwrap_err();
            let text = format!("{error} {:?}", std::error::Error::source(&error));
            assert!(text.contains(part), "{text}");
        };
        check(&|index| index.files = 3, "totals");
        check(&|index| index.blocks[1].length = 12, "outside its pack");
        check(&|index| index.blocks[1].pack = 1, "not listed");
        check(&|index| index.blocks[0].raw_length = u32::MAX, "larger");
        check(&|index| index.blocks[1].raw_length = 3, "outside its block");
        check(&|index| index.entries.swap(0, 1), "no folder");
        check(&|index| index.packs[0].target = "../x".into(), "leave the tree");
        check(
            &|index| {
                if let EntryKind::File { extents, .. } = &mut index.entries[3].kind {
                    extents[0].length = u32::MAX;
                }
            },
            "outside its block",
        );
    }

    #[test]
    fn damaged_bytes_never_panic() {
        let good = bytes(&example());
        let text = zstd::bulk::decompress(&good, 1 << 20).unwrap();
        for cut in 0..good.len() {
            assert!(PayloadIndex::read(&good[..cut]).is_err(), "cut at {cut}");
        }
        for at in 0..text.len() {
            for with in [b'0', b'9', b'"', b'}', b'\n', 0xff] {
                let mut changed = text.clone();
                changed[at] = with;
                crate::fuzz::fuzz_index(&zstd::bulk::compress(&changed, 1).unwrap());
            }
        }
    }
}
