//! Predicting addresses in compiled code.
//!
//! When code moves, every call and every reference to data changes, though nothing about it is new: its target moved
//! as well, and the copies say where to. So the fields that hold addresses are found in the old bytes, their targets
//! are sent through the copies, and what comes out is what the new bytes will nearly always be. The reader of a delta
//! does the same with the same copies; a field that was guessed wrong costs a correction, never a wrong byte.

use std::ops::Range;

use crate::addresses::{Kind, Known, Outline, Place, Program, Region};
use crate::instructions::{Places, distance_at};
use crate::moves::Moves;

/// What was predicted lately, kept by whoever predicts piece after piece.
#[derive(Default)]
pub(crate) struct Prediction {
    /// The fields of the last piece, in order.
    pub fields: Vec<Field>,
    known: Box<Known>,
}

/// A field in a predicted piece.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Field {
    /// Offset in the piece.
    pub at: u32,
    /// 4 or 8 bytes.
    pub width: u8,
}

/// Programs and copies together: what predicts.
pub(crate) struct Predictor {
    programs: Vec<Program>,
    /// Of each of them.
    outlines: Vec<Outline>,
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
            outlines: programs.iter().map(Program::outline).collect(),
            programs,
            regions,
            frames,
            moves,
        })
    }

    /// Turns old bytes at `old` into what they should be at `new`, and lists the fields that were predicted.
    pub(crate) fn predict(&self, bytes: &mut [u8], old: u64, new: u64, prediction: &mut Prediction) {
        let Prediction { fields, known } = prediction;
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
            known.turn_to(*number, self.outlines[*number]);
            let to = ((region.offset + region.length).min(end) - old) as usize;
            let mut piece = Piece {
                moves: &self.moves,
                program,
                bytes: &mut *bytes,
                old,
                new,
                fields: &mut *fields,
                known: &mut *known,
                placed: 0..0,
                place: Place::default(),
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
    known: &'a mut Known,
    /// Bytes of the piece whose place is known, and that of the first.
    placed: Range<usize>,
    place: Place,
}

impl Piece<'_> {
    /// How far an old address went, modulo 2^64.
    #[inline]
    fn shift(&mut self, address: u64) -> Option<u64> {
        self.known.shift(address, self.program, self.moves)
    }

    /// Where an old address is now.
    fn moved(&mut self, address: u64) -> Option<u64> {
        Some(address.wrapping_add(self.shift(address)?))
    }

    /// Where a byte of the piece was mapped, and how far it went, modulo 2^64.
    #[inline]
    fn own(&mut self, at: usize) -> Option<(u64, u64)> {
        if !self.placed.contains(&at) {
            self.place = self.program.place(self.old + at as u64, self.new + at as u64)?;
            let length = if self.known.outline.is_clear {
                self.place.length
            } else {
                1
            };
            self.placed = at..at.saturating_add(usize::try_from(length).unwrap_or(usize::MAX));
        }
        let inside = (at - self.placed.start) as u64;
        let Place {
            address, new_address, ..
        } = self.place;
        Some((address.wrapping_add(inside), new_address.wrapping_sub(address)))
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
    #[inline]
    fn displaced(&mut self, at: usize, after: u64) -> bool {
        let Some(distance) = self.word(at) else {
            return false;
        };
        let Some((address, own)) = self.own(at) else {
            return false;
        };
        let target = address
            .wrapping_add(after)
            .wrapping_add_signed(i64::from(distance));
        let Some(shift) = self.shift(target) else {
            return false;
        };
        self.put(at, (distance as u32).wrapping_add(shift.wrapping_sub(own) as u32));
        true
    }

    fn code(&mut self, from: usize, to: usize) {
        let (mut places, mut at) = (Places::from(from), from);
        while let Some(place) = places.next(&self.bytes[..to], at) {
            at = match distance_at(self.bytes, place) {
                Some((field, after)) if field + 4 <= to && self.displaced(field, after) => field + 4,
                _ => place + 1,
            };
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
