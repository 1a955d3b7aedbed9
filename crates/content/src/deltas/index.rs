//! The delta index: JSON lines inside one zstd frame, a header with the counts, then packs and segments.

use std::collections::HashSet;
use std::io::{self, Read, Write};
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::index::{IndexError, Lines, Pack, write_line};
use crate::object::ObjectId;
use crate::tree::TreePath;

const FORMAT: u32 = 1;
const PACKS_MAX: usize = 4_096;
const SEGMENTS_MAX: usize = 65_536;
/// Most objects of all segments.
const OBJECTS_MAX: usize = 2_000_000;
/// Largest segment: it is applied from memory.
pub(super) const SEGMENT_BYTES_MAX: u64 = 192 * 1024 * 1024;

/// Deltas that lead from one payload to another.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeltaIndex {
    /// Packs that hold segments.
    pub packs: Vec<Pack>,
    /// The deltas.
    pub segments: Vec<Segment>,
}

/// One delta, in one piece in a pack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    /// Number of the pack.
    pub pack: u32,
    /// Offset in the pack.
    pub offset: u64,
    /// Length in bytes.
    pub length: u64,
    /// SHA-256 of its bytes.
    pub sha256: ObjectId,
    /// Objects that it needs, in the order that it needs them.
    pub old: Vec<ObjectId>,
    /// Objects that it gives, with their sizes.
    pub new: Vec<(ObjectId, u64)>,
}

#[derive(Serialize, Deserialize)]
struct Header {
    format: u32,
    packs: usize,
    segments: usize,
}

impl DeltaIndex {
    /// Reads and checks an index.
    pub fn read(reader: impl Read) -> Result<Self, IndexError> {
        let mut lines = Lines::new(reader)?;
        let header: Header = lines.next()?;
        if header.format != FORMAT {
            return Err(IndexError::Newer {
                what: format!("deltas of format {}", header.format),
            });
        }
        if header.packs > PACKS_MAX || header.segments > SEGMENTS_MAX {
            return Err(IndexError::Inconsistent(
                "it announces more packs or segments than there may be".into(),
            ));
        }
        let mut index = DeltaIndex::default();
        for _ in 0..header.packs {
            index.packs.push(lines.next()?);
        }
        let mut objects = 0;
        for _ in 0..header.segments {
            let segment: Segment = lines.next()?;
            objects += segment.old.len() + segment.new.len();
            if objects > OBJECTS_MAX {
                return Err(IndexError::Inconsistent("it lists too many objects".into()));
            }
            index.segments.push(segment);
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
            &Header {
                format: FORMAT,
                packs: self.packs.len(),
                segments: self.segments.len(),
            },
        )?;
        for pack in &self.packs {
            write_line(&mut out, pack)?;
        }
        for segment in &self.segments {
            write_line(&mut out, segment)?;
        }
        out.flush()
    }

    /// Bytes of all segments.
    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.length).sum()
    }

    fn check(&self) -> Result<(), IndexError> {
        let wrong = |problem: String| Err(IndexError::Inconsistent(problem));
        for pack in &self.packs {
            TreePath::new(pack.target.clone())?;
        }
        let mut given = HashSet::new();
        for (number, segment) in self.segments.iter().enumerate() {
            given.clear();
            if let Some((twice, _)) = segment.new.iter().find(|(object, _)| !given.insert(object)) {
                return wrong(format!("segment {number} gives {twice} twice"));
            }
            let Some(pack) = self.packs.get(segment.pack as usize) else {
                return wrong(format!("segment {number} is in a pack that is not listed"));
            };
            let end = segment.offset.checked_add(segment.length);
            if segment.length == 0 || end.is_none_or(|end| end > pack.length) {
                return wrong(format!("segment {number} lies outside its pack"));
            }
            let bytes = segment
                .new
                .iter()
                .try_fold(0_u64, |sum, (_, size)| sum.checked_add(*size));
            if segment.length > SEGMENT_BYTES_MAX || bytes.is_none_or(|bytes| bytes > delta::BYTES_MAX) {
                return wrong(format!("segment {number} is larger than a segment may be"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> DeltaIndex {
        DeltaIndex {
            packs: vec![Pack {
                target: "packs/a.pack".into(),
                sha256: ObjectId::of(b"pack"),
                length: 100,
            }],
            segments: vec![Segment {
                pack: 0,
                offset: 10,
                length: 90,
                sha256: ObjectId::of(b"segment"),
                old: vec![ObjectId::of(b"old")],
                new: vec![(ObjectId::of(b"new"), 5), (ObjectId::of(b"other"), 7)],
            }],
        }
    }

    fn bytes(index: &DeltaIndex) -> Vec<u8> {
        let mut bytes = Vec::new();
        index.write(&mut bytes).unwrap();
        bytes
    }

    #[test]
    fn what_was_written_is_read_and_what_does_not_fit_is_refused() {
        assert_eq!(DeltaIndex::read(bytes(&example()).as_slice()).unwrap(), example());
        let check = |change: &dyn Fn(&mut DeltaIndex), part: &str| {
            let mut index = example();
            change(&mut index);
            let error = DeltaIndex::read(bytes(&index).as_slice()).unwrap_err();
            let text = format!("{error} {:?}", std::error::Error::source(&error));
            assert!(text.contains(part), "{text}");
        };
        check(&|index| index.segments[0].pack = 1, "not listed");
        check(&|index| index.segments[0].length = 91, "outside its pack");
        check(&|index| index.segments[0].offset = u64::MAX, "outside its pack");
        check(&|index| index.segments[0].length = 0, "outside its pack");
        check(&|index| index.segments[0].new[0].1 = u64::MAX, "larger");
        check(
            &|index| {
                let again = index.segments[0].new[0];
                index.segments[0].new.push(again);
            },
            "twice",
        );
        check(&|index| index.packs[0].target = "../x".into(), "leave the tree");
    }

    #[test]
    fn damaged_bytes_never_panic() {
        let good = bytes(&example());
        let text = zstd::bulk::decompress(&good, 1 << 20).unwrap();
        for cut in 0..good.len() {
            assert!(DeltaIndex::read(&good[..cut]).is_err(), "cut at {cut}");
        }
        for at in 0..text.len() {
            for with in [b'0', b'9', b'"', b'}', b'\n', 0xff] {
                let mut changed = text.clone();
                changed[at] = with;
                crate::fuzz::fuzz_delta_index(&zstd::bulk::compress(&changed, 1).unwrap());
            }
        }
    }
}
