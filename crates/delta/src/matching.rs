//! Where new bytes come from: copies out of old bytes that agree nearly everywhere.
//!
//! An index of a sample of the old bytes says where a piece may stand; the longest of a few such places is taken. A
//! copy goes on over single differing bytes as long as most bytes agree; what differs is corrected afterwards, which for
//! compiled code is far cheaper than ending a copy (the idea of C. Percival's bsdiff, 2003). Neither side has to be in memory.

use std::io;

use crate::BYTES_MAX;
use crate::index::{Index, PIECE};
use crate::parallel::in_parallel_with;
use crate::source::{Pages, Source};

/// New bytes that are nearly the old ones at another place. There are up to millions of them, and offsets stay far below
/// 4 GiB (`BYTES_MAX`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Copy {
    new: u32,
    old: u32,
    length: u32,
}

impl Copy {
    /// Offsets in the new and in the old bytes, and length.
    pub(crate) fn of(new: usize, old: usize, length: usize) -> Self {
        debug_assert!(new.max(old) as u64 <= BYTES_MAX && length as u64 <= BYTES_MAX);
        Copy {
            new: new as u32,
            old: old as u32,
            length: length as u32,
        }
    }

    /// Offset in the new bytes.
    pub(crate) fn begin(&self) -> usize {
        self.new as usize
    }

    /// Offset in the old bytes.
    pub(crate) fn old_begin(&self) -> usize {
        self.old as usize
    }

    /// Length.
    pub(crate) fn length(&self) -> usize {
        self.length as usize
    }

    /// End in the new bytes.
    pub(crate) fn end(&self) -> usize {
        self.begin() + self.length()
    }

    /// End in the old bytes.
    pub(crate) fn old_end(&self) -> usize {
        self.old_begin() + self.length()
    }
}

/// A match shorter than this is not worth a copy of its own.
pub(crate) const MATCH_MIN: usize = 16;
/// By how many agreeing bytes a match has to beat going on where the copy is.
const ADVANTAGE_MIN: usize = 10;
/// So many bytes shorter may a piece be where copies were taken from lately.
const RECENT_ADVANTAGE: usize = 4;
/// Places with the same piece that are compared.
const LOOKED_AT: usize = 32;
/// Bytes before a place that are compared at a time.
const BEFORE_MAX: usize = 64;
/// What a differing byte of a copy costs, in agreeing ones.
const COST_OF_DIFFERENCE: i64 = 2;
/// So many agreeing bytes are taken without a look at the index.
const RUN_SKIPPED: usize = 16;
/// New bytes that one thread looks through at a time.
const PART_BYTES: usize = 2 * 1024 * 1024;
/// Longest comparison of one search: longer matches are put together from several.
const COMPARED_MAX: usize = 1 << 20;

/// The copies that `new` is made of, by offset; what lies between them is new. It is cut into parts that are looked
/// through on so many threads, each of which holds so many pages of the old ones; a copy over a cut becomes two, which
/// costs next to nothing.
pub(crate) fn copies(
    old: &Source<'_>,
    new: &Source<'_>,
    index: &Index,
    pages_held: usize,
    threads: usize,
) -> io::Result<Vec<Copy>> {
    let count = (new.length as usize).div_ceil(PART_BYTES);
    let with = || Matcher {
        old: Pages::new(old, pages_held),
        index,
        new: Vec::new(),
    };
    let parts = in_parallel_with(count, threads, with, |matcher, number| {
        let begin = number * PART_BYTES;
        matcher.new.resize(PART_BYTES.min(new.length as usize - begin), 0);
        new.read(begin as u64, &mut matcher.new)?;
        let mut copies = matcher.copies()?;
        copies.iter_mut().for_each(|copy| copy.new += begin as u32);
        copies.shrink_to_fit();
        Ok(copies)
    });
    let parts: Vec<Vec<Copy>> = parts.into_iter().collect::<io::Result<_>>()?;
    let mut copies = Vec::with_capacity(parts.iter().map(Vec::len).sum());
    // Each part is freed as soon as it is taken over.
    parts.into_iter().for_each(|part| copies.extend(part));
    Ok(copies)
}

/// Old bytes that are searched for one part of the new ones after the other.
struct Matcher<'a> {
    old: Pages<'a>,
    index: &'a Index,
    new: Vec<u8>,
}

/// A place of the old bytes that agrees with new bytes around one of theirs.
#[derive(Clone, Copy)]
struct Match {
    old: usize,
    /// Agreeing bytes before.
    before: usize,
    /// Agreeing bytes from there on.
    after: usize,
}

