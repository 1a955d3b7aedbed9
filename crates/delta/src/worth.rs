//! What of the copies into and out of archives is worth the time that it takes whoever applies them, and which old archives
//! anything is taken out of then: the others are not unpacked.

use std::ops::Range;

use crate::addresses::Program;
use crate::layout::{Coding, Layout, Stream};
use crate::matching::{Copy, MATCH_MIN};
use crate::tokens;

/// A stream, or a part of one, is unpacked for no less than this share of its bytes: it takes time and memory that the few
/// bytes saved are not worth.
const USEFUL_SHARE: u64 = 6;
/// Shorter copies are left out where all of what is new is in a long stream of tokens, since there are very many of them there; the
/// compressor finds nearly as much in their bytes.
const COPY_MIN: usize = 64;
/// A stream of so many bytes of tokens, or a part of one, is a long one. The last part of a stream mostly is not.
const LONG_BYTES: u64 = tokens::PART_BYTES as u64;

/// The copies without the short ones into long streams of tokens, and without what they take out of streams from which all
/// of them together take too little.
pub(crate) fn worth_it(copies: Vec<Copy>, old: &[Layout], new: &[Layout]) -> Vec<Copy> {
    let long = Places::of(new, |stream| {
        stream.coding == Coding::Deflate && stream.plain >= LONG_BYTES
    });
    let is_worth_it = |copy: &Copy| {
        let new = copy.begin() as u64..copy.end() as u64;
        copy.length() >= COPY_MIN || !long.with(new.clone()).any(|(_, own)| own == new)
    };
    let copies = copies.into_iter().filter(is_worth_it).collect();
    Places::of(old, |_| true).without_useless(copies)
}

/// Marks the old streams that copies are taken out of, or with which addresses are predicted.
pub(crate) fn mark_used(old: &mut [Layout], copies: &[Copy], programs: &[Program]) {
    let regions = programs.iter().flat_map(|program| &program.regions);
    let regions = regions.map(|region| region.offset..region.offset + region.length);
    let counts = Places::of(old, |_| true).count(copies.iter().map(old_bytes).chain(regions));
    let streams = old.iter_mut().flat_map(|layout| &mut layout.streams);
    for (stream, count) in streams.zip(counts) {
        stream.is_used = count > 0;
    }
}

/// Where some of the streams of all files lie with every one of them unpacked.
struct Places(Vec<Range<u64>>);

impl Places {
    fn of(layouts: &[Layout], is_one: impl Fn(&Stream) -> bool) -> Self {
        let (mut places, mut begin) = (Vec::new(), 0);
        for layout in layouts {
            let mut at = begin;
            for stream in &layout.streams {
                at += stream.gap;
                if is_one(stream) {
                    places.push(at..at + stream.plain);
                }
                at += stream.plain;
            }
            begin += layout.unpacked();
        }
        Places(places)
    }

    /// The streams that have some of these bytes: their numbers and which.
    fn with(&self, bytes: Range<u64>) -> impl Iterator<Item = (usize, Range<u64>)> {
        let first = self.0.partition_point(|place| place.end <= bytes.start);
        let places = self.0[first..].iter().enumerate();
        places
            .take_while(move |(_, place)| place.start < bytes.end)
            .map(move |(number, place)| {
                let own = bytes.start.max(place.start)..bytes.end.min(place.end);
                (first + number, own)
            })
    }

    /// How many bytes of each stream these are.
    fn count(&self, all: impl Iterator<Item = Range<u64>>) -> Vec<u64> {
        let mut counts = vec![0; self.0.len()];
        if counts.is_empty() {
            return counts;
        }
        for (number, own) in all.flat_map(|bytes| self.with(bytes)) {
            counts[number] += own.end - own.start;
        }
        counts
    }

    /// The copies without what they take out of streams from which all of them take too little.
    fn without_useless(&self, copies: Vec<Copy>) -> Vec<Copy> {
        let counts = self.count(copies.iter().map(old_bytes));
        let is_useful = |number: usize| {
            let place = &self.0[number];
            counts[number] * USEFUL_SHARE >= place.end - place.start
        };
        if (0..counts.len()).all(|number| counts[number] == 0 || is_useful(number)) {
            return copies;
        }
        let mut left = Vec::with_capacity(copies.len());
        for copy in copies {
            let mut keep = |bytes: Range<u64>| {
                let (begin, length) = (bytes.start as usize, (bytes.end - bytes.start) as usize);
                if length >= MATCH_MIN {
                    let new = copy.begin() + (begin - copy.old_begin());
                    left.push(Copy::of(new, begin, length));
                }
            };
            let all = old_bytes(&copy);
            let mut begin = all.start;
            let useless = self.with(all.clone()).filter(|(number, _)| !is_useful(*number));
            for (_, own) in useless {
                keep(begin..own.start);
                begin = own.end;
            }
            keep(begin..all.end);
        }
        left
    }
}

