//! Where new bytes come from: copies out of old bytes that agree nearly everywhere.
//!
//! A suffix array of the old bytes answers "where is the longest piece that begins like this?". A copy goes on over
//! single differing bytes as long as most bytes agree; what differs is corrected afterwards, which for compiled code
//! is far cheaper than ending a copy (the idea of C. Percival's bsdiff, 2003).

use libsais::SuffixArrayConstruction;

use crate::parallel::in_parallel;

/// New bytes that are nearly the old ones at another place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Copy {
    /// Offset in the new bytes.
    pub new: usize,
    /// Offset in the old bytes.
    pub old: usize,
    /// Length.
    pub length: usize,
}

/// A match shorter than this is not worth a copy of its own.
const MATCH_MIN: usize = 16;
/// By how many agreeing bytes a match has to beat going on where the copy is.
const ADVANTAGE_MIN: usize = 10;
/// So many bytes shorter may a piece be where copies were taken from lately.
const RECENT_ADVANTAGE: usize = 4;
/// Places with the same piece that are compared in either direction.
const LOOKED_AROUND: usize = 64;
/// What a differing byte of a copy costs, in agreeing ones.
const COST_OF_DIFFERENCE: i64 = 2;
/// So many agreeing bytes are taken without a look at the suffix array.
const RUN_SKIPPED: usize = 16;
/// New bytes that one thread looks through at a time.
const PART_BYTES: usize = 8 * 1024 * 1024;
/// Longest comparison of one search: longer matches are put together from several.
const COMPARED_MAX: usize = 1 << 20;

/// The old bytes, ready to be searched: five bytes of memory for each.
pub(crate) struct Matcher<'a> {
    old: &'a [u8],
    suffixes: Vec<i32>,
    /// Begin of the suffixes that start with these two bytes.
    buckets: Vec<u32>,
    /// Which pieces of [`MATCH_MIN`] bytes there are, nearly: a look at one bit saves most searches for nothing.
    seen: Seen,
}

impl<'a> Matcher<'a> {
    /// Fails only where memory does.
    pub(crate) fn new(old: &'a [u8]) -> Option<Self> {
        if old.is_empty() {
            return Some(Matcher {
                old,
                suffixes: Vec::new(),
                buckets: vec![0; 65_537],
                seen: Seen::of(old),
            });
        }
        let suffixes = SuffixArrayConstruction::for_text(old)
            .in_owned_buffer32()
            .single_threaded()
            .run()
            .ok()?
            .into_vec();
        let mut buckets = vec![0_u32; 65_537];
        for pair in old.windows(2) {
            buckets[usize::from(pair[0]) * 256 + usize::from(pair[1]) + 1] += 1;
        }
        // The last byte alone sorts before every longer suffix that begins with it.
        buckets[usize::from(old[old.len() - 1]) * 256 + 1] += 1;
        for at in 1..buckets.len() {
            buckets[at] += buckets[at - 1];
        }
        Some(Matcher {
            old,
            suffixes,
            buckets,
            seen: Seen::of(old),
        })
    }

    /// Of the places with about the longest piece, the one that takes fewest bytes to say: where a copy was taken from
    /// a moment ago, or else as near to that as can be.
    fn cheapest(
        &self,
        text: &[u8],
        rank: usize,
        length: usize,
        at: usize,
        recent: &Recent,
    ) -> (usize, usize) {
        for distance in recent.0 {
            let place = usize::try_from(at as i64 + distance).ok();
            let bytes = place.and_then(|place| self.old.get(place..)).unwrap_or_default();
            let agreeing = common(bytes, text);
            if agreeing + RECENT_ADVANTAGE >= length {
                return ((at as i64 + distance) as usize, agreeing);
            }
        }
        let mut best = self.suffixes[rank] as usize;
        let expected = usize::try_from(at as i64 + recent.0[0]).unwrap_or_default();
        let text = &text[..length];
        let same = |rank: &usize| self.old[self.suffixes[*rank] as usize..].starts_with(text);
        let after = (rank + 1..(rank + 1 + LOOKED_AROUND).min(self.suffixes.len())).take_while(same);
        let before = (rank.saturating_sub(LOOKED_AROUND)..rank).rev().take_while(same);
        for rank in after.chain(before) {
            let found = self.suffixes[rank] as usize;
            if found.abs_diff(expected) < best.abs_diff(expected) {
                best = found;
            }
        }
        (best, length)
    }

