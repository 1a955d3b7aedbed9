//! Where the bytes of a program are mapped, and where its addresses went.
//!
//! An old address stands for a byte, the copies say where that byte went, and the new program where it is mapped. Addresses
//! near each other nearly always went equally far, so that one answer serves many questions.

use crate::moves::Moves;

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

impl Span {
    pub(crate) fn has_offset(&self, offset: u64) -> bool {
        offset.wrapping_sub(self.offset) < self.length
    }

    fn has_address(&self, address: u64) -> bool {
        address.wrapping_sub(self.address) < self.length
    }
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
    /// How far an old address went, and those around it that went as far.
    fn moved(&self, address: u64, moves: &Moves) -> Option<Stretch> {
        if let Some((blank, new)) = &self.blank
            && blank.has_address(address)
        {
            let to = new.checked_add(address.wrapping_sub(blank.address))?;
            return Some(Stretch {
                begin: blank.address,
                length: blank.length,
                shift: to.wrapping_sub(address),
            });
        }
        let old = self.old.iter().find(|span| span.has_address(address))?;
        let inside = address.wrapping_sub(old.address);
        let moved = moves.of(old.offset.checked_add(inside)?)?;
        let new = self.new.iter().find(|span| span.has_offset(moved.to))?;
        let new_inside = moved.to - new.offset;
        let to = new.address.checked_add(new_inside)?;
        let before = moved.before.min(inside).min(new_inside);
        let behind = moved.behind.min(old.length - inside).min(new.length - new_inside);
        Some(Stretch {
            begin: address.wrapping_sub(before),
            length: before + behind,
            shift: to.wrapping_sub(address),
        })
    }

    /// Where a byte is mapped in the old and the new program, whose offsets these are, and the bytes behind it.
    pub(crate) fn place(&self, old: u64, new: u64) -> Option<Place> {
        let before = self.old.iter().find(|span| span.has_offset(old))?;
        let after = self.new.iter().find(|span| span.has_offset(new))?;
        let (inside, new_inside) = (old - before.offset, new - after.offset);
        Some(Place {
            length: (before.length - inside).min(after.length - new_inside),
            address: before.address.checked_add(inside)?,
            new_address: after.address.checked_add(new_inside)?,
        })
    }

    pub(crate) fn new_address(&self, offset: u64) -> Option<u64> {
        let span = self.new.iter().find(|span| span.has_offset(offset))?;
        span.address.checked_add(offset - span.offset)
    }

    pub(crate) fn old_address(&self, offset: u64) -> Option<u64> {
        let span = self.old.iter().find(|span| span.has_offset(offset))?;
        span.address.checked_add(offset - span.offset)
    }

    /// What helps to answer for it.
    pub(crate) fn outline(&self) -> Outline {
        let is_clear = self.is_clear();
        let spans = || self.old.iter().chain(self.blank.iter().map(|(span, _)| span));
        let begin = spans().map(|span| span.address).min().unwrap_or_default();
        let end = spans().map(|span| span.address.saturating_add(span.length)).max();
        Outline {
            is_clear,
            begin,
            length: end.unwrap_or_default() - begin,
        }
    }

    /// Whether every offset and every address has one meaning, so that what holds for one holds for those around it.
    fn is_clear(&self) -> bool {
        let blank = self.blank.as_ref();
        let old = || self.old.iter().chain(blank.map(|(span, _)| span));
        are_apart(self.old.iter().map(|span| (span.offset, span.length)))
            && are_apart(self.new.iter().map(|span| (span.offset, span.length)))
            && are_apart(old().map(|span| (span.address, span.length)))
            && self
                .new
                .iter()
                .all(|span| span.address.checked_add(span.length).is_some())
            && blank.is_none_or(|(span, new)| new.checked_add(span.length).is_some())
    }
}

/// Whether ranges, each with its begin and its length, neither meet nor wrap around.
fn are_apart(ranges: impl Iterator<Item = (u64, u64)>) -> bool {
    let mut ranges: Vec<(u64, u64)> = ranges.filter(|(_, length)| *length > 0).collect();
    ranges.sort_unstable();
    let mut end = Some(0);
    ranges.into_iter().all(|(begin, length)| {
        let is_apart = end.is_some_and(|end| begin >= end);
        end = begin.checked_add(length);
        is_apart && end.is_some()
    })
}

/// What is asked about a program again and again.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Outline {
    /// Whether an answer serves the addresses around the one that was asked for.
    pub is_clear: bool,
    /// The lowest old address, and how many from there on have all of them.
    begin: u64,
    length: u64,
}

/// Addresses that all went equally far.
#[derive(Debug, Clone, Copy, Default)]
struct Stretch {
    begin: u64,
    length: u64,
    /// How far, modulo 2^64.
    shift: u64,
}

/// So many bytes, where they were mapped and where they are.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Place {
    pub length: u64,
    pub address: u64,
    pub new_address: u64,
}

