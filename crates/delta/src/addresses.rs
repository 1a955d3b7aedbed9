//! Predicting addresses in compiled code.
//!
//! When code moves, every call and every reference to data changes, though nothing about it is new: its target moved
//! as well, and the copies say where to. So the fields that hold addresses are found in the old bytes, their targets
//! are sent through the copies, and what comes out is what the new bytes will nearly always be. The reader of a delta
//! does the same with the same copies; a field that was guessed wrong costs a correction, never a wrong byte.

use crate::instructions::{distance_at, next_place};
use crate::matching::Copy;

/// Bytes of a file that are mapped to addresses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span {
    /// Offset in all old, or all new, bytes of the delta.
    pub offset: u64,
    /// Length of bytes and of addresses.
    pub length: u64,
    /// Address of the first byte.
    pub address: u64,
}

/// What the fields of a region are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// x86-64 instructions: 32-bit displacements from the end of their instruction.
    CodeX64,
    /// 64-bit addresses, one after the other.
    Pointers,
    /// Records of 24 bytes with addresses at 0 and 16 (`Elf64_Rela`).
    Relocations,
    /// Records of 24 bytes with an address at 8 (`Elf64_Sym`).
    Symbols,
    /// 32-bit distances from the begin of the region, in every word (`.eh_frame_hdr`).
    FromBegin,
    /// 32-bit addresses, one after the other (`.pdata`).
    Addresses32,
    /// Call frame information (`.eh_frame`): the begin of each described function, a 32-bit distance from itself.
    Frames,
}

impl Kind {
    /// Every kind, in the order of their numbers in a delta.
    pub(crate) const ALL: [Kind; 7] = [
        Kind::CodeX64,
        Kind::Pointers,
        Kind::Relocations,
        Kind::Symbols,
        Kind::FromBegin,
        Kind::Addresses32,
        Kind::Frames,
    ];
}

/// A part of all old, or all new, bytes whose fields are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Region {
    /// Offset among them.
    pub offset: u64,
    /// Length.
    pub length: u64,
    /// Its fields.
    pub kind: Kind,
}

/// An old program and the new one it became.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(crate) struct Program {
    /// Where the old one's bytes are mapped, by offset.
    pub old: Vec<Span>,
    /// Where the new one's bytes are mapped, by offset.
    pub new: Vec<Span>,
    /// Addresses without bytes (zeroed memory), old and new.
    pub blank: Option<(Span, u64)>,
    /// Fields of the old one, by offset, apart from each other.
    pub regions: Vec<Region>,
}

impl Program {
    /// The offset of an old address, where it has one.
    fn old_offset(&self, address: u64) -> Option<u64> {
        let span = self
            .old
            .iter()
            .find(|span| address.wrapping_sub(span.address) < span.length)?;
        Some(span.offset + (address - span.address))
    }

    /// The address of an offset among the new bytes.
    fn new_address(&self, offset: u64) -> Option<u64> {
        let span = self
            .new
            .iter()
            .find(|span| offset.wrapping_sub(span.offset) < span.length)?;
        span.address.checked_add(offset - span.offset)
    }

    fn old_address(&self, offset: u64) -> Option<u64> {
        let span = self
            .old
            .iter()
            .find(|span| offset.wrapping_sub(span.offset) < span.length)?;
        span.address.checked_add(offset - span.offset)
    }
}

/// A field in a predicted piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Field {
    /// Offset in the piece.
    pub at: u32,
    /// 4 or 8 bytes.
    pub width: u8,
}

/// All copies, to be asked where an old offset went.
pub(crate) struct Moves {
    /// By old offset.
    moves: Vec<Copy>,
    /// For each page of old bytes the number of the first copy that begins in it or later.
    pages: Vec<u32>,
}

const PAGE_BITS: u32 = 10;
/// Copies that may lie over each other and still be found.
const LOOKED_BACK: usize = 4;
/// A target between two copies is taken to have moved with the one before it, if that ends so near.
const NEAR: usize = 4096;

impl Moves {
    pub(crate) fn new(copies: &[Copy], old_length: usize) -> Self {
        let moves = copies.iter().filter(|copy| copy.length() >= 16);
        let mut moves: Vec<Copy> = moves.copied().collect();
        moves.sort_unstable_by_key(|copy| (copy.old_begin() as u64) << 32 | copy.begin() as u64);
        let mut pages = vec![moves.len() as u32; (old_length >> PAGE_BITS) + 2];
        for (number, copy) in moves.iter().enumerate().rev() {
            pages[copy.old_begin() >> PAGE_BITS] = number as u32;
        }
        for page in (1..pages.len()).rev() {
            pages[page - 1] = pages[page - 1].min(pages[page]);
        }
        Moves { moves, pages }
    }