    /// The longest piece of the old bytes that `text` begins with: the rank of its suffix, and its length.
    fn longest(&self, text: &[u8]) -> (usize, usize) {
        let [first, second, ..] = *text else {
            return (0, 0);
        };
        let bucket = usize::from(first) * 256 + usize::from(second);
        let (mut low, mut high) = (self.buckets[bucket] as usize, self.buckets[bucket + 1] as usize);
        if low == high {
            return (0, 0);
        }
        let text = &text[..text.len().min(COMPARED_MAX)];
        let (mut best, mut best_length) = (0, 0);
        // What the suffixes around the searched range have in common with the text is common to all within.
        let (mut common_low, mut common_high) = (0, 0);
        while low < high {
            let middle = usize::midpoint(low, high);
            let at = self.suffixes[middle] as usize;
            let known = common_low.min(common_high);
            let suffix = &self.old[at..];
            let known = known.min(suffix.len());
            let length = known + common(&suffix[known..], &text[known..]);
            if length > best_length {
                (best, best_length) = (middle, length);
            }
            if length == text.len() {
                break;
            }
            if length == suffix.len() || suffix[length] < text[length] {
                (low, common_low) = (middle + 1, length);
            } else {
                (high, common_high) = (middle, length);
            }
        }
        (best, best_length)
    }

    /// The copies that `new` is made of, by offset; what lies between them is new. It is cut into parts that are looked
    /// through on so many threads; a copy over a cut becomes two, which costs next to nothing.
    pub(crate) fn copies(&self, new: &[u8], threads: usize) -> Vec<Copy> {
        let count = new.len().div_ceil(PART_BYTES);
        let parts = in_parallel(count, threads, |number| {
            let begin = number * PART_BYTES;
            let end = new.len().min(begin + PART_BYTES);
            let mut copies = self.copies_of(&new[begin..end]);
            copies.iter_mut().for_each(|copy| copy.new += begin);
            copies
        });
        parts.concat()
    }

    fn copies_of(&self, new: &[u8]) -> Vec<Copy> {
        let mut copies = Vec::new();
        // The copy under way, as (new, old): it agrees at least up to `sure`.
        let mut current: Option<(usize, usize)> = None;
        let (mut sure, mut at) = (0, 0);
        let mut recent = Recent::default();
        while at < new.len() {
            if let Some((from, old)) = current {
                let aligned = self.old.get(old + (at - from)..).unwrap_or_default();
                let run = common(aligned, &new[at..]);
                if run >= RUN_SKIPPED {
                    at += run;
                    sure = at;
                    continue;
                }
            }
            if !self.seen.may_have(&new[at..]) {
                at += 1;
                continue;
            }
            let (found, length) = self.longest(&new[at..]);
            let agreeing = current.map_or(0, |(from, old)| {
                let aligned = self.old.get(old + (at - from)..).unwrap_or_default();
                aligned
                    .iter()
                    .zip(&new[at..at + length])
                    .filter(|(a, b)| a == b)
                    .count()
            });
            if length < MATCH_MIN || length < agreeing + ADVANTAGE_MIN {
                at += 1;
                continue;
            }
            let (found, length) = self.cheapest(&new[at..], found, length, at, &recent);
            recent.push(found as i64 - at as i64);
            let backward = self.backward(new, at, found, sure);
            let mut start = (at - backward, found - backward);
            if let Some((from, old)) = current {
                let mut end = sure + self.forward(new, sure, old + (sure - from), at);
                if end > start.0 {
                    let overlap = end - start.0;
                    let keep = self.split(new, (start.0, old + (start.0 - from)), start.1, overlap);
                    end = start.0 + keep;
                    start = (start.0 + keep, start.1 + keep);
                }
                copies.push(Copy {
                    new: from,
                    old,
                    length: end - from,
                });
            }
            current = Some(start);
            at += length;
            sure = at;
        }
        if let Some((from, old)) = current {
            let end = sure + self.forward(new, sure, old + (sure - from), new.len());
            copies.push(Copy {
                new: from,
                old,
                length: end - from,
            });
        }
        copies.retain(|copy| copy.length > 0);
        copies
    }

