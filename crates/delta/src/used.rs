//! Which of the old archives anything is taken out of: the others are not unpacked.

use std::ops::Range;

use crate::addresses::Program;
use crate::layout::Layout;
use crate::matching::{Copy, MATCH_MIN};

/// A stream, or a part of one, is unpacked for no less than this share of its bytes: it takes time and memory that the few
/// bytes saved are not worth.
const USEFUL_SHARE: u64 = 16;

/// Where the streams of all files lie with every one of them unpacked.
pub(crate) struct Places(Vec<Range<u64>>);

impl Places {
    pub(crate) fn of(layouts: &[Layout]) -> Self {
        let (mut places, mut begin) = (Vec::new(), 0);
        for layout in layouts {
            let mut at = begin;
            for stream in &layout.streams {
                at += stream.gap;
                places.push(at..at + stream.plain);
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

    /// Marks the streams that copies are taken out of, or with which addresses are predicted.
    pub(crate) fn mark_used(&self, layouts: &mut [Layout], copies: &[Copy], programs: &[Program]) {
        let regions = programs.iter().flat_map(|program| &program.regions);
        let regions = regions.map(|region| region.offset..region.offset + region.length);
        let counts = self.count(copies.iter().map(old_bytes).chain(regions));
        let streams = layouts.iter_mut().flat_map(|layout| &mut layout.streams);
        for (stream, count) in streams.zip(counts) {
            stream.is_used = count > 0;
        }
    }

    /// The copies without what they take out of streams from which all of them take too little.
    pub(crate) fn without_useless(&self, copies: Vec<Copy>) -> Vec<Copy> {
        let counts = self.count(copies.iter().map(old_bytes));
        let is_useful = |number: usize| {
            let place = &self.0[number];
            counts[number] * USEFUL_SHARE >= place.end - place.start
        };
        if (0..counts.len()).all(|number| counts[number] == 0 || is_useful(number)) {
            return copies;
        }
        let mut left = Vec::new();
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