    /// Where an old offset went.
    fn of(&self, offset: usize) -> Option<usize> {
        let page = (offset >> PAGE_BITS).min(self.pages.len() - 2);
        let (first, end) = (self.pages[page] as usize, self.pages[page + 1] as usize);
        let after = first + self.moves[first..end].partition_point(|copy| copy.old_begin() <= offset);
        let before = &self.moves[after.saturating_sub(LOOKED_BACK)..after];
        let inside = before.iter().rev().find(|copy| offset < copy.old_end());
        let copy = match inside {
            Some(copy) => copy,
            None => before
                .iter()
                .max_by_key(|copy| copy.old_end())
                .filter(|copy| offset - copy.old_end() < NEAR)?,
        };
        Some(copy.begin() + (offset - copy.old_begin()))
    }
}

/// Programs and copies together: what predicts.
pub(crate) struct Predictor {
    programs: Vec<Program>,
    /// Every region with the number of its program, by offset.
    regions: Vec<(Region, usize)>,
    /// Offsets of the fields of call frame information, in order.
    frames: Vec<u64>,
    moves: Moves,
}

/// Bytes of a region of frames that are looked through at most.
pub(crate) const FRAMES_BYTES_MAX: u64 = 64 * 1024 * 1024;

impl Predictor {
    /// `read` gives old bytes; it is asked for the regions of call frame information only.
    pub(crate) fn new<E>(
        programs: Vec<Program>,
        moves: Moves,
        mut read: impl FnMut(u64, u64) -> Result<Vec<u8>, E>,
    ) -> Result<Self, E> {
        let mut regions = Vec::new();
        let mut frames = Vec::new();
        for (number, program) in programs.iter().enumerate() {
            for region in &program.regions {
                regions.push((*region, number));
            }
        }
        regions.sort_by_key(|(region, _)| region.offset);
        let mut done = 0;
        for (region, _) in &regions {
            // Several programs may have come of the one that has it.
            let is_new = region.offset >= done;
            if is_new && region.kind == Kind::Frames && region.length <= FRAMES_BYTES_MAX {
                let bytes = read(region.offset, region.length)?;
                frames.extend(frame_fields(&bytes).map(|at| region.offset + at));
                done = region.offset + region.length;
            }
        }
        Ok(Predictor {
            programs,
            regions,
            frames,
            moves,
        })
    }

    /// Turns old bytes at `old` into what they should be at `new`, and lists the fields that were predicted, in order.
    pub(crate) fn predict(&self, bytes: &mut [u8], old: u64, new: u64, fields: &mut Vec<Field>) {
        fields.clear();
        let end = old + bytes.len() as u64;
        let first = self
            .regions
            .partition_point(|(region, _)| region.offset + region.length <= old);
        for (region, number) in &self.regions[first..] {
            if region.offset >= end {
                break;
            }
            let program = &self.programs[*number];
            if region.offset + region.length <= old {
                continue;
            }
            let from = (region.offset.max(old) - old) as usize;
            // One old program may have become several new ones; each has its own idea of addresses.
            if program.new_address(new + from as u64).is_none() {
                continue;
            }
            let to = ((region.offset + region.length).min(end) - old) as usize;
            let mut piece = Piece {
                moves: &self.moves,
                program,
                bytes: &mut *bytes,
                old,
                new,
                fields: &mut *fields,
            };
            match region.kind {
                Kind::CodeX64 => piece.code(from, to),
                Kind::Pointers => piece.each(region, from, to, (8, &[0], 8), Piece::absolute),
                Kind::Relocations => piece.each(region, from, to, (24, &[0, 16], 8), Piece::absolute),
                Kind::Symbols => piece.each(region, from, to, (24, &[8], 8), Piece::absolute),
                Kind::Addresses32 => piece.each(region, from, to, (4, &[0], 4), |piece, at| {
                    piece.based(at, 0, 0);
                }),
                Kind::FromBegin => {
                    let begin = program.old_address(region.offset);
                    let new_begin = begin.and_then(|begin| piece.moved(begin));
                    if let (Some(begin), Some(new_begin)) = (begin, new_begin) {
                        piece.each(region, from, to, (4, &[0], 4), |piece, at| {
                            piece.based(at, begin, new_begin);
                        });
                    }
                }
                Kind::Frames => {
                    let first = self.frames.partition_point(|at| *at < old + from as u64);
                    for at in &self.frames[first..] {
                        let at = (*at - old) as usize;
                        if at + 4 > to {
                            break;
                        }
                        piece.relative(at);
                    }
                }
            }
        }
    }
}