impl Matcher<'_> {
    /// Bytes that agree from here on.
    fn common(&mut self, old: usize, new: usize, most: usize) -> io::Result<usize> {
        let text = &self.new[new..self.new.len().min(new.saturating_add(most))];
        let mut length = 0;
        loop {
            let bytes = self.old.from(old + length)?;
            let now = common(bytes, &text[length..]);
            length += now;
            if now == 0 || now < bytes.len() {
                return Ok(length);
            }
        }
    }

    /// Bytes that agree before here.
    fn common_before(&mut self, old: usize, new: usize, most: usize) -> io::Result<usize> {
        let mut bytes = [0; BEFORE_MAX];
        let most = most.min(old).min(new).min(BEFORE_MAX);
        let bytes = &mut bytes[..most];
        self.old.read((old - most) as u64, bytes)?;
        let pairs = bytes.iter().rev().zip(self.new[..new].iter().rev());
        Ok(pairs.take_while(|(a, b)| a == b).count())
    }

    /// Of the places with about the longest piece, the one that takes fewest bytes to say: where a copy was taken from
    /// a moment ago, or else as near to that as can be.
    fn find(&mut self, at: usize, sure: usize, recent: &Recent) -> io::Result<Option<Match>> {
        let expected = usize::try_from(at as i64 + recent.0[0]).unwrap_or_default();
        let index = self.index;
        let mut best: Option<Match> = None;
        for old in index.places(&self.new[at..], expected, LOOKED_AT) {
            let after = self.common(old, at, COMPARED_MAX)?;
            if after < PIECE {
                continue;
            }
            let before = self.common_before(old, at, at - sure)?;
            let better = best.is_none_or(|best| {
                let key = |length: usize, place: usize| (length, std::cmp::Reverse(place.abs_diff(expected)));
                key(before + after, old) > key(best.before + best.after, best.old)
            });
            if better {
                best = Some(Match { old, before, after });
            }
        }
        let Some(best) = best else { return Ok(None) };
        for distance in recent.0 {
            let Ok(old) = usize::try_from(at as i64 + distance) else {
                continue;
            };
            let after = self.common(old, at, best.after)?;
            if after + RECENT_ADVANTAGE >= best.before + best.after {
                return Ok(Some(Match {
                    old,
                    before: 0,
                    after,
                }));
            }
        }
        Ok(Some(best))
    }

    fn copies(&mut self) -> io::Result<Vec<Copy>> {
        let mut copies = Vec::new();
        // The copy under way, as (new, old): it agrees at least up to `sure`.
        let mut current: Option<(usize, usize)> = None;
        let (mut sure, mut at) = (0, 0);
        let mut recent = Recent::default();
        while at < self.new.len() {
            if let Some((from, old)) = current {
                let run = self.common(old + (at - from), at, usize::MAX)?;
                if run >= RUN_SKIPPED {
                    at += run;
                    sure = at;
                    continue;
                }
            }
            let Some(found) = self.find(at, sure, &recent)? else {
                at += 1;
                continue;
            };
            let length = found.before + found.after;
            let agreeing = match current {
                Some((from, old)) => {
                    let begin = at - found.before;
                    self.agreeing(old + (begin - from), begin, length)?
                }
                None => 0,
            };
            if length < MATCH_MIN || length < agreeing + ADVANTAGE_MIN {
                at += 1;
                continue;
            }
            recent.push(found.old as i64 - at as i64);
            let backward = self.backward(at, found.old, sure)?;
            let mut start = (at - backward, found.old - backward);
            if let Some((from, old)) = current {
                let mut end = sure + self.forward(sure, old + (sure - from), at)?;
                if end > start.0 {
                    let overlap = end - start.0;
                    let keep = self.split(start.0, old + (start.0 - from), start.1, overlap)?;
                    end = start.0 + keep;
                    start = (start.0 + keep, start.1 + keep);
                }
                copies.push(Copy::of(from, old, end - from));
            }
            current = Some(start);
            at += found.after;
            sure = at;
        }
        if let Some((from, old)) = current {
            let end = sure + self.forward(sure, old + (sure - from), self.new.len())?;
            copies.push(Copy::of(from, old, end - from));
        }
        copies.retain(|copy| copy.length > 0);
        Ok(copies)
    }

    /// How many of these bytes agree.
    fn agreeing(&mut self, mut old: usize, new: usize, length: usize) -> io::Result<usize> {
        let mut text = &self.new[new..new + length];
        let mut count = 0;
        while !text.is_empty() {
            let bytes = self.old.from(old)?;
            let length = bytes.len().min(text.len());
            if length == 0 {
                break;
            }
            count += bytes.iter().zip(text).filter(|(a, b)| a == b).count();
            old += length;
            text = &text[length..];
        }
        Ok(count)
    }

    /// How far beyond `from` a copy is worth going, at most to `to`.
    fn forward(&mut self, from: usize, old: usize, to: usize) -> io::Result<usize> {
        let mut prefix = Prefix::default();
        let mut at = from;
        while at < to && prefix.goes_on() {
            let bytes = self.old.from(old + (at - from))?;
            let length = bytes.len().min(to - at);
            if length == 0 {
                break;
            }
            prefix.take(self.new[at..at + length].iter().zip(bytes));
            at += length;
        }
        Ok(prefix.length)
    }

    /// How far before `at` a copy is worth beginning, at most at `from`.
    fn backward(&mut self, at: usize, old: usize, from: usize) -> io::Result<usize> {
        let mut prefix = Prefix::default();
        let mut bytes = [0; BEFORE_MAX];
        let (mut at, mut old) = (at, old);
        while at > from && old > 0 && prefix.goes_on() {
            let length = BEFORE_MAX.min(at - from).min(old);
            (at, old) = (at - length, old - length);
            let bytes = &mut bytes[..length];
            self.old.read(old as u64, bytes)?;
            prefix.take(self.new[at..at + length].iter().rev().zip(bytes.iter().rev()));
        }
        Ok(prefix.length)
    }

    /// Where two copies overlap, at these old places: how many of the bytes the first one keeps.
    fn split(&mut self, new: usize, first: usize, second: usize, overlap: usize) -> io::Result<usize> {
        let (mut score, mut best, mut keep) = (0_i64, 0_i64, 0);
        let mut buffers = [[0; BEFORE_MAX]; 2];
        for begin in (0..overlap).step_by(BEFORE_MAX) {
            let length = BEFORE_MAX.min(overlap - begin);
            for (buffer, old) in buffers.iter_mut().zip([first, second]) {
                self.old.read((old + begin) as u64, &mut buffer[..length])?;
            }
            let text = &self.new[new + begin..new + begin + length];
            for (i, ((byte, first), second)) in text.iter().zip(buffers[0]).zip(buffers[1]).enumerate() {
                score += i64::from(first == *byte) - i64::from(second == *byte);
                if score > best {
                    (best, keep) = (score, begin + i + 1);
                }
            }
        }
        Ok(keep)
    }
}

