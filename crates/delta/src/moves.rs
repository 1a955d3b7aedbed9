//! Where old bytes went, as the copies say.

use crate::matching::{Copy, MATCH_MIN};

/// Old offsets from `begin` on, up to the next stretch, that all went equally far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stretch {
    begin: u32,
    /// How far, which may be backwards; [`NOWHERE`] if no copy says it.
    shift: i32,
}

/// Further than any offset is from another.
const NOWHERE: i32 = i32::MIN;
const _: () = assert!(crate::BYTES_MAX < 1 << 31);

/// All copies, to be asked where an old offset went.
pub(crate) struct Moves {
    /// By offset; they leave nothing out behind the first.
    stretches: Vec<Stretch>,
    /// For each page of old bytes the number of the first stretch that begins in it or later.
    pages: Vec<u32>,
}

const PAGE_BITS: u32 = 10;
/// Copies that may lie over each other and still be found.
const LOOKED_BACK: usize = 4;
/// A target between two copies is taken to have moved with the one before it, if that ends so near.
const NEAR: usize = 4096;

/// Where an offset went, and how many bytes before and behind it went as far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Moved {
    pub to: u64,
    pub before: u64,
    /// The byte itself included.
    pub behind: u64,
}

impl Moves {
    /// Where copies lie over each other, the last one that begins before an offset counts.
    pub(crate) fn new(copies: &[Copy], old_length: usize) -> Self {
        let long = copies.iter().filter(|copy| copy.length() >= MATCH_MIN);
        // Nearly all of them are.
        let mut sorted: Vec<Copy> = Vec::with_capacity(copies.len());
        sorted.extend(long);
        sorted.sort_unstable_by_key(|copy| (copy.old_begin() as u64) << 32 | copy.begin() as u64);
        let mut stretches: Vec<Stretch> = Vec::with_capacity(sorted.len() * 2);
        let mut put = |begin: usize, end: usize, shift: i32| {
            if begin < end && stretches.last().is_none_or(|last| last.shift != shift) {
                let begin = begin as u32;
                stretches.push(Stretch { begin, shift });
            }
        };
        for number in 0..sorted.len() {
            let until = sorted.get(number + 1).map_or(old_length, Copy::old_begin);
            let before = &sorted[number.saturating_sub(LOOKED_BACK - 1)..=number];
            let shift = |copy: &Copy| copy.begin() as i32 - copy.old_begin() as i32;
            let mut at = sorted[number].old_begin();
            let mut last = &sorted[number];
            for copy in before.iter().rev() {
                put(at, copy.old_end().min(until), shift(copy));
                at = at.max(copy.old_end());
                if copy.old_end() > last.old_end() {
                    last = copy;
                }
            }
            let near = (last.old_end() + NEAR).min(until);
            put(at, near, shift(last));
            put(near, until, NOWHERE);
        }
        put(old_length, old_length + 1, NOWHERE);
        let mut pages = vec![stretches.len() as u32; (old_length >> PAGE_BITS) + 2];
        for (number, stretch) in stretches.iter().enumerate().rev() {
            pages[stretch.begin as usize >> PAGE_BITS] = number as u32;
        }
        for page in (1..pages.len()).rev() {
            pages[page - 1] = pages[page - 1].min(pages[page]);
        }
        Moves { stretches, pages }
    }

    /// Where an old offset went.
    pub(crate) fn of(&self, offset: u64) -> Option<Moved> {
        let page = usize::try_from(offset >> PAGE_BITS).ok()?;
        let (first, end) = (
            *self.pages.get(page)? as usize,
            *self.pages.get(page + 1)? as usize,
        );
        let after =
            first + self.stretches[first..end].partition_point(|stretch| u64::from(stretch.begin) <= offset);
        let stretch = self.stretches[..after].last()?;
        if stretch.shift == NOWHERE {
            return None;
        }
        // The last one goes nowhere.
        let end = self.stretches.get(after)?.begin;
        Some(Moved {
            to: offset.wrapping_add_signed(i64::from(stretch.shift)),
            before: offset - u64::from(stretch.begin),
            behind: u64::from(end) - offset,
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The same, copy by copy.
    fn expected(copies: &[Copy], offset: usize) -> Option<usize> {
        let mut copies: Vec<&Copy> = copies.iter().filter(|copy| copy.length() >= MATCH_MIN).collect();
        copies.sort_by_key(|copy| (copy.old_begin(), copy.begin()));
        copies.retain(|copy| copy.old_begin() <= offset);
        let before = &copies[copies.len().saturating_sub(LOOKED_BACK)..];
        let inside = before.iter().rev().find(|copy| offset < copy.old_end());
        let last = before.iter().max_by_key(|copy| copy.old_end());
        let copy = inside.or(last.filter(|copy| offset < copy.old_end() + NEAR))?;
        Some(offset - copy.old_begin() + copy.begin())
    }

    proptest! {
        #[test]
        fn every_offset_went_where_its_copy_says_and_so_did_those_around_it(
            copies in proptest::collection::vec((0..30_000_usize, 0..30_000_usize, 1..3_000_usize), 0..30),
            beyond in 0..9_000_usize,
        ) {
            let copies: Vec<Copy> = copies.into_iter().map(|(new, old, length)| Copy::of(new, old, length)).collect();
            let length = copies.iter().map(Copy::old_end).max().unwrap_or(0) + beyond;
            let moves = Moves::new(&copies, length);
            let all: Vec<Option<usize>> = (0..length).map(|offset| expected(&copies, offset)).collect();
            for (offset, expected) in all.iter().enumerate() {
                let moved = moves.of(offset as u64);
                prop_assert_eq!(moved.map(|moved| moved.to as usize), *expected, "{}", offset);
                let Some(moved) = moved else { continue };
                for near in [offset - moved.before as usize, offset + moved.behind as usize - 1] {
                    prop_assert_eq!(all[near].map(|to| to.wrapping_sub(near)), Some((moved.to as usize).wrapping_sub(offset)));
                }
            }
            for outside in [length, length + 5_000, usize::MAX] {
                prop_assert_eq!(moves.of(outside as u64), None);
            }
        }
    }
}