/// The bytes of one piece of a copy.
struct Piece<'a> {
    moves: &'a Moves,
    program: &'a Program,
    bytes: &'a mut [u8],
    old: u64,
    new: u64,
    fields: &'a mut Vec<Field>,
}

impl Piece<'_> {
    /// Where an old address is now.
    fn moved(&self, address: u64) -> Option<u64> {
        if let Some((blank, new)) = &self.program.blank
            && address.wrapping_sub(blank.address) < blank.length
        {
            return new.checked_add(address - blank.address);
        }
        let offset = self.program.old_offset(address)?;
        let moved = self.moves.of(usize::try_from(offset).ok()?)?;
        self.program.new_address(moved as u64)
    }

    /// Calls for every field of records of this many bytes, with fields at these offsets and of this width, that lies
    /// whole in the piece.
    fn each(
        &mut self,
        region: &Region,
        from: usize,
        to: usize,
        (stride, fields, width): (u64, &[u64], usize),
        mut predict: impl FnMut(&mut Self, usize),
    ) {
        let begin = self.old + from as u64 - region.offset;
        let mut record = begin / stride * stride;
        loop {
            for field in fields {
                let Some(ahead) = (record + field).checked_sub(begin) else {
                    continue;
                };
                let at = from + ahead as usize;
                if at + width > to {
                    return;
                }
                predict(self, at);
            }
            record += stride;
        }
    }

    fn word(&self, at: usize) -> Option<i32> {
        Some(i32::from_le_bytes(*self.bytes.get(at..)?.first_chunk::<4>()?))
    }

    /// Whether no field that was predicted before reaches to here.
    fn is_free(&self, at: usize) -> bool {
        let last = self.fields.last();
        last.is_none_or(|last| last.at as usize + usize::from(last.width) <= at)
    }

    fn put(&mut self, at: usize, value: u32) {
        if !self.is_free(at) {
            return;
        }
        self.bytes[at..at + 4].copy_from_slice(&value.to_le_bytes());
        self.fields.push(Field {
            at: at as u32,
            width: 4,
        });
    }

    fn absolute(&mut self, at: usize) {
        let Some(bytes) = self.bytes.get(at..).and_then(|bytes| bytes.first_chunk::<8>()) else {
            return;
        };
        if let Some(moved) = self.moved(u64::from_le_bytes(*bytes))
            && self.is_free(at)
        {
            self.bytes[at..at + 8].copy_from_slice(&moved.to_le_bytes());
            self.fields.push(Field {
                at: at as u32,
                width: 8,
            });
        }
    }

    fn relative(&mut self, at: usize) {
        let _predicted: bool = self.displaced(at, 0);
    }

    fn based(&mut self, at: usize, base: u64, new_base: u64) {
        let Some(distance) = self.word(at) else { return };
        if let Some(moved) = self.moved(base.wrapping_add_signed(i64::from(distance))) {
            self.put(at, moved.wrapping_sub(new_base) as u32);
        }
    }

    /// A distance that counts from `after` bytes behind its first byte. Says whether it was predicted.
    fn displaced(&mut self, at: usize, after: u64) -> bool {
        let Some(distance) = self.word(at) else {
            return false;
        };
        let (Some(from), Some(to)) = (
            self.program.old_address(self.old + at as u64),
            self.program.new_address(self.new + at as u64),
        ) else {
            return false;
        };
        let target = from.wrapping_add(after).wrapping_add_signed(i64::from(distance));
        let Some(moved) = self.moved(target) else {
            return false;
        };
        self.put(at, moved.wrapping_sub(to.wrapping_add(after)) as u32);
        true
    }

    fn code(&mut self, from: usize, to: usize) {
        let mut at = from;
        while at + 5 <= to {
            at = next_place(&self.bytes[..to], at);
            match distance_at(self.bytes, at) {
                Some((field, after)) if field + 4 <= to && self.displaced(field, after) => at = field + 4,
                _ => at += 1,
            }
        }
    }
}

/// Offsets of the function begins in call frame information (System V ABI, LSB core 5.0, section 10.6).
fn frame_fields(bytes: &[u8]) -> impl Iterator<Item = u64> {
    let mut at = 0_usize;
    std::iter::from_fn(move || {
        loop {
            let length = u32::from_le_bytes(*bytes.get(at..)?.first_chunk::<4>()?) as usize;
            let identifier = u32::from_le_bytes(*bytes.get(at + 4..)?.first_chunk::<4>()?);
            // Records of 64-bit length and the end mark are where it gets unclear or ends.
            if !(4..0xffff_fff0).contains(&length) {
                return None;
            }
            let field = at + 8;
            at = at.checked_add(4 + length)?;
            if identifier != 0 && length >= 12 {
                return Some(field as u64);
            }
        }
    })
}