/// How far addresses of a program went that were asked for before: those near them are often asked for next. Whoever
/// predicts piece after piece with one predictor keeps it.
pub(crate) struct Known {
    /// Number of the program that is asked about.
    program: usize,
    /// Of that program.
    pub outline: Outline,
    /// Each stretch of addresses has one slot, by the address that was asked for, beside the number of its program; empty ones
    /// know nothing.
    slots: [(usize, Stretch); 1 << SLOTS_LOG],
}

/// Slots of stretches, as a power of two.
const SLOTS_LOG: u32 = 9;
/// Addresses for which there is one slot, as a power of two.
const SLOT_BITS: u32 = 8;

impl Default for Known {
    fn default() -> Self {
        Known {
            program: 0,
            outline: Outline::default(),
            slots: [(0, Stretch::default()); _],
        }
    }
}

impl Known {
    /// Turns to a program, by its number.
    pub(crate) fn turn_to(&mut self, number: usize, outline: Outline) {
        (self.program, self.outline) = (number, outline);
    }

    /// How far an old address of the program went, modulo 2^64.
    #[inline]
    pub(crate) fn shift(&mut self, address: u64, program: &Program, moves: &Moves) -> Option<u64> {
        let (number, outline) = (self.program, self.outline);
        let (of, known) = *self.slot(address);
        if address.wrapping_sub(known.begin) < known.length && of == number {
            return Some(known.shift);
        }
        // Most of what is no address is far from all of them.
        if outline.is_clear && address.wrapping_sub(outline.begin) >= outline.length {
            return None;
        }
        self.look_up(address, program, moves)
    }

    #[inline(never)]
    fn look_up(&mut self, address: u64, program: &Program, moves: &Moves) -> Option<u64> {
        let stretch = program.moved(address, moves)?;
        if self.outline.is_clear {
            *self.slot(address) = (self.program, stretch);
        }
        Some(stretch.shift)
    }

    fn slot(&mut self, address: u64) -> &mut (usize, Stretch) {
        &mut self.slots[(address >> SLOT_BITS) as usize % (1 << SLOTS_LOG)]
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::matching::Copy;

    fn spans() -> impl Strategy<Value = Vec<Span>> {
        let near = (
            0..3_000_u64,
            1..1_500_u64,
            prop_oneof![0..4_000_u64, u64::MAX - 900..=u64::MAX],
        );
        let span = near.prop_map(|(offset, length, address)| Span {
            offset,
            length,
            address,
        });
        let apart = (1..1_500_u64, 0..900_u64).prop_map(|(length, gap)| {
            let next = 1_500 + gap;
            [0, 1, 2]
                .map(|number| Span {
                    offset: number * 1_500,
                    length,
                    address: 77 + number * next,
                })
                .to_vec()
        });
        prop_oneof![proptest::collection::vec(span, 0..4), apart]
    }

    /// Where an address is now, span by span.
    fn expected(program: &Program, moves: &Moves, address: u64) -> Option<u64> {
        if let Some((blank, new)) = &program.blank
            && blank.has_address(address)
        {
            return new.checked_add(address.wrapping_sub(blank.address));
        }
        let old = program.old.iter().find(|span| span.has_address(address))?;
        let to = moves.of(old.offset + address.wrapping_sub(old.address))?.to;
        let new = program.new.iter().find(|span| span.has_offset(to))?;
        new.address.checked_add(to - new.offset)
    }

    proptest! {
        #[test]
        fn what_is_known_of_addresses_is_what_looking_them_up_says(
            programs in proptest::collection::vec((spans(), spans(), proptest::option::of((0..9_000_u64, 1..900_u64, 0..9_000_u64))), 1..4),
            copies in proptest::collection::vec((0..4_000_usize, 0..4_000_usize, 1..900_usize), 0..12),
            asked in proptest::collection::vec((0..4_usize, prop_oneof![0..9_000_u64, u64::MAX - 900..=u64::MAX]), 1..400),
        ) {
            let copies: Vec<Copy> = copies.into_iter().map(|(new, old, length)| Copy::of(new, old, length)).collect();
            let moves = Moves::new(&copies, 5_000);
            let programs: Vec<Program> = programs
                .into_iter()
                .map(|(old, new, blank)| {
                    let blank = blank.map(|(address, length, new)| (Span { offset: 0, length, address }, new));
                    Program { old, new, blank, regions: Vec::new() }
                })
                .collect();
            let mut known = Known::default();
            for (number, address) in asked {
                let number = number % programs.len();
                let program = &programs[number];
                known.turn_to(number, program.outline());
                for address in [address, address.wrapping_add(1), address.wrapping_sub(100)] {
                    let moved = known.shift(address, program, &moves).map(|shift| address.wrapping_add(shift));
                    prop_assert_eq!(moved, expected(program, &moves, address), "{:?} {}", program, address);
                }
            }
        }
    }
}