    /// How far beyond `from` a copy is worth going, at most to `to`.
    fn forward(&self, new: &[u8], from: usize, old: usize, to: usize) -> usize {
        let old = self.old.get(old..).unwrap_or_default();
        best_prefix(new[from..to].iter().zip(old).map(|(a, b)| a == b))
    }

    /// How far before `at` a copy is worth beginning, at most at `from`.
    fn backward(&self, new: &[u8], at: usize, old: usize, from: usize) -> usize {
        let pairs = new[from..at].iter().rev().zip(self.old[..old].iter().rev());
        best_prefix(pairs.map(|(a, b)| a == b))
    }

    /// Where two copies overlap: how many of the bytes the first one keeps.
    fn split(&self, new: &[u8], first: (usize, usize), second: usize, overlap: usize) -> usize {
        let (mut score, mut best, mut keep) = (0_i64, 0_i64, 0);
        for i in 0..overlap {
            let byte = new[first.0 + i];
            score += i64::from(self.old[first.1 + i] == byte) - i64::from(self.old[second + i] == byte);
            if score > best {
                (best, keep) = (score, i + 1);
            }
        }
        keep
    }
}

/// A set of pieces of old bytes, as bits at their hashes.
struct Seen {
    bits: Vec<u64>,
    shift: u32,
}

impl Seen {
    fn of(old: &[u8]) -> Self {
        let size = (old.len() * 4).next_power_of_two().max(64);
        let mut seen = Seen {
            bits: vec![0; size / 64],
            shift: 64 - size.trailing_zeros(),
        };
        for piece in old.windows(MATCH_MIN) {
            let bit = seen.bit(piece);
            seen.bits[bit / 64] |= 1 << (bit % 64);
        }
        seen
    }

    fn may_have(&self, text: &[u8]) -> bool {
        text.get(..MATCH_MIN).is_some_and(|piece| {
            let bit = self.bit(piece);
            self.bits[bit / 64] >> (bit % 64) & 1 == 1
        })
    }

    /// `piece` has [`MATCH_MIN`] bytes, which is more than 8 and at most 16.
    fn bit(&self, piece: &[u8]) -> usize {
        let word = |bytes: Option<&[u8; 8]>| bytes.map_or(0, |bytes| u64::from_le_bytes(*bytes));
        let (first, last) = (word(piece.first_chunk()), word(piece.last_chunk()));
        let mixed = first.wrapping_mul(0x9e37_79b9_7f4a_7c15)
            ^ last.wrapping_mul(0xc2b2_ae3d_27d4_eb4f).rotate_left(29);
        (mixed.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> self.shift) as usize
    }
}

/// The length with the most agreement: each agreeing byte counts one for, each other byte two against, which is about
/// what a correction costs more than a literal does.
fn best_prefix(agreement: impl Iterator<Item = bool>) -> usize {
    let (mut score, mut best, mut length) = (0_i64, 0_i64, 0);
    for (i, agrees) in agreement.enumerate() {
        score += if agrees { 1 } else { -COST_OF_DIFFERENCE };
        if score > best {
            (best, length) = (score, i + 1);
        }
        // Nothing far behind a long stretch of foreign bytes makes up for it.
        if score < best - 256 * COST_OF_DIFFERENCE {
            break;
        }
    }
    length
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