/// Which old bytes a copy takes.
fn old_bytes(copy: &Copy) -> Range<u64> {
    copy.old_begin() as u64..copy.old_end() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::addresses::{Kind, Region};

    fn layout(gap: u64, plain: &[u64]) -> Layout {
        let streams: Vec<Stream> = plain
            .iter()
            .map(|plain| Stream {
                coding: Coding::Deflate,
                gap,
                begin: 0,
                bits: 8 * 100,
                plain: *plain,
                recipe: 0,
                is_used: true,
            })
            .collect();
        Layout {
            length: (gap + 100) * streams.len() as u64 + 50,
            streams,
        }
    }

    #[test]
    fn streams_lie_behind_each_other_with_what_is_around_them() {
        let places = Places::of(
            &[layout(10, &[1000, 2000]), layout(0, &[]), layout(5, &[7])],
            |_| true,
        );
        assert_eq!(places.0, [10..1010, 1020..3020, 3125..3132]);
        let with = |bytes| places.with(bytes).collect::<Vec<_>>();
        assert_eq!(with(1000..1021), [(0, 1000..1010), (1, 1020..1021)]);
        assert_eq!(with(1010..1020), []);
        assert_eq!(with(3020..9999), [(2, 3125..3132)]);
    }

    #[test]
    fn short_copies_are_left_out_of_long_streams_only() {
        let new = [layout(100, &[LONG_BYTES - 1, LONG_BYTES])];
        let long = 200 + LONG_BYTES as usize - 1;
        let short = |at| Copy::of(at, 20, COPY_MIN - 1);
        let kept = [
            short(10),
            short(110),
            // Partly before it.
            short(long - 1),
            Copy::of(long + 100, 20, COPY_MIN),
        ];
        let copies = [&kept[..], &[short(long + 200)]].concat();
        assert_eq!(worth_it(copies, &[layout(0, &[])], &new), kept);
    }

    #[test]
    fn streams_of_which_less_than_a_share_is_copied_are_neither_copied_nor_unpacked() {
        let mut old = [layout(100, &[600, 600, 600])];
        // From 100, 800 and 1500 on.
        let copies = vec![
            Copy::of(0, 50, 120),
            Copy::of(1000, 750, 149),
            Copy::of(2000, 1450, 110),
            Copy::of(3000, 1600, 40),
        ];
        let left = worth_it(copies, &old, &[layout(0, &[])]);
        // 70, 99 and 100 bytes of them: the least is 100.
        let expected = [
            Copy::of(0, 50, 50),
            Copy::of(1000, 750, 50),
            Copy::of(2000, 1450, 110),
            Copy::of(3000, 1600, 40),
        ];
        assert_eq!(left, expected);
        mark_used(&mut old, &left, &[]);
        let used: Vec<bool> = old[0].streams.iter().map(|stream| stream.is_used).collect();
        assert_eq!(used, [false, false, true]);
    }

    #[test]
    fn a_stream_is_used_that_addresses_are_predicted_with() {
        let mut old = [layout(100, &[1600, 1600])];
        let region = Region {
            offset: 3399,
            length: 10,
            kind: Kind::ALL[0],
        };
        let program = Program {
            regions: vec![region],
            ..Program::default()
        };
        mark_used(&mut old, &[Copy::of(0, 10, 90)], &[program]);
        let used: Vec<bool> = old[0].streams.iter().map(|stream| stream.is_used).collect();
        assert_eq!(used, [false, true]);
    }

    #[test]
    fn what_is_left_of_a_copy_is_as_long_as_a_copy_has_to_be() {
        let old = [layout(100, &[1600])];
        let copies = vec![
            Copy::of(0, 100 - MATCH_MIN + 1, 40),
            Copy::of(100, 100 - MATCH_MIN, 40),
        ];
        let left = worth_it(copies, &old, &[layout(0, &[])]);
        assert_eq!(left, [Copy::of(100, 100 - MATCH_MIN, MATCH_MIN)]);
    }
}