/// The length with the most agreement: each agreeing byte counts one for, each other byte two against, which is about
/// what a correction costs more than a literal does.
#[derive(Default)]
struct Prefix {
    score: i64,
    best: i64,
    taken: usize,
    length: usize,
}

impl Prefix {
    /// Nothing far behind a long stretch of foreign bytes makes up for it.
    fn goes_on(&self) -> bool {
        self.score >= self.best - 256 * COST_OF_DIFFERENCE
    }

    fn take<'a>(&mut self, pairs: impl Iterator<Item = (&'a u8, &'a u8)>) {
        for (a, b) in pairs {
            self.score += if a == b { 1 } else { -COST_OF_DIFFERENCE };
            self.taken += 1;
            if self.score > self.best {
                (self.best, self.length) = (self.score, self.taken);
            }
            if !self.goes_on() {
                return;
            }
        }
    }
}

/// How far old bytes lie from the new ones that were copied from them lately, the last first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Recent(pub [i64; 8]);

impl Recent {
    /// The place of a distance among the recent ones; it becomes the first.
    pub(crate) fn push(&mut self, distance: i64) -> Option<usize> {
        let found = self.0.iter().position(|known| *known == distance);
        let oldest = self.0.len() - 1;
        self.0[..=found.unwrap_or(oldest)].rotate_right(1);
        self.0[0] = distance;
        found
    }

    /// The distance at a place; it becomes the first.
    pub(crate) fn take(&mut self, place: usize) -> Option<i64> {
        let distance = *self.0.get(place)?;
        self.0[..=place].rotate_right(1);
        Some(distance)
    }
}

/// Bytes that two slices begin with in common.
fn common(a: &[u8], b: &[u8]) -> usize {
    let (words_a, words_b) = (a.as_chunks::<8>().0, b.as_chunks::<8>().0);
    let mut length = 0;
    for (x, y) in words_a.iter().zip(words_b) {
        let differ = u64::from_le_bytes(*x) ^ u64::from_le_bytes(*y);
        if differ != 0 {
            return length + (differ.trailing_zeros() / 8) as usize;
        }
        length += 8;
    }
    length
        + a[length.min(a.len())..]
            .iter()
            .zip(&b[length.min(b.len())..])
            .take_while(|(x, y)| x == y)
            .count()
}
