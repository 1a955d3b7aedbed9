//! The steps in which new bytes are made, the same for whoever makes a delta and whoever applies it.

use crate::addresses::{Kind, Region};
use crate::layout::{Layout, Stream};
use crate::matching::Copy;

/// Most bytes of a step: addresses are predicted, and distances made absolute, in so many bytes at a time.
pub(crate) const STEP_BYTES: usize = 64 * 1024;
/// Streams of literals: the first for whatever is no field of a program, then one for each kind.
pub(crate) const STREAMS: usize = 1 + Kind::ALL.len();

/// New bytes of which something comes out of one place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    /// A copy, or a part of one.
    Copy(Copy),
    /// Bytes of a stream of literals.
    Literals {
        /// Number of the stream.
        stream: usize,
        /// Offset in the new bytes.
        new: usize,
        /// Length.
        length: usize,
    },
}

/// The stream with the literals of a kind.
pub(crate) const fn stream_of(kind: Kind) -> usize {
    1 + kind as usize
}

/// A piece of a new file that is packed as a whole, or not at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Section {
    /// End of its unpacked bytes among all of them.
    pub end: usize,
    /// Number of its file.
    pub file: usize,
    /// How it is packed.
    pub stream: Option<Stream>,
}

/// The sections of all new files, one after the other; none is empty.
pub(crate) fn sections(files: &[Layout]) -> Vec<Section> {
    let (mut sections, mut end) = (Vec::new(), 0);
    for (file, layout) in files.iter().enumerate() {
        let mut put = |length: u64, stream| {
            if length > 0 {
                end += length as usize;
                sections.push(Section { end, file, stream });
            }
        };
        let mut left = layout.length;
        for stream in &layout.streams {
            put(stream.gap, None);
            put(stream.plain, Some(*stream));
            left -= stream.gap + stream.whole_bytes();
        }
        put(left, None);
    }
    sections
}

/// All steps from front to back. A step ends where its section does.
#[derive(Clone)]
pub(crate) struct Steps<'a> {
    copies: &'a [Copy],
    regions: &'a [Region],
    sections: &'a [Section],
    at: usize,
}

impl<'a> Steps<'a> {
    /// Copies, regions of the new bytes and sections, each by offset and apart from each other.
    pub(crate) fn new(copies: &'a [Copy], regions: &'a [Region], sections: &'a [Section]) -> Self {
        Steps {
            copies,
            regions,
            sections,
            at: 0,
        }
    }

    /// The stream of the byte at `at`, and where the bytes of that stream end: not beyond `end`.
    fn literals(&mut self, at: usize, end: usize) -> (usize, usize) {
        let at = at as u64;
        while let Some((region, rest)) = self.regions.split_first()
            && region.offset + region.length <= at
        {
            self.regions = rest;
        }
        match self.regions.first() {
            None => (0, end),
            Some(region) if at < region.offset => (0, end.min(region.offset as usize)),
            Some(region) => {
                let to = (region.offset + region.length) as usize;
                (stream_of(region.kind), end.min(to))
            }
        }
    }
}

impl Iterator for Steps<'_> {
    type Item = Step;

    fn next(&mut self) -> Option<Step> {
        let at = self.at;
        while let Some((section, rest)) = self.sections.split_first()
            && section.end <= at
        {
            self.sections = rest;
        }
        while let Some((copy, rest)) = self.copies.split_first()
            && copy.end() <= at
        {
            self.copies = rest;
        }
        let end = self.sections.first()?.end;
        let step = match self.copies.first() {
            Some(copy) if copy.begin() <= at => {
                let done = at - copy.begin();
                let length = STEP_BYTES.min(copy.length() - done).min(end - at);
                self.at += length;
                Step::Copy(Copy::of(at, copy.old_begin() + done, length))
            }
            next => {
                let until = next.map_or(end, |copy| end.min(copy.begin()));
                let (stream, to) = self.literals(at, until);
                let length = STEP_BYTES.min(to - at);
                self.at += length;
                Step::Literals {
                    stream,
                    new: at,
                    length,
                }
            }
        };
        Some(step)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Pairs of cuts as ranges.
    fn ranges(cuts: &std::collections::BTreeSet<usize>) -> Vec<(usize, usize)> {
        let cuts: Vec<usize> = cuts.iter().copied().collect();
        cuts.chunks_exact(2).map(|cut| (cut[0], cut[1])).collect()
    }

    proptest! {
        #[test]
        fn every_byte_is_made_once_by_what_gives_it(
            copies in proptest::collection::btree_set(0..400_000_usize, 0..20),
            regions in proptest::collection::btree_set(0..400_000_usize, 0..20),
            ends in proptest::collection::btree_set(1..400_000_usize, 1..9),
        ) {
            let end = *ends.last().unwrap();
            let sections: Vec<Section> = ends.iter().map(|end| Section { end: *end, file: 0, stream: None }).collect();
            let copies: Vec<Copy> = ranges(&copies)
                .into_iter()
                .filter(|(_, to)| *to <= end)
                .map(|(new, to)| Copy::of(new, new + 7, to - new))
                .collect();
            let regions: Vec<Region> = ranges(&regions)
                .into_iter()
                .enumerate()
                .map(|(number, (from, to))| Region {
                    offset: from as u64,
                    length: (to - from) as u64,
                    kind: Kind::ALL[number % Kind::ALL.len()],
                })
                .collect();
            let mut at = 0;
            for step in Steps::new(&copies, &regions, &sections) {
                let length = match step {
                    Step::Copy(part) => {
                        prop_assert_eq!(part.begin(), at);
                        prop_assert_eq!(part.old_begin(), at + 7);
                        let inside = |copy: &Copy| copy.begin() <= at && at + part.length() <= copy.end();
                        prop_assert!(copies.iter().any(inside));
                        part.length()
                    }
                    Step::Literals { stream, new, length } => {
                        prop_assert_eq!(new, at);
                        prop_assert!(copies.iter().all(|copy| copy.end() <= at || copy.begin() >= at + length));
                        for byte in [at, at + length - 1] {
                            let inside = |region: &&Region| (region.offset..region.offset + region.length).contains(&(byte as u64));
                            let expected = regions.iter().find(inside).map_or(0, |region| stream_of(region.kind));
                            prop_assert_eq!(stream, expected);
                        }
                        length
                    }
                };
                prop_assert!(length > 0 && length <= STEP_BYTES);
                prop_assert!(ends.iter().all(|end| *end <= at || *end >= at + length), "over the end of a section");
                at += length;
            }
            prop_assert_eq!(at, end);
        }
    }
}
